"""The fast evaluation of NEP89 against calorine, against differences, and its neighbour list."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from phutils import dataset, fast_nep, potential


@pytest.fixture(scope="module")
def model(nep89):
    return fast_nep.read_model(potential.nep89_carbon())


def shaken(atoms, spread, seed=0):
    atoms = atoms.copy()
    atoms.positions += np.random.default_rng(seed).normal(0, spread, atoms.positions.shape)
    return atoms


def both(atoms, model):
    """Energies of the atoms and forces, by calorine and by the tables."""
    results = []
    for calculator in (potential.calculator(), fast_nep.FastNEP(model)):
        other = atoms.copy()
        other.calc = calculator
        results.append((other.get_potential_energies(), other.get_forces()))
    return results


def test_stored_frames(model):
    """Thin liquid to dense glass: the same energies and forces as calorine's."""
    structures = dataset.load("embedded")
    for density in (1.5, 2.4, 3.5):
        for stage in ("buffer_high", "quench2"):
            row = np.flatnonzero((structures.density == density) & (structures.stage == stage))[-1]
            (energies, forces), (fast_energies, fast_forces) = both(structures[int(row)], model)
            assert np.abs(forces).max() > 2
            np.testing.assert_allclose(fast_energies, energies, rtol=0, atol=1e-8)
            np.testing.assert_allclose(fast_forces, forces, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "atoms",
    [
        shaken(bulk("C", "diamond", a=3.57, cubic=True), 0.1),  # sees its own images
        shaken(bulk("C", "diamond", a=3.57), 0.1),  # slanted cell of two atoms
        shaken(bulk("C", "diamond", a=2.9, cubic=True).repeat(2), 0.15),  # repulsion
        Atoms("C2", [[0, 0, 0], [1.1, 0.3, -0.2]], cell=[30, 30, 30]),  # no period
        Atoms("C", cell=[20, 20, 20], pbc=True),  # no neighbour
    ],
    ids=["images", "slanted", "repulsion", "molecule", "alone"],
)
def test_other_cells(model, atoms):
    (energies, forces), (fast_energies, fast_forces) = both(atoms, model)
    np.testing.assert_allclose(fast_energies, energies, rtol=0, atol=1e-8)
    np.testing.assert_allclose(fast_forces, forces, rtol=1e-7, atol=1e-6)


def test_forces_are_the_slope_of_the_energy(model):
    atoms = shaken(bulk("C", "diamond", a=3.4, cubic=True), 0.15)
    atoms.calc = fast_nep.FastNEP(model)
    forces, step = atoms.get_forces(), 1e-4  # Å
    for atom, axis in ((0, 0), (3, 1), (7, 2)):
        energies = []
        for sign in (1, -1):
            atoms.positions[atom, axis] += sign * step
            energies.append(atoms.get_potential_energy())
            atoms.positions[atom, axis] -= sign * step
        slope = (energies[0] - energies[1]) / (2 * step)
        assert forces[atom, axis] == pytest.approx(-slope, abs=1e-5)
    assert np.abs(forces).max() > 1
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-10)


def test_the_list_of_neighbours_follows_the_atoms(model):
    """Small moves keep the list, large ones and another cell renew it; energies stay right."""
    rng = np.random.default_rng(1)
    atoms = shaken(bulk("C", "diamond", a=3.57, cubic=True).repeat(2), 0.1)
    atoms.calc = fast_nep.FastNEP(model)
    atoms.get_forces()
    kept = 0
    for k in range(40):
        listed = atoms.calc._listed
        if k == 20:
            atoms.set_cell(atoms.cell * 1.05, scale_atoms=True)
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        forces = atoms.get_forces()
        kept += atoms.calc._listed is listed
        fresh = atoms.copy()
        fresh.calc = fast_nep.FastNEP(model)
        np.testing.assert_allclose(forces, fresh.get_forces(), rtol=0, atol=1e-9)
    assert 10 < kept < 39


def test_energy_is_conserved_without_a_thermostat(model):
    from ase import units
    from ase.md.velocitydistribution import thermalize_momenta
    from ase.md.verlet import VelocityVerlet

    atoms = shaken(bulk("C", "diamond", a=3.57, cubic=True).repeat(2), 0.02)
    thermalize_momenta(atoms, 2000, rng=np.random.default_rng(0))
    atoms.calc = fast_nep.FastNEP(model)
    before = atoms.get_total_energy()
    start = atoms.positions.copy()
    VelocityVerlet(atoms, 0.25 * units.fs).run(400)
    # Verlet's own error goes with the square of the step; calorine's forces give the same 8e-5 eV.
    assert abs(atoms.get_total_energy() - before) / len(atoms) < 1.2e-4
    assert np.abs(atoms.positions - start).max() > 0.2


def test_refused(model):
    text = potential.nep89_carbon()
    with pytest.raises(ValueError, match="only nep4_zbl of one element with l_max 4 2 1"):
        fast_nep.read_model(text.replace("nep4_zbl", "nep4", 1))
    close = Atoms("C2", [[0, 0, 0], [0.3, 0, 0]], calculator=fast_nep.FastNEP(model))
    with pytest.raises(RuntimeError, match="two atoms are 0.30 Å apart"):
        close.get_forces()
    other = Atoms("CSi", [[0, 0, 0], [1.8, 0, 0]], calculator=fast_nep.FastNEP(model))
    with pytest.raises(ValueError, match="Si: the potential knows only C"):
        other.get_forces()
