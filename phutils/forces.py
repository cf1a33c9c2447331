"""Forces on the atoms of frames, where the data have them.

A file of the reader's own and the paper's archive may bring forces; they are kept with the frames
(`phutils.store.exact_dtype`). The records of the embedded data have no place for them: there the
frames that `phutils.labels.choose_gfn1` chooses, 17 of every melt-quench run of 216 atoms, have
forces in ``forces/`` (see `phutils.companions`). They are those of NEP89, the potential behind the
energies, at the positions as stored. With other labels
(``load(..., labels="gfn1")``) there are no forces, since these belong to NEP89's energies.

`phutils.dataset.Structures` reads both through ``forces`` and ``with_forces``.

Command line
    ``python -m phutils.forces --out data`` computes what is missing or belongs to another version
    of its trajectory: about a second a trajectory. Needs the optional extra ``simulate``.
"""

import argparse

import numpy as np

from phutils import companions
from phutils.labels import FOLDER, choose_gfn1
from phutils.store import map_records, read_records, unpack_atoms

NAME, MODULE, LABELS = "forces", "phutils.forces", "NEP89"
TOLERANCE = 1e-4  # eV a frame, between the stored energy and that of the potential


def record_dtype(n_atoms):
    """Record of `phutils.companions` with ``forces`` [n_atoms, 3] in eV/Å.

    Half precision: 11 significant bits, off by at most 1 part in 2048 (0.5 to 4 meV/Å for
    components of 1 to 10 eV/Å), while a model's errors are a hundred times as large.
    """
    return companions.record_dtype([("forces", "<f2", (n_atoms, 3))])


# --- making them ---------------------------------------------------------------------------------


def compute_forces(frames, calculator):
    """Forces on the atoms of stored frames.

    Parameters
    ----------
    frames : ndarray of records
        See `phutils.store.frame_dtype`.
    calculator : ase calculator
        For example that of `phutils.potential.calculator`.

    Returns
    -------
    ndarray [n, n_atoms, 3]
        eV/Å.

    Raises
    ------
    ValueError
        If the calculator's energy of a frame is not the stored one, or a force is not finite or
        too large for half precision.
    """
    found = []
    for i, frame in enumerate(frames):
        atoms = unpack_atoms(frame)
        atoms.calc = calculator
        energy, stored = atoms.get_potential_energy(), float(frame["energy"])
        if not abs(energy - stored) < TOLERANCE:
            raise ValueError(
                f"frame {i}: the potential gives {energy:.6f} eV, the stored energy is "
                f"{stored:.6f} eV: these are labels of another potential"
            )
        found.append(atoms.get_forces())
        with np.errstate(over="ignore"):
            bad = np.argwhere(~np.isfinite(found[-1].astype(np.float16)))
        for atom, axis in bad[:1]:
            raise ValueError(f"frame {i}: force on atom {atom} is {found[-1][atom, axis]} eV/Å")
    return np.array(found)


def main(arguments=None):
    """Compute what is missing, then write the checksums."""
    parser = argparse.ArgumentParser(MODULE, description=main.__doc__)
    parser.add_argument("--out", default="data", help="root of the dataset (default: data)")
    options = parser.parse_args(arguments)
    calculator = None

    def compute(file):
        nonlocal calculator
        if calculator is None:
            from phutils import potential

            calculator = potential.calculator()
        frames = read_records(file)
        rows = choose_gfn1(frames)
        try:
            found = compute_forces(frames[rows], calculator)
        except ValueError as error:
            parser.exit(1, f"{file.path}, rows {rows.tolist()}: {error}\n")
        records = np.zeros(len(rows), record_dtype(found.shape[1]))
        records["row"], records["forces"] = rows, found
        return records

    if not companions.complete(options.out, NAME, [FOLDER], compute):
        print("nothing to do: all forces are there")


# --- reading them --------------------------------------------------------------------------------


def frames_with_forces(structures):
    """Indices of the frames that have forces, ndarray of int, ascending.

    Parameters
    ----------
    structures : phutils.dataset.Structures

    Raises
    ------
    ValueError
        If a file is damaged or belongs to another version of its trajectory.
    """
    found = [at for at, _ in _parts(structures)]
    return np.sort(np.concatenate([np.empty(0, int), *found]))


def read_forces(structures):
    """Forces on the atoms of all frames.

    Parameters
    ----------
    structures : phutils.dataset.Structures

    Returns
    -------
    ndarray [n, most atoms, 3] of float32, or None
        eV/Å. NaN for frames without forces, and beyond the last atom of frames that are smaller
        than the largest one. None where no frame has forces.

    Raises
    ------
    ValueError
        As `frames_with_forces`.
    """
    parts = [part for part in _parts(structures) if len(part[0])]
    if not parts:
        return None
    forces = np.full((len(structures), structures.n_atoms.max(), 3), np.nan, np.float32)
    for at, found in parts:
        forces[at, : found.shape[1]] = found
    return forces


def _parts(structures):
    """(frames that have forces, their forces), by file."""
    table = structures._table
    for number in np.unique(table["file"]):
        records = map_records(structures._files[number])
        if "forces" in records.dtype.names:
            at = np.flatnonzero(table["file"] == number)
            found = records["forces"][table["row"][at]]
            there = np.isfinite(found[:, 0, 0])
            yield at[there], found[there]
    if structures.labels == LABELS:
        for at, records in companions.aligned(structures, NAME, MODULE):
            yield at, records["forces"]


if __name__ == "__main__":
    main()
