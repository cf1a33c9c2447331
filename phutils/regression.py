"""Ridge regression on histograms: exact, and cheap where one set of frames is fitted many times.

With a free intercept, Ridge on standardised pixels solves (C + alpha M) w = c, where C and c are
the centred Gram matrix of the bare pixels and their product with the energies, both over the
training frames. A shift of the pixels drops out, so that a reading of the paper's "z-score" is no
more than a penalty M on the bare pixels:

========== =================================== ====================================================
reading    M                                   what follows
========== =================================== ====================================================
``none``   identity
``global`` variance over all pixels            ``none`` with another alpha
``scale``  the same                            the very same model as ``global``
``pixel``  variance of each pixel, a diagonal  a pixel is not punished for being rare
``sample`` identity + 1/E, rows scaled         E: number of empty pixels, which share one value
========== =================================== ====================================================

The Gram matrix of all frames is computed once; that of a training set follows by subtracting the
frames it leaves out. Each alpha then costs one Cholesky factorisation. Training sets that are
smaller than half the number of pixels go through products of frames instead. Everything is in
double precision: `sklearn.linear_model.Ridge` on standardised pixels gives the same numbers.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from phutils import scores
from phutils.histograms import READINGS

COMMON = 0.05  # pixels filled in more than this fraction of the frames are treated as dense
CHUNK = 2048  # frames


class Fit(NamedTuple):
    """Ridge models of one training set, one for each alpha."""

    coefficients: np.ndarray  # [n_alphas, n_pixels], eV/atom per unit of a standardised pixel
    predicted: np.ndarray  # [n_alphas, n], eV/atom, for all frames


def ridge_path(histograms, energy_per_atom, tasks, reading="global"):
    """Fit Ridge regression for many training sets and many alphas.

    Parameters
    ----------
    histograms : sparse matrix [n, pixels] or ndarray [n, ...]
        Of all frames.
    energy_per_atom : ndarray [n]
        eV/atom.
    tasks : iterable of (train, alphas)
        Indices of training frames, and positive numbers. A training set costs least where it
        differs little from the one before or from all frames.
    reading : str
        Of the z-score, see `phutils.histograms.Standardise`.

    Yields
    ------
    Fit
        Of one task after another. The coefficient of a pixel that no training frame fills is NaN,
        except with ``sample``, where empty pixels are not constant.

    Raises
    ------
    ValueError
        For an unknown reading, an alpha that is not positive or too small to solve for, energies
        or histograms that do not fit together or are not finite, fewer than two training frames
        or one twice, constant input, or ``sample`` on a mesh without an empty pixel.
    """
    energy = np.asarray(energy_per_atom, float)
    pixels, kept, n_pixels = _filled_pixels(histograms)
    _check(pixels, energy, reading, n_pixels - len(kept))
    if reading == "sample":
        squares, total = (pixels * pixels).sum(axis=1), pixels.sum(axis=1)
        std = np.sqrt(squares / n_pixels - (total / n_pixels) ** 2)
        pixels = pixels.multiply(1 / std[:, None]).tocsr()
    n_empty, solver = n_pixels - len(kept), None
    for train, alphas in tasks:
        part, n = pixels[train], len(train)
        if n < 2 or n != len(np.unique(train)):
            raise ValueError(f"{n} training frames: at least two are needed, each of them once")
        mean, energy_mean = part.sum(axis=0) / n, energy[train].mean()
        target = energy[train] - energy_mean
        never = np.bincount(part.indices, minlength=len(kept)) == 0
        scale = _scale(reading, part, mean, never, n_pixels)
        shared = n_empty if reading == "sample" else np.inf  # E of the docstring
        if n < len(kept) / 2:
            weights = _solve_by_frames(part, mean, target, alphas, scale, shared)
        else:
            solver = solver or _solver_by_pixels(pixels)
            weights = solver(train, part.T @ target, mean, alphas, scale, shared)
        coefficients = np.full((len(alphas), n_pixels), np.nan)
        if reading == "sample":
            coefficients[:] = -weights.sum(axis=0)[:, None] / n_empty
        coefficients[:, kept] = (weights * scale[:, None]).T
        if reading != "sample":
            coefficients[:, kept[never]] = np.nan
        yield Fit(coefficients, (energy_mean + pixels @ weights - mean @ weights).T)


def evaluate(histograms, energy_per_atom, splits, alphas, reading="global"):
    """Fit Ridge regression on every split for every alpha and score it.

    Parameters
    ----------
    histograms, energy_per_atom, reading
        As for `ridge_path`.
    splits : sequence of (train, test)
        Index arrays.
    alphas : sequence of float

    Returns
    -------
    dict
        ``train`` and ``test``: RMSE, ``mae``, ``bias``: of the test frames, all in meV/atom, and
        ``r2``, each ndarray [n_splits, n_alphas]; ``predicted``: [n_splits, n_alphas, n], of all
        frames in eV/atom; ``coefficients``: [n_alphas, n_pixels] of the first split.
    """
    energy, alphas = np.asarray(energy_per_atom, float), np.atleast_1d(alphas)
    found = {k: [] for k in ("train", "test", "mae", "bias", "r2", "predicted")}
    first, splits = None, list(splits)
    fits = ridge_path(histograms, energy, [(train, alphas) for train, _ in splits], reading)
    for (train, test), fit in zip(splits, fits, strict=True):
        first = fit.coefficients if first is None else first
        errors = [scores.errors(p[test], energy[test]) for p in fit.predicted]
        for name in ("mae", "bias", "r2"):
            found[name].append([e[name] for e in errors])
        found["test"].append([e["rmse"] for e in errors])
        found["train"].append([scores.rmse(p[train], energy[train]) for p in fit.predicted])
        found["predicted"].append(fit.predicted)
    if first is None:
        raise ValueError("no split to evaluate: is there only one group?")
    return {name: np.array(values) for name, values in found.items()} | {"coefficients": first}


def evaluate_nested(histograms, energy_per_atom, splits, inner_splits, alphas, reading="global"):
    """Choose alpha on a validation set inside each training set, then score it on the test set.

    Parameters
    ----------
    histograms, energy_per_atom, splits, alphas, reading
        As for `evaluate`.
    inner_splits : sequence of (fit, validation)
        One for each split, both parts within its training frames.

    Returns
    -------
    dict
        ``validation``: RMSE of the validation frames in meV/atom, [n_splits, n_alphas];
        ``alpha``: the one with the smallest, [n_splits]; ``test``: RMSE in meV/atom of the test
        frames by a model with this alpha, fitted on all training frames, [n_splits].

    Raises
    ------
    ValueError
        If an inner split reaches beyond its training frames: alpha would be chosen on test frames.
    """
    energy, pairs = np.asarray(energy_per_atom, float), list(zip(splits, inner_splits, strict=True))
    for (train, _), inner in pairs:
        if not np.isin(np.concatenate(inner), train).all():
            raise ValueError("an inner split reaches beyond the training frames of its split")
    best = []

    def tasks():  # `ridge_path` asks for the next one after the last fit was scored
        for (train, _), (fit, _) in pairs:
            yield fit, alphas
            yield train, [best[-1]]

    fits = ridge_path(histograms, energy, tasks(), reading)
    validation, test = [], []
    for (_, held_out), (_, chosen_on) in pairs:
        curve = [scores.rmse(p[chosen_on], energy[chosen_on]) for p in next(fits).predicted]
        validation.append(curve)
        best.append(float(alphas[int(np.argmin(curve))]))
        test.append(scores.rmse(next(fits).predicted[0, held_out], energy[held_out]))
    return {"validation": np.array(validation), "alpha": np.array(best), "test": np.array(test)}


# --- parts of the algebra ------------------------------------------------------------------------


def _filled_pixels(histograms):
    """Pixels filled in any frame as a sparse matrix, most common first, and which ones they are."""
    if not hasattr(histograms, "tocsr"):
        histograms = np.asarray(histograms)
        histograms = histograms.reshape(len(histograms), -1)
    pixels = csr_array(histograms, dtype=float)
    pixels.eliminate_zeros()
    hits = np.bincount(pixels.indices, minlength=pixels.shape[1])
    kept = np.argsort(-hits, kind="stable")[: np.count_nonzero(hits)]
    return pixels[:, kept], kept, pixels.shape[1]


def _check(pixels, energy, reading, n_empty):
    if reading not in READINGS:
        raise ValueError(f"unknown reading {reading!r}: choose one of {READINGS}")
    if energy.shape != pixels.shape[:1]:
        raise ValueError(f"{pixels.shape[0]} histograms, but energies of shape {energy.shape}")
    for name, finite in (
        ("energy", np.isfinite(energy)),
        ("histogram", np.isfinite(pixels.sum(axis=1))),
    ):
        if not finite.all():
            raise ValueError(f"{name} of frame {np.flatnonzero(~finite)[0]} is not finite")
    if reading == "sample" and not n_empty:
        raise ValueError("every pixel is filled: the reading 'sample' needs an empty one")


def _scale(reading, part, mean, never, n_pixels):
    """What each pixel is divided by, ndarray [pixels]."""
    scale = np.ones(len(mean))
    if reading in ("global", "scale"):
        size = part.shape[0] * n_pixels
        squares, total = np.square(part.data).sum() / size, part.data.sum() / size
        if not squares > total**2 * (1 + 1e-12):
            raise ValueError("all pixels of all histograms are equal: nothing to standardise")
        scale *= np.sqrt(squares - total**2)
    elif reading == "pixel":
        variance = (part * part).sum(axis=0) / part.shape[0] - mean**2
        varies = ~never & (variance > 1e-13 * mean**2)
        scale[varies] = np.sqrt(variance[varies])
    return scale


def _solve_by_frames(part, mean, target, alphas, scale, shared):
    """Weights of the pixels [pixels, n_alphas], by way of a system with one row a frame."""
    centred = (part.toarray() - mean) / scale
    total = centred.sum(axis=1)
    weights = np.empty((len(mean), len(alphas)))
    with threadpool_limits(1):  # too small to share
        kernel = centred @ centred.T
        kernel -= np.outer(total, total) / (shared + len(mean))  # Sherman and Morrison, for 1/E
        for k, alpha in enumerate(alphas):
            matrix = kernel + alpha * np.eye(len(kernel))
            weights[:, k] = centred.T @ _solve(matrix, target, alpha)
    weights -= weights.sum(axis=0) / (shared + len(mean))
    return weights / scale[:, None]


def _solver_by_pixels(pixels):
    """A function that gives the same weights from a system with one row a pixel.

    It starts from the Gram matrix of all frames and goes the shortest way from one that it knows
    to that of the training frames. Only lower triangles count.
    """
    n, n_pixels = pixels.shape
    n_common = np.count_nonzero(np.bincount(pixels.indices) > COMMON * n)
    common, rare = pixels[:, :n_common].tocsr(), pixels[:, n_common:].tocsr()

    def add(gram, rows, sign):
        """Dense times dense for common pixels, sparse for rare ones."""
        for start in range(0, len(rows), CHUNK):
            dense = common[rows[start : start + CHUNK]].toarray()
            sparse = sign * rare[rows[start : start + CHUNK]].T
            gram[:n_common, :n_common] += sign * (dense.T @ dense)
            gram[n_common:, :n_common] += sparse @ dense
        sparse = rare[rows]
        square = (sign * sparse.T @ sparse).tocoo()
        gram[n_common:, n_common:][square.coords] += square.data

    everything = np.ones(n, bool), np.zeros((n_pixels, n_pixels))
    add(everything[1], np.arange(n), 1)
    nothing = np.zeros(n, bool), 0.0
    last = everything[0], everything[1].copy()
    matrix = np.empty((n_pixels, n_pixels))

    def solve(train, target, mean, alphas, scale, shared):
        nonlocal last, matrix
        wanted = np.zeros(n, bool)
        wanted[train] = True
        known, nearest = min(last, everything, nothing, key=lambda k: (k[0] ^ wanted).sum())
        gram = last[1]
        if nearest is not gram:
            gram[:] = nearest
        add(gram, np.flatnonzero(wanted & ~known), 1)
        add(gram, np.flatnonzero(known & ~wanted), -1)
        last = wanted, gram
        weights = np.empty((n_pixels, len(alphas)))
        for k, alpha in enumerate(alphas):
            np.multiply(-len(train) * mean[:, None], mean, out=matrix)  # centres the Gram matrix
            matrix += gram
            if np.isfinite(shared):
                matrix += alpha / shared
            matrix[np.diag_indices(n_pixels)] += alpha * scale**2
            weights[:, k] = _solve(matrix, target, alpha)
        return weights

    return solve


def _solve(matrix, target, alpha):
    """Solve a symmetric system of which the lower triangle is given, overwriting it."""
    factor, info = lapack.dpotrf(matrix.T, lower=0, overwrite_a=1, clean=0)
    if info or not alpha > 0:
        raise ValueError(f"alpha {alpha:g} is not positive, or too small to solve for")
    return lapack.dpotrs(factor, target, lower=0)[0]
