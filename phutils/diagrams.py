"""Persistence diagrams of many frames: two back ends, crash isolation, shards on disk.

``fast`` is `phutils.alpha`, for any periodic cell. Where the points have no unique triangulation
(a perfect crystal) it moves them by 1e-8 Å, far less than the shortest lifetime that is kept.
``homcloud`` is the reference, for orthorhombic boxes with enough atoms. HomCloud's triangulation
can abort the whole process or hang on some cells, so that it only ever runs in a worker process of
its own, under a time limit.
"""

import os
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from scipy.spatial import cKDTree
from tqdm import tqdm

from phutils.alpha import DegenerateError, alpha_filtration, cell_matrix, reduce_filtration
from phutils.artifacts import cached
from phutils.homcloud_worker import FrameError, homcloud_diagrams

SHARD = 51  # frames; a fifth of a melt-quench run, so that shards end where trajectories do
TOO_CLOSE = 1e-3  # Å
MIN_LIFETIME = 1e-6  # Å^2
JITTER = 1e-8  # Å


@dataclass(frozen=True)
class Diagrams:
    """Persistence diagrams of a sequence of frames, as flat arrays.

    ``diagrams[i][degree]`` is an ndarray [n_pairs, 2] of births and deaths in Å²;
    ``diagrams[1:5]`` or ``diagrams[index_array]`` are again `Diagrams`.

    Attributes
    ----------
    pairs : dict
        {degree: ndarray [total, 2]}, the pairs of all frames one after another.
    offsets : dict
        {degree: ndarray [n_frames + 1]}, where each frame's pairs begin and end.
    """

    pairs: dict
    offsets: dict

    @property
    def degrees(self):
        return tuple(self.pairs)

    def __len__(self):
        return len(next(iter(self.offsets.values()))) - 1

    def __getitem__(self, index):
        if isinstance(index, int | np.integer):
            if not -len(self) <= index < len(self):
                raise IndexError(f"frame {index} of {len(self)}")
            i = index % len(self)
            return {k: self.pairs[k][o[i] : o[i + 1]] for k, o in self.offsets.items()}
        frames = np.arange(len(self))[index]
        return Diagrams.from_frames([self[i] for i in frames], self.degrees)

    def counts(self, degree=1):
        """Number of pairs of each frame, ndarray [n_frames]."""
        return np.diff(self.offsets[degree])

    @classmethod
    def from_frames(cls, frames, degrees):
        """From a sequence of ``{degree: [n_pairs, 2]}``."""
        pairs, offsets = {}, {}
        for k in degrees:
            points = [np.asarray(frame[k], float).reshape(-1, 2) for frame in frames]
            offsets[k] = np.cumsum([0, *(len(p) for p in points)])
            pairs[k] = np.concatenate([np.empty((0, 2)), *points])
        return cls(pairs, offsets)

    @classmethod
    def concatenate(cls, parts, degrees):
        """Join `Diagrams` end to end."""
        pairs, offsets = {}, {}
        for k in degrees:
            pairs[k] = np.concatenate([np.empty((0, 2)), *(p.pairs[k] for p in parts)])
            counts = np.concatenate([np.empty(0, int), *(p.counts(k) for p in parts)])
            offsets[k] = np.concatenate([[0], np.cumsum(counts)])
        return cls(pairs, offsets)


# --- one frame -----------------------------------------------------------------------------------


def check_frame(positions, cell, pbc=True):
    """Raise `FrameError` for a frame that cannot have a periodic alpha filtration.

    Parameters
    ----------
    positions : ndarray [n, 3]
        Coordinates in Å.
    cell : ndarray [3] or [3, 3]
        Edge lengths of a box, or lattice vectors as rows, in Å.
    pbc : bool or sequence of bool

    Returns
    -------
    positions : ndarray [n, 3]
        Wrapped into the cell.
    cell : ndarray [3, 3]
    """
    positions, cell = np.asarray(positions, float), cell_matrix(cell)
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise FrameError(f"positions have shape {positions.shape}, not (n, 3)")
    if not len(positions):
        raise FrameError("there are no atoms")
    if not np.isfinite(positions).all():
        atom = int(np.flatnonzero(~np.isfinite(positions).all(axis=1))[0])
        raise FrameError(f"position of atom {atom} is {positions[atom].tolist()}")
    if cell.shape != (3, 3) or not np.isfinite(cell).all():
        raise FrameError(f"the cell is {cell.tolist()} Å")
    if not abs(np.linalg.det(cell)) > 1e-3 * np.linalg.norm(cell, axis=1).prod():
        raise FrameError(f"the cell {cell.tolist()} Å has no volume")
    if not np.all(pbc):
        raise FrameError(f"boundaries are not periodic (pbc = {np.asarray(pbc).tolist()})")
    scaled = positions @ np.linalg.inv(cell)
    scaled -= np.floor(scaled)
    scaled[scaled >= 1] = 0  # a coordinate just below zero rounds up to the full length
    # distances in scaled coordinates times the smallest stretch of the cell bound those in Å
    limit = TOO_CLOSE / np.linalg.svd(cell, compute_uv=False).min()
    close = cKDTree(scaled, boxsize=1).query_pairs(min(limit, 0.49), output_type="ndarray")
    apart = scaled[close[:, 1]] - scaled[close[:, 0]]
    close = close[np.linalg.norm((apart - np.round(apart)) @ cell, axis=1) < TOO_CLOSE]
    if len(close):
        raise FrameError(f"atoms {close[0][0]} and {close[0][1]} are at the same place")
    return scaled @ cell, cell


def persistence_diagram(atoms, degrees=(0, 1, 2), backend="fast", min_lifetime=MIN_LIFETIME):
    """Persistence diagrams of one periodic frame (paper, Sec. II.B).

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic, in any cell; ``homcloud`` needs an orthorhombic one.
    degrees : sequence of int
        Homology degrees among 0, 1, 2.
    backend : {"fast", "homcloud"}
    min_lifetime : float
        Pairs that live shorter than this, in Å², are dropped: in a perfect crystal the number of
        such pairs depends on the origin.

    Returns
    -------
    dict
        {degree: ndarray [n_pairs, 2]}: births and deaths in Å² (squared radii), sorted.

    Raises
    ------
    FrameError
        If the frame has no such diagram or HomCloud could not compute it.
    """
    positions, cell = check_frame(atoms.positions, atoms.cell.array, atoms.pbc)
    return _diagram(positions, cell, degrees, backend, min_lifetime)


def _diagram(positions, cell, degrees, backend, min_lifetime):
    if backend == "fast":
        try:
            filtration = alpha_filtration(positions, cell)
        except DegenerateError:
            try:
                filtration = alpha_filtration(positions, cell, jitter=JITTER)
            except DegenerateError as error:
                raise FrameError(f"no periodic triangulation: {error}") from None
        found = reduce_filtration(*filtration)
    elif backend == "homcloud":
        found = homcloud_diagrams(positions, cell)
    else:
        raise ValueError(f"unknown backend {backend!r}: choose fast or homcloud")
    return {k: found[k][found[k][:, 1] - found[k][:, 0] >= min_lifetime] for k in degrees}


# --- many frames ---------------------------------------------------------------------------------


def diagram_shard(frames, degrees, backend, min_lifetime, first=0):
    """Diagrams of a few checked frames as a dict of arrays (one shard on disk).

    Parameters
    ----------
    frames : list of tuple
        (positions [n, 3], cell [3, 3]) of each frame, in Å.
    degrees, backend, min_lifetime
        As for `persistence_diagram`.
    first : int
        Index of the first frame, for error messages.

    Returns
    -------
    dict
        ``pairs<degree>`` [total, 2] and ``offsets<degree>`` [n_frames + 1].
    """
    found = []
    for i, (positions, cell) in enumerate(frames):
        try:
            found.append(_diagram(positions, cell, degrees, backend, min_lifetime))
        except FrameError as error:
            raise FrameError(f"frame {first + i}: {error}") from None
    shard = Diagrams.from_frames(found, degrees)
    return {f"pairs{k}": shard.pairs[k] for k in degrees} | {
        f"offsets{k}": shard.offsets[k] for k in degrees
    }


def _run_shard(folder, frames, degrees, backend, min_lifetime, first):
    arguments = (frames, degrees, backend, min_lifetime)
    if folder is None:
        return diagram_shard(*arguments, first=first)
    return cached(folder, diagram_shard, *arguments)


def _shards(structures):
    """Yield (index of the first frame, checked frames) for one shard after another."""
    frames, first, i = [], 0, -1
    for i, atoms in enumerate(structures):
        try:
            frames.append(check_frame(atoms.positions, atoms.cell.array, atoms.pbc))
        except FrameError as error:
            raise FrameError(f"frame {i}: {error}") from None
        if len(frames) == SHARD:
            yield first, frames
            frames, first = [], i + 1
    if frames:
        yield first, frames


def persistence_diagrams(
    structures,
    degrees=(0, 1, 2),
    backend="fast",
    n_jobs=None,
    min_lifetime=MIN_LIFETIME,
    folder=None,
    progress=True,
):
    """Persistence diagrams of many periodic frames (paper, Sec. II.B).

    Parameters
    ----------
    structures : iterable of ase.Atoms
        Read once, a shard of 51 frames at a time.
    degrees : sequence of int
        Homology degrees among 0, 1, 2.
    backend : {"fast", "homcloud"}
        See the module's docstring.
    n_jobs : int, optional
        Processes; default: one per core.
    min_lifetime : float
        Shorter-lived pairs are dropped, in Å².
    folder : path-like, optional
        Artifacts of the dataset: finished shards are kept there, keyed by the frames' content, so
        that a killed run continues where it was and a second one only reads.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Diagrams
        ``diagrams[i][degree]`` is an ndarray [n_pairs, 2] of births and deaths in Å².

    Raises
    ------
    FrameError
        Naming the frame and what is wrong with it.
    """
    degrees = tuple(sorted(degrees))
    if not degrees or not set(degrees) <= {0, 1, 2}:
        raise ValueError(f"degrees {degrees} are not among 0, 1, 2")
    n_jobs = n_jobs or os.cpu_count()
    settings = (degrees, backend, float(min_lifetime))
    tasks = (
        delayed(_run_shard)(folder, frames, *settings, first)
        for first, frames in _shards(structures)
    )
    parallel = Parallel(n_jobs, return_as="generator", pre_dispatch=2 * n_jobs)
    bar = tqdm(
        total=len(structures) if hasattr(structures, "__len__") else None,
        desc="persistence diagrams",
        unit="frame",
        mininterval=2,
        disable=not progress,
    )
    parts = []
    with bar:
        for shard in parallel(tasks):
            part = Diagrams(
                {k: shard[f"pairs{k}"] for k in degrees},
                {k: shard[f"offsets{k}"] for k in degrees},
            )
            parts.append(part)
            bar.update(len(part))
    return Diagrams.concatenate(parts, degrees)
