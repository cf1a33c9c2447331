"""Pairs of neighbouring atoms of many frames, found once and kept on disk.

Eight bytes a pair: two atoms and their distance. A pair is listed once, whichever atom comes first,
and the pairs of a frame stand in order of distance. Frames are searched by vesin, in shards that
are stored under a key of the frames' content and opened as memory maps: a killed search continues,
a second one only opens files, and memory holds no more than what is being read.
"""

import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from joblib import effective_n_jobs
from tqdm import tqdm
from vesin import NeighborList

from phutils.artifacts import atomic_write, fingerprint
from phutils.frames import TOO_CLOSE, FrameError, in_order

PAIR = np.dtype([("first", "<u2"), ("second", "<u2"), ("distance", "<f4")])
SHARD = 255  # frames; one melt-quench run
FEW = 4  # shards that are found sooner than processes start
MOST_PAIRS = 50_000_000  # of one frame; 400 MB


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Pairs of the atoms of a sequence of frames; made by `find_neighbours`.

    ``neighbours[i]`` are the pairs of frame i, a record array with ``first``, ``second`` (atoms)
    and ``distance`` (Å), sorted by distance. An atom that sees its own periodic image is paired
    with itself, once for an image and the one opposite to it.

    Attributes
    ----------
    cutoff : float
        Å.
    n_atoms, n_pairs : ndarray [n_frames] of int
    numbers : ndarray [sum of n_atoms] of uint8
        Atomic numbers, frame after frame.
    fingerprint : str
        Content key.
    """

    cutoff: float
    n_atoms: np.ndarray
    n_pairs: np.ndarray
    numbers: np.ndarray
    fingerprint: str
    _shards: tuple  # of arrays, or of files
    _place: np.ndarray  # [n_frames, 2]: shard, first pair in it

    def __len__(self):
        return len(self.n_atoms)

    def __getitem__(self, frame):
        if not -len(self) <= frame < len(self):
            raise IndexError(f"frame {frame} of {len(self)}")
        shard, start = self._place[frame]
        pairs = self._shards[shard]
        pairs = _map(pairs) if isinstance(pairs, Path) else pairs
        return pairs[start : start + self.n_pairs[frame]]

    def batch(self, frames):
        """Frames joined into one system of unconnected parts.

        Parameters
        ----------
        frames : sequence of int

        Returns
        -------
        numbers : ndarray [atoms] of int64
            Atomic numbers.
        frame : ndarray [atoms] of int64
            Which of `frames` an atom belongs to, counted from 0.
        first, second : ndarray [pairs] of int32
            Atoms of the batch.
        distance : ndarray [pairs] of float32
            Å.
        """
        frames = np.asarray(frames, int)
        ends = np.cumsum(self.n_atoms)
        atoms = [np.arange(ends[f] - self.n_atoms[f], ends[f]) for f in frames]
        pairs = np.concatenate([np.empty(0, PAIR), *(self[f] for f in frames)])
        sizes = self.n_atoms[frames]
        shift = np.repeat(np.cumsum(sizes) - sizes, self.n_pairs[frames]).astype(np.int32)
        return (
            self.numbers[np.concatenate([np.empty(0, int), *atoms])].astype(np.int64),
            np.repeat(np.arange(len(frames)), sizes),
            pairs["first"] + shift,
            pairs["second"] + shift,
            np.ascontiguousarray(pairs["distance"]),
        )


def join(parts):
    """Several `Neighbours` of one cutoff, one after another.

    Raises
    ------
    ValueError
        If the cutoffs differ.
    """
    cutoffs = {part.cutoff for part in parts}
    if len(cutoffs) != 1:
        raise ValueError(f"neighbours within {sorted(cutoffs)} Å cannot be joined")
    first = np.cumsum([0, *(len(part._shards) for part in parts)])
    place = [part._place + [k, 0] for part, k in zip(parts, first, strict=False)]
    fields = ("n_atoms", "n_pairs", "numbers")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in fields}
    shards = tuple(shard for part in parts for shard in part._shards)
    key = fingerprint([part.fingerprint for part in parts])
    joined = {"fingerprint": key, "_shards": shards, "_place": np.concatenate(place)}
    return Neighbours(cutoffs.pop(), **arrays, **joined)


# --- one frame -----------------------------------------------------------------------------------


def frame_pairs(atoms, cutoff):
    """Neighbours of one frame.

    Parameters
    ----------
    atoms : ase.Atoms
        In any cell, also one that is smaller than the cutoff; open boundaries are allowed.
    cutoff : float
        Å.

    Returns
    -------
    ndarray [n_pairs] of `PAIR`
        By distance. Empty where no two atoms are near enough.

    Raises
    ------
    FrameError
        For no or too many atoms, a position or cell that is not finite, a periodic cell without
        volume, or atoms at one place.
    """
    positions, cell, pbc = atoms.positions, atoms.cell.array, np.asarray(atoms.pbc, bool)
    _check(positions, cell, pbc, cutoff)
    search = NeighborList(cutoff=cutoff, full_list=False, n_threads=1)
    first, second, distance = search.compute(positions, cell, pbc, "ijd", copy=False)
    order = np.argsort(distance, kind="stable")
    pairs = np.empty(len(order), PAIR)
    pairs["first"], pairs["second"] = first[order], second[order]
    pairs["distance"] = distance[order]
    if len(pairs) and pairs["distance"][0] < TOO_CLOSE:
        i, j, near = pairs[0]
        raise FrameError(f"atoms {min(i, j)} and {max(i, j)} are at the same place ({near:.1e} Å)")
    return pairs


def _check(positions, cell, pbc, cutoff):
    n = len(positions)
    if not 0 < n <= np.iinfo(np.uint16).max:
        raise FrameError(f"there are {n} atoms, and there can be 1 to 65535" if n else "no atoms")
    if not np.isfinite(cell).all():
        raise FrameError(f"the cell is {cell.tolist()} Å")
    for atom in np.flatnonzero(~np.isfinite(positions).all(axis=1))[:1]:
        raise FrameError(f"position of atom {atom} is {positions[atom].tolist()} Å")
    if not pbc.any():
        return
    periodic = cell[pbc]  # length, area or volume of what repeats
    content = np.sqrt(np.linalg.det(periodic @ periodic.T).clip(0))
    if not content > TOO_CLOSE ** len(periodic):
        raise FrameError(f"the cell {cell.tolist()} Å has no volume")
    images = 4 / 3 * np.pi * cutoff**3 / content if pbc.all() else 0
    if n**2 * images / 2 > MOST_PAIRS:
        raise FrameError(
            f"{n} atoms in {content:.3g} Å³ have {n**2 * images / 2:.0e} pairs within {cutoff} Å"
        )


# --- many frames ---------------------------------------------------------------------------------


def pair_shard(frames, cutoff, first=0):
    """Pairs of a few frames; `first` is the index of the first one in error messages.

    Returns
    -------
    dict of ndarray
        ``pairs`` [total] of `PAIR`, ``n_pairs`` [n], ``n_atoms`` [n], ``numbers`` [total] of uint8.
    """
    pairs, numbers = [np.empty(0, PAIR)], [np.empty(0, np.uint8)]
    for i, atoms in enumerate(frames):
        try:
            pairs.append(frame_pairs(atoms, cutoff))
        except FrameError as error:
            raise FrameError(f"frame {first + i}: {error}") from None
        numbers.append(atoms.numbers.astype(np.uint8))
    return {
        "pairs": np.concatenate(pairs),
        "n_pairs": np.array([len(p) for p in pairs[1:]]),
        "n_atoms": np.array([len(n) for n in numbers[1:]]),
        "numbers": np.concatenate(numbers),
    }


def find_neighbours(structures, cutoff=5.0, folder=None, n_jobs=None, progress=True):
    """Neighbours of many frames.

    Parameters
    ----------
    structures : phutils.dataset.Structures or list of ase.Atoms
    cutoff : float
        Å; the paper has 5 (Sec. II.D).
    folder : path-like, optional
        Artifacts of the dataset, to keep what has been found: about 60 kB a frame of 216 atoms.
        Without it everything is kept in memory.
    n_jobs : int, optional
        Processes; default: one per core.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Neighbours

    Raises
    ------
    FrameError
        Naming the frame and what is wrong with it, see `frame_pairs`.
    ValueError
        If there are no frames, or the cutoff is not a positive length.
    """
    if not len(structures):
        raise ValueError("there are no frames")
    if not 0 < cutoff < np.inf:
        raise ValueError(f"cutoff {cutoff} Å is not a positive length")
    starts = range(0, len(structures), SHARD)
    parts = [structures[start : start + SHARD] for start in starts]
    keys = [fingerprint((pair_shard, part, float(cutoff)))[:20] for part in parts]
    stems = [Path(folder, "cache", f"pairs-{key}") if folder else None for key in keys]
    missing = [k for k, stem in enumerate(stems) if _open(stem) is None]
    calls = ((_search, stems[k], parts[k], float(cutoff), starts[k]) for k in missing)
    n_jobs = effective_n_jobs(n_jobs or -1) if len(missing) > FEW else 1
    bar = tqdm(total=len(missing), desc="neighbours", unit="shard", disable=not progress)
    found = {}
    with bar:
        for k, shard in zip(missing, in_order(calls, n_jobs), strict=True):
            found[k] = shard
            bar.update()
    shards = [found.get(k) or _open(stem) for k, stem in enumerate(stems)]
    n_pairs = [shard["n_pairs"] for shard in shards]
    place = [
        np.stack([np.full(len(n), k), np.cumsum(n) - n], axis=1) for k, n in enumerate(n_pairs)
    ]
    return Neighbours(
        float(cutoff),
        np.concatenate([shard["n_atoms"] for shard in shards]),
        np.concatenate(n_pairs),
        np.concatenate([shard["numbers"] for shard in shards]),
        fingerprint(keys),
        tuple(shard["pairs"] for shard in shards),
        np.concatenate(place),
    )


def _search(stem, frames, cutoff, first):
    """Find a shard; where it is to be stored, do so and give the file in place of the pairs."""
    shard = pair_shard(frames, cutoff, first)
    if stem is None:
        return shard
    with atomic_write(stem.with_suffix(".npy")) as file:
        np.save(file, shard.pop("pairs"))
    with atomic_write(stem.with_suffix(".npz")) as file:  # written last: the shard is complete
        np.savez(file, **shard)
    return _open(stem)


def _open(stem):
    """A stored shard, its pairs as a file name; None where there is none that can be read."""
    if stem is None:
        return None
    try:
        with np.load(stem.with_suffix(".npz"), allow_pickle=False) as arrays:
            shard = dict(arrays)
        pairs = np.load(stem.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        complete = pairs.dtype == PAIR and len(pairs) == shard["n_pairs"].sum()
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):  # find it again
        return None
    return shard | {"pairs": stem.with_suffix(".npy")} if complete else None


@cache
def _map(file):
    """The pairs of a stored shard as a memory map, opened once per process."""
    return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
