"""The paper's convolutional network on histograms, and its training on a set of frames."""

import numpy as np
import torch
from torch import nn

from phutils import networks, training
from phutils.histograms import Standardise
from phutils.sparse_convolution import convolve_and_pool, convolve_and_pool_sparse

# What the paper gives (Sec. II.F), and below it what it leaves open.
PAPER = {
    "channels": (64, 64, 32),
    "epochs": 1600,
    "learning_rate": 0.0015,
    "momentum": 0.9,
    "weight_decay": 0.001,
    "milestones": (0.125, 0.25, 0.5, 0.75),  # 200, 400, 800 and 1200 of 1600 epochs
    "factor": 0.5,
    "hidden": 128,  # ours
    "batch_size": 32,  # ours
    "clip": None,  # of the gradient; see `phutils.networks.train`
    "reading": "global",  # ours, as in Ridge regression
}


class HistogramNetwork(nn.Module):
    """Three convolutions with ReLU and max-pooling, two fully connected layers (paper, Sec. II.F).

    3 x 3 filters; 2 x 2 pooling. The paper does not say how borders are padded (here: by one
    zero, so that a layer keeps the size of its input) nor how wide the hidden layer is.

    Parameters
    ----------
    bins : int
        Of the histogram along each axis; divisible by 2^layers.
    channels : sequence of int
        Of the convolutions.
    hidden : int
        Width of the fully connected layer before the output.
    empty : float, optional
        Value of an empty pixel. Given one, the convolutions are worked out only around the filled
        pixels, with the same result; see `phutils.sparse_convolution`.

    References
    ----------
    Minamitani et al., J. Chem. Phys. 159, 084101 (2023), doi:10.1063/5.0159349.
    """

    def __init__(self, bins=128, channels=(64, 64, 32), hidden=128, empty=None):
        super().__init__()
        pooled, left = divmod(bins, 2 ** len(channels))
        if left or not pooled:
            raise ValueError(f"{bins} bins cannot be halved {len(channels)} times")
        self.bins, self.empty = bins, empty
        pairs = zip((1, *channels), channels, strict=False)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        self.convolutions.to(memory_format=torch.channels_last)
        self.hidden = nn.Linear(channels[-1] * pooled**2, hidden)
        self.output = nn.Linear(hidden, 1)

    def forward(self, histograms):
        """Histograms [n, bins, bins] or [n, bins * bins] to [n]; `ValueError` for other bins."""
        if histograms[0].numel() != self.bins**2:
            shape = list(histograms.shape)
            raise ValueError(f"histograms {shape} are not of {self.bins} x {self.bins} bins")
        images = histograms.view(-1, 1, self.bins, self.bins)
        if self.empty is None:
            features = convolve_and_pool(self.convolutions, images)
        with torch.autocast(images.device.type, enabled=False):  # energies need all their digits
            if self.empty is not None:
                features = convolve_and_pool_sparse(self.convolutions, images, self.empty)
            features = features.flatten(1).to(self.hidden.weight.dtype)
            return self.output(torch.relu(self.hidden(features)))[:, 0]


def find_empty(images):
    """Value of an empty pixel: that of most pixels, or None.

    Parameters
    ----------
    images : ndarray [n, pixels]

    Returns
    -------
    float or None
        None where there is no such value, as for smoothed histograms or pixel-wise readings.
    """
    some = images[:: max(1, len(images) // 50)]
    value = np.quantile(some, 0.5, method="lower")
    return float(value) if np.mean(some == value) > 0.5 else None


def train_on_histograms(
    histograms,
    energy,
    train,
    test,
    settings,
    seed=0,
    checkpoints=None,
    device=None,
    precision=None,
    sparse=None,
    progress="CNN",
    report=None,
):
    """Train the network on some frames and predict all.

    Parameters
    ----------
    histograms : ndarray [n, bins, bins] or sparse matrix [n, bins * bins]
    energy : ndarray [n]
        eV/atom. Those of `train` alone have an influence on the weights.
    train, test : ndarray of int
        Indices of frames. There may be more frames, which are only predicted.
    settings : dict
        With the keys of `PAPER`.
    seed : int
        Of the first weights and of the order of the frames.
    checkpoints, device, precision : optional
        See `phutils.networks.train`.
    sparse : bool, optional
        Work out the convolutions only around filled pixels; default: on a CPU.
    progress : str or bool
        Label of the progress bar; False for none.
    report : callable, optional
        See `phutils.networks.train`.

    Returns
    -------
    dict of ndarray
        ``predicted`` [n] in eV/atom; ``train``, ``test``: RMSE of the final weights in meV/atom;
        ``epoch_train`` [epochs], ``watched_epoch`` and ``watched_test``, the same on the way;
        ``seconds``; and ``weights/<name>``, for `restore`.

    Raises
    ------
    ValueError
        If an energy or a histogram is not finite, a frame is on both sides, a side is empty, or a
        setting is missing or unknown.
    """
    training.check_settings(settings, PAPER)
    energy = np.asarray(energy, float)
    _check(histograms, energy, train, test)
    scaler = Standardise(settings["reading"]).fit(histograms[train])
    images = scaler.transform(histograms[train])

    def standardised(frames):
        return lambda batch: torch.as_tensor(scaler.transform(histograms[frames[batch.numpy()]]))

    model = _build(scaler.n_features_in_, settings, seed)
    model.offset.fill_(energy[train].mean())
    model.scale.fill_(energy[train].std())
    device = networks.choose_device(device)
    if sparse or (sparse is None and device == "cpu"):
        model.network.empty = find_empty(images)
    history = networks.train(
        model,
        images,
        energy[train],
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        optimiser={
            "name": "SGD",
            "lr": settings["learning_rate"],
            "momentum": settings["momentum"],
            "weight_decay": settings["weight_decay"],
            "nesterov": True,
            "fused": True,  # one pass over the weights; the same arithmetic
        },
        milestones=[round(f * settings["epochs"]) for f in settings["milestones"]],
        factor=settings["factor"],
        clip=settings["clip"],
        seed=seed,
        watched=(standardised(np.asarray(test)), energy[test]),
        checkpoints=checkpoints,
        device=device,
        precision=precision,
        progress=progress,
        report=report,
    )
    everything = standardised(np.arange(len(energy)))
    predicted = networks.predict(model, everything, len(energy), device=device, precision=precision)
    return training.result(model, history, predicted, energy, train, test)


def train_on_splits(folder, histograms, energy, splits, settings, n_jobs=None, label="CNN"):
    """One network for each split, several at a time; what is done is kept on disk.

    Each one is trained on one core, so that the result does not depend on how many there are; on
    a GPU they are trained in turn.

    Parameters
    ----------
    folder : path-like
        Artifacts of the dataset (`phutils.artifacts.folder`).
    histograms, energy, settings
        As for `train_on_histograms`.
    splits : sequence of (train, test)
        The number of a split is the seed of its network.
    n_jobs : int, optional
        Networks at a time; default: one per core.
    label : str
        Of the progress bar.

    Returns
    -------
    list of dict
        As from `train_on_histograms`.
    """
    options = {"checkpoints": True, "progress": False}
    calls = [
        (train_on_histograms, (histograms, energy, train, test, settings), options | {"seed": seed})
        for seed, (train, test) in enumerate(splits)
    ]
    return training.train_each(folder, calls, settings["epochs"], label, n_jobs)


def restore(found, pixels, settings):
    """The trained network of a result of `train_on_histograms`; it gives eV/atom.

    Parameters
    ----------
    found : dict of ndarray
    pixels : int
        Of a histogram.
    settings : dict
        As it was trained with.

    Returns
    -------
    phutils.networks.Scaled
    """
    model = _build(pixels, settings, 0)
    return training.load_weights(model, found)


def mean_gradient(model, images, filled, batch_size=64):
    """How the predicted energy answers to each pixel, on average over the frames that fill it.

    For a linear model this is the coefficient. Where the image is empty, the four values of a
    pooled cell are equal and max-pooling has no derivative; therefore filled pixels alone count.

    Parameters
    ----------
    model : torch.nn.Module
    images : ndarray [n, pixels]
        Standardised histograms.
    filled : ndarray [n, pixels] of bool
    batch_size : int

    Returns
    -------
    ndarray [pixels]
        eV/atom per unit of the standardised pixel; NaN where no frame fills it.
    """
    total = np.zeros(images.shape[1])
    for start in range(0, len(images), batch_size):
        batch = torch.tensor(images[start : start + batch_size], requires_grad=True)
        gradient = torch.autograd.grad(model(batch).sum(), batch)[0].numpy()
        total += (gradient * filled[start : start + batch_size]).sum(axis=0)
    count = filled.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _build(pixels, settings, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bins = round(pixels**0.5)
        network = HistogramNetwork(bins, settings["channels"], settings["hidden"])
    return networks.Scaled(network, 0.0, 1.0)


def _check(histograms, energy, train, test):
    training.check_sides(energy, train, test)
    sums = histograms.sum(axis=tuple(range(1, histograms.ndim)))
    for frame in np.flatnonzero(~np.isfinite(np.asarray(sums).ravel()))[:1]:
        raise ValueError(f"histogram of frame {frame} holds a value that is not finite")
