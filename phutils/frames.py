"""Frames on their way into a computation: what is checked, and how many are done in parallel."""

import os

import numpy as np
from joblib import Parallel, delayed
from scipy.spatial import cKDTree
from tqdm import tqdm

from phutils.artifacts import cached

TOO_CLOSE = 1e-3  # Å


class FrameError(ValueError):
    """Something cannot be computed for a frame; the message names the frame and says why."""


def cell_matrix(cell):
    """Lattice vectors as rows, [3, 3], from those or from the edge lengths of a box, [3]."""
    cell = np.asarray(cell, float)
    return np.diag(cell) if cell.shape == (3,) else cell


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


def _checked_shards(structures, size):
    """Yield (index of the first frame, checked frames) for one shard after another."""
    frames, first = [], 0
    for i, atoms in enumerate(structures):
        try:
            frames.append(check_frame(atoms.positions, atoms.cell.array, atoms.pbc))
        except FrameError as error:
            raise FrameError(f"frame {i}: {error}") from None
        if len(frames) == size:
            yield first, frames
            frames, first = [], i + 1
    if frames:
        yield first, frames


def _run_shard(folder, function, frames, settings, first):
    if folder is None:
        return function(frames, *settings, first=first)
    return cached(folder, function, frames, *settings, first=first)


def run_shards(
    function, structures, settings, size, label, n_jobs=None, folder=None, progress=True
):
    """Apply a function to many frames, a shard at a time, in parallel, with what is done on disk.

    Parameters
    ----------
    function : callable
        Called as ``function(frames, *settings, first=i)`` with a list of checked frames,
        (positions [n, 3], cell [3, 3]) in Å, and the index of the first one for its error
        messages. Returns a dict of arrays.
    structures : iterable of ase.Atoms
        Read once.
    settings : tuple
    size : int
        Frames a shard.
    label : str
        Of the progress bar.
    n_jobs : int, optional
        Processes; default: one per core.
    folder : path-like, optional
        Artifacts of the dataset: finished shards are kept there, keyed by the frames' content, so
        that a killed run continues where it was and a second one only reads.
    progress : bool
        Show a progress bar.

    Yields
    ------
    dict
        The function's results, in order.

    Raises
    ------
    FrameError
        Naming the frame and what is wrong with it.
    """
    n_jobs = n_jobs or os.cpu_count()
    total = len(structures) if hasattr(structures, "__len__") else None
    counts = []

    def calls():
        for first, frames in _checked_shards(structures, size):
            counts.append(len(frames))
            yield delayed(_run_shard)(folder, function, frames, settings, first)

    with tqdm(total=total, desc=label, unit="frame", mininterval=2, disable=not progress) as bar:
        parallel = Parallel(n_jobs, return_as="generator", pre_dispatch=2 * n_jobs)
        for k, shard in enumerate(parallel(calls())):
            yield shard
            bar.update(counts[k])
