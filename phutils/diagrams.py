"""Persistence diagrams of many frames: two back ends, crash isolation, shards on disk.

``fast`` is `phutils.alpha`, for any periodic cell. ``homcloud`` is the reference, for orthorhombic
boxes with enough atoms. HomCloud's triangulation can abort the whole process or hang on some cells,
so that it only ever runs in a worker process of its own, under a time limit. Both move points
without a unique triangulation (a perfect crystal) by 1e-8 Å, far less than the shortest lifetime
that is kept.

`persistence_diagrams` gives the diagrams of many frames at once, `iter_diagrams` the same a block
at a time, so that a million frames need no more memory than a thousand.
"""

from dataclasses import dataclass, field

import numpy as np

from phutils.alpha import alpha_filtration
from phutils.frames import FrameError, check_frame, run_shards
from phutils.homcloud_worker import homcloud_diagrams
from phutils.reduction import reduce_filtration

SHARD = 51  # frames; a fifth of a melt-quench run, so that shards end where trajectories do
MIN_LIFETIME = 1e-6  # Å^2


@dataclass(frozen=True)
class Diagrams:
    """Persistence diagrams of a sequence of frames, as flat arrays.

    ``diagrams[i][degree]`` is an ndarray [n_pairs, 2] of births and deaths in Å²;
    ``diagrams[1:5]``, ``diagrams[index_array]`` or ``diagrams[diagrams.valid]`` are again
    `Diagrams`.

    Attributes
    ----------
    pairs : dict
        {degree: ndarray [total, 2]}, the pairs of all frames one after another.
    offsets : dict
        {degree: ndarray [n_frames + 1]}, where each frame's pairs begin and end.
    n_atoms : ndarray [n_frames] of int
        Atoms of each frame; 0 where that is not known.
    failed : dict
        {frame: message} of the frames that could not be computed; their diagrams are empty.
    """

    pairs: dict
    offsets: dict
    n_atoms: np.ndarray
    failed: dict = field(default_factory=dict)

    @property
    def degrees(self):
        return tuple(self.pairs)

    @property
    def valid(self):
        """Which frames did not fail, ndarray [n_frames] of bool."""
        return ~np.isin(np.arange(len(self)), list(self.failed))

    def __len__(self):
        return len(self.n_atoms)

    def __getitem__(self, index):
        if isinstance(index, int | np.integer):
            if not -len(self) <= index < len(self):
                raise IndexError(f"frame {index} of {len(self)}")
            i = index % len(self)
            return {k: self.pairs[k][o[i] : o[i + 1]] for k, o in self.offsets.items()}
        frames = np.arange(len(self))[index]
        failed = {i: self.failed[f] for i, f in enumerate(frames.tolist()) if f in self.failed}
        found = [self[i] for i in frames]
        return Diagrams.from_frames(found, self.degrees, self.n_atoms[frames], failed)

    def counts(self, degree=1):
        """Number of pairs of each frame, ndarray [n_frames]."""
        return np.diff(self.offsets[degree])

    @classmethod
    def from_frames(cls, frames, degrees, n_atoms=None, failed=None):
        """From a sequence of ``{degree: [n_pairs, 2]}``; see the attributes for the others."""
        pairs, offsets = {}, {}
        for k in degrees:
            points = [np.asarray(frame[k], float).reshape(-1, 2) for frame in frames]
            offsets[k] = np.cumsum([0, *(len(p) for p in points)])
            pairs[k] = np.concatenate([np.empty((0, 2)), *points])
        n_atoms = np.zeros(len(frames), int) if n_atoms is None else np.array(n_atoms, int)
        return cls(pairs, offsets, n_atoms, failed or {})

    @classmethod
    def concatenate(cls, parts, degrees):
        """Join `Diagrams` end to end."""
        pairs, offsets, failed, start = {}, {}, {}, 0
        for k in degrees:
            pairs[k] = np.concatenate([np.empty((0, 2)), *(p.pairs[k] for p in parts)])
            counts = np.concatenate([np.empty(0, int), *(p.counts(k) for p in parts)])
            offsets[k] = np.concatenate([[0], np.cumsum(counts)])
        for part in parts:
            failed |= {start + i: message for i, message in part.failed.items()}
            start += len(part)
        n_atoms = np.concatenate([np.empty(0, int), *(p.n_atoms for p in parts)])
        return cls(pairs, offsets, n_atoms, failed)


# --- one frame -----------------------------------------------------------------------------------


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
        found = reduce_filtration(*alpha_filtration(positions, cell))
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
    frames : list
        (positions [n, 3], cell [3, 3]) of each frame, in Å; or a message, if it failed before.
    degrees, backend, min_lifetime
        As for `persistence_diagram`.
    first : int or None
        Index of the first frame, for error messages; None notes errors instead of raising them.

    Returns
    -------
    dict
        ``pairs<degree>`` [total, 2], ``offsets<degree>`` [n_frames + 1], ``n_atoms`` [n_frames],
        ``failed`` [n_failed] and ``messages`` [n_failed].
    """
    found, n_atoms, failed = [], [], {}
    for i, frame in enumerate(frames):
        try:
            if isinstance(frame, str):
                raise FrameError(frame)
            found.append(_diagram(*frame, degrees, backend, min_lifetime))
            n_atoms.append(len(frame[0]))
        except FrameError as error:
            if first is not None:
                raise FrameError(f"frame {first + i}: {error}") from None
            failed[i] = str(error)
            found.append(dict.fromkeys(degrees, ()))
            n_atoms.append(0)
    shard = Diagrams.from_frames(found, degrees, n_atoms)
    return {
        **{f"pairs{k}": shard.pairs[k] for k in degrees},
        **{f"offsets{k}": shard.offsets[k] for k in degrees},
        "n_atoms": shard.n_atoms,
        "failed": np.array(list(failed), int),
        "messages": np.array(list(failed.values()), str),
    }


def iter_diagrams(
    structures,
    degrees=(0, 1, 2),
    backend="fast",
    n_jobs=None,
    min_lifetime=MIN_LIFETIME,
    folder=None,
    progress=True,
    errors="raise",
    size=None,
):
    """Persistence diagrams of any number of frames, a block at a time, in little memory.

    Frames are read when their turn comes, and only about 2 `n_jobs` blocks wait for the loop that
    takes them. ``PersistenceHistogram(sparse=True).transform(iter_diagrams(...))`` makes the
    histograms of a stream.

    Parameters
    ----------
    structures, degrees, backend, n_jobs, min_lifetime, folder, progress, errors
        As for `persistence_diagrams`.
    size : int, optional
        Frames a block, default 51; another size does not find the shards of `persistence_diagrams`
        on disk.

    Yields
    ------
    Diagrams
        Of one block; its `failed` counts from the first frame of the block.

    Raises
    ------
    FrameError
        Naming the frame, counted from the first one of all, and what is wrong with it.
    """
    degrees = tuple(sorted(degrees))
    if not degrees or not set(degrees) <= {0, 1, 2}:
        raise ValueError(f"degrees {degrees} are not among 0, 1, 2")
    size = SHARD if size is None else size
    if size < 1:
        raise ValueError(f"a block of {size} frames")
    shards = run_shards(
        diagram_shard,
        structures,
        (degrees, backend, float(min_lifetime)),
        size=size,
        label="persistence diagrams",
        n_jobs=n_jobs,
        folder=folder,
        progress=progress,
        errors=errors,
    )
    start = 0
    for shard in shards:
        failed = dict(zip(shard["failed"].tolist(), shard["messages"].tolist(), strict=True))
        if failed and errors == "raise":  # noted on disk by a run that went on
            frame, message = next(iter(failed.items()))
            raise FrameError(f"frame {start + frame}: {message}")
        pairs = {k: shard[f"pairs{k}"] for k in degrees}
        offsets = {k: shard[f"offsets{k}"] for k in degrees}
        start += len(shard["n_atoms"])
        yield Diagrams(pairs, offsets, shard["n_atoms"], failed)


def persistence_diagrams(
    structures,
    degrees=(0, 1, 2),
    backend="fast",
    n_jobs=None,
    min_lifetime=MIN_LIFETIME,
    folder=None,
    progress=True,
    errors="raise",
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
    errors : {"raise", "skip"}
        What a frame without a diagram does: it ends the run, or it is noted with its message in
        `Diagrams.failed` (and on disk), and the run goes on.

    Returns
    -------
    Diagrams
        ``diagrams[i][degree]`` is an ndarray [n_pairs, 2] of births and deaths in Å².

    Raises
    ------
    FrameError
        Naming the frame and what is wrong with it.
    """
    blocks = iter_diagrams(
        structures, degrees, backend, n_jobs, min_lifetime, folder, progress, errors
    )
    return Diagrams.concatenate(list(blocks), tuple(sorted(degrees)))
