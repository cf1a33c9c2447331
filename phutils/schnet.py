"""SchNet of SchNetPack on amorphous carbon: energies, and a fast way through it.

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

from phutils import networks, training
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
        x = self.representation.embedding(numbers)
        for block, table in zip(self.representation.interactions, self.tables(), strict=True):
            x = x + block.f2out(
                convolve(table, block.in2f(x), first, second, distance, self.cutoff)
            )
        return x

    def tables(self):
        """Filters of each block at `points` distances from 0 to the cutoff, [points, features]."""
        net = self.representation
        weight, double = net.embedding.weight, torch.float64  # slopes feel how points are rounded
        grid = torch.linspace(0, self.cutoff, self.points, device=weight.device, dtype=double)
        basis = net.radial_basis(grid).to(weight.dtype)
        envelope = net.cutoff_fn(grid)[:, None].to(weight.dtype)
        return [block.filter_network(basis) * envelope for block in net.interactions]

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
    training.check_settings(settings, PAPER)
    check(neighbours, energy, train, test, settings)
    species = np.unique(neighbours.batch(train)[0])
    wanted = np.unique(np.concatenate([train, test, np.asarray(also, int)]))
    check_species(neighbours, wanted, species)
    model = build(settings, seed)
    model.offset.fill_(energy[train].mean())
    model.scale.fill_(energy[train].std() or 1.0)
    model.network.route = route
    watched = test[:: max(1, len(test) // WATCHED)]
    history = networks.train(
        model,
        fetch(neighbours, train),
        energy[train],
        **schedule(settings),
        seed=seed,
        watched=(fetch(neighbours, watched), energy[watched]),
        checkpoints=checkpoints,
        content=[neighbours.fingerprint, train, watched, route],
        device=device,
        precision="float32",
        progress=progress,
        report=report,
    )
    predicted = np.full(len(energy), np.nan)
    inputs = fetch(neighbours, wanted)
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


def schedule(settings):
    """The arguments of `phutils.networks.train` that settings decide."""
    return {
        "epochs": settings["epochs"],
        "batch_size": settings["batch_size"],
        "optimiser": {"name": "Adam", "lr": settings["learning_rate"], "fused": True},
        "milestones": [round(f * settings["epochs"]) for f in settings["milestones"]],
        "factor": settings["factor"],
    }


def tensors(neighbours, frames):
    """`Neighbours.batch` as tensors."""
    return tuple(torch.from_numpy(x) for x in neighbours.batch(frames))


def fetch(neighbours, frames):
    """A function from an index tensor to a batch, for `phutils.networks`."""
    return lambda batch: tensors(neighbours, frames[batch.numpy()])


# --- checks --------------------------------------------------------------------------------------


def check(neighbours, energy, train, test, settings):
    """Raise `ValueError` for data that do not fit together; see `train_on_neighbours`."""
    if settings["cutoff"] != neighbours.cutoff:
        raise ValueError(
            f"the cutoff is {settings['cutoff']} Å, but neighbours were found within "
            f"{neighbours.cutoff} Å"
        )
    if len(energy) != len(neighbours):
        raise ValueError(f"{len(energy)} energies of {len(neighbours)} frames")
    training.check_sides(energy, train, test)


def check_species(neighbours, frames, species):
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
