"""Features of many structures, more than fit into memory if need be: digests, mean and spread.

An array may be a memory map; it is read block by block.
"""

import hashlib
import mmap
from typing import NamedTuple

import numpy as np

BLOCK = 64  # structures read at a time


class Content(NamedTuple):
    """An array and its digest, so that a large one is read once for the keys of many results.

    A memory map of a whole file is sent to another process as the name of the file.
    """

    array: np.ndarray
    fingerprint: str

    def __reduce__(self):
        array = self.array
        if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap):
            layout = array.dtype, "r", array.offset, array.shape
            return _from_file, (array.filename, *layout, self.fingerprint)
        return Content, tuple(self)


def _from_file(path, dtype, mode, offset, shape, fingerprint):
    return Content(np.memmap(path, dtype, mode, offset, shape), fingerprint)


def with_content(features):
    """An array of any size, also a memory map, with a digest of what it holds; see `Content`."""
    digest = hashlib.sha256(f"{features.dtype.str}{features.shape}".encode())
    for start in range(0, len(features), BLOCK):
        digest.update(np.ascontiguousarray(features[start : start + BLOCK]).tobytes())
    return Content(features, digest.hexdigest())


def mean_and_std(features, frames):
    """Mean and standard deviation of each feature over some frames and all their atoms.

    Parameters
    ----------
    features : ndarray or memory map [n, n_features] or [n, n_atoms, n_features]
        Read block by block.
    frames : ndarray of int

    Returns
    -------
    mean, std : ndarray [n_features]
        A feature that does not vary has a standard deviation of 1.

    Raises
    ------
    ValueError
        If a value is not finite; names the frame.
    """
    count, mean, squares = 0, 0.0, 0.0
    for start in range(0, len(frames), BLOCK):
        chosen = frames[start : start + BLOCK]
        block = np.array(features[chosen], np.float64)
        flat = block.reshape(-1, block.shape[-1])
        part = flat.mean(axis=0)
        if not np.isfinite(part).all():
            bad = ~np.isfinite(block).all(axis=tuple(range(1, block.ndim)))
            frame = chosen[np.flatnonzero(bad)[0]]
            raise ValueError(f"features of frame {frame} hold a value that is not finite")
        flat -= part
        n, gap = len(flat), part - mean
        squares = squares + np.square(flat, out=flat).sum(axis=0)
        squares = squares + gap**2 * (count * n / (count + n))
        count, mean = count + n, mean + gap * (n / (count + n))
    std = np.sqrt(squares / count)
    return mean, np.where(std > 1e-7 * np.abs(mean), std, 1.0)


def check_shapes(features, energy):
    """Whether there are features and one energy a structure.

    Parameters
    ----------
    features : ndarray or memory map
    energy : ndarray

    Raises
    ------
    ValueError
        If the features are not numbers of shape [n, n_features] or [n, n_atoms, n_features], or
        the energies not of shape [n].
    """
    if features.ndim not in (2, 3) or features.dtype.kind != "f" or not features.shape[-1]:
        raise ValueError(f"features are {features.dtype} of shape {features.shape}")
    if energy.shape != features.shape[:1]:
        raise ValueError(f"{len(features)} structures, but energies of shape {energy.shape}")
