"""Births and deaths of a filtered triangulation of the torus, over Z2, in three steps.

Degree 0 is the minimum spanning tree of the edges. Degree 2 is the same on the dual graph, walked
from the last tetrahedron down: cavities are what growing balls leave over, and two of them merge
where a triangle is taken away. What remains, the edges outside the first tree and the triangles
outside the second, is a matrix with a quarter of the columns, which PHAT reduces as it does in
HomCloud.
"""

import numpy as np
from homcloud.phat_ext import Matrix

from phutils.compiled import compiled


def _rank(values):
    order = np.argsort(values, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


@compiled
def _merge(age, ends, entering):
    """Pairs of a graph that grows: which node each edge of the spanning tree ends, elder rule.

    Parameters
    ----------
    age : ndarray [n]
        Ranks of the nodes; the lower one survives.
    ends : ndarray [m, 2]
        Nodes of each edge, which enters after both.
    entering : ndarray [m]
        Edges in the order in which they enter.

    Returns
    -------
    nodes, edges : ndarray [n - 1]
        Fewer if the graph does not hang together.
    """
    root, found = np.arange(len(age)), 0
    nodes, edges = np.empty((2, len(age) - 1), np.int64)
    for edge in entering:
        a, b = ends[edge]
        while root[a] != a:
            root[a] = a = root[root[a]]
        while root[b] != b:
            root[b] = b = root[root[b]]
        if a == b:
            continue
        if age[a] > age[b]:
            a, b = b, a
        root[b] = a
        nodes[found], edges[found] = b, edge
        found += 1
        if found == len(nodes):
            break
    return nodes[:found], edges[:found]


def reduce_pairs(values, boundaries):
    """Pairs of simplices that begin and end a class over Z2 (see the module's docstring).

    Parameters
    ----------
    values, boundaries : list
        As given by `phutils.alpha.alpha_filtration`.

    Returns
    -------
    ndarray [n_pairs, 3]
        Degree, birth simplex, death simplex; simplices are counted through all dimensions. Classes
        that never die are left out.
    """
    n, n_edges, n_triangles, n_tetrahedra = map(len, values)
    edges, triangles = (np.argsort(v, kind="stable") for v in values[1:3])
    atoms, tree = _merge(np.arange(n), boundaries[0], edges)
    around = np.argsort(boundaries[2].ravel(), kind="stable").reshape(-1, 2) // 4
    cavities, cotree = _merge(-_rank(values[3]), around, triangles[::-1])

    # degree 1: rows are the edges outside the tree, columns the triangles outside the other one
    is_row, is_column = np.ones(n_edges, bool), np.ones(n_triangles, bool)
    is_row[tree], is_column[cotree] = False, False
    edges, triangles = edges[is_row[edges]], triangles[is_column[triangles]]
    row = np.full(n_edges, -1)
    row[edges] = np.arange(len(edges))
    columns = _columns(np.sort(row[boundaries[1][triangles]], axis=1))
    matrix = Matrix(len(edges) + len(columns))  # of empty columns of dimension 0
    for i, column in enumerate(columns, len(edges)):
        matrix.set_dim_col(i, 1, column)
    matrix.reduce_twist()
    rings = [p[1:] for p in matrix.birth_death_pairs() if p[0] == 0 and p[2] is not None]
    born, dead = np.array(rings, np.int64).reshape(-1, 2).T
    parts = [
        (atoms, n + tree),
        (n + edges[born], n + n_edges + triangles[dead - len(edges)]),
        (n + n_edges + cotree, n + n_edges + n_triangles + cavities),
    ]
    degree = np.repeat(np.arange(3), [len(part[0]) for part in parts])
    return np.column_stack([degree, np.concatenate(parts, axis=1).T])


def _columns(rows):
    """Sorted row indices as lists, without -1; one that is met twice cancels over Z2."""
    columns = rows.tolist()
    dropped = (rows < 0).sum(axis=1)
    for i in np.flatnonzero(dropped):
        columns[i] = columns[i][dropped[i] :]
    for i in np.flatnonzero(((rows[:, 1:] == rows[:, :-1]) & (rows[:, 1:] >= 0)).any(axis=1)):
        face, times = np.unique(columns[i], return_counts=True)
        columns[i] = face[times % 2 == 1].tolist()
    return columns


def reduce_filtration(values, boundaries):
    """Birth-death pairs of a filtration.

    Parameters
    ----------
    values, boundaries : list
        As given by `phutils.alpha.alpha_filtration`.

    Returns
    -------
    dict
        {degree: ndarray [n_pairs, 2]}: births and deaths in Å², pairs of zero lifetime and
        classes that never die left out, sorted.
    """
    value = np.concatenate(values)
    degrees, births, deaths = reduce_pairs(values, boundaries).T
    births, deaths = value[births], value[deaths]
    diagrams = {}
    for degree in range(len(values) - 1):
        take = (degrees == degree) & (deaths > births)
        points = np.stack([births[take], deaths[take]], axis=1)
        diagrams[degree] = points[np.lexsort(points.T[::-1])]
    return diagrams
