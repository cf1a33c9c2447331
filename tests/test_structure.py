import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from phutils import structure


@pytest.fixture
def diamond():
    return bulk("C", "diamond", a=3.57, cubic=True).repeat(3)


@pytest.fixture
def gas():
    positions = np.random.default_rng(0).random((400, 3)) * [11, 12, 14]
    return Atoms("C400", positions=positions - 20, cell=[11, 12, 14], pbc=True)


def test_bonds_equal_ase(gas):
    pairs, vectors = structure.bonds(gas, cutoff=1.85)
    i, j, d = neighbor_list("ijD", gas, 1.85)
    assert {tuple(sorted(p)) for p in pairs} == {(a, b) for a, b in zip(i, j, strict=True) if a < b}
    lengths = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(np.sort(lengths), np.sort(np.linalg.norm(d[i < j], axis=1)))


def test_diamond_has_four_bonds(diamond):
    assert (structure.coordination(diamond) == 4).all()
    order = structure.local_order([diamond, diamond])
    np.testing.assert_allclose(order["coordination"], [[0, 0, 0, 0, 1, 0]] * 2)
    np.testing.assert_allclose(order["bond_mean"], 3.57 * np.sqrt(3) / 4)
    np.testing.assert_allclose(order["bond_std"], 0, atol=1e-12)


def test_an_atom_without_bonds():
    lonely = Atoms("C2", positions=[[0, 0, 0], [4, 4, 4]], cell=[8] * 3, pbc=True)
    order = structure.local_order([lonely])
    assert order["coordination"][0, 0] == 1 and order["bond_mean"][0] == 0


def test_radial_distribution_counts_neighbours(diamond, gas):
    found = structure.radial_distribution([diamond], r_max=5.0, bins=500)
    shell = found["r"] < 2.0
    number = (found["g"] * 4 * np.pi * found["r"] ** 2 * 0.01)[shell].sum()
    assert number * len(diamond) / diamond.get_volume() == pytest.approx(4, rel=1e-2)
    uniform = structure.radial_distribution([gas], bins=20)
    assert uniform["g"][5:].mean() == pytest.approx(1, abs=0.05)


def test_half_a_box_is_the_limit(diamond):
    with pytest.raises(ValueError, match="exceeds half the box, 5.355"):
        structure.radial_distribution([diamond], r_max=6.0)
    with pytest.raises(ValueError, match="exceeds half the box"):
        structure.bonds(diamond, cutoff=6.0)
