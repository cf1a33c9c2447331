import numpy as np
import pytest
import torch
from ase.build import bulk

from phutils import latents, perceptron, schnet
from phutils.neighbours import find_neighbours

SETTINGS = schnet.PAPER | {"features": 12, "interactions": 2, "gamma": 10.0, "epochs": 6}
N = 40


def crystal(edge, shake, seed):
    atoms = bulk("C", "diamond", edge, cubic=True) * (2, 1, 1)
    atoms.positions += shake * np.random.default_rng(seed).normal(size=(16, 3))
    return atoms


EDGES = np.random.default_rng(0).uniform(3.4, 4.4, N)
FRAMES = [crystal(edge, 0.05, k) for k, edge in enumerate(EDGES)]
ENERGY = -7 + (EDGES - 3.6) ** 2  # eV/atom
TRAIN, TEST = np.arange(0, 28), np.arange(28, 36)  # and four on neither side


@pytest.fixture(scope="module")
def near():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield find_neighbours(FRAMES, progress=False)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def found(near):
    settings = SETTINGS | {"batch_size": 4}
    return schnet.train_on_neighbours(near, ENERGY, TRAIN, TEST, settings, progress=False)


def test_averaged_latents(near, found):
    vectors = latents.averaged_latents(found, near, SETTINGS)["latents"]
    assert vectors.shape == (N, 12) and vectors.dtype == np.float32
    network = schnet.restore(found, SETTINGS).network
    network.route = "stock"
    with torch.no_grad():
        expected = network.latent(*schnet.tensors(near, [3])).mean(dim=0)
    np.testing.assert_allclose(vectors[3], expected, rtol=1e-4, atol=1e-5)
    some = latents.averaged_latents(found, near, SETTINGS, np.array([3, 0]))["latents"]
    np.testing.assert_allclose(some, vectors[[3, 0]], rtol=1e-4, atol=1e-6)


def test_network_on_averaged_latents(near, found, tmp_path):
    network = perceptron.PAPER | {"epochs": 200, "learning_rate": 0.01, "batch_size": 7}
    job = (TRAIN, TEST, SETTINGS, 0)
    (result,) = latents.latents_on_splits(tmp_path, [found], near, ENERGY, [job], network)
    error = 1000 * (result["predicted"] - ENERGY)
    assert set(np.flatnonzero(np.isfinite(error))) == {*TRAIN, *TEST}
    assert result["test"] == pytest.approx(np.sqrt(np.mean(error[TEST] ** 2)))
    assert result["test"] < 0.5 * 1000 * ENERGY[TEST].std()


def test_an_element_that_was_not_trained(found):
    frames = [atoms.copy() for atoms in FRAMES]
    frames[30].numbers[5] = 14
    near = find_neighbours(frames, progress=False)
    with pytest.raises(ValueError, match="frame 30 has an atom of atomic number 14, but SchNet"):
        latents.averaged_latents(found, near, SETTINGS)
    assert len(latents.averaged_latents(found, near, SETTINGS, TRAIN)["latents"]) == len(TRAIN)


def test_energies_of_schnetpack_alone(near, found):
    model = schnet.restore(found, SETTINGS)
    stock = latents.stock_energies(model, [FRAMES[i] for i in TEST])
    np.testing.assert_allclose(stock, found["predicted"][TEST], atol=1e-5)
    assert np.ptp(stock) > 1e-3  # they tell frames apart
