"""Rings behind the points of a diagram: optimal and stable volumes of degree-1 pairs.

Definition
----------
A pair is born with an edge and dies with a triangle. Its volume is the set of triangles that fills
the ring: among all chains of triangles that enter after the birth, hold the death triangle once,
and whose boundary has no edge that entered after the birth, the one of fewest triangles. The ring
is the boundary of that set. Counting an edge as late only if it enters more than `epsilon` after
the birth makes the answer stable against noise of that size: a stable volume. `epsilon` = 0 gives
the optimal volume. Sources: I. Obayashi, SIAM J. Appl. Algebra Geom. 2, 508 (2018),
doi:10.1137/17M1159439, and J. Appl. Comput. Topol. (2023), doi:10.1007/s41468-023-00119-8; paper,
Sec. II.B.

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

import os
from dataclasses import dataclass, fields
from itertools import batched

import highspy
import numpy as np
from ase.geometry import find_mic
from homcloud.phat_ext import Matrix
from joblib import Parallel, delayed
from tqdm import tqdm

from phutils.alpha import DegenerateError, alpha_filtration
from phutils.artifacts import cached
from phutils.diagrams import JITTER, MIN_LIFETIME, check_frame
from phutils.homcloud_worker import FrameError
from phutils.structure import radial_distribution

EPSILON = 0.05  # Å^2; the paper names no value
SHARD = 17  # frames: some seconds of work
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


@dataclass(frozen=True)
class Cycle:
    """The ring of one birth-death pair and the triangles that fill it.

    Attributes
    ----------
    birth, death : float
        Å² (squared radii).
    triangles : ndarray [m, 3]
        Atom indices of the volume's triangles, the death triangle last.
    size : float
        Least sum of absolute values: the number of triangles, except for about one pair in two
        thousand (at `epsilon` = 0.05; more at 0) that lives over Z2 but not over the integers,
        like a band with half a twist. There it is a smaller, fractional minimum, and the boundary
        may hold late edges; or it is infinite and all else is empty, because no volume exists.
    edges : ndarray [k, 2]
        Atom indices of the boundary's edges.
    vertices : ndarray [n]
        Atoms of the boundary, in ring order if it is one closed loop, otherwise increasing.
    closed : bool
        Whether the boundary is one closed loop.
    """

    birth: float
    death: float
    size: float
    triangles: np.ndarray
    edges: np.ndarray
    vertices: np.ndarray
    closed: bool

    @property
    def ring(self):
        """Atoms in ring order, ndarray [n], or None if the boundary is not one closed loop."""
        return self.vertices if self.closed else None

    @property
    def n_vertices(self):
        return len(self.vertices)

    @property
    def lifetime(self):
        return self.death - self.birth


@dataclass(frozen=True)
class Cycles:
    """Cycles of a sequence of frames, as flat arrays; ``cycles[i]`` is frame i's list of `Cycle`.

    Attributes
    ----------
    birth, death, size, closed : ndarray [n_pairs]
        Of all frames one after another; see `Cycle`.
    pairs_at : ndarray [n_frames + 1]
        Where each frame's pairs begin and end.
    triangles, edges, vertices : ndarray [total, 3], [total, 2], [total]
        Atom indices within the frame.
    triangles_at, edges_at, vertices_at : ndarray [n_pairs + 1]
        Where each pair's begin and end.
    """

    birth: np.ndarray
    death: np.ndarray
    size: np.ndarray
    closed: np.ndarray
    pairs_at: np.ndarray
    triangles: np.ndarray
    triangles_at: np.ndarray
    edges: np.ndarray
    edges_at: np.ndarray
    vertices: np.ndarray
    vertices_at: np.ndarray

    @property
    def n_vertices(self):
        """Number of boundary atoms of every pair, ndarray [n_pairs]."""
        return np.diff(self.vertices_at)

    @property
    def frame(self):
        """Frame of every pair, ndarray [n_pairs]."""
        return np.repeat(np.arange(len(self)), np.diff(self.pairs_at))

    def __len__(self):
        return len(self.pairs_at) - 1

    def __getitem__(self, i):
        if not -len(self) <= i < len(self):
            raise IndexError(f"frame {i} of {len(self)}")
        return [self._pair(k) for k in range(*self.pairs_at[i % len(self) :][:2])]

    def _pair(self, k):
        parts = (
            values[at[k] : at[k + 1]]
            for values, at in (
                (self.triangles, self.triangles_at),
                (self.edges, self.edges_at),
                (self.vertices, self.vertices_at),
            )
        )
        numbers = (float(values[k]) for values in (self.birth, self.death, self.size))
        return Cycle(*numbers, *parts, bool(self.closed[k]))

    @classmethod
    def from_frames(cls, frames):
        """From a sequence of lists of `Cycle`."""
        flat = [cycle for frame in frames for cycle in frame]
        ragged = {"pairs_at": _ends(frames)}
        for name, shape in (("triangles", (0, 3)), ("edges", (0, 2)), ("vertices", 0)):
            parts = [getattr(cycle, name) for cycle in flat]
            ragged[name] = np.concatenate([np.empty(shape, np.int32), *parts])
            ragged[f"{name}_at"] = _ends(parts)
        return cls(
            birth=np.array([c.birth for c in flat], float),
            death=np.array([c.death for c in flat], float),
            size=np.array([c.size for c in flat], float),
            closed=np.array([c.closed for c in flat], bool),
            **ragged,
        )

    @classmethod
    def concatenate(cls, parts):
        """Join `Cycles` end to end."""
        parts, joined = [cls.from_frames([]), *parts], {}
        for name in (field.name for field in fields(cls)):
            arrays = [getattr(part, name) for part in parts]
            if name.endswith("_at"):
                joined[name] = np.cumsum(np.concatenate([[0], *map(np.diff, arrays)]), dtype=int)
            else:
                joined[name] = np.concatenate(arrays)
        return cls(**joined)


def _ends(parts):
    return np.cumsum([0, *map(len, parts)])


# --- one frame -----------------------------------------------------------------------------------


def stable_volumes(atoms, epsilon=EPSILON, pairs=None, min_lifetime=MIN_LIFETIME):
    """Stable volumes of the degree-1 pairs of one periodic frame.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic, in any cell wide enough that no two atoms meet through two images.
    epsilon : float
        Width of the noise in Å²; half the lifetime for pairs that live shorter than twice this.
        0 gives optimal volumes.
    pairs : sequence of int, optional
        Rows of ``persistence_diagram(atoms, min_lifetime=min_lifetime)[1]``; default: all.
    min_lifetime : float
        Shorter-lived pairs are left out, in Å².

    Returns
    -------
    list of Cycle
        In the order of the diagram, or of `pairs`.

    Raises
    ------
    FrameError
        If the frame has no periodic alpha filtration, or its cell is too small for rings.
    ValueError
        If `epsilon` is not a number from 0, or a pair does not exist.
    """
    if not (np.isfinite(epsilon) and epsilon >= 0):
        raise ValueError(f"epsilon is {epsilon} Å², not a number from 0")
    frame = check_frame(atoms.positions, atoms.cell.array, atoms.pbc)
    return _volumes(*frame, epsilon, min_lifetime, pairs)


def _volumes(positions, cell, epsilon, min_lifetime, pairs=None):
    try:
        values, boundaries = alpha_filtration(positions, cell)
    except DegenerateError:
        try:
            values, boundaries = alpha_filtration(positions, cell, jitter=JITTER)
        except DegenerateError as error:
            raise FrameError(f"no periodic triangulation: {error}") from None
    first, second = np.sort(boundaries[0], axis=1).T
    if (first == second).any() or len(np.unique(first * len(positions) + second)) < len(first):
        raise FrameError("two atoms meet through two images: rings need a larger cell (repeat it)")
    births, deaths = _paired(values, boundaries)
    mesh, births, deaths = _mesh(positions, cell, values, boundaries, births, deaths)
    birth, death = mesh["edge_value"][births], mesh["triangle_value"][deaths]
    kept = np.flatnonzero((death > birth) & (death - birth >= min_lifetime))
    kept = kept[np.lexsort((death[kept], birth[kept]))]
    if pairs is not None:
        pairs = np.asarray(pairs)
        if pairs.size and not np.issubdtype(pairs.dtype, np.integer):
            raise ValueError(f"pairs are {pairs.dtype}, not indices")
        wrong = pairs[(pairs < 0) | (pairs >= len(kept))]
        if wrong.size:
            raise ValueError(f"pair {wrong[0]} does not exist: the frame has {len(kept)} pairs")
        kept = kept[pairs.astype(int)]
    highs = highspy.Highs()
    for name, value in SOLVER.items():
        highs.setOptionValue(name, value)
    found = []
    for k in kept:
        early = birth[k] + min(epsilon, 0.5 * (death[k] - birth[k]))
        try:
            volume, size = _volume(mesh, deaths[k], early, highs)
        except RuntimeError as error:
            pair = f"({birth[k]:.6f}, {death[k]:.6f}) Å²"
            raise FrameError(f"the volume of pair {pair} was not found: {error}") from None
        edges = mesh["edges"][_boundary(mesh["faces"][volume])]
        ring = _ring(edges)
        found.append(
            Cycle(
                float(birth[k]),
                float(death[k]),
                size,
                mesh["triangles"][volume],
                edges,
                np.unique(edges) if ring is None else np.array(ring, np.int32),
                ring is not None,
            )
        )
    return found


def _paired(values, boundaries):
    """Edges and triangles of all degree-1 pairs: two ndarray of indices (PHAT, over Z2)."""
    value = np.concatenate(values)
    dimension = np.repeat(np.arange(len(values)), [len(v) for v in values])
    order = np.lexsort((dimension, value))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    columns, start = [[]] * len(values[0]), 0
    for faces, boundary in zip(values[:-1], boundaries, strict=True):
        columns += np.sort(rank[start + boundary], axis=1).tolist()
        start += len(faces)
    matrix, dimensions = Matrix(len(order)), dimension.tolist()
    for i, k in enumerate(order.tolist()):
        matrix.set_dim_col(i, dimensions[k], columns[k])
    matrix.reduce_twist()
    pairs = [p[1:] for p in matrix.birth_death_pairs() if p[0] == 1 and p[2] is not None]
    births, deaths = order[np.array(pairs, np.int64).reshape(-1, 2).T]
    return births - len(values[0]), deaths - len(values[0]) - len(values[1])


def _mesh(positions, cell, values, boundaries, births, deaths):
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


def _volume(mesh, death, early, highs):
    """Triangles of the smallest chain through `death` without late edges in its boundary.

    Parameters
    ----------
    mesh : dict
        As given by `_mesh`.
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


def _boundary(faces):
    """Edges that an odd number of the triangles share, increasing."""
    if len(faces) == 1:
        return np.sort(faces[0])
    edges, count = np.unique(faces, return_counts=True)
    return edges[count % 2 == 1]


def _ring(edges):
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


# --- many frames ---------------------------------------------------------------------------------


def volume_shard(frames, epsilon, min_lifetime, first=0):
    """Stable volumes of a few checked frames as a dict of arrays (one shard on disk).

    Parameters
    ----------
    frames : list of tuple
        (positions [n, 3], cell [3, 3]) of each frame, in Å.
    epsilon, min_lifetime : float
        As for `stable_volumes`.
    first : int
        Index of the first frame, for error messages.
    """
    found = []
    for i, frame in enumerate(frames, first):
        try:
            found.append(_volumes(*frame, epsilon, min_lifetime))
        except FrameError as error:
            raise FrameError(f"frame {i}: {error}") from None
    return vars(Cycles.from_frames(found))


def _run_shard(folder, frames, epsilon, min_lifetime, first):
    if folder is None:
        return volume_shard(frames, epsilon, min_lifetime, first)
    return cached(folder, volume_shard, frames, epsilon, min_lifetime)


def _shards(structures):
    for number, batch in enumerate(batched(structures, SHARD)):
        frames = []
        for i, atoms in enumerate(batch, number * SHARD):
            try:
                frames.append(check_frame(atoms.positions, atoms.cell.array, atoms.pbc))
            except FrameError as error:
                raise FrameError(f"frame {i}: {error}") from None
        yield number * SHARD, frames


def stable_volumes_of(
    structures, epsilon=EPSILON, min_lifetime=MIN_LIFETIME, n_jobs=None, folder=None, progress=True
):
    """Stable volumes of all degree-1 pairs of many frames.

    Parameters
    ----------
    structures : iterable of ase.Atoms
        Read once, a shard of 17 frames at a time.
    epsilon, min_lifetime : float
        As for `stable_volumes`, in Å².
    n_jobs : int, optional
        Processes; default: one per core.
    folder : path-like, optional
        Artifacts of the dataset: finished shards are kept there, keyed by the frames' content.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Cycles

    Raises
    ------
    FrameError
        Naming the frame and what is wrong with it.
    """
    if not (np.isfinite(epsilon) and epsilon >= 0):
        raise ValueError(f"epsilon is {epsilon} Å², not a number from 0")
    n_jobs = n_jobs or os.cpu_count()
    settings = float(epsilon), float(min_lifetime)
    tasks = (
        delayed(_run_shard)(folder, frames, *settings, first)
        for first, frames in _shards(structures)
    )
    total = len(structures) if hasattr(structures, "__len__") else None
    parallel, parts = Parallel(n_jobs, return_as="generator", pre_dispatch=2 * n_jobs), []
    with tqdm(
        total=total, desc="stable volumes", unit="frame", mininterval=2, disable=not progress
    ) as bar:
        for shard in parallel(tasks):
            parts.append(Cycles(**shard))
            bar.update(len(parts[-1]))
    return Cycles.concatenate(parts)


# --- geometry ------------------------------------------------------------------------------------


def unwrap(atoms, ring):
    """Coordinates of a ring's atoms without jumps at the boundary of the box.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic.
    ring : sequence of int
        Three or more different atoms in ring order.

    Returns
    -------
    ndarray [n, 3]
        Å; the first atom lies in the cell, every other at the image nearest to the one before.

    Raises
    ------
    ValueError
        If `ring` is no such sequence, or does not return to where it started: it winds around
        the cell, or one of its edges is longer than half of it.
    """
    ring = np.asarray([] if ring is None else ring)
    if ring.ndim != 1 or len(ring) < 3 or not np.issubdtype(ring.dtype, np.integer):
        raise ValueError(f"a ring is three or more atom indices, not {ring.tolist()}")
    if len(np.unique(ring)) < len(ring) or ring.min() < 0 or ring.max() >= len(atoms):
        raise ValueError(f"ring {ring.tolist()} repeats atoms or names some beyond {len(atoms)}")
    positions, cell = check_frame(atoms.positions, atoms.cell.array, atoms.pbc)
    steps = find_mic(np.roll(positions[ring], -1, axis=0) - positions[ring], cell)[0]
    if np.abs(steps.sum(axis=0)).max() > 1e-6:
        raise ValueError(f"ring {ring.tolist()} does not close: it winds around the cell")
    return positions[ring[0]] + np.cumsum([np.zeros(3), *steps[:-1]], axis=0)


def ring_geometry(atoms, ring):
    """Bond lengths and angles around a ring, by minimum image.

    Parameters
    ----------
    atoms, ring
        As for `unwrap`.

    Returns
    -------
    lengths : ndarray [n]
        Å; from each atom to the next, the last one back to the first.
    angles : ndarray [n]
        Degrees; at each atom, between its two neighbours in the ring.
    """
    points = unwrap(atoms, ring)
    ahead = np.roll(points, -1, axis=0) - points
    lengths = np.linalg.norm(ahead, axis=1)
    back, before = -np.roll(ahead, 1, axis=0), np.roll(lengths, 1)
    cosines = np.einsum("ij,ij->i", ahead, back) / (lengths * before)
    return lengths, np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def restricted_rdf(frames, cycles, sizes=(5, 6), r_max=5.0, bins=200):
    """Radial distribution among the atoms of cycles of given sizes (paper, Fig. 2c and f).

    In each frame only the atoms that belong to some such cycle are kept. Distances are counted
    among these, and compared with a gas of their own number density, as in
    `phutils.structure.radial_distribution`.

    Parameters
    ----------
    frames : ase.Atoms or sequence of ase.Atoms
    cycles : list of Cycle, or Cycles or sequence of such lists
        Of the same frames.
    sizes : sequence of int
        Numbers of boundary atoms.
    r_max : float
        Å; at most half the shortest edge of any box.
    bins : int

    Returns
    -------
    dict
        ``r``: ndarray [bins], bin centres in Å; ``g``: ndarray [bins], mean over the frames that
        hold two or more such atoms; ``n_atoms``: ndarray [n_frames], number of such atoms.

    Raises
    ------
    ValueError
        If frames and cycles differ in number, or no frame holds two such atoms.
    """
    if hasattr(frames, "positions"):
        frames, cycles = [frames], [cycles]
    if len(frames) != len(cycles):
        raise ValueError(f"{len(frames)} frames but cycles of {len(cycles)}")
    chosen, count = [], []
    for atoms, found in zip(frames, cycles, strict=True):
        members = [cycle.vertices for cycle in found if cycle.n_vertices in sizes]
        members = np.unique(np.concatenate([np.empty(0, int), *members]))
        count.append(len(members))
        if len(members) > 1:
            chosen.append(atoms[members])
    if not chosen:
        raise ValueError(f"no frame has two atoms in cycles of {tuple(sizes)} vertices")
    return radial_distribution(chosen, r_max, bins) | {"n_atoms": np.array(count)}
