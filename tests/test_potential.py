import numpy as np
import pytest

from phutils import potential, simulate


def test_carbon_block_is_the_full_potential(nep89):
    from calorine.calculators import CPUNEP

    rng = np.random.default_rng(0)
    full, cut = CPUNEP(str(nep89)), potential.calculator()
    atoms = simulate.initial_structure(simulate.trajectories()[4])
    start = atoms.positions.copy()
    for spread in (0.1, 0.25, 0.4):  # Å
        atoms.positions = start + rng.normal(0, spread, start.shape)
        results = []
        for calculator in (full, cut):
            atoms.calc = calculator
            results.append((atoms.get_potential_energy(), atoms.get_forces()))
        (energy, forces), (energy_cut, forces_cut) = results
        assert np.abs(forces).max() > 1  # eV/Å: far from any symmetry
        assert abs(energy - energy_cut) < 1e-6
        assert np.abs(forces - forces_cut).max() < 1e-5


def test_carbon_block_refuses_what_it_does_not_understand(nep89):
    text = nep89.read_text()
    with pytest.raises(ValueError, match="Xx is not among the 89 elements"):
        potential.carbon_block(text, "Xx")
    with pytest.raises(ValueError, match="parameters in the potential, expected"):
        potential.carbon_block(text.rstrip().rsplit("\n", 1)[0])
