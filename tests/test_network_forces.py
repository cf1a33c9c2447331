import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from phutils import force_training, network_forces, schnet
from phutils.force_training import WEIGHTS
from phutils.neighbours import find_neighbours
from phutils.network_forces import batch, energies_and_loss, forces_of

SETTINGS = schnet.PAPER | WEIGHTS | {"gamma": 10.0, "features": 16, "interactions": 2}
SETTINGS |= {"batch_size": 4, "epochs": 12, "force_weight": 1.0, "learning_rate": 0.004}
BASE = {name: SETTINGS[name] for name in schnet.PAPER}
N = 36

pytestmark = pytest.mark.usefixtures("one_thread")


def shaken(seed):
    """Carbon at the places of diamond, more or less; a cell far below twice the cutoff."""
    rng = np.random.default_rng(seed)
    atoms = bulk("C", "diamond", 3.6 + 0.2 * rng.random(), cubic=True)
    atoms.positions += 0.12 * rng.normal(size=(8, 3))
    return atoms


FRAMES = [shaken(k) for k in range(N)]
PAIR = LennardJones(sigma=1.35, epsilon=0.3, rc=3.4, smooth=True)
ENERGY = np.array([PAIR.get_potential_energy(a) / len(a) for a in FRAMES])
FORCES = np.array([PAIR.get_forces(a) for a in FRAMES])
TRAIN, TEST = np.arange(26), np.arange(26, N)


@pytest.fixture(scope="module")
def near():
    return find_neighbours(FRAMES, progress=False)


def stock_forces(model, structures):
    """Forces by SchNetPack alone: neighbour search, distances, network, output, and `Forces`."""
    spk, network = schnet.import_schnetpack(), model.network
    search = spk.transform.MatScipyNeighborList(cutoff=network.cutoff)
    convert = spk.interfaces.AtomsConverter(search, dtype=torch.float32)
    total = spk.atomistic.Atomwise(network.representation.n_atom_basis, output_key="energy")
    total.outnet = network.output.outnet  # the sum over atoms in place of the mean
    potential = spk.model.NeuralNetworkPotential(
        representation=network.representation,
        input_modules=[spk.atomistic.PairwiseDistances()],
        output_modules=[total, spk.atomistic.Forces()],
    )
    found = [potential.eval()(convert(a))["forces"].detach().numpy() for a in structures]
    return np.concatenate(found) * model.scale.item()


def gradients(model, inputs):
    """Energies, and gradients of a sum of energies and the loss of the forces."""
    model.zero_grad()
    energy, loss = energies_and_loss(model, *inputs)
    (energy.square().sum() / 50 + loss).backward()
    return energy.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])


STRANGE = {
    "a cell far below the cutoff": bulk("C", "diamond", 3.567),
    "one atom and its images": Atoms("C", cell=np.eye(3) * 2.6, pbc=True),
    "an atom without neighbours": Atoms("C3", positions=[[0, 0, 0], [1.3, 0, 0], [40, 0, 0]]),
    "a slanted cell": Atoms(
        "CSiC", positions=[[0.1, 0.2, 0.3], [2, 1, 0], [1, 3, 4]],
        cell=[[5, 0, 0], [9, 6, 0], [1, 8, 5]], pbc=True,
    ),
    "a large cell": Atoms("C3", positions=[[0.1, 0, 0], [10.9, 0, 0.2], [5, 5, 5]],
                          cell=[11, 12, 13], pbc=True),
}  # fmt: skip


# --- forces and gradients ------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRANGE)
def test_forces_are_schnetpacks(name):
    atoms = STRANGE[name]
    near = find_neighbours([atoms], progress=False)
    model = schnet.build(schnet.PAPER | {"gamma": 10.0})
    model.network.points *= force_training.FINER["training"]
    expected = stock_forces(model, [atoms])
    for route in ("tabulated", "stock"):
        model.network.route = route
        forces = forces_of(model, *batch(near, [atoms], [0])).numpy(force=True)
        np.testing.assert_allclose(forces, expected, atol=1e-4, err_msg=route)
    assert np.abs(expected).max() > 0.01 or name == "one atom and its images" or len(atoms) == 2


def test_an_atom_and_its_own_images_have_no_force():
    atoms = STRANGE["one atom and its images"]
    near = find_neighbours([atoms], progress=False)
    assert near.n_pairs[0] > 5
    forces = forces_of(schnet.build(BASE), *batch(near, [atoms], [0]))
    assert not forces.any()


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_gradients_are_those_of_double_backward(precision, near, monkeypatch):
    dtype = getattr(torch, precision)
    model = schnet.build(BASE, seed=3).to(dtype)
    model.scale.fill_(0.7), model.offset.fill_(-3.0)
    inputs = [*batch(near, FRAMES, [3, 0, 5]), torch.tensor(FORCES[[3, 0, 5]]).reshape(-1, 3)]
    inputs = [x.to(dtype) if x.is_floating_point() else x for x in inputs]
    energy, found = gradients(model, inputs)
    monkeypatch.setattr(network_forces, "_compiled", lambda *_: False)
    twice_energy, twice = gradients(model, inputs)
    model.network.route = "stock"
    stock_energy, stock = gradients(model, inputs)
    same = 1e-5 if precision == "float32" else 1e-12
    assert float((found - twice).abs().max()) < same * float(twice.abs().max())
    assert float((found - stock).abs().max()) < 1e-3 * float(stock.abs().max())  # interpolated
    torch.testing.assert_close(energy, twice_energy)
    torch.testing.assert_close(energy, stock_energy, rtol=1e-5, atol=1e-5)


def test_forces_are_the_slope_of_the_energy(near):
    """A finite difference of SchNetPack's energies, in an image of a small cell."""
    model = schnet.build(BASE).double()
    forces = forces_of(model.float(), *batch(near, FRAMES, [4])).numpy()
    found = []
    for step in (1e-2, -1e-2):
        atoms = FRAMES[4].copy()
        atoms.positions[2, 1] += step
        pairs = find_neighbours([atoms], progress=False)
        found.append(model(*schnet.tensors(pairs, [0])).item() * len(atoms))
    assert (found[1] - found[0]) / 2e-2 == pytest.approx(forces[2, 1], abs=2e-3)


def test_pairs_of_another_frame():
    frames = [STRANGE["a large cell"].copy() for _ in range(2)]
    frames[1].positions[0, 0] += 0.3
    near = find_neighbours(frames, progress=False)
    with pytest.raises(ValueError, match="frame 0: the pairs belong to another frame"):
        batch(near, frames[::-1], [0])
