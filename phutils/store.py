"""How frames are stored: two record formats, and folders of them that are checked when read.

A frame is one record of a structured NumPy array, a trajectory or a file of equal sizes is one
``.npy`` file, and a folder of such files has a ``SHA256SUMS``. Nothing is ever unpickled.

Two formats share their first fields. The *compact* one (`frame_dtype`) keeps carbon positions as
16-bit fractions of the cell: 1.3 kB for 216 atoms, off by at most ``cell / 2**17`` per component
(0.11 mÅ in a cell of 14 Å). The *exact* one (`exact_dtype`) keeps what a file says: positions in
double precision and any element.
"""

import hashlib
import io
import os
import shutil
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.data import atomic_masses
from filelock import FileLock

FORMAT = 2  # of the exact records; part of every cache key
CHECKSUMS = "SHA256SUMS"
STAGE_LENGTH = 32  # characters

# Another label of one frame: its row in the trajectory's file, total energies [eV] extrapolated to
# 0 K of the electrons and at their temperature, and the checksum of the trajectory's file.
LABEL_DTYPE = np.dtype(
    [("row", "<i4"), ("energy", "<f8"), ("free_energy", "<f8"), ("trajectory", "S64")]
)

_COMMON = [
    ("energy", "<f8"),
    ("density", "<f8"),
    ("cell", "<f8", (3,)),
    ("time", "<f4"),
    ("temperature", "<f4"),
]


def frame_dtype(n_atoms):
    """Compact record of one carbon frame; names, order and types are frozen.

    Fields: ``energy`` (eV, total), ``density`` (g/cm3), ``cell`` [3] (Å, edges), ``time`` (ps),
    ``temperature`` (K), ``run``, ``stage``, ``scaled_positions`` [n_atoms, 3] (cell / 2**16).
    """
    own = [("run", "<i2"), ("stage", "<U11"), ("scaled_positions", "<u2", (n_atoms, 3))]
    return np.dtype(_COMMON + own)


@cache
def exact_dtype(n_atoms, forces=False):
    """Record of one frame of any elements, positions as given.

    Fields: those of `frame_dtype` up to ``temperature``, then ``run``, ``stage``, ``split``
    (0 none, 1 train, 2 test), ``trajectory`` (groups what is correlated), ``frame`` (index in the
    source file), ``numbers`` [n_atoms] (atomic numbers), ``positions`` [n_atoms, 3] (Å); and where
    a frame of the file has them, ``forces`` [n_atoms, 3] (eV/Å, single precision, NaN for the other
    frames).
    """
    own = [
        ("run", "<i4"),
        ("stage", f"<U{STAGE_LENGTH}"),
        ("split", "u1"),
        ("trajectory", "<i4"),
        ("frame", "<i4"),
        ("numbers", "u1", (n_atoms,)),
        ("positions", "<f8", (n_atoms, 3)),
    ]
    own += [("forces", "<f4", (n_atoms, 3))] if forces else []
    return np.dtype(_COMMON + own)


def cell_length(n_atoms, density, number=6):
    """Edge [Å] of the cube that holds ``n_atoms`` of one element at ``density`` [g/cm3]."""
    mass = n_atoms * atomic_masses[number] * units._amu * 1e3  # g
    return (mass / density) ** (1 / 3) * 1e8


def pack_frame(atoms, density, run, stage, time, temperature, energy=np.nan):
    """Compact record of a carbon structure in an orthorhombic cell.

    Parameters
    ----------
    atoms : ase.Atoms
        Carbon only, cell along the axes; positions may lie outside the cell.
    density : float
        g/cm3.
    run : int
    stage : str
        At most 11 characters.
    time, temperature : float
        ps, K.
    energy : float, optional
        Total energy in eV.

    Returns
    -------
    numpy.ndarray
        0-dimensional, of `frame_dtype`.
    """
    frame = np.zeros((), frame_dtype(len(atoms)))
    cell = atoms.cell.lengths()
    scaled = np.rint(atoms.positions / cell * 2**16).astype(np.int64) % 2**16
    fields = dict(energy=energy, density=density, cell=cell, time=time, temperature=temperature)
    for name, value in (fields | dict(run=run, stage=stage, scaled_positions=scaled)).items():
        frame[name] = value
    return frame


def unpack_atoms(frame):
    """The structure of one record, compact or exact: periodic `ase.Atoms`, positions in Å."""
    if "positions" in frame.dtype.names:
        numbers, positions = frame["numbers"], np.array(frame["positions"])
        return Atoms(numbers, positions=positions, cell=frame["cell"], pbc=True)
    positions = frame["scaled_positions"] * (frame["cell"] / 2**16)
    numbers = np.full(len(positions), 6)  # a formula such as "C216" takes ten times longer to read
    return Atoms(numbers, positions=positions, cell=frame["cell"], pbc=True)


# --- folders with checksums ----------------------------------------------------------------------


class StoreFile(NamedTuple):
    """One file of records and the SHA-256 of its content, as listed."""

    path: Path
    digest: str

    @property
    def folder(self):
        """Name of the folder that holds the file, for example ``216atom_amorphous``."""
        return self.path.parent.name


def write_checksums(root):
    """Write ``SHA256SUMS`` of all ``*/*.npy`` below ``root`` (``sha256sum -c`` reads it)."""
    root = Path(root)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root).as_posix()}\n"
        for path in sorted(root.glob("*/*.npy"))
        if path.parent.name != ".partial"
    ]
    partial = root / f"SHA256SUMS.{os.getpid()}.tmp"
    partial.write_text("".join(lines))
    partial.replace(root / "SHA256SUMS")


def list_files(root):
    """The files a folder's ``SHA256SUMS`` lists, in its order; others there do not count.

    Returns
    -------
    list of StoreFile

    Raises
    ------
    FileNotFoundError
        If there is no ``SHA256SUMS``.
    ValueError
        If it is empty or a line is not ``<64 hex digits>  <folder>/<name>.npy``.
    """
    sums = Path(root) / CHECKSUMS
    if not sums.is_file():
        raise FileNotFoundError(f"{sums} is missing: {root} is no folder of stored frames")
    files = []
    for number, line in enumerate(sums.read_text().splitlines(), start=1):
        digest, _, name = line.partition("  ")
        parts = PurePosixPath(name).parts
        if len(digest) != 64 or len(parts) != 2 or ".." in parts or parts[0] == "/":
            raise ValueError(f"{sums}, line {number}: expected a checksum and a path, got {line!r}")
        files.append(StoreFile(Path(root, *parts), digest))
    if not files:
        raise ValueError(f"{sums} is empty: the folder holds no finished trajectory")
    return files


def read_records(file):
    """All records of one file, read into memory after its checksum was found right.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If its content does not have the listed checksum.
    """
    if not file.path.is_file():
        raise FileNotFoundError(f"{file.path} is missing, but {CHECKSUMS} lists it")
    content = file.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != file.digest:
        raise ValueError(f"{file.path} is corrupt: its SHA-256 is not the one in {CHECKSUMS}")
    return np.load(io.BytesIO(content), allow_pickle=False)


@cache
def map_records(file):
    """The records of one file as a read-only memory map, opened once per process."""
    return np.asarray(np.load(file.path, mmap_mode="r", allow_pickle=False))


def cached_store(folder, build):
    """A checked folder of records, built at the first call; half-built ones are never seen.

    Parameters
    ----------
    folder : pathlib.Path
        Its name must be a key of everything that ``build`` depends on.
    build : callable
        Called without arguments if the folder is missing or damaged; returns
        ``{"<folder>/<name>.npy": records}``.

    Returns
    -------
    pathlib.Path
        ``folder``. One process builds, others wait.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not _intact(folder):
            partial = folder.with_name(f"{folder.name}.tmp")
            for leftover in (folder, partial):
                shutil.rmtree(leftover, ignore_errors=True)
            for name, records in build().items():
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                np.save(partial / name, records, allow_pickle=False)
            write_checksums(partial)
            partial.replace(folder)
    return folder


def _intact(folder):
    try:
        for file in list_files(folder):
            read_records(file)
    except (FileNotFoundError, ValueError):
        return False
    return True


def cache_folder():
    """Where downloads and converted files go: ``$PHUTILS_DATA``, else the user's cache folder."""
    if chosen := os.environ.get("PHUTILS_DATA"):
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("phutils"))
