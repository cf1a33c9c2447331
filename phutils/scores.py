"""Errors in meV/atom, what the paper reports, and what a score has to beat."""

import numpy as np
from sklearn.base import clone
from sklearn.metrics import r2_score

# Test RMSE in meV/atom on the paper's data (VASP-LDA, 216 atoms, random 80/20 split).
PAPER_RMSE = {
    "ridge": 59.2,  # Sec. III and Fig. 3a
    "cnn": 40.7,  # Sec. III and Fig. 3b
    "soap": 16.4,  # Sec. III and Fig. 4a
    "schnet": 30.5,  # Sec. III and Fig. 4b
}


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
        ``train``, ``test``: RMSE in meV/atom of every split, ndarray [n_splits]; ``predicted``:
        ndarray [n], the held-out prediction of every frame in eV/atom, the last one where a frame
        is held out more than once and NaN where it never is.
    """
    train_rmse, test_rmse = [], []
    predicted = np.full(len(energy_per_atom), np.nan)
    for train, test in splits:
        fitted = clone(model).fit(X[train], energy_per_atom[train])
        predicted[test] = fitted.predict(X[test])
        train_rmse.append(rmse(fitted.predict(X[train]), energy_per_atom[train]))
        test_rmse.append(rmse(predicted[test], energy_per_atom[test]))
    if not test_rmse:
        raise ValueError("no split to evaluate: is there only one group?")
    return {
        "train": np.array(train_rmse),
        "test": np.array(test_rmse),
        "predicted": predicted,
    }


def interval(values):
    """Mean and standard deviation over seeds or splits, as text: ``58.3 ± 1.2``."""
    values = np.asarray(values, float)
    spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread}"


def density_stage_features(structures):
    """A parabola in the density for each stage: the input of the baseline that sees no atom.

    Parameters
    ----------
    structures : phutils.dataset.Structures

    Returns
    -------
    ndarray [n, 3 * n_stages]
    """
    stages = np.unique(structures.stage)
    is_stage = structures.stage[:, None] == stages
    powers = (structures.density - np.mean(structures.density))[:, None] ** np.arange(3)
    return (is_stage[:, :, None] * powers[:, None, :]).reshape(len(structures), -1)
