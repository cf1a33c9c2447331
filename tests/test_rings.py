import numpy as np
import pytest
from ase import Atoms

from phutils import rings
from phutils.cycles import stable_volumes
from phutils.dataset import load
from phutils.structure import radial_distribution


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
