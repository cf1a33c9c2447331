"""Errors in meV/atom with their spread over splits, and what the paper reports."""

from typing import NamedTuple

import numpy as np
from scipy.stats import linregress
from sklearn.base import clone
from sklearn.metrics import r2_score


class Reported(NamedTuple):
    """A number of the paper, or of its authors' teaching material."""

    value: float
    unit: str
    what: str
    source: str


# On the paper's data: VASP-LDA, 216 atoms, random 80/20 split.
PAPER = {
    "ridge": Reported(59.2, "meV/atom", "test RMSE, Ridge on diagrams", "Sec. III, Fig. 3a"),
    "cnn": Reported(40.7, "meV/atom", "test RMSE, CNN on diagrams", "Sec. III, Fig. 3b"),
    "soap": Reported(16.4, "meV/atom", "test RMSE, SOAP and neural network", "Sec. III, Fig. 4a"),
    "schnet": Reported(30.5, "meV/atom", "test RMSE, SchNet", "Sec. III, Fig. 4b"),
    "frames": Reported(16830, "", "liquid and amorphous structures", "Sec. II.A"),
    "alpha": Reported(200.0, "", "Ridge regularisation", "Sec. II.E"),
    "low": Reported(-0.0045, "", "coefficient of the low-energy region, at most", "Sec. III"),
    "high": Reported(0.003, "", "coefficient of the high-energy region, at least", "Sec. III"),
    "teaching": Reported(0.9918, "", "test R2 on 400 frames", "an author's teaching notebook"),
}
#: The test errors of the paper, on its own data, in meV/atom.
PAPER_RMSE = {k: v.value for k, v in PAPER.items() if v.unit == "meV/atom"}


def _errors(predicted, reference):
    predicted, reference = np.asarray(predicted, float), np.asarray(reference, float)
    if predicted.shape != reference.shape or predicted.ndim != 1:
        raise ValueError(f"shapes {predicted.shape} and {reference.shape}: two vectors are wanted")
    if not len(predicted):
        raise ValueError("no energies to compare")
    for name, energies in (("predicted", predicted), ("reference", reference)):
        if not np.isfinite(energies).all():
            frame = int(np.flatnonzero(~np.isfinite(energies))[0])
            raise ValueError(f"{name} energy of frame {frame} is {energies[frame]}")
    return 1000 * (predicted - reference)


def rmse(predicted, reference):
    """Root mean squared error in meV/atom of energies in eV/atom, [n] each.

    Raises
    ------
    ValueError
        If the shapes differ, or an energy is not finite.
    """
    return float(np.sqrt(np.mean(_errors(predicted, reference) ** 2)))


def mae(predicted, reference):
    """Mean absolute error in meV/atom of energies in eV/atom, [n] each."""
    return float(np.mean(np.abs(_errors(predicted, reference))))


def bias(predicted, reference):
    """Mean error in meV/atom (predicted minus reference) of energies in eV/atom, [n] each."""
    return float(np.mean(_errors(predicted, reference)))


def r2(predicted, reference):
    """Coefficient of determination."""
    _errors(predicted, reference)
    return float(r2_score(reference, predicted))


def errors(predicted, reference):
    """All four measures of energies in eV/atom, [n] each.

    Returns
    -------
    dict
        ``rmse``, ``mae`` and ``bias`` in meV/atom, and ``r2`` (NaN for a single energy).
    """
    difference = _errors(predicted, reference)
    return {
        "rmse": float(np.sqrt(np.mean(difference**2))),
        "mae": float(np.mean(np.abs(difference))),
        "bias": float(np.mean(difference)),
        "r2": float(r2_score(reference, predicted)) if len(difference) > 1 else np.nan,
    }


def evaluate(model, X, energy_per_atom, splits):
    """Fit a fresh copy of a model on every split and score it on the held-out part.

    Parameters
    ----------
    model : scikit-learn estimator
        Cloned for every split.
    X : ndarray [n, ...] or indexable
        Inputs; ``X[indices]`` must work.
    energy_per_atom : ndarray [n]
        eV/atom.
    splits : iterable of (train, test)
        Index arrays.

    Returns
    -------
    dict
        ``train`` and ``test``: RMSE in meV/atom, ``mae``, ``bias`` (meV/atom) and ``r2`` of the
        test frames, each an ndarray [n_splits]; ``predicted``: ndarray [n], the held-out
        prediction of every frame in eV/atom, the last one where a frame is held out more than once
        and NaN where it never is.
    """
    train_rmse, found = [], []
    predicted = np.full(len(energy_per_atom), np.nan)
    for train, test in splits:
        fitted = clone(model).fit(X[train], energy_per_atom[train])
        predicted[test] = fitted.predict(X[test])
        train_rmse.append(rmse(fitted.predict(X[train]), energy_per_atom[train]))
        found.append(errors(predicted[test], energy_per_atom[test]))
    if not found:
        raise ValueError("no split to evaluate: is there only one group?")
    return {
        "train": np.array(train_rmse),
        "test": np.array([e["rmse"] for e in found]),
        **{name: np.array([e[name] for e in found]) for name in ("mae", "bias", "r2")},
        "predicted": predicted,
    }


def interval(values, digits=1):
    """Mean and standard deviation over seeds or splits, as text: ``58.3 ± 1.2``.

    The standard deviation says how much one split differs from another. It is no error of the
    mean: test sets of different seeds overlap.
    """
    values = np.asarray(values, float)
    spread = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{spread}"


def grouped_rmse(predicted, reference, *labels):
    """RMSE of every group of frames.

    Parameters
    ----------
    predicted, reference : ndarray [n]
        eV/atom; frames whose prediction is NaN are left out.
    *labels : ndarray [n]
        One or more columns of labels; a group shares all of them.

    Returns
    -------
    dict
        {label, or tuple of labels where there are several columns: RMSE in meV/atom}, sorted.
    """
    known = np.isfinite(predicted)
    columns = [np.asarray(column)[known].tolist() for column in labels]
    keys = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    squares = {}
    for key, error in zip(keys, _errors(predicted[known], reference[known]), strict=True):
        squares.setdefault(key, []).append(error**2)
    return {key: float(np.sqrt(np.mean(squares[key]))) for key in sorted(squares)}


def power_law(sizes, rmses):
    """Fit rmse = scale * size**-exponent by least squares of the logarithms.

    Parameters
    ----------
    sizes, rmses : ndarray [n]
        Positive; at least two different sizes.

    Returns
    -------
    dict
        ``exponent``, ``scale``, and ``exponent_error``: its standard error (NaN for two points).

    Raises
    ------
    ValueError
        If a value is not positive, or there is only one size.
    """
    sizes, rmses = np.asarray(sizes, float), np.asarray(rmses, float)
    if not (sizes > 0).all() or not (rmses > 0).all() or len(np.unique(sizes)) < 2:
        raise ValueError("a power law needs positive values at two or more sizes")
    found = linregress(np.log(sizes), np.log(rmses))
    known = len(sizes) > 2
    return {
        "exponent": float(-found.slope),
        "scale": float(np.exp(found.intercept)),
        "exponent_error": float(found.stderr) if known else np.nan,
    }


def nearest_training_frame(features, train, test, block=512):
    """Distance of each test frame to the training frame most like it.

    Where it is shorter in one split than in another, the first one's test frames have near copies
    among its training frames.

    Parameters
    ----------
    features : sparse matrix [n, k] or ndarray [n, k]
        Descriptors; the distance is Euclidean, in single precision.
    train, test : ndarray
        Indices into ``features``.
    block : int
        Test frames at a time.

    Returns
    -------
    distance : ndarray [n_test]
    frame : ndarray [n_test]
        Index of the nearest training frame.
    """
    used = np.asarray(abs(features).sum(axis=0)).ravel() > 0

    def dense(rows):
        part = features[rows][:, used]
        return np.asarray(part.toarray() if hasattr(part, "toarray") else part, np.float32)

    known = dense(train)
    norms = np.square(known).sum(axis=1)
    distance, frame = np.empty(len(test)), np.empty(len(test), int)
    for start in range(0, len(test), block):
        asked = dense(test[start : start + block])
        squares = norms - 2 * asked @ known.T
        nearest = squares.argmin(axis=1)
        gap = np.square(asked - known[nearest]).sum(axis=1)  # no cancellation
        distance[start : start + block] = np.sqrt(gap)
        frame[start : start + block] = np.asarray(train)[nearest]
    return distance, frame


def rmse_by_distance(distance, predicted, reference, edges):
    """RMSE of frames at like distance from the training frames.

    Parameters
    ----------
    distance : ndarray [n]
        See `nearest_training_frame`.
    predicted, reference : ndarray [n]
        eV/atom.
    edges : ndarray [k + 1]
        Ascending; what lies beyond the first or last one counts with the bin next to it.

    Returns
    -------
    rmse : ndarray [k]
        meV/atom; NaN in an empty bin.
    share : ndarray [k]
        Fraction of the frames in each bin.
    """
    place = np.clip(np.searchsorted(edges, distance, side="right") - 1, 0, len(edges) - 2)
    count = np.bincount(place, minlength=len(edges) - 1)
    squares = np.bincount(place, _errors(predicted, reference) ** 2, minlength=len(edges) - 1)
    mean = np.divide(squares, count, out=np.full(len(count), np.nan), where=count > 0)
    return np.sqrt(mean), count / count.sum()
