"""SchNet trained on energies and forces, with filters that are tabulated over the distance.

The loss is that of SchNetPack's tasks, a weighted sum of mean squared errors,

    energy_weight * MSE(energy per atom / eV) + force_weight * MSE(forces / (eV/Å)),

the latter over all components of a batch. `phutils.network_forces` has its gradient.
"""

import numpy as np
import torch
from torch import nn

from phutils import networks, schnet, training
from phutils.network_forces import batch, energies_and_loss, forces_of

WEIGHTS = {"energy_weight": 1.0, "force_weight": 0.01}  # 1/(eV/atom)^2 and 1/(eV/Å)^2
FINER = {"training": 2, "prediction": 4}  # times as many points: slopes need more than values


class EnergyAndForces(nn.Module):
    """A model for `phutils.networks.train`: it gives energies, and learns forces beside them.

    Parameters
    ----------
    model : phutils.networks.Scaled
    factor : float
        Of the mean squared error of the forces, beside the loss of `phutils.networks.train`. Zero:
        energies alone.
    """

    def __init__(self, model, factor):
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, numbers, frame, first, second, distance, unit, forces):
        """Energies per atom, [frames]; in training their gradient has that of the forces added."""
        if not (self.factor and self.training and torch.is_grad_enabled()):
            return self.model(numbers, frame, first, second, distance)
        inputs = numbers, frame, first, second, distance, unit, forces
        energy, loss = energies_and_loss(self.model, *inputs)
        return _WithLoss.apply(energy, self.factor * loss)


class _WithLoss(torch.autograd.Function):
    """The first input as it is; its backward pass descends in the second one, too."""

    @staticmethod
    def forward(ctx, energy, loss):
        return energy.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad, torch.ones((), dtype=grad.dtype, device=grad.device)


# --- training ------------------------------------------------------------------------------------


def train_on_forces(
    neighbours,
    structures,
    energy,
    forces,
    train,
    test,
    settings,
    seed=0,
    route="tabulated",
    checkpoints=None,
    device=None,
    progress="SchNet",
    report=None,
):
    """Train SchNet on energies and forces of some frames and predict those of others.

    Parameters
    ----------
    neighbours : phutils.neighbours.Neighbours
    structures : phutils.dataset.Structures or list of ase.Atoms
        The same frames.
    energy : ndarray [n]
        eV/atom.
    forces : ndarray [n, most atoms, 3]
        eV/Å, as `Structures.forces`. Those of `train` alone have an influence on the weights.
    train, test : ndarray of int
        Indices of frames.
    settings : dict
        With the keys of ``phutils.schnet.PAPER`` and of `WEIGHTS`. A `force_weight` of zero trains
        on energies alone.
    seed, route, checkpoints, device, progress, report
        As for `phutils.schnet.train_on_neighbours`.

    Returns
    -------
    dict of ndarray
        As from `phutils.schnet.train_on_neighbours`, and ``forces_test``, the RMSE of the
        components of the forces on the test frames in meV/Å.

    Raises
    ------
    ValueError
        As there; if a frame has no forces or one that is not finite, if the forces have another
        shape, or a weight is negative.
    """
    train, test, energy = np.asarray(train), np.asarray(test), np.asarray(energy, float)
    base = {name: settings[name] for name in settings if name not in WEIGHTS}
    training.check_settings(settings, schnet.PAPER | WEIGHTS)
    schnet.check(neighbours, energy, train, test, base)
    _check(neighbours, structures, forces, np.concatenate([train, test]), settings)
    species = np.unique(neighbours.batch(train)[0])
    schnet.check_species(neighbours, test, species)
    model = schnet.build(base, seed)
    spread = energy[train].std() or 1.0
    model.offset.fill_(energy[train].mean())
    model.scale.fill_(spread)
    model.network.route = route
    if settings["force_weight"]:
        model.network.points *= FINER["training"]
    ratio = settings["force_weight"] / settings["energy_weight"]

    def fetch(frames):
        def inputs(which):
            chosen = frames[which.numpy()]
            wanted = [forces[i, : neighbours.n_atoms[i]] for i in chosen]
            wanted = torch.as_tensor(np.concatenate(wanted), dtype=torch.float32)
            return *batch(neighbours, structures, chosen), wanted

        return inputs

    watched = test[:: max(1, len(test) // schnet.WATCHED)]
    both = EnergyAndForces(model, float(ratio / spread**2))
    history = networks.train(
        both,
        fetch(train),
        energy[train],
        **schnet.schedule(base),
        seed=seed,
        watched=(fetch(watched), energy[watched]),
        checkpoints=checkpoints,
        content=[neighbours.fingerprint, np.asarray(forces)[train], train, watched, route],
        device=device,
        precision="float32",
        progress=progress,
        report=report,
    )
    predicted, wanted = np.full(len(energy), np.nan), np.concatenate([train, test])
    inputs = schnet.fetch(neighbours, wanted)
    predicted[wanted] = networks.predict(
        model, inputs, len(wanted), schnet.BATCH, device, "float32"
    )
    found = training.result(model, history, predicted, energy, train, test) | {"species": species}
    by_model = predict_forces(found, neighbours, structures, base, test, device)
    error = by_model - np.asarray(forces)[test, : by_model.shape[1]]
    return found | {"forces_test": np.array(1000 * np.sqrt(np.nanmean(error**2)))}


def predict_forces(found, neighbours, structures, settings, frames, device=None):
    """Forces of a trained model, worked out in double precision.

    Parameters
    ----------
    found : dict of ndarray
        From `train_on_forces` or `phutils.schnet.train_on_neighbours`.
    neighbours, structures
        As for `train_on_forces`.
    settings : dict
        As it was trained with.
    frames : sequence of int
    device : str, optional

    Returns
    -------
    ndarray [len(frames), most atoms, 3] of float32
        eV/Å; NaN beyond the last atom of smaller frames.
    """
    frames, device = np.asarray(frames, int), networks.choose_device(device)
    model = schnet.restore(found, settings).to(device).double()
    model.network.points *= FINER["prediction"]
    forces = np.full((len(frames), neighbours.n_atoms[frames].max(), 3), np.nan, np.float32)
    for k in range(0, len(frames), schnet.BATCH):
        chosen = frames[k : k + schnet.BATCH]
        inputs = batch(neighbours, structures, chosen)
        inputs = [(x.double() if x.is_floating_point() else x).to(device) for x in inputs]
        both = forces_of(model, *inputs).detach().cpu().numpy()
        ends = np.cumsum(neighbours.n_atoms[chosen])[:-1]
        for row, own in zip(forces[k:], np.split(both, ends), strict=False):
            row[: len(own)] = own
    return forces


def train_on_splits(
    folder, neighbours, structures, energy, forces, jobs, n_jobs=None, label="forces"
):
    """`train_on_forces` for several (train, test, settings, seed), as many at a time as cores.

    Parameters
    ----------
    folder : path-like
        Artifacts of the dataset (`phutils.artifacts.folder`); what is done is kept there.
    neighbours, structures, energy, forces
        As for `train_on_forces`.
    jobs : sequence of (train, test, settings, seed)
    n_jobs, label
        As for `phutils.schnet.train_on_splits`.

    Returns
    -------
    list of dict
    """
    calls = []
    for train, test, settings, seed in jobs:
        arguments = (neighbours, structures, energy, forces, train, test, settings)
        options = {"seed": seed, "checkpoints": True, "progress": False}
        calls.append((train_on_forces, arguments, options))
    epochs = max(job[2]["epochs"] for job in jobs)
    return training.train_each(folder, calls, epochs, label, n_jobs)


def _check(neighbours, structures, forces, frames, settings):
    for name in WEIGHTS:
        if not settings[name] >= 0 or (name == "energy_weight" and not settings[name]):
            raise ValueError(f"{name} is {settings[name]}, and must be positive")
    if forces is None:
        raise ValueError("these frames have no forces")
    most, n = neighbours.n_atoms.max(), len(neighbours)
    shape = np.shape(forces)
    if len(shape) != 3 or shape[0] != n or shape[1] < most or shape[2] != 3:
        raise ValueError(f"forces of shape {shape}, expected {(n, int(most), 3)}")
    if len(structures) != n:
        raise ValueError(f"{len(structures)} structures, but neighbours of {n}")
    for i in frames:
        own = np.asarray(forces[i, : neighbours.n_atoms[i]])
        bad = ~np.isfinite(own).all(axis=1)
        if bad.all():
            raise ValueError(f"frame {i} has no forces: choose among `structures.with_forces`")
        for atom in np.flatnonzero(bad)[:1]:
            raise ValueError(f"force on atom {atom} of frame {i} is {own[atom].tolist()} eV/Å")


def verdict(errors, names):
    """What forces change beside energies alone, in one sentence.

    Parameters
    ----------
    errors : dict
        {(model, kind of split): [(energy RMSE in meV/atom, force RMSE in meV/Å), ...]}
    names : sequence of str
        The model trained on energies alone, and the one trained on forces as well.

    Returns
    -------
    str
        Empty without errors. Of several kinds of split the last one counts.
    """
    if not errors:
        return ""
    *_, kind = (kind for _, kind in errors)
    without, together = (np.mean(errors[name, kind], axis=0) for name in names)
    return (
        f"With forces ({kind}), the error of the forces is {together[1]:.0f} meV/Å in place of "
        f"{without[1]:.0f}, that of the energy {together[0]:.0f} meV/atom in place of "
        f"{without[0]:.0f}."
    )
