"""Write own.extxyz, the file that docs/own_data.md reads as if it were yours.

    python data/examples/make_own.py

Ten frames of each of six embedded trajectories, from all of its stages, in cells that were
stretched or pressed to a density which the embedded data does not have. The energies are those of
NEP89 (extra ``simulate``) for just these positions, which are rounded to 1 mÅ. The file says
nothing but what a file must say: cell, elements, positions and energy; no density, stage or run.
"""

from pathlib import Path

import numpy as np

from phutils.dataset import cell_length, load
from phutils.potential import calculator

FILE = Path(__file__).with_name("own.extxyz")
DENSITIES = {1.5: 1.6, 1.7: 1.8, 2.0: 2.1, 2.4: 2.3, 2.8: 2.7, 3.2: 3.1}  # g/cm3, from and to
FRAMES = 10  # of each trajectory


def stretched(atoms, density):
    """The same atoms in a cube of another density [g/cm3], rounded to what the file can hold."""
    length = round(cell_length(len(atoms), density), 3)
    atoms.set_cell([length] * 3, scale_atoms=True)
    atoms.positions = np.round(atoms.positions, 3)
    return atoms


def block(atoms, energy):
    """One frame as extended XYZ, 22 bytes an atom."""
    lattice = " ".join(f"{x:g}" for x in atoms.cell.array.ravel())
    head = f'Lattice="{lattice}" Properties=species:S:1:pos:R:3 energy={energy:.6f} pbc="T T T"'
    rows = (f"C {x:.3f} {y:.3f} {z:.3f}" for x, y, z in atoms.positions)
    return "\n".join([str(len(atoms)), head, *rows, ""])


def main():
    structures = load("embedded")
    structures = structures[structures.run == 1]
    nep89 = calculator()
    with FILE.open("w", encoding="utf-8") as file:
        for old, new in DENSITIES.items():
            frames = structures[np.abs(structures.density - old) < 0.01]
            for i in np.linspace(0, len(frames) - 1, FRAMES).round().astype(int):
                atoms = stretched(frames[int(i)], new)
                file.write(block(atoms, nep89.get_potential_energy(atoms)))


if __name__ == "__main__":
    main()
