"""What a trained SchNet gives beside energies: latent vectors, networks on them, and a check.

The latent vectors are the output of the last interaction block, averaged over the atoms of a frame
(paper, Sec. II.D). `stock_energies` leads the same weights through SchNetPack alone.
"""

import warnings

import numpy as np
import torch

from phutils import networks, perceptron, training
from phutils.schnet import BATCH, check_species, import_schnetpack, restore, tensors


def averaged_latents(found, neighbours, settings, frames=None, device=None):
    """Descriptors of frames: output of the last interaction block, averaged over atoms.

    Parameters
    ----------
    found : dict of ndarray
        Result of `phutils.schnet.train_on_neighbours`.
    neighbours : phutils.neighbours.Neighbours
    settings : dict
        As it was trained with.
    frames : ndarray of int, optional
        Default: all.
    device : str, optional

    Returns
    -------
    dict
        ``latents``: ndarray [n, features] of float32.

    Raises
    ------
    ValueError
        If a frame has an element that was not trained.
    """
    frames = np.arange(len(neighbours)) if frames is None else np.asarray(frames)
    check_species(neighbours, frames, found["species"])
    device = networks.choose_device(device)
    network = restore(found, settings).network.to(device)
    means = [np.empty((0, settings["features"]), np.float32)]
    for start in range(0, len(frames), BATCH):
        inputs = tensors(neighbours, frames[start : start + BATCH])
        inputs = [x.to(device) for x in inputs]
        with torch.no_grad():
            latent = network.latent(*inputs)
        count = inputs[1].bincount()
        total = latent.new_zeros(len(count), latent.shape[1]).index_add(0, inputs[1], latent)
        means.append((total / count[:, None]).cpu().numpy())
    return {"latents": np.concatenate(means)}


def train_on_latents(
    found, neighbours, energy, train, test, settings, network, seed=0, checkpoints=None, report=None
):
    """A small network on the averaged latent vectors of a trained model (paper, Fig. S10).

    Parameters
    ----------
    found : dict of ndarray
        Result of `phutils.schnet.train_on_neighbours` on the same frames: the latent vectors have
        seen no others.
    neighbours, energy, train, test, settings
        As for `phutils.schnet.train_on_neighbours`.
    network : dict
        Settings of `phutils.perceptron.train_on_features`.
    seed, checkpoints, report : optional
        As there.

    Returns
    -------
    dict of ndarray
        ``predicted`` [n] in eV/atom, NaN for other frames; ``train``, ``test`` in meV/atom.
    """
    frames = np.concatenate([train, test])
    features = averaged_latents(found, neighbours, settings, frames)["latents"]
    sides = np.split(np.arange(len(frames)), [len(train)])
    result = perceptron.train_on_features(
        features, energy[frames], *sides, network, seed, checkpoints, progress=False, report=report
    )
    predicted = np.full(len(energy), np.nan)
    predicted[frames] = result["predicted"]
    return {"predicted": predicted, "train": result["train"], "test": result["test"]}


def latents_on_splits(folder, found, neighbours, energy, jobs, network, n_jobs=None, label="S10"):
    """`train_on_latents` for each result of `phutils.schnet.train_on_splits` on the same jobs."""
    calls = []
    for model, (train, test, settings, seed) in zip(found, jobs, strict=True):
        arguments = (model, neighbours, energy, train, test, settings, network)
        options = {"seed": seed, "checkpoints": True}
        calls.append((train_on_latents, arguments, options))
    return training.train_each(folder, calls, network["epochs"], label, n_jobs)


def stock_energies(model, structures):
    """Energies by SchNetPack alone: its neighbour search, distances, network and output.

    Parameters
    ----------
    model : phutils.networks.Scaled
        From `phutils.schnet.build` or `phutils.schnet.restore`.
    structures : iterable of ase.Atoms

    Returns
    -------
    ndarray [n]
        eV/atom.
    """
    schnetpack = import_schnetpack()
    network = model.network
    search = schnetpack.transform.MatScipyNeighborList(cutoff=network.cutoff)
    convert = schnetpack.interfaces.AtomsConverter(search, dtype=torch.float32)
    potential = schnetpack.model.NeuralNetworkPotential(
        representation=network.representation,
        input_modules=[schnetpack.atomistic.PairwiseDistances()],
        output_modules=[network.output],
    )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [potential.eval()(convert(atoms))["energy"].item() for atoms in structures]
    return np.array(found) * model.scale.item() + model.offset.item()
