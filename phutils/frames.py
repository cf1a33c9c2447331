"""Frames on their way into a computation: what is checked, and how many are done in parallel."""

import os
import threading
import time
from collections import deque
from concurrent.futures.process import BrokenProcessPool
from functools import cache

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from joblib import effective_n_jobs
from joblib.externals.loky import ProcessPoolExecutor
from scipy.spatial import cKDTree
from tqdm import tqdm

from phutils.artifacts import cached

TOO_CLOSE = 1e-3  # Å
TOO_FAR = 1e9  # cells away from home; rounding has then eaten the position
IDLE = 300  # s after which waiting processes end
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class FrameError(ValueError):
    """Something cannot be computed for a frame; the message names the frame and says why."""


# --- one frame -----------------------------------------------------------------------------------


def cell_matrix(cell):
    """Lattice vectors as rows, [3, 3], from those or from the edge lengths of a box, [3]."""
    cell = np.asarray(cell, float)
    return np.diag(cell) if cell.shape == (3,) else cell


def _shortest_vectors(cell):
    """The same lattice by its shortest vectors: a slanted cell may need thousands of images."""
    if cell.shape != (3, 3) or not np.isfinite(cell).all():
        raise FrameError(f"the cell is {cell.tolist()} Å")
    try:
        with np.errstate(all="ignore"):
            short = np.array(minkowski_reduce(cell)[0])
    except (ArithmeticError, RuntimeError, ValueError):  # linearly dependent vectors
        short = np.zeros((3, 3))
    period = np.linalg.norm(short, axis=1).min()
    if not period > TOO_CLOSE:
        raise FrameError(f"the cell {cell.tolist()} Å has no volume: it repeats every {period:g} Å")
    return short


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
        The shortest vectors of the same lattice.
    """
    positions, cell = np.asarray(positions, float), cell_matrix(cell)
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise FrameError(f"positions have shape {positions.shape}, not (n, 3)")
    if not len(positions):
        raise FrameError("there are no atoms")
    cell = _shortest_vectors(cell)
    with np.errstate(all="ignore"):
        scaled = positions @ np.linalg.inv(cell)
        lost = ~(np.abs(scaled) < TOO_FAR).all(axis=1)
    if lost.any():
        atom = int(np.flatnonzero(lost)[0])
        raise FrameError(f"position of atom {atom} is {positions[atom].tolist()} Å")
    if not np.all(pbc):
        raise FrameError(f"boundaries are not periodic (pbc = {np.asarray(pbc).tolist()})")
    scaled -= np.floor(scaled)
    scaled[scaled >= 1] = 0  # a coordinate just below zero rounds up to the full length
    _check_distances(scaled, cell)
    return scaled @ cell, cell


def _check_distances(scaled, cell):
    """Raise `FrameError` for atoms at one place; NumPy arrays [n, 3] in the cell, [3, 3]."""
    volume = abs(np.linalg.det(cell))
    spacing = (2**0.5 * volume / len(scaled)) ** (1 / 3)  # in the densest packing there is
    if spacing < TOO_CLOSE:
        raise FrameError(f"{len(scaled)} atoms in {volume:.3g} Å³ cannot be {TOO_CLOSE:g} Å apart")
    # distances in scaled coordinates times the smallest stretch of the cell bound those in Å
    limit = TOO_CLOSE / np.linalg.svd(cell, compute_uv=False).min()
    close = cKDTree(scaled, boxsize=1).query_pairs(min(limit, 0.49), output_type="ndarray")
    apart = scaled[close[:, 1]] - scaled[close[:, 0]]
    apart = np.linalg.norm((apart - np.round(apart)) @ cell, axis=1)
    for i in np.flatnonzero(apart < TOO_CLOSE)[:1]:
        first, second = sorted(close[i].tolist())
        raise FrameError(f"atoms {first} and {second} are at the same place ({apart[i]:.1e} Å)")


# --- many frames ---------------------------------------------------------------------------------


def _checked(atoms):
    if not isinstance(atoms, Atoms):
        raise FrameError(f"an object of type {type(atoms).__name__} is no ase.Atoms")
    return check_frame(atoms.positions, atoms.cell.array, atoms.pbc)


def _checked_shards(structures, size, errors):
    """Yield (index of the first frame, checked frames) for one shard after another."""
    frames, first = [], 0
    for i, atoms in enumerate(structures):
        try:
            frames.append(_checked(atoms))
        except FrameError as error:
            if errors == "raise":
                raise FrameError(f"frame {i}: {error}") from None
            frames.append(str(error))
        if len(frames) == size:
            yield first, frames
            frames, first = [], i + 1
    if frames:
        yield first, frames


def _run_shard(folder, function, frames, settings, first):
    if folder is None:
        return function(frames, *settings, first=first)
    return cached(folder, function, frames, *settings, first=first)


def processes(n_jobs=None):
    """Worker processes of one thread each, kept for the next call: a start costs seconds.

    They end with this process, however it ends. Not joblib's `Parallel`: its generator runs ahead
    of a slow reader without bound.

    Parameters
    ----------
    n_jobs : int, optional
        Processes; default: one per core.

    Returns
    -------
    concurrent.futures.Executor
    """
    return _processes(effective_n_jobs(n_jobs or -1), os.getpid())


def forget_processes():
    """Start anew at the next call of `processes`: one of them has died."""
    _processes.cache_clear()


@cache
def _processes(n_jobs, parent):
    return ProcessPoolExecutor(
        n_jobs, timeout=IDLE, env=ONE_THREAD, initializer=_end_with, initargs=(parent,)
    )


def _end_with(parent):
    """End this process soon after its parent, which may be killed: it would wait forever."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def in_order(calls, n_jobs):
    """Results of all calls (a function, then its arguments), at most 2 `n_jobs` ahead."""
    if n_jobs == 1:
        yield from (function(*args) for function, *args in calls)
        return
    pool, ahead = processes(n_jobs), deque()
    try:
        for call in calls:
            ahead.append(pool.submit(*call))
            if len(ahead) > 2 * n_jobs:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    except BrokenProcessPool:
        forget_processes()
        raise


def run_shards(
    function,
    structures,
    settings,
    size,
    label,
    n_jobs=None,
    folder=None,
    progress=True,
    errors="raise",
):
    """Apply a function to many frames, a shard at a time, in parallel, with what is done on disk.

    However many frames there are and however slowly the results are taken, only about 2 `n_jobs`
    shards are in memory.

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
    errors : {"raise", "skip"}
        With ``skip`` the function gets a message (str) in the place of a frame that did not pass
        the check, and ``first=None``: it must note its own failures, and raise nothing.

    Yields
    ------
    dict
        The function's results, in order.

    Raises
    ------
    FrameError
        Naming the frame and what is wrong with it.
    """
    if errors not in ("raise", "skip"):
        raise ValueError(f"unknown errors {errors!r}: choose raise or skip")
    total = len(structures) if hasattr(structures, "__len__") else None
    counts = deque()

    def calls():
        for first, frames in _checked_shards(structures, size, errors):
            counts.append(len(frames))
            first = first if errors == "raise" else None
            yield _run_shard, folder, function, frames, settings, first

    with tqdm(total=total, desc=label, unit="frame", mininterval=2, disable=not progress) as bar:
        for shard in in_order(calls(), effective_n_jobs(n_jobs or -1)):
            yield shard
            bar.update(counts.popleft())
