"""SchNet of SchNetPack on amorphous carbon: energies, latent vectors, and a fast way through it.

The weights live in SchNetPack's own modules. `SchNetEnergy.forward` leads through them by one of
two routes: ``stock`` calls SchNetPack's forward, ``tabulated`` does the same sum with filters that
are tabulated over the distance (`phutils.tabulated_filters`). A model can change its route at any
time, before and after training.

SchNetPack is imported when a model is built: it takes seconds, and warns a great deal.
"""

import warnings

import numpy as np
import torch
from torch import nn

from phutils import networks, perceptron, training
from phutils.tabulated_filters import GaussianBasis, convolve, points_for

# What the paper gives (Sec. II.D), and below it what it leaves open.
PAPER = {
    "gaussians": 60,
    "cutoff": 5.0,  # Å
    "gamma": 0.1,  # 1/Å^2; None: SchNetPack's own choice
    "features": 100,
    "interactions": 3,  # ours
    "epochs": 20,  # ours, as is all of the training
    "batch_size": 8,
    "learning_rate": 0.001,
    "milestones": (0.3, 0.5, 0.65, 0.8, 0.9),  # fractions of the epochs
    "factor": 0.5,
}
ROUTES = ("tabulated", "stock")
WATCHED = 100  # test frames whose error is followed during training
BATCH = 32  # frames a batch in predictions


def import_schnetpack():
    """SchNetPack without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import schnetpack
    return schnetpack


# --- the model -----------------------------------------------------------------------------------


class SchNetEnergy(nn.Module):
    """SchNetPack's SchNet with an atomwise output, averaged over the atoms of a frame.

    Parameters
    ----------
    gaussians, cutoff, gamma, features, interactions
        See `PAPER` and `phutils.tabulated_filters.GaussianBasis`.
    route : {"tabulated", "stock"}
        An attribute, which may be set at any time.

    References
    ----------
    Schütt et al., Adv. Neural Inf. Process. Syst. 30, 992 (2017), arXiv:1706.08566;
    Schütt et al., J. Chem. Phys. 158, 144801 (2023), doi:10.1063/5.0138367.
    """

    def __init__(
        self, gaussians=60, cutoff=5.0, gamma=None, features=100, interactions=3, route="tabulated"
    ):
        super().__init__()
        schnetpack = import_schnetpack()
        basis = GaussianBasis(gaussians, cutoff, gamma)
        self.cutoff, self.route = cutoff, route
        self.points = points_for(basis.width, cutoff)
        self.representation = schnetpack.representation.SchNet(
            n_atom_basis=features,
            n_interactions=interactions,
            radial_basis=basis,
            cutoff_fn=schnetpack.nn.CosineCutoff(cutoff),
        )
        self.output = schnetpack.atomistic.Atomwise(
            features, aggregation_mode="avg", output_key="energy"
        )

    def forward(self, numbers, frame, first, second, distance):
        """Energies per atom of a batch, [frames]; the inputs are `Neighbours.batch`'s."""
        latent = self.latent(numbers, frame, first, second, distance)
        found = {"scalar_representation": latent, "_idx_m": frame, "_n_atoms": frame.bincount()}
        return self.output(found)["energy"]

    def latent(self, numbers, frame, first, second, distance):
        """Output of the last interaction block, [atoms, features]."""
        if self.route == "stock":
            return self._stock(numbers, first.long(), second.long(), distance)
        if self.route != "tabulated":
            raise ValueError(f"unknown route {self.route!r}: choose {' or '.join(ROUTES)}")
        net = self.representation
        grid = torch.linspace(0, self.cutoff, self.points, device=distance.device)
        basis, envelope = net.radial_basis(grid), net.cutoff_fn(grid)[:, None]
        x = net.embedding(numbers)
        for block in net.interactions:
            table = block.filter_network(basis) * envelope
            x = x + block.f2out(
                convolve(table, block.in2f(x), first, second, distance, self.cutoff)
            )
        return x

    def _stock(self, numbers, first, second, distance):
        vectors = nn.functional.pad(distance[:, None], (0, 2))
        inputs = {
            "_atomic_numbers": numbers,
            "_Rij": torch.cat([vectors, vectors]),
            "_idx_i": torch.cat([first, second]),
            "_idx_j": torch.cat([second, first]),
        }
        return self.representation(inputs)["scalar_representation"]


# --- training ------------------------------------------------------------------------------------


def train_on_neighbours(
    neighbours,
    energy,
    train,
    test,
    settings,
    seed=0,
    also=(),
    route="tabulated",
    checkpoints=None,
    device=None,
    progress="SchNet",
    report=None,
):
    """Train SchNet on the energies of some frames and predict others.

    Parameters
    ----------
    neighbours : phutils.neighbours.Neighbours
        Of all frames.
    energy : ndarray [n]
        eV/atom. Those of `train` alone have an influence on the weights.
    train, test : ndarray of int
        Indices of frames.
    settings : dict
        With the keys of `PAPER`.
    seed : int
        Of the first weights and of the order of the frames.
    also : ndarray of int
        Further frames to predict.
    route : {"tabulated", "stock"}
    checkpoints, device, report : optional
        See `phutils.networks.train`.
    progress : str or bool
        Label of the progress bar; False for none.

    Returns
    -------
    dict of ndarray
        ``predicted`` [n] in eV/atom, NaN for frames that nobody asked for; ``train``, ``test``:
        RMSE of the final weights in meV/atom; ``epoch_train`` [epochs], ``watched_epoch`` and
        ``watched_test``, the same on the way, the last one for 100 of the test frames;
        ``seconds``; ``species``, the atomic numbers that were trained; and ``weights/<name>``,
        for `restore`.

    Raises
    ------
    ValueError
        If an energy is not finite, a frame is on both sides, a side is empty, a setting is
        missing, unknown, or not what the neighbours were found with, or a frame to be predicted
        has an element that no training frame has.
    """
    energy, train, test = np.asarray(energy, float), np.asarray(train), np.asarray(test)
    _check(neighbours, energy, train, test, settings)
    species = np.unique(neighbours.batch(train)[0])
    wanted = np.unique(np.concatenate([train, test, np.asarray(also, int)]))
    _check_species(neighbours, wanted, species)
    model = build(settings, seed)
    model.offset.fill_(energy[train].mean())
    model.scale.fill_(energy[train].std() or 1.0)
    model.network.route = route
    watched = test[:: max(1, len(test) // WATCHED)]
    history = networks.train(
        model,
        _fetch(neighbours, train),
        energy[train],
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        optimiser={"name": "Adam", "lr": settings["learning_rate"], "fused": True},
        milestones=[round(f * settings["epochs"]) for f in settings["milestones"]],
        factor=settings["factor"],
        seed=seed,
        watched=(_fetch(neighbours, watched), energy[watched]),
        checkpoints=checkpoints,
        content=[neighbours.fingerprint, train, watched, route],
        device=device,
        precision="float32",
        progress=progress,
        report=report,
    )
    predicted = np.full(len(energy), np.nan)
    inputs = _fetch(neighbours, wanted)
    predicted[wanted] = networks.predict(model, inputs, len(wanted), BATCH, device, "float32")
    return training.result(model, history, predicted, energy, train, test) | {"species": species}


def train_on_splits(folder, neighbours, energy, jobs, also=(), n_jobs=None, label="SchNet"):
    """Several networks, as many at a time as there are cores; what is done is kept on disk.

    Each one is trained on one core, so that the result does not depend on how many there are; on
    a GPU they are trained in turn.

    Parameters
    ----------
    folder : path-like
        Artifacts of the dataset (`phutils.artifacts.folder`).
    neighbours, energy, also
        As for `train_on_neighbours`.
    jobs : sequence of (train, test, settings, seed)
    n_jobs : int, optional
        Networks at a time; default: one per core.
    label : str
        Of the progress bar.

    Returns
    -------
    list of dict
        As from `train_on_neighbours`.
    """
    calls = []
    for train, test, settings, seed in jobs:
        arguments = (neighbours, energy, train, test, settings)
        options = {"seed": seed, "also": also, "checkpoints": True, "progress": False}
        calls.append((train_on_neighbours, arguments, options))
    epochs = max(job[2]["epochs"] for job in jobs)
    return training.train_each(folder, calls, epochs, label, n_jobs)


def build(settings, seed=0):
    """An untrained model in eV/atom, a `phutils.networks.Scaled` of a `SchNetEnergy`."""
    names = ("gaussians", "cutoff", "gamma", "features", "interactions")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return networks.Scaled(SchNetEnergy(**{name: settings[name] for name in names}), 0.0, 1.0)


def restore(found, settings):
    """The trained model of a result of `train_on_neighbours`; it gives eV/atom."""
    model = build(settings)
    return training.load_weights(model, found)


# --- what a trained model gives ------------------------------------------------------------------


def averaged_latents(found, neighbours, settings, frames=None, device=None):
    """Descriptors of frames: output of the last interaction block, averaged over atoms.

    Parameters
    ----------
    found : dict of ndarray
        Result of `train_on_neighbours`.
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
    _check_species(neighbours, frames, found["species"])
    device = networks.choose_device(device)
    network = restore(found, settings).network.to(device)
    means = [np.empty((0, settings["features"]), np.float32)]
    for start in range(0, len(frames), BATCH):
        inputs = _tensors(neighbours, frames[start : start + BATCH])
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
        Result of `train_on_neighbours` on the same frames: the latent vectors have seen no others.
    neighbours, energy, train, test, settings
        As for `train_on_neighbours`.
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
    """`train_on_latents` for each result of `train_on_splits` on the same jobs."""
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
        From `build` or `restore`.
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


def _tensors(neighbours, frames):
    return tuple(torch.from_numpy(x) for x in neighbours.batch(frames))


def _fetch(neighbours, frames):
    """A function from an index tensor to a batch, for `phutils.networks`."""
    return lambda batch: _tensors(neighbours, frames[batch.numpy()])


# --- checks --------------------------------------------------------------------------------------


def _check(neighbours, energy, train, test, settings):
    training.check_settings(settings, PAPER)
    if settings["cutoff"] != neighbours.cutoff:
        raise ValueError(
            f"the cutoff is {settings['cutoff']} Å, but neighbours were found within "
            f"{neighbours.cutoff} Å"
        )
    if len(energy) != len(neighbours):
        raise ValueError(f"{len(energy)} energies of {len(neighbours)} frames")
    training.check_sides(energy, train, test)


def _check_species(neighbours, frames, species):
    """An element that was not trained has a random embedding: refuse it."""
    strange = ~np.isin(neighbours.numbers, species)
    if not strange.any():
        return
    frame = np.repeat(np.arange(len(neighbours)), neighbours.n_atoms)
    for atom in np.flatnonzero(strange & np.isin(frame, frames))[:1]:
        raise ValueError(
            f"frame {frame[atom]} has an atom of atomic number {neighbours.numbers[atom]}, but "
            f"SchNet was trained on {', '.join(map(str, species))} only"
        )
