"""Persistence diagrams of many frames: two back ends, crash isolation, shards on disk.

``fast`` is `phutils.alpha`, for any periodic cell. Where the points have no unique triangulation
(a perfect crystal) it moves them by 1e-8 Å, far less than the shortest lifetime that is kept.
``homcloud`` is the reference, for orthorhombic boxes with enough atoms. HomCloud's triangulation
can abort the whole process or hang on some cells, so that it only ever runs in a worker process of
its own, under a time limit.
"""

from dataclasses import dataclass

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
    shards = run_shards(
        diagram_shard,
        structures,
        (degrees, backend, float(min_lifetime)),
        size=SHARD,
        label="persistence diagrams",
        n_jobs=n_jobs,
        folder=folder,
        progress=progress,
    )
    parts = [
        Diagrams(
            {k: shard[f"pairs{k}"] for k in degrees}, {k: shard[f"offsets{k}"] for k in degrees}
        )
        for shard in shards
    ]
    return Diagrams.concatenate(parts, degrees)
