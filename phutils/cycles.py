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
Sec. II.B. How one is found: `phutils.volumes`.
"""

from dataclasses import dataclass, fields

import numpy as np

from phutils.alpha import alpha_filtration
from phutils.diagrams import MIN_LIFETIME
from phutils.frames import FrameError, check_frame, run_shards
from phutils.reduction import reduce_pairs
from phutils.volumes import boundary, mesh_of, ring_order, smallest_volume, solver

EPSILON = 0.05  # Å^2; the paper names no value
SHARD = 17  # frames: some seconds of work


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
    values, boundaries = alpha_filtration(positions, cell)
    first, second = np.sort(boundaries[0], axis=1).T
    if (first == second).any() or len(np.unique(first * len(positions) + second)) < len(first):
        raise FrameError("two atoms meet through two images: rings need a larger cell (repeat it)")
    pairs_found = reduce_pairs(values, boundaries)
    births, deaths = pairs_found[pairs_found[:, 0] == 1, 1:].T
    births, deaths = births - len(values[0]), deaths - len(values[0]) - len(values[1])
    mesh, births, deaths = mesh_of(positions, cell, values, boundaries, births, deaths)
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
    highs, found = solver(), []
    for k in kept:
        early = birth[k] + min(epsilon, 0.5 * (death[k] - birth[k]))
        try:
            volume, size = smallest_volume(mesh, deaths[k], early, highs)
        except RuntimeError as error:
            pair = f"({birth[k]:.6f}, {death[k]:.6f}) Å²"
            raise FrameError(f"the volume of pair {pair} was not found: {error}") from None
        edges = mesh["edges"][boundary(mesh["faces"][volume])]
        ring = ring_order(edges)
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
    shards = run_shards(
        volume_shard,
        structures,
        (float(epsilon), float(min_lifetime)),
        size=SHARD,
        label="stable volumes",
        n_jobs=n_jobs,
        folder=folder,
        progress=progress,
    )
    return Cycles.concatenate([Cycles(**shard) for shard in shards])
