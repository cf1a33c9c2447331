import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from phutils import rings
from phutils.cycles import Cycle, stable_volumes
from phutils.dataset import load
from phutils.structure import bonds, radial_distribution


def test_unwrapped_ring_has_no_jumps():
    square = np.array([[9.5, 9.5, 1], [10.5, 9.5, 1], [10.5, 10.5, 1], [9.5, 10.5, 1]])
    atoms = Atoms("C4", positions=square % 10, cell=[10.0] * 3, pbc=True)
    np.testing.assert_allclose(rings.unwrap(atoms, [0, 1, 2, 3]), square, atol=1e-12)
    lengths, angles = rings.ring_geometry(atoms, [1, 2, 3, 0])
    np.testing.assert_allclose(lengths, 1, atol=1e-12)
    np.testing.assert_allclose(angles, 90, atol=1e-9)


def test_lengths_and_angles_stand_at_their_atoms():
    points = np.array([[0.0, 0, 0], [3.0, 0, 0], [0.0, 4, 0]]) + 1
    atoms = Atoms("C3", positions=points, cell=[20.0] * 3, pbc=True)
    lengths, angles = rings.ring_geometry(atoms, [0, 1, 2])
    np.testing.assert_allclose(lengths, [3, 5, 4])
    np.testing.assert_allclose(angles, np.degrees([np.pi / 2, np.arctan(4 / 3), np.arctan(3 / 4)]))


def test_rdf_of_chosen_cycles():
    structures = load("embedded")
    frames = [structures[int(i)] for i in (40, len(structures) - 1)]
    volumes = [stable_volumes(atoms) for atoms in frames]
    found = rings.restricted_rdf(frames, volumes, sizes=(5, 6))
    members = [
        sorted({int(v) for cycle in each if cycle.n_vertices in (5, 6) for v in cycle.vertices})
        for each in volumes
    ]
    expected = radial_distribution([f[m] for f, m in zip(frames, members, strict=True)])
    np.testing.assert_array_equal(found["g"], expected["g"])
    np.testing.assert_array_equal(found["r"], expected["r"])
    assert found["n_atoms"].tolist() == [len(m) for m in members]
    assert all(0 < len(m) < len(f) for f, m in zip(frames, members, strict=True))
    one = rings.restricted_rdf(frames[1], volumes[1], sizes=(6,), r_max=4.0, bins=80)
    assert 1.3 < one["r"][one["g"].argmax()] < 1.6  # the bond
    with pytest.raises(ValueError, match="no frame has two atoms in cycles of \\(2,\\) vertices"):
        rings.restricted_rdf(frames, volumes, sizes=(2,))
    with pytest.raises(ValueError, match="2 frames but cycles of 1"):
        rings.restricted_rdf(frames, volumes[:1])


def cycle(vertices, birth=0.5, death=2.0, closed=True):
    none = np.empty((0, 3), int)
    return Cycle(birth, death, 1.0, none, none[:, :2], np.array(vertices), closed)


def test_placed_ring_has_its_centre_in_the_cell():
    square = np.array([[9.5, 9.5, 1], [11.5, 9.5, 1], [11.5, 11.5, 1], [9.5, 11.5, 1]])
    atoms = Atoms("C4", positions=square % 10, cell=[10.0] * 3, pbc=True)
    points = rings.placed(atoms, cycle([0, 1, 2, 3]))
    np.testing.assert_allclose(points, square - [10, 10, 0], atol=1e-12)
    assert rings.placed(atoms, cycle([0, 1, 2, 3], closed=False)) is None
    around = Atoms("C4", [[x, 1, 1] for x in (0, 2.5, 5, 7.5)], cell=[10.0] * 3, pbc=True)
    assert rings.placed(around, cycle([0, 1, 2, 3])) is None  # winds around the cell


def test_plane_of_a_tilted_ring():
    rng = np.random.default_rng(5)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    angle = np.arange(6) * np.pi / 3
    flat = np.stack([2 * np.cos(angle), np.sin(angle), 0.01 * (-1.0) ** np.arange(6)], axis=1)
    centre, axes = rings.plane_of(flat @ turn.T + [1.0, 2, 3])
    np.testing.assert_allclose(centre, [1, 2, 3], atol=1e-12)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    local = (flat @ turn.T) @ axes.T
    np.testing.assert_allclose(abs(local), abs(flat), atol=1e-9)
    assert (axes[[0, 1], abs(axes[:2]).argmax(axis=1)] > 0).all()


def test_typical_rings_are_what_their_names_say():
    structures = load("embedded")
    atoms = structures[len(structures) - 1]
    found = stable_volumes(atoms)
    chosen = rings.typical_rings(atoms, found, sizes=(5, 6))
    names = ["5 atoms", "6 atoms", "3 atoms, longest life", "largest birth"]
    assert list(chosen) == names
    assert chosen["largest birth"].birth == max(c.birth for c in found)
    three = chosen["3 atoms, longest life"]
    assert three.lifetime == max(c.lifetime for c in found if c.n_vertices == 3)
    for size in (5, 6):
        ring = chosen[f"{size} atoms"]
        assert ring.n_vertices == size and ring.lifetime >= 0.3
        same = [c for c in found if c.n_vertices == size and c.closed and c.lifetime >= 0.3]
        births = np.array([c.birth for c in same])
        assert np.quantile(births, 0.2) <= ring.birth <= np.quantile(births, 0.8)


def test_rings_that_do_not_exist_are_left_out():
    atoms = Atoms("C3", [[1.0, 1, 1], [2.4, 1, 1], [1.7, 2.2, 1]], cell=[20.0] * 3, pbc=True)
    assert rings.typical_rings(atoms, []) == {}
    short = cycle([0, 1, 2], 0.5, 0.6)
    chosen = rings.typical_rings(atoms, [short], sizes=(3,))
    assert list(chosen) == ["3 atoms, longest life", "largest birth"]
    open_one = cycle([0, 1, 2], 0.7, 1.2, closed=False)
    chosen = rings.typical_rings(atoms, [short, open_one], sizes=(3,))
    assert chosen == {}  # neither the next best nor something that cannot be drawn


@pytest.mark.parametrize(
    "ring, message",
    [
        (None, "three or more"),
        ([0, 1], "three or more"),
        ([0.0, 1.0, 2.0], "three or more"),
        ([0, 1, 0], "repeats atoms"),
        ([0, 1, 4], "beyond 4"),
        ([0, 1, -1], "beyond 4"),
        ([0, 1, 2, 3], "winds around the cell"),
    ],
)
def test_bad_ring_is_refused(ring, message):
    positions = np.array([[0.0, 1, 1], [2.5, 1, 1], [5.0, 1, 1.1], [7.5, 1, 1]])
    atoms = Atoms("C4", positions=positions, cell=[10.0] * 3, pbc=True)
    with pytest.raises(ValueError, match=message):
        rings.ring_geometry(atoms, ring)


def test_smallest_rings_of_known_networks():
    pairs = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 0], [4, 5], [5, 0], [5, 6]])
    assert rings.smallest_rings(pairs, 7).tolist() == [5, 5, 5, 5, 3, 3, 3, 8]
    for n in range(3, 10):
        loop = np.stack([np.arange(n), np.roll(np.arange(n), -1)], axis=1)
        assert set(rings.smallest_rings(loop, n)) == {min(n, 8)}


def test_smallest_rings_equal_those_of_networkx():
    networkx = pytest.importorskip("networkx")
    pairs = bonds(load("embedded")[-1])[0]
    graph, expected = networkx.Graph(pairs.tolist()), []
    for i, j in pairs.tolist():
        graph.remove_edge(i, j)
        path = networkx.has_path(graph, i, j) and networkx.shortest_path_length(graph, i, j) + 1
        expected.append(min(path or 8, 8))
        graph.add_edge(i, j)
    assert rings.smallest_rings(pairs, 216).tolist() == expected
    assert len(set(expected)) > 2


@pytest.mark.parametrize("repeat", [1, 3])
def test_bond_network_of_diamond(repeat):
    cell = bulk("C", "diamond", a=3.57, cubic=True).repeat(repeat)
    found = rings.bond_network([cell])
    assert found["rings"].tolist() == [[0, 0, 0, 1, 0, 0]]
    assert found["length_mean"][0] == pytest.approx(3.57 * np.sqrt(3) / 4)
    assert found["angle_mean"][0] == pytest.approx(109.471, abs=1e-3)
    assert found["angle_std"][0] == pytest.approx(0, abs=1e-4)


def test_bond_network_of_graphite_and_of_lonely_atoms():
    layer = Atoms("C4", [[0, 0, 0], [1.42, 0, 0], [2.13, 1.23, 0], [3.55, 1.23, 0]])
    layer.set_cell([4.26, 2.46, 9])
    layer.pbc = True
    found = rings.bond_network([layer, Atoms("C", cell=[9] * 3, pbc=True)])
    assert found["rings"][0].tolist() == [0, 0, 0, 1, 0, 0]
    assert found["angle_mean"][0] == pytest.approx(120, abs=0.1)
    assert all(np.isnan(values[1]).all() for values in found.values())
