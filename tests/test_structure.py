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


def test_beyond_half_a_box_images_count():
    cell = bulk("C", "diamond", a=3.57, cubic=True)
    pairs, vectors = structure.bonds(cell)
    assert len(pairs) == 16 and len({tuple(p) for p in pairs.tolist()}) == 16
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 3.57 * np.sqrt(3) / 4)
    far, large = structure.bonds(cell, 6.0), structure.bonds(cell.repeat(4), 6.0)
    assert len(far[0]) * 64 == len(large[0])
    counts = [structure.coordination(a, 6.0) for a in (cell, cell.repeat(4))]
    assert set(counts[0]) == set(counts[1]) == {len(neighbor_list("i", cell, 6.0)) // 8}
    small, large = (
        structure.radial_distribution([a], 6.0, 190)["g"] for a in (cell, cell.repeat(4))
    )
    np.testing.assert_allclose(small, large)


def test_an_atom_is_bonded_to_its_own_images():
    pairs, vectors = structure.bonds(bulk("Po", "sc", a=3.3, cubic=True), 3.4)
    assert pairs.tolist() == [[0, 0]] * 3
    assert sorted(vectors.tolist()) == [[0, 0, 3.3], [0, 3.3, 0], [3.3, 0, 0]]
    assert structure.coordination(bulk("Po", "sc", a=3.3, cubic=True), 3.4).tolist() == [6]


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("Si", "diamond", a=5.43, cubic=True),
        bulk("Si", "diamond", a=5.43, cubic=True).repeat(2),
        bulk("SiC", "zincblende", a=4.36, cubic=True),
        bulk("SiC", "zincblende", a=4.36, cubic=True).repeat(2),
    ],
)
def test_bonds_of_other_elements_come_from_their_radii(atoms):
    assert (structure.coordination(atoms) == 4).all()


def test_longest_bond_depends_on_the_pair():
    assert structure.longest_bond(6) == pytest.approx(structure.BOND, abs=1e-12)
    assert structure.longest_bond(14) == pytest.approx(2.70, abs=0.01)
    assert structure.longest_bond(6, 14) == pytest.approx(2.28, abs=0.01)
    three = Atoms("SiSiC", [[0, 0, 0], [2.6, 0, 0], [0, 2.6, 0]], cell=[9] * 3, pbc=True)
    assert structure.bonds(three)[0].tolist() == [[0, 1]]  # 2.6 Å: Si-Si is bonded, Si-C is not
