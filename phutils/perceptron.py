"""The paper's small network on descriptors, of every atom or averaged, and its training.

A structure's energy per atom is the mean of what one shared network gives for each of its atoms.
Descriptors that were averaged over the atoms beforehand are one row for it.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from phutils import networks, training
from phutils.features import BLOCK, Content, check_shapes, mean_and_std, with_content

# What the paper gives (Sec. III.C), and below it what it leaves open.
PAPER = {
    "hidden": (40, 40),
    "epochs": 2000,
    "learning_rate": 0.001,
    "milestones": (0.1, 0.25, 0.5),  # 200, 500 and 1000 of 2000 epochs
    "factor": 0.5,
    "activations": ("relu", "relu"),  # ours: after the first and after the second hidden layer
    "batch_size": 32,  # ours
    "weight_decay": 0.0,  # ours: PyTorch's default for Adam
}
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "silu": nn.functional.silu}
WATCHED = 256  # test frames, at most, whose error is recorded on the way


class AtomPerceptron(nn.Module):
    """A fully connected network for one row of descriptors, and its mean over the atoms.

    Parameters
    ----------
    n_features : int
    hidden : sequence of int
        Widths of the hidden layers.
    activations : sequence of str
        After each of them: names from `ACTIVATIONS`.

    Raises
    ------
    ValueError
        For an unknown activation, or not one for each hidden layer.

    References
    ----------
    Minamitani et al., J. Chem. Phys. 159, 084101 (2023), Sec. III.C, doi:10.1063/5.0159349.
    """

    def __init__(self, n_features=360, hidden=(40, 40), activations=("relu", "relu")):
        super().__init__()
        for name in set(activations) - set(ACTIVATIONS):
            raise ValueError(f"unknown activation {name!r}: choose among {', '.join(ACTIVATIONS)}")
        if len(activations) != len(hidden):
            raise ValueError(f"{len(hidden)} hidden layers, but {len(activations)} activations")
        self.activations = tuple(activations)
        self.layers = nn.ModuleList(nn.Linear(*ends) for ends in pairwise((n_features, *hidden, 1)))
        self.register_buffer("mean", torch.zeros(n_features))  # of bare features, in training
        self.register_buffer("std", torch.ones(n_features))

    def forward(self, features):
        """Bare features [batch, n_atoms, n_features] or [batch, n_features] to [batch]."""
        with torch.autocast(features.device.type, enabled=False):  # energies need all their digits
            first = self.layers[0]
            weight = first.weight / self.std  # standardises the features at no cost
            bias = first.bias - weight @ self.mean
            values = nn.functional.linear(features.float(), weight, bias)
            for name, layer in zip(self.activations, self.layers[1:], strict=True):
                values = layer(ACTIVATIONS[name](values))
            return values[..., 0].flatten(1).mean(dim=1) if values.ndim == 3 else values[:, 0]

    def extra_repr(self):
        return f"activations={self.activations}"


# --- training ------------------------------------------------------------------------------------


def train_on_features(
    features,
    energy,
    train,
    test,
    settings,
    seed=0,
    checkpoints=None,
    device=None,
    progress="network",
    report=None,
):
    """Train the network on some frames and predict all.

    The features are standardised with the mean and standard deviation of the training frames
    alone. On a GPU they lie in its memory where they fit; a memory map is else read batch by batch.

    Parameters
    ----------
    features : ndarray or memory map [n, n_features] or [n, n_atoms, n_features], or Content
        float16 or float32; the same number of atoms in all frames.
    energy : ndarray [n]
        eV/atom. Those of `train` alone have an influence on the weights.
    train, test : ndarray of int
        Indices of frames. There may be more frames, which are only predicted.
    settings : dict
        With the keys of `PAPER`.
    seed : int
        Of the first weights and of the order of the frames.
    checkpoints, device, report : optional
        See `phutils.networks.train`.
    progress : str or bool
        Label of the progress bar; False for none.

    Returns
    -------
    dict of ndarray
        ``predicted`` [n] in eV/atom; ``train``, ``test``: RMSE of the final weights in meV/atom;
        ``epoch_train`` [epochs], ``watched_epoch`` and ``watched_test``, the same on the way (the
        latter of 256 test frames at most); ``seconds``; and ``weights/<name>``, for `restore`.

    Raises
    ------
    ValueError
        If an energy or a feature is not finite, shapes do not fit, a frame is on both sides, a
        side is empty, or a setting is missing or unknown.
    """
    training.check_settings(settings, PAPER)
    if not isinstance(features, Content):
        features = with_content(features) if checkpoints else Content(features, "")
    features, fingerprint = features
    energy, train, test = np.asarray(energy, float), np.asarray(train), np.asarray(test)
    check_shapes(features, energy)
    training.check_sides(energy, train, test)
    device = networks.choose_device(device)
    model = _build(features.shape[-1], settings, seed)
    mean, std = mean_and_std(features, train)
    mean_and_std(features, test)  # finite? before hours are spent
    model.network.mean[:], model.network.std[:] = torch.as_tensor(mean), torch.as_tensor(std)
    model.offset.fill_(energy[train].mean())
    model.scale.fill_(energy[train].std() or 1.0)

    def rows(frames):
        return lambda batch: torch.from_numpy(np.array(features[frames[batch.numpy()]]))

    if _is_resident(features, len(train), device):
        inputs = rows(train)(torch.arange(len(train)))
    else:
        inputs = rows(train)
    watched = test[:: -(-len(test) // WATCHED)]
    history = networks.train(
        model,
        inputs,
        energy[train],
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        optimiser={
            "name": "Adam",
            "lr": settings["learning_rate"],
            "weight_decay": settings["weight_decay"],
            "fused": True,  # one pass over the weights; the same arithmetic
        },
        milestones=[round(f * settings["epochs"]) for f in settings["milestones"]],
        factor=settings["factor"],
        seed=seed,
        watched=(rows(watched), energy[watched]),
        checkpoints=checkpoints,
        content=[fingerprint, train],
        device=device,
        precision="float32",
        progress=progress,
        report=report,
    )
    predicted = predict_features(model, features, device)
    return training.result(model, history, predicted, energy, train, test)


def train_on_splits(folder, features, energy, pairs, settings, label="network", n_jobs=None):
    """One network for each split, several at a time; what is done is kept on disk.

    Each one is trained on one core, so that the result does not depend on how many there are; on
    a GPU they are trained in turn.

    Parameters
    ----------
    folder : path-like
        Artifacts of the dataset (`phutils.artifacts.folder`).
    features, energy, settings
        As for `train_on_features`.
    pairs : sequence of (train, test)
        The number of a split is the seed of its network.
    label : str
        Of the progress bar.
    n_jobs : int, optional
        Networks at a time; default: one per core.

    Returns
    -------
    list of dict
        As from `train_on_features`.
    """
    features = features if isinstance(features, Content) else with_content(features)
    calls = [((features, energy, *pair, settings), seed) for seed, pair in enumerate(pairs)]
    return train_each(folder, calls, label, n_jobs)


def train_each(folder, calls, label="network", n_jobs=None):
    """Networks that have nothing in common, several at a time; what is done is kept on disk.

    Parameters
    ----------
    folder, label, n_jobs
        As for `train_on_splits`.
    calls : sequence of (arguments, seed)
        Features, energies, training and test frames and settings, as for `train_on_features`, and
        the seed.

    Returns
    -------
    list of dict
        As from `train_on_features`.
    """
    options, jobs = {"checkpoints": True, "progress": False}, []
    for (features, *others), seed in calls:
        features = features if isinstance(features, Content) else with_content(features)
        jobs.append((train_on_features, (features, *others), options | {"seed": seed}))
    epochs = max(arguments[4]["epochs"] for arguments, _ in calls)
    return training.train_each(folder, jobs, epochs, label, n_jobs)


def restore(found, settings):
    """The trained network of a result of `train_on_features`; it gives eV/atom.

    Parameters
    ----------
    found : dict of ndarray
    settings : dict
        As it was trained with.

    Returns
    -------
    phutils.networks.Scaled
        For `predict_features`, also of structures with another number of atoms.
    """
    model = _build(found["weights/network.mean"].shape[0], settings, 0)
    return training.load_weights(model, found)


def predict_features(model, features, device=None):
    """Energies per atom of structures from their features.

    Parameters
    ----------
    model : phutils.networks.Scaled
        From `restore`.
    features : ndarray or memory map [n, n_features] or [n, n_atoms, n_features]
        Any number of atoms; in the units of those it was trained on.
    device : str, optional

    Returns
    -------
    ndarray [n]
        eV/atom.

    Raises
    ------
    ValueError
        If a feature is not finite, or their number is another than in training.
    """
    wanted = model.network.layers[0].in_features
    if features.shape[-1] != wanted:
        raise ValueError(f"{features.shape[-1]} features, but the network was trained on {wanted}")
    predicted = networks.predict(
        model,
        lambda batch: torch.from_numpy(np.array(features[batch.numpy()])),
        len(features),
        batch_size=BLOCK,
        device=device,
        precision="float32",
    )
    for frame in np.flatnonzero(~np.isfinite(predicted))[:1]:
        raise ValueError(f"features of frame {frame} hold a value that is not finite")
    return predicted


# --- inside --------------------------------------------------------------------------------------


def _is_resident(features, n, device):
    """Whether the features of `n` frames are held in the device's memory, or in the computer's."""
    if device == "cpu":
        return not isinstance(features, np.memmap)  # the system's cache holds what it can
    size = n * features[:1].nbytes
    return size < torch.cuda.mem_get_info(device)[0] / 2


def _build(n_features, settings, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = AtomPerceptron(n_features, settings["hidden"], settings["activations"])
    return networks.Scaled(network, 0.0, 1.0)
