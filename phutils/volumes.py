"""The smallest volume of one birth-death pair, as a linear program that grows where it must.

Method
------
With real coefficients this is a linear program: one variable in [-1, 1] per triangle, one equation
per late edge, least sum of absolute values. Most volumes are small, the programs are not. So
only the equations near the death triangle are written down, with every triangle that touches
them. Leaving equations out can only lower the minimum. If the solution happens to fulfil the
others as well, it is the exact answer; if not, equations around the broken ones are added and
HiGHS goes on from where it was. Three pairs of four need no program at all: every edge of their
death triangle is early.

Ties
----
Among volumes of equally many triangles the one of smallest total perimeter is taken, through a
small addition to each triangle's cost: too small to outweigh one triangle, and a matter of
geometry alone, so that the answer depends neither on the numbering of the atoms nor on the origin.
HiGHS runs its serial dual simplex with fixed options.
"""

import highspy
import numpy as np
from ase.geometry import find_mic

REACH = 3  # rings of triangles around the death triangle in the first program
SIGNS = np.array([1.0, -1.0, 1.0])  # boundary of (a, b, c), a < b < c: (a, b) - (a, c) + (b, c)
SOLVER = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "solver": "simplex",
    "presolve": "off",  # it would throw away the last solution
    "random_seed": 0,
    "primal_feasibility_tolerance": 1e-9,
    "dual_feasibility_tolerance": 1e-10,  # well below the differences that break ties
}


def solver():
    """A HiGHS solver with fixed options; one serves all pairs of a frame."""
    highs = highspy.Highs()
    for name, value in SOLVER.items():
        highs.setOptionValue(name, value)
    return highs


def mesh_of(positions, cell, values, boundaries, births, deaths):
    """Edges and triangles in the order in which they enter, and what each triangle costs.

    Returns
    -------
    mesh : dict
        ``edges`` [e, 2], ``triangles`` [t, 3]: atom indices, increasing along each row;
        ``edge_value``, ``triangle_value``: Å²; ``faces`` [t, 3]: edges of each triangle;
        ``cofaces`` [e, c]: triangles around each edge, filled up with t; ``signs`` [e, c]: their
        orientation; ``cost`` [t].
    births, deaths : ndarray
        The given indices in the new order.
    """
    edge_order, triangle_order = (np.argsort(v, kind="stable") for v in values[1:3])
    edge_rank, triangle_rank = np.argsort(edge_order), np.argsort(triangle_order)
    edges = boundaries[0][edge_order].astype(np.int32)
    faces = edge_rank[boundaries[1]][triangle_order]

    around = np.argsort(faces.ravel(), kind="stable")
    count = np.bincount(faces.ravel(), minlength=len(edges))
    edge = np.repeat(np.arange(len(edges)), count)
    slot = np.arange(faces.size) - np.repeat(np.cumsum(count) - count, count)
    cofaces = np.full((len(edges), count.max(initial=0)), len(faces))
    cofaces[edge, slot] = around // 3
    signs = np.zeros(cofaces.shape)
    signs[edge, slot] = SIGNS[around % 3]

    lengths = find_mic(positions[edges[:, 1]] - positions[edges[:, 0]], cell)[1]
    perimeter = lengths[faces].sum(axis=1)
    mesh = {
        "edges": edges,
        "edge_value": values[1][edge_order],
        "triangles": np.column_stack([edges[faces[:, 0]], edges[faces[:, 2], 1]]),
        "triangle_value": values[2][triangle_order],
        "faces": faces,
        "cofaces": cofaces,
        "signs": signs,
        "cost": 1 + perimeter / (2 * perimeter.sum()),
    }
    return mesh, edge_rank[births], triangle_rank[deaths]


def smallest_volume(mesh, death, early, highs):
    """Triangles of the smallest chain through `death` without late edges in its boundary.

    Parameters
    ----------
    mesh : dict
        As given by `mesh_of`.
    death : int
        Death triangle.
    early : float
        Edges up to this value, in Å², are allowed in the boundary.
    highs : highspy.Highs
        Solver; its model is replaced.

    Returns
    -------
    volume : ndarray of int
        Increasing; empty if no such chain exists.
    size : float
        Sum of the chain's absolute values; infinite if no such chain exists.

    Raises
    ------
    RuntimeError
        If HiGHS ends for any other reason.
    """
    faces, cofaces, cost = mesh["faces"], mesh["cofaces"], mesh["cost"]
    first = np.searchsorted(mesh["triangle_value"], early, side="right")
    late = np.zeros(len(mesh["edges"]), bool)
    late[np.searchsorted(mesh["edge_value"], early, side="right") :] = True
    broken = faces[death][late[faces[death]]]
    if len(broken) == 0:
        return np.array([death]), 1.0
    column, triangles = np.full(len(faces), -1), np.array([death])
    column[death] = 0
    is_row = np.zeros(len(late), bool)
    highs.clearModel()
    _add_columns(highs, cost[triangles])
    highs.changeColsBounds(2, np.arange(2, dtype=np.int32), np.array([1.0, 0]), np.array([1.0, 0]))
    reach = REACH
    while True:
        wanted = np.zeros(len(late), bool)
        wanted[broken] = True
        for _ in range(reach):
            touched = cofaces[wanted]
            wanted[faces[touched[(touched >= first) & (touched <= death)]]] = True
            wanted &= late
        rows = np.flatnonzero(wanted & ~is_row)
        is_row[rows] = True
        row, slot = np.nonzero((cofaces[rows] >= first) & (cofaces[rows] <= death))
        touched, sign = cofaces[rows[row], slot], mesh["signs"][rows[row], slot]
        is_new = np.zeros(len(faces), bool)
        is_new[touched[column[touched] < 0]] = True
        new = np.flatnonzero(is_new)
        column[new] = len(triangles) + np.arange(len(new))
        triangles = np.concatenate([triangles, new])
        _add_columns(highs, cost[new])
        _add_rows(highs, len(rows), row, column[touched], sign)
        highs.run()
        status = highs.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            return np.empty(0, int), np.inf
        if status != highspy.HighsModelStatus.kOptimal:
            raise RuntimeError(f"HiGHS ended with {highs.modelStatusToString(status)!r}")
        x = np.array(highs.getSolution().col_value)
        x = x[0::2] - x[1::2]
        chain = np.flatnonzero(np.abs(x) > 1e-5)
        entries = x[chain, None] * SIGNS
        edge_sum = np.bincount(faces[triangles[chain]].ravel(), entries.ravel(), len(late))
        broken = np.flatnonzero((np.abs(edge_sum) > 1e-6) & late)
        if is_row[broken].all():
            return np.sort(triangles[chain]), round(float(np.abs(x[chain]).sum()), 6)
        reach += 1


def _add_columns(highs, cost):
    """One pair of variables in [0, 1] per triangle: its positive and its negative part."""
    n, none = 2 * len(cost), np.empty(0, np.int32)
    if n:
        start = np.zeros(n, np.int32)
        highs.addCols(n, np.repeat(cost, 2), np.zeros(n), np.ones(n), 0, start, none, np.empty(0))


def _add_rows(highs, n, row, column, sign):
    """One equation per edge: the signed sum of the triangles around it vanishes."""
    start = 2 * np.searchsorted(row, np.arange(n)).astype(np.int32)
    index = (2 * column[:, None] + [0, 1]).ravel().astype(np.int32)
    value = (sign[:, None] * [1.0, -1.0]).ravel()
    highs.addRows(n, np.zeros(n), np.zeros(n), len(index), start, index, value)


def boundary(faces):
    """Edges that an odd number of the triangles share, increasing."""
    if len(faces) == 1:
        return np.sort(faces[0])
    edges, count = np.unique(faces, return_counts=True)
    return edges[count % 2 == 1]


def ring_order(edges):
    """Vertices of a closed loop in order, from the lowest to its lower neighbour; or None."""
    neighbours = {}
    for a, b in edges.tolist():
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    if not neighbours or any(len(n) != 2 for n in neighbours.values()):
        return None
    start = min(neighbours)
    ring, here = [start], min(neighbours[start])
    while here != start:
        before, after = neighbours[here]
        ring, here = [*ring, here], after if before == ring[-1] else before
    return ring if len(ring) == len(neighbours) else None
