"""The same models on the same frames with two kinds of labels.

Usual and other energies of one set of frames, and errors of three quick models on the same splits.
Where the usual labels are those of a potential that is a sum of local terms, a local model is at
an advantage; energies of another kind show how much of its lead is due to that.
"""

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from phutils import baselines, predictions
from phutils.claims import compare, spread
from phutils.dataset import load
from phutils.diagrams import persistence_diagrams
from phutils.histograms import PersistenceHistogram, Standardise
from phutils.scores import evaluate, interval
from phutils.soap import soap_features

DIAGRAMS, LOCAL = "diagrams, Ridge", "averaged SOAP, linear"
PENALTIES = np.logspace(-6, 4, 11)  # of which leave-one-out on the training frames chooses
KINDS = "random", "by trajectory"
NETWORKS = "cnn", "soap", "schnet"  # chapters that leave predictions


def identity(structures):
    """Trajectory's file and row there of each frame: the same whatever the labels, in one dataset.

    Parameters
    ----------
    structures : phutils.dataset.Structures [n]

    Returns
    -------
    list of (int, int) [n]
    """
    table = structures._table
    return list(zip(table["file"].tolist(), table["row"].tolist(), strict=True))


def same_frames(dataset, other="gfn1", every=1, most=0):
    """Frames that have other labels, with both.

    Parameters
    ----------
    dataset : str
        As `phutils.dataset.load` takes it.
    other : str
        Name of the other labels there.
    every : int
        Keep every k-th of these frames, as the chapters do.
    most : int
        Of these, choose at most so many, evenly spread; 0: all.

    Returns
    -------
    usual, other : phutils.dataset.Structures [n]
        The same frames in the same order. Both are None where there are no such labels, or fewer
        than ten frames.
    chosen : ndarray of int [m]
        Which of them to compute on.
    """
    try:
        second = load(dataset, labels=other)[::every]
    except ValueError as error:  # this dataset has one kind of labels
        if "labels" not in str(error):
            raise
        return None, None, np.arange(0)
    if len(second) < 10:
        return None, None, np.arange(0)
    first = load(dataset)
    place = {frame: k for k, frame in enumerate(identity(first))}
    first = first[np.array([place[frame] for frame in identity(second)])]
    n = len(second)
    return first, second, np.linspace(0, n - 1, min(n, most or n)).astype(int)


def descriptors(structures, folder=None, n_jobs=None):
    """What the three models are fitted to.

    Parameters
    ----------
    structures : phutils.dataset.Structures [n]
    folder : path-like, optional
        Artifacts of the dataset.
    n_jobs : int, optional
        Processes; default: one per core.

    Returns
    -------
    dict
        {model: ndarray or sparse matrix [n, k]}
    """
    options = {"folder": folder, "n_jobs": n_jobs, "progress": False}
    diagrams = persistence_diagrams(structures, **options)
    return {
        baselines.BY_STAGE: baselines.density_stage_features(structures),
        DIAGRAMS: PersistenceHistogram(sparse=True).fit_transform(diagrams),
        LOCAL: soap_features(structures, **options),
    }


def errors(features, energies, splits):
    """Test errors of the three models with each kind of labels.

    The penalties of both linear models are chosen by leave-one-out on the training frames, from the
    same list.

    Parameters
    ----------
    features : dict
        From `descriptors`.
    energies : dict
        {labels: ndarray [n]}, eV/atom.
    splits : dict
        ``{kind: [(train, test), ...]}``, indices of these frames.

    Returns
    -------
    dict
        {(model, labels, kind): ndarray [n_splits]}, RMSE in meV/atom.
    """
    models = {
        baselines.BY_STAGE: baselines.model(),
        DIAGRAMS: make_pipeline(Standardise("global", drop_empty=True), RidgeCV(PENALTIES)),
        LOCAL: make_pipeline(StandardScaler(), RidgeCV(PENALTIES)),
    }
    return {
        (name, labels, kind): evaluate(models[name], X, energy, pairs)["test"]
        for name, X in features.items()
        for labels, energy in energies.items()
        for kind, pairs in splits.items()
    }


def of_networks(folder, profile, structures, splits, suffix, chosen=None):
    """Errors of networks that chapters have left for the same frames and labels.

    Parameters
    ----------
    folder, profile
        As for `phutils.predictions.publish`.
    structures : phutils.dataset.Structures
        All frames with these labels that the chapters were run on.
    splits : dict
        Of these frames; the test sides count.
    suffix : str
        Of the chapters' names.
    chosen : ndarray of int, optional
        Test frames that count; default: all.

    Returns
    -------
    dict
        {(model, kind): ndarray [n_splits]} in meV/atom; of no chapter that has not been run, or
        was run on other frames.
    """
    found = {}
    if chosen is not None:
        splits = {
            kind: [(train, np.intersect1d(test, chosen)) for train, test in pairs]
            for kind, pairs in splits.items()
        }
    for chapter in NETWORKS:
        try:
            one = predictions.compare(folder, profile, [chapter + suffix], structures, splits)[0]
        except (FileNotFoundError, ValueError):
            continue
        networks = {key: e for key, e in one.items() if "Ridge" not in key[0] and key[0] != LOCAL}
        found |= networks
    return found


def table(found, labels):
    """Errors as lists of text, the header first; a model without errors of some labels has dashes.

    Parameters
    ----------
    found : dict
        {(model, labels, kind): errors}
    labels : sequence of str
    """
    columns = [(one, kind) for one in labels for kind in KINDS]
    lines = [["model", *(f"{one}, {kind}" for one, kind in columns)]]
    for model in dict.fromkeys(key[0] for key in found):
        texts = (found.get((model, *column)) for column in columns)
        lines.append([model, *("–" if e is None else interval(e) for e in texts)])
    return lines


def verdict(found, labels, kind="by trajectory"):
    """Whether the lead of the local model over diagrams shrinks on the second kind of labels.

    Parameters
    ----------
    found : dict
        {(model, labels, kind): errors}
    labels : (str, str)
        Usual and other.
    kind : str

    Returns
    -------
    str
        A sentence.
    """
    leads = [found[DIAGRAMS, one, kind] / found[LOCAL, one, kind] for one in labels]
    told = " and ".join(f"{interval(x, 1)} with {n}" for n, x in zip(labels, leads, strict=True))
    change = leads[1] / leads[0]  # split by split: the same frames
    words = {
        -1: "so the lead of the local model shrinks",
        1: "so the lead of the local model grows",
        0: "so by two errors it cannot be told whether the lead of the local model changes",
    }
    end = words[compare(spread(change), (1, 0))]
    if len(change) == 1:
        end += " (one split: no error is known)"
    return (
        f"The error of diagrams over that of the straight line on averaged SOAP, {kind}, is {told} "
        f"labels, {interval(change, 2)} times as much, {end}."
    )
