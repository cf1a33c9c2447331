"""Supercells whose diagrams are known from counting."""

import numpy as np
import pytest
from ase import Atoms

from phutils import boundaries
from phutils.diagrams import Diagrams, persistence_diagram

RNG = np.random.default_rng(9)


def amorphous(n=40, length=7.0, seed=1):
    """Random atoms, none too close to another, in a box small enough to be wound around."""
    rng, points = np.random.default_rng(seed), []
    while len(points) < n:
        new = rng.uniform(0, length, 3)
        apart = np.abs(np.array(points).reshape(-1, 3) - new)
        apart = np.minimum(apart, length - apart)
        if not len(points) or (np.linalg.norm(apart, axis=1) > 1.1).all():
            points.append(new)
    return Atoms(f"C{n}", positions=points, cell=[length] * 3, pbc=True)


def test_changed_pairs_are_counted_with_their_copies():
    pairs = np.array([[1.0, 2.0], [1.0, 2.0], [0.5, 0.9], [0.3, 3.0]])
    larger = np.concatenate([np.repeat(pairs[:3], 8, axis=0), [[0.3, 3.0]] * 5, [[0.7, 0.8]]])
    larger = RNG.permutation(larger + RNG.uniform(-1e-9, 1e-9, larger.shape))
    lost, gained = boundaries.changed_pairs(pairs, larger, 8)
    np.testing.assert_allclose(lost, [[0.3, 3.0]] * 3, atol=1e-8)
    np.testing.assert_allclose(gained, [[0.7, 0.8]], atol=1e-8)
    lost, gained = boundaries.changed_pairs(pairs, np.repeat(pairs, 8, axis=0), 8)
    assert lost.shape == gained.shape == (0, 2)


def test_a_supercell_holds_what_counting_tells():
    atoms = amorphous()
    single = Diagrams.from_frames([persistence_diagram(atoms)], (0, 1, 2), [40])
    double = boundaries.supercells([atoms], n_jobs=1, progress=False)
    assert double.n_atoms.tolist() == [320]
    for k, extra in enumerate((7, 14, 7)):
        lost, gained = boundaries.changed_pairs(single[0][k], double[0][k], 8)
        assert len(gained) - len(lost) == extra
    found = boundaries.boundary_changes(single, double, 8)
    assert found["share"][0][0] == pytest.approx(100 * 7 / 319)
    for k, pairs in found["pairs"].items():
        assert len(pairs) == round(found["share"][k][0] * len(double[0][k]) / 100) > 0
        assert (pairs[:, 1] > pairs[:, 0]).all()
