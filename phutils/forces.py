"""Forces on the atoms of frames, where the data have them.

A file of the reader's own and the paper's archive may bring forces; they are kept with the frames
(`phutils.store.exact_dtype`). The records of the embedded data have no place for them: there the
frames that `phutils.labels.choose_gfn1` chooses, 17 of every melt-quench run of 216 atoms, have
forces in ``forces/nep89/<density>_run<k>.npy`` beside the trajectories, with a ``SHA256SUMS``. They
are those of NEP89, the potential behind the energies, at the positions as stored. With other labels
(``load(..., labels="gfn1")``) there are no forces, since these belong to NEP89's energies.

`phutils.dataset.Structures` reads both through ``forces`` and ``with_forces``.

Command line
    ``python -m phutils.forces --out data`` computes what is missing or belongs to another version
    of its trajectory: about a second a trajectory. Needs the optional extra ``simulate``.
"""

import argparse
from pathlib import Path

import numpy as np

from phutils.artifacts import atomic_write
from phutils.labels import FOLDER, choose_gfn1
from phutils.store import (
    CHECKSUMS,
    list_files,
    map_records,
    read_records,
    unpack_atoms,
    write_checksums,
)

NAME, METHOD, LABELS = "forces", "nep89", "NEP89"
TOLERANCE = 1e-4  # eV a frame, between the stored energy and that of the potential


def record_dtype(n_atoms):
    """Fields: ``row`` of the frame in its trajectory's file, ``forces`` [n_atoms, 3] in eV/Å, and
    ``trajectory``, the checksum of that file.

    Half precision: 11 significant bits, off by at most 1 part in 2048 (0.5 to 4 meV/Å for
    components of 1 to 10 eV/Å), while a model's errors are a hundred times as large.
    """
    return np.dtype([("row", "<i4"), ("forces", "<f2", (n_atoms, 3)), ("trajectory", "S64")])


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
    parser = argparse.ArgumentParser("phutils.forces", description=main.__doc__)
    parser.add_argument("--out", default="data", help="root of the dataset (default: data)")
    options = parser.parse_args(arguments)
    home, calculator = Path(options.out) / NAME, None
    for file in list_files(options.out):
        target = home / METHOD / file.path.name
        if file.folder != FOLDER or (target.exists() and _belongs(np.load(target), file)):
            continue
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
        records["trajectory"] = file.digest.encode()
        with atomic_write(target) as stream:
            np.save(stream, records, allow_pickle=False)
        print(f"finished {target}")
    if calculator is None:
        print("nothing to do: all forces are there")
    if home.is_dir():
        write_checksums(home)


def _belongs(records, file):
    known = records.dtype.names == record_dtype(1).names
    return known and bool((records["trajectory"] == file.digest.encode()).all())


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
    found = [at for at, *_ in _parts(structures)]
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
    for at, stored, rows in parts:
        forces[at, : stored.shape[1]] = stored[rows]
    return forces


def _parts(structures):
    """(frames that have forces, an array of forces, rows of those frames there), by file."""
    table, listed = structures._table, {}
    for number in np.unique(table["file"]):
        file, at = structures._files[number], np.flatnonzero(table["file"] == number)
        rows, records = table["row"][at], map_records(file)
        if "forces" in records.dtype.names:
            there = np.isfinite(records["forces"][rows, 0, 0])
            yield at[there], records["forces"], rows[there]
        elif structures.labels == LABELS and file.folder == FOLDER:
            home = file.path.parent.parent / NAME
            if home not in listed:
                files = list_files(home) if (home / CHECKSUMS).is_file() else []
                listed[home] = {f.path.name: f for f in files if f.folder == METHOD}
            if (beside := listed[home].get(file.path.name)) is None:
                continue
            records = read_records(beside)
            if not _belongs(records, file):
                raise ValueError(
                    f"{beside.path} belongs to another version of {file.path}: compute it again "
                    "with `python -m phutils.forces`"
                )
            place = np.searchsorted(records["row"], rows).clip(max=len(records) - 1)
            there = records["row"][place] == rows
            yield at[there], records["forces"], place[there]


if __name__ == "__main__":
    main()
