import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from phutils import artifacts, latents, schnet
from phutils.neighbours import find_neighbours
from phutils.schnet import PAPER
from phutils.tabulated_filters import GaussianBasis

GAMMAS = (0.1, 10.0, None)
SMALL = PAPER | {"features": 12, "interactions": 2, "gamma": 10.0, "epochs": 12, "batch_size": 4}
N = 40

pytestmark = pytest.mark.usefixtures("build_folder", "one_thread")


def crystal(edge, shake, seed):
    atoms = bulk("C", "diamond", edge, cubic=True) * (2, 1, 1)
    atoms.positions += shake * np.random.default_rng(seed).normal(size=(16, 3))
    return atoms


GENERATOR = np.random.default_rng(0)
EDGES = GENERATOR.uniform(3.4, 4.4, N)
FRAMES = [crystal(edge, 0.05, k) for k, edge in enumerate(EDGES)]
ENERGY = -7 + (EDGES - 3.6) ** 2  # eV/atom
TRAIN, TEST = np.arange(0, 28), np.arange(28, 36)  # and four on neither side


@pytest.fixture(scope="module")
def near():
    return find_neighbours(FRAMES, progress=False)


def fit(near, **changed):
    data = {"energy": ENERGY, "train": TRAIN, "test": TEST}
    names = (*data, "seed", "also", "route", "checkpoints")
    options = {k: changed.pop(k) for k in list(changed) if k in names}
    arguments = data | {"progress": False} | options
    return schnet.train_on_neighbours(near, **arguments, settings=SMALL | changed)


@pytest.fixture(scope="module")
def found(near):
    return fit(near, also=[38])


def batch(near, frames):
    return [torch.from_numpy(x) for x in near.batch(frames)]


def both_routes(model, near, frames):
    """Energies and gradients of the weights by both routes."""
    results = []
    for route in ("tabulated", "stock"):
        model.network.route = route
        model.zero_grad()
        energy = model(*batch(near, frames))
        energy.square().sum().backward()
        weights = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        results.append((energy.detach(), weights))
    return results


# --- the model -----------------------------------------------------------------------------------


def test_settings_of_the_paper():
    model = schnet.build(PAPER).network
    assert (PAPER["gaussians"], PAPER["cutoff"], PAPER["gamma"]) == (60, 5.0, 0.1)
    net = model.representation
    assert net.n_atom_basis == 100 and len(net.interactions) == 3
    assert net.radial_basis.n_rbf == 60 and float(net.cutoff) == 5.0
    assert len(schnet.build(PAPER | {"interactions": 6}).network.representation.interactions) == 6
    by_hand = 100 * 100 + 3 * (100**2 + 60 * 100 + 100 + 3 * (100**2 + 100)) + 5050 + 51
    assert sum(p.numel() for p in model.parameters()) == by_hand


def test_default_basis_is_schnetpacks():
    spk = schnet.import_schnetpack()
    distance = torch.linspace(0.8, 5, 50)
    stock = spk.nn.GaussianRBF(60, 5.0)(distance)
    torch.testing.assert_close(GaussianBasis(60, 5.0)(distance), stock, rtol=1e-4, atol=1e-6)
    widths = torch.full((60,), 5.0**0.5)  # of gamma = 0.1
    stock = spk.nn.radial.gaussian_rbf(distance, torch.linspace(0, 5, 60), widths)
    torch.testing.assert_close(GaussianBasis(60, 5.0, 0.1)(distance), stock)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_tabulated_route_before_training(gamma, near):
    model = schnet.build(PAPER | {"gamma": gamma})
    (fast, fast_grad), (stock, stock_grad) = both_routes(model, near, range(6))
    assert float((fast - stock).abs().max()) < 1e-5 * float(stock.abs().max())
    assert set(fast_grad) == set(stock_grad)
    for name, grad in stock_grad.items():
        assert float((fast_grad[name] - grad).abs().max()) < 1e-3 * float(grad.abs().max()), name


@pytest.mark.parametrize("gamma", GAMMAS)
def test_tabulated_route_after_training(gamma, near):
    """Energies of SchNetPack's own path, from its neighbour search on, in eV/atom."""
    found = fit(near, gamma=gamma, features=100, epochs=6)
    model = schnet.restore(found, SMALL | {"gamma": gamma, "features": 100})
    stock = latents.stock_energies(model, [FRAMES[i] for i in TEST])
    assert np.abs(found["predicted"][TEST] - stock).max() < 1e-5
    moved = np.concatenate([found[k].ravel() for k in found if k.startswith("weights/")])
    first = schnet.build(SMALL | {"gamma": gamma, "features": 100}).state_dict().values()
    assert np.abs(moved - np.concatenate([x.numpy().ravel() for x in first])).max() > 1e-3


def strange_frames():
    """Frames that are easy to get wrong."""
    dimer = Atoms("C2", positions=[[0, 0, 0], [1.3, 0, 0]])
    return {
        "a cell far below the cutoff": bulk("C", "diamond", 3.567),
        "one atom and its images": Atoms("C", cell=np.eye(3) * 2.6, pbc=True),
        "an atom without neighbours": dimer + Atoms("C", positions=[[40, 0, 0]]),
        "no neighbours at all": Atoms("C2", positions=[[0, 0, 0], [20, 20, 20]]),
        "no cell": dimer,
        "a slanted cell": Atoms(
            "C3", positions=GENERATOR.random((3, 3)) * 4, cell=[[5, 0, 0], [9, 6, 0], [1, 8, 5]],
            pbc=True,
        ),
        "two elements": Atoms("CSi", positions=[[0, 0, 0], [1.8, 0, 0]]),
    }  # fmt: skip


@pytest.mark.parametrize("name", strange_frames())
def test_strange_frames(name):
    atoms = strange_frames()[name]
    model = schnet.build(SMALL)
    stock = latents.stock_energies(model, [atoms])
    near = find_neighbours([atoms], progress=False)
    for route in ("tabulated", "stock"):
        model.network.route = route
        assert model(*batch(near, [0])).item() == pytest.approx(stock.item(), abs=1e-5), route


def test_energy_per_atom_does_not_depend_on_the_size(near):
    model = schnet.build(SMALL)
    doubled = find_neighbours([FRAMES[0] * (1, 2, 2)], progress=False)
    small, large = model(*batch(near, [0])), model(*batch(doubled, [0]))
    assert large.item() == pytest.approx(small.item(), abs=1e-6)


def test_frames_of_a_batch_do_not_touch(near):
    model = schnet.build(SMALL)
    together = model(*batch(near, [5, 0, 9]))
    alone = torch.cat([model(*batch(near, [k])) for k in (5, 0, 9)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_unknown_route(near):
    model = schnet.build(SMALL)
    model.network.route = "fast"
    with pytest.raises(ValueError, match="unknown route 'fast': choose tabulated or stock"):
        model(*batch(near, [0]))


def test_same_weights_for_the_same_seed():
    first, second, third = (schnet.build(SMALL, seed).state_dict() for seed in (0, 0, 1))
    name = "network.representation.interactions.0.in2f.weight"
    assert torch.equal(first[name], second[name]) and not torch.equal(first[name], third[name])


# --- training ------------------------------------------------------------------------------------


def test_learns(found):
    assert found["test"] < 0.6 * 1000 * ENERGY[TEST].std()
    assert found["epoch_train"][-1] < 0.5 * found["epoch_train"][0]
    assert len(found["epoch_train"]) == SMALL["epochs"] == len(found["watched_test"])
    asked = np.isfinite(found["predicted"])
    assert set(np.flatnonzero(asked)) == {*TRAIN, *TEST, 38}
    error = 1000 * (found["predicted"] - ENERGY)
    assert found["test"] == pytest.approx(np.sqrt(np.mean(error[TEST] ** 2)))
    assert found["watched_test"][-1] == pytest.approx(float(found["test"]), rel=1e-3)


def test_both_routes_train_alike(near, found):
    stock = fit(near, route="stock")
    np.testing.assert_allclose(stock["epoch_train"][0], found["epoch_train"][0], rtol=1e-3)
    assert stock["test"] == pytest.approx(float(found["test"]), rel=0.1)


def test_same_call_same_result(near, found):
    again = fit(near, also=[38])
    for name in set(found) - {"seconds"}:
        np.testing.assert_array_equal(again[name], found[name])
    assert fit(near, seed=1, epochs=1)["test"] != fit(near, epochs=1)["test"]


def test_held_out_energies_have_no_influence(near, found):
    other = ENERGY.copy()
    other[28:] += 3
    again = fit(near, energy=other)
    np.testing.assert_array_equal(again["predicted"][TEST], found["predicted"][TEST])


def test_restored(near, found):
    model = schnet.restore(found, SMALL)
    with torch.no_grad():
        energy = model(*batch(near, TEST)).numpy()
    np.testing.assert_allclose(energy, found["predicted"][TEST], atol=1e-5)


def test_schedule_and_optimiser(near, monkeypatch):
    given = {}

    def keep(model, inputs, targets, **options):
        given.update(options)
        raise InterruptedError

    monkeypatch.setattr(schnet.networks, "train", keep)
    with pytest.raises(InterruptedError):
        fit(near, epochs=20, milestones=(0.5, 0.9))
    assert given["milestones"] == [10, 18] and given["epochs"] == 20
    assert given["optimiser"] == {"name": "Adam", "lr": 0.001, "fused": True}


def test_checkpoint_belongs_to_the_route(near, monkeypatch):
    contents = []

    def keep(model, inputs, targets, content, **options):
        contents.append(artifacts.fingerprint(content))
        raise InterruptedError

    monkeypatch.setattr(schnet.networks, "train", keep)
    for changed in ({}, {}, {"route": "stock"}, {"train": TRAIN[1:]}, {"test": TEST[1:]}):
        with pytest.raises(InterruptedError):
            fit(near, **changed)
    assert contents[0] == contents[1] and len(set(contents)) == 4


def test_on_splits_and_from_disk(near, tmp_path, monkeypatch):
    jobs = [(TRAIN, TEST, SMALL | {"epochs": 2}, seed) for seed in (0, 1)]
    folder = tmp_path / "artifacts"
    trained = schnet.train_on_splits(folder, near, ENERGY, jobs, n_jobs=1)
    alone = [fit(near, epochs=2, seed=seed) for seed in (0, 1)]
    for one, other in zip(trained, alone, strict=True):
        np.testing.assert_array_equal(one["predicted"], other["predicted"])
    monkeypatch.setattr(schnet.networks, "train", None)
    again = schnet.train_on_splits(folder, near, ENERGY, jobs, n_jobs=1)
    np.testing.assert_array_equal(again[1]["predicted"], trained[1]["predicted"])


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"train": TRAIN[:0]}, "0 training and 8 test frames"),
        ({"test": TEST[:0]}, "28 training and 0 test frames"),
        ({"test": np.array([30, 27])}, "frame 27 is both"),
        ({"energy": np.where(np.arange(N) == 31, np.nan, ENERGY)}, "frame 31 is nan"),
        ({"energy": ENERGY[:-1]}, "39 energies of 40 frames"),
        ({"cutoff": 4.0}, "cutoff is 4.0 Å, but neighbours were found within 5.0 Å"),
        ({"epoch": 4}, "missing or unknown: epoch"),
        ({"gamma": -0.1}, "gamma is -0.1 1/Å"),
    ],
)
def test_bad_input(near, changed, message):
    with pytest.raises(ValueError, match=message):
        fit(near, **changed)


def test_an_element_that_was_not_trained(found):
    frames = [atoms.copy() for atoms in FRAMES]
    frames[30].numbers[5] = 14
    near = find_neighbours(frames, progress=False)
    message = "frame 30 has an atom of atomic number 14, but SchNet was trained on 6 only"
    with pytest.raises(ValueError, match=message):
        fit(near)
    both = fit(near, train=np.r_[TRAIN, 30], test=TEST[TEST != 30], epochs=1)
    assert both["species"].tolist() == [6, 14]


QUIET = """
import numpy as np
from ase.build import bulk
from phutils import latents, schnet
from phutils.neighbours import find_neighbours

frames = [bulk("C", "diamond", a) for a in (3.5, 3.6, 3.7)]
settings = schnet.PAPER | {"features": 4, "epochs": 1}
near, sides = find_neighbours(frames, progress=False), (np.array([0, 1]), np.array([2]))
found = schnet.train_on_neighbours(near, np.arange(3.0), *sides, settings, progress=False)
latents.stock_energies(schnet.restore(found, settings), frames)
"""


def test_nothing_is_printed_and_no_file_is_left(tmp_path):
    """SchNetPack warns when it is imported, and likes to leave files where it is called."""
    empty = tmp_path / "empty"
    empty.mkdir()
    command = [sys.executable, "-c", QUIET]
    environment = {
        "PYTHONPATH": str(Path(schnet.__file__).parents[1]),
        "PATH": "",
        "OMP_NUM_THREADS": "1",
    }
    ended = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert not list(empty.iterdir())
