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
from pathlib import Path

import numpy as np

from phutils.artifacts import atomic_write
from phutils.store import (
    CHECKSUMS,
    list_files,
    read_records,
    unpack_atoms,
    write_checksums,
)

FOLDERS = ("216atom_amorphous", "512atom_amorphous")
STAGE, DENSITY = "buffer_low", 2.4  # g/cm3
NAME = "atom_energies"
TOLERANCE = 1e-4  # eV a frame: what single precision may change of a sum


def record_dtype(n_atoms):
    """Fields: ``row`` of the frame in its trajectory's file, ``energies`` [n_atoms] in eV, and
    ``trajectory``, the checksum of that file."""
    return np.dtype([("row", "<i4"), ("energies", "<f4", (n_atoms,)), ("trajectory", "S64")])


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
    home, calculator = Path(options.out) / NAME, None
    for file in list_files(options.out):
        if file.folder not in FOLDERS:
            continue
        frames = read_records(file)
        close = np.abs(frames["density"] - DENSITY) < 0.01
        rows = np.flatnonzero((frames["stage"] == STAGE) & close)
        target = home / file.folder / file.path.name
        if not len(rows) or (target.exists() and _belongs(np.load(target), file)):
            continue
        if calculator is None:
            from phutils import potential

            calculator = potential.calculator()
        try:
            energies = energies_of(frames[rows], calculator)
        except ValueError as error:
            parser.exit(1, f"{file.path}: {error}\n")
        records = np.zeros(len(rows), record_dtype(energies.shape[1]))
        records["row"], records["energies"] = rows, energies
        records["trajectory"] = file.digest.encode()
        with atomic_write(target) as stream:
            np.save(stream, records, allow_pickle=False)
        print(f"finished {target}")
    if calculator is None:
        print("nothing to do: all energies are there")
    if home.is_dir():
        write_checksums(home)


def _belongs(records, file):
    return bool((records["trajectory"] == file.digest.encode()).all())


# --- reading them --------------------------------------------------------------------------------


def atom_energies(structures):
    """Stored energies of the atoms of each frame.

    Parameters
    ----------
    structures : phutils.dataset.Structures
        With the labels that came with them (NEP89).

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
    for number in np.unique(structures._table["file"]):
        trajectory = structures._files[number]
        home = trajectory.path.parent.parent / NAME
        if not (home / CHECKSUMS).is_file():
            continue
        name = (trajectory.folder, trajectory.path.name)
        stored = [f for f in list_files(home) if (f.folder, f.path.name) == name]
        if not stored:
            continue
        records = read_records(stored[0])
        if not _belongs(records, trajectory):
            raise ValueError(
                f"{stored[0].path} belongs to another version of {trajectory.path}: compute it "
                "again with `python -m phutils.atom_energies`"
            )
        row_of = dict(zip(records["row"].tolist(), records["energies"], strict=True))
        for i in np.flatnonzero(structures._table["file"] == number):
            energies = row_of.get(int(structures._table["row"][i]))
            found[i] = None if energies is None else energies.astype(float)
    return found


if __name__ == "__main__":
    main()
