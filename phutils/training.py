"""What the trainings of all networks share: checks, results, and several of them kept on disk."""

import numpy as np
import torch

from phutils.artifacts import cached
from phutils.networks import choose_device
from phutils.progress import train_all
from phutils.scores import rmse


def check_settings(settings, known):
    """Raise `ValueError` unless the settings have just the keys of `known`."""
    if set(settings) != set(known):
        wrong = ", ".join(sorted(set(settings) ^ set(known)))
        raise ValueError(f"settings that are missing or unknown: {wrong}")


def check_sides(energy, train, test):
    """Raise `ValueError` for an empty side, a frame on both, or an energy that is not finite."""
    if not len(train) or not len(test):
        raise ValueError(f"{len(train)} training and {len(test)} test frames: a side is empty")
    for frame in np.intersect1d(train, test)[:1]:
        raise ValueError(f"frame {frame} is both trained on and tested")
    for frame in np.flatnonzero(~np.isfinite(energy))[:1]:
        raise ValueError(f"energy of frame {frame} is {energy[frame]}")


def result(model, history, predicted, energy, train, test):
    """What a training leaves behind, as arrays that can be stored.

    Parameters
    ----------
    model : torch.nn.Module
        Trained.
    history : dict
        From `phutils.networks.train`.
    predicted, energy : ndarray [n]
        eV/atom.
    train, test : ndarray of int

    Returns
    -------
    dict of ndarray
        ``predicted`` [n] in eV/atom; ``train``, ``test``: RMSE of the final weights in meV/atom;
        ``epoch_train`` [epochs], ``watched_epoch`` and ``watched_test``, the same on the way;
        ``seconds``; and ``weights/<name>``, for `load_weights`.
    """
    weights = {f"weights/{k}": v.cpu().numpy() for k, v in model.state_dict().items()}
    return weights | {
        "predicted": predicted,
        "train": np.array(rmse(predicted[train], energy[train])),
        "test": np.array(rmse(predicted[test], energy[test])),
        "epoch_train": 1000 * np.array(history["rmse"]),
        "watched_epoch": np.array(history["watched_epoch"]),
        "watched_test": 1000 * np.array(history["watched_rmse"]),
        "seconds": np.array(history["seconds"]),
    }


def load_weights(model, found):
    """Put the weights of a `result` into a model of the same shape, and return it."""
    names = model.state_dict()
    model.load_state_dict({k: torch.as_tensor(found[f"weights/{k}"]) for k in names})
    return model.eval()


def train_each(folder, calls, epochs, label, n_jobs=None):
    """Run trainings, several at a time; what is done is kept on disk.

    Each one has one core, so that the result does not depend on how many there are; on a GPU
    they run in turn.

    Parameters
    ----------
    folder : path-like
        Artifacts of the dataset (`phutils.artifacts.folder`).
    calls : sequence of (function, arguments, options)
        For `phutils.artifacts.cached`; the function takes a `report`.
    epochs : int
        Of the longest training.
    label : str
        Of the progress bar.
    n_jobs : int, optional
        Trainings at a time; default: one per core.

    Returns
    -------
    list of dict
        What the functions return, in order.
    """
    n_jobs = 1 if choose_device() != "cpu" else n_jobs
    return train_all([(on_one_core, (folder, *call)) for call in calls], epochs, label, n_jobs)


def on_one_core(folder, function, arguments, options, **more):
    """`phutils.artifacts.cached` with one thread of PyTorch, so that sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return cached(folder, function, *arguments, **options, **more)
    finally:
        torch.set_num_threads(threads)
