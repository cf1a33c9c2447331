"""Energies of single atoms, as the potential behind the embedded data divides them.

NEP89 is a sum of one term an atom, so that the energy of a frame has a share for each of its atoms.
No measurement gives such shares: another potential with the same total may divide it otherwise.
They are stored for the frames that the inverse analysis looks at (5000 K, 2.4 g/cm3), as
``atom_energies/<folder>/<density>_run<k>.npy`` beside the trajectories, with a ``SHA256SUMS``.

Command line
    ``python -m phutils.atom_energies --out data`` computes what is missing or belongs to another
    version of its trajectory: about a second a trajectory. Needs the optional extra ``simulate``.
"""

import argparse

import numpy as np

from phutils import companions
from phutils.store import read_records, unpack_atoms

FOLDERS = ("216atom_amorphous", "512atom_amorphous")
STAGE, DENSITY = "buffer_low", 2.4  # g/cm3
NAME = "atom_energies"
TOLERANCE = 1e-4  # eV a frame: what single precision may change of a sum


def record_dtype(n_atoms):
    """Fields: ``row`` of the frame in its trajectory's file, ``energies`` [n_atoms] in eV, and
    ``trajectory``, the checksum of that file."""
    return companions.record_dtype([("energies", "<f4", (n_atoms,))])


# --- making them ---------------------------------------------------------------------------------


def energies_of(frames, calculator):
    """Energies of the atoms of stored frames.

    Parameters
    ----------
    frames : ndarray of records
        See `phutils.store.frame_dtype`.
    calculator : ase calculator
        One that knows ``energies``, for example that of `phutils.potential.calculator`.

    Returns
    -------
    ndarray [n, n_atoms]
        eV.

    Raises
    ------
    ValueError
        If the energies of a frame do not add up to its stored energy.
    """
    found = []
    for i, frame in enumerate(frames):
        atoms = unpack_atoms(frame)
        atoms.calc = calculator
        found.append(atoms.get_potential_energies())
        total = float(frame["energy"])
        if not abs(found[-1].sum() - total) < TOLERANCE:
            raise ValueError(
                f"frame {i}: the atoms add up to {found[-1].sum():.6f} eV, its energy is "
                f"{total:.6f} eV: these are labels of another potential"
            )
    return np.array(found)


def main(arguments=None):
    """Compute what is missing, then write the checksums."""
    parser = argparse.ArgumentParser("phutils.atom_energies", description=main.__doc__)
    parser.add_argument("--out", default="data", help="root of the dataset (default: data)")
    options = parser.parse_args(arguments)
    calculator = None

    def compute(file):
        nonlocal calculator
        frames = read_records(file)
        close = np.abs(frames["density"] - DENSITY) < 0.01
        rows = np.flatnonzero((frames["stage"] == STAGE) & close)
        if not len(rows):
            return None
        if calculator is None:
            from phutils import potential

            calculator = potential.calculator()
        try:
            energies = energies_of(frames[rows], calculator)
        except ValueError as error:
            parser.exit(1, f"{file.path}: {error}\n")
        records = np.zeros(len(rows), record_dtype(energies.shape[1]))
        records["row"], records["energies"] = rows, energies
        return records

    if not companions.complete(options.out, NAME, FOLDERS, compute):
        print("nothing to do: all energies are there")


# --- reading them --------------------------------------------------------------------------------


def atom_energies(structures):
    """Stored energies of the atoms of each frame.

    Parameters
    ----------
    structures : phutils.dataset.Structures
        With any labels. The shares are those of NEP89 all the same: they add up to the NEP89
        energy of the frame, not to another label.

    Returns
    -------
    list
        For each frame an ndarray [n_atoms] in eV, or None where nothing is stored: for frames
        outside the stage and density above, and for data from elsewhere.

    Raises
    ------
    ValueError
        If a file is damaged or belongs to another version of its trajectory.
    """
    found = [None] * len(structures)
    for at, records in companions.aligned(structures, NAME, __name__):
        for i, energies in zip(at, records["energies"].astype(float), strict=True):
            found[i] = energies
    return found


if __name__ == "__main__":
    main()
