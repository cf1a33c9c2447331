"""Records of frames out of files of any format, after one strict check.

Persistent homology of a periodic structure needs an orthorhombic box, every model needs an energy,
and one broken frame spoils a histogram silently. So the first frame that cannot be used ends the
reading with an error that names file, frame (counted from 0) and value.
"""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from ase import units
from ase.data import atomic_masses
from scipy.spatial import cKDTree
from tqdm import tqdm

from phutils.formats import read_frames
from phutils.store import STAGE_LENGTH, exact_dtype

#: Names under which public data sets keep the total energy; the first one that is there is used.
ENERGY_KEYS = (
    "energy",
    "Energy",
    "dft_energy",
    "DFT_energy",
    "REF_energy",
    "ref_energy",
    "total_energy",
    "potential_energy",
    "TotEnergy",
    "free_energy",
)
STAGE_KEYS = ("stage", "process", "config_type")
TOTAL = ("", "total_", "potential_", "tot", "free_")  # energies whose forces have no such prefix
CLOSEST = 0.5  # Å
DENSITY_TOLERANCE = 0.02  # relative
GRAM_PER_CM3 = units._amu * 1e3 * 1e24  # of 1 amu/Å3


def read_records(path, energy_key=None, run=None, trajectories=None):
    """Read and check all frames of one file.

    Parameters
    ----------
    path : path-like
        Anything ASE reads.
    energy_key : str, optional
        Where the total energy [eV] is; by default the first of `ENERGY_KEYS` that frame 0 has.
        All frames must have it.
    run : int, optional
        Run number of all frames; by default what the frames say under ``run``, else 1.
    trajectories : dict, optional
        Numbering of trajectories, shared by several files; extended in place. Frames of one file
        belong to one trajectory when they agree in ``run``, in atoms, and in the ``density`` that
        the file states (if it does).

    Returns
    -------
    dict
        ``{n_atoms: records}``, records of `phutils.store.exact_dtype` in the order of the file,
        with forces where a frame has some (see `forces_of`).

    Raises
    ------
    FileNotFoundError
        If the path does not exist.
    ValueError
        If the file is empty or unreadable, or a frame is not usable: see `check_frame`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist or is not a file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    trajectories = {} if trajectories is None else trajectories
    records, forces = defaultdict(list), defaultdict(list)
    frames = tqdm(
        read_frames(path), desc=path.name, unit=" frames", delay=1, mininterval=2, leave=False
    )
    for index, frame in enumerate(frames):
        where = f"{path}, frame {index}"
        energy_key = energy_key or _find_energy_key(frame.info, where)
        density = check_frame(frame, energy_key, where)
        own_run = _integer(frame.info.get("run", 1), "run", where) if run is None else run
        stage = str(next((frame.info[key] for key in STAGE_KEYS if key in frame.info), ""))
        if len(stage) > STAGE_LENGTH:
            raise ValueError(f"{where}: stage {stage!r} has more than {STAGE_LENGTH} characters")
        given = frame.info.get("density")
        key = (path, own_run, None if given is None else float(given), frame.numbers.tobytes())
        record = np.zeros((), exact_dtype(len(frame.numbers)))
        record["energy"] = float(frame.info[energy_key])
        record["density"] = density if given is None else float(given)
        record["cell"] = frame.cell.diagonal()
        record["time"] = np.nan
        record["temperature"] = number(frame.info.get("temperature", "nan"), "temperature", where)
        record["run"], record["stage"], record["frame"] = own_run, stage, index
        record["trajectory"] = trajectories.setdefault(key, len(trajectories))
        record["numbers"], record["positions"] = frame.numbers, frame.positions
        records[len(frame.numbers)].append(record)
        forces[len(frame.numbers)].append(forces_of(frame, energy_key, where))
    if not records:
        raise ValueError(f"{path} holds no frame")
    return {n: _with_forces(np.stack(own), forces[n]) for n, own in records.items()}


def _with_forces(records, forces):
    """The records with a field for forces, where one of them has some."""
    if all(found is None for found in forces):
        return records
    wider = np.zeros(len(records), exact_dtype(records["numbers"].shape[1], forces=True))
    for name in records.dtype.names:
        wider[name] = records[name]
    for record, found in zip(wider, forces, strict=True):
        record["forces"] = np.nan if found is None else found
    return wider


def forces_of(frame, energy_key, where):
    """Forces that belong to the energy of a frame.

    Those under ``forces`` or ``force`` for an energy of no special name (``energy``,
    ``free_energy``), those under ``dft_forces`` or ``dft_force`` for ``dft_energy``, and so on:
    forces of another calculation are no derivative of this energy.

    Parameters
    ----------
    frame : Frame
    energy_key : str
    where : str
        File and frame, for the message.

    Returns
    -------
    ndarray [n_atoms, 3] or None
        eV/Å.

    Raises
    ------
    ValueError
        If a force is not finite in single precision.
    """
    prefix = re.sub("energy$", "", energy_key, flags=re.IGNORECASE)
    prefix = "" if prefix.lower() in TOTAL else prefix
    key = next((k for k in (f"{prefix}forces", f"{prefix}force") if k in frame.arrays), None)
    if key is None:
        return None
    with np.errstate(over="ignore"):
        forces = np.asarray(frame.arrays[key]).astype(np.float32)
    for atom in np.flatnonzero(~np.isfinite(forces).all(axis=1))[:1]:
        raise ValueError(f"{where}: {key} of atom {atom} is {frame.arrays[key][atom].tolist()}")
    return forces


def check_frame(frame, energy_key, where):
    """Refuse a frame that later steps could only get wrong.

    Parameters
    ----------
    frame : Frame
    energy_key : str
    where : str
        File and frame, for the message.

    Returns
    -------
    float
        Density in g/cm3, from masses and cell.

    Raises
    ------
    ValueError
        For a missing or non-finite energy, a position that is not finite, a missing or partial
        periodicity, a cell without volume or not orthorhombic, two atoms closer than 0.5 Å, an
        unknown element, or a ``density`` more than 2 % off the one of masses and cell.
    """
    if energy_key not in frame.info:
        there = ", ".join(sorted(frame.info)) or "none"
        raise ValueError(f"{where}: no energy under {energy_key!r} (keys there: {there})")
    energy = number(frame.info[energy_key], energy_key, where)
    if not np.isfinite(energy):
        raise ValueError(f"{where}: {energy_key} is {energy}")
    finite = np.isfinite(frame.positions).all(axis=1)
    if not finite.all():
        atom = int(np.argmin(finite))
        raise ValueError(f"{where}: position of atom {atom} is {frame.positions[atom].tolist()}")
    if not len(frame.numbers):
        raise ValueError(f"{where}: no atoms")
    for atom in np.flatnonzero(np.asarray(frame.numbers) < 1)[:1]:
        raise ValueError(f"{where}: atom {atom} is of unknown element")
    if not all(frame.pbc):
        flags = " ".join("FT"[bool(flag)] for flag in frame.pbc)
        raise ValueError(f"{where}: pbc is {flags}, periodicity in all three directions is needed")
    edges = frame.cell.diagonal()
    skew = np.abs(frame.cell - np.diag(edges)).max() > 1e-5 * edges.max()
    if not abs(np.linalg.det(frame.cell) if skew else edges.prod()) > 1e-6:  # also true of nan
        raise ValueError(f"{where}: the cell has no volume: {frame.cell.tolist()}")
    if skew or edges.min() <= 0:
        raise ValueError(
            f"{where}: the cell {frame.cell.tolist()} is not orthorhombic along x, y, z, which the "
            "periodic alpha filtration needs"
        )
    _check_distances(frame, edges, where)
    density = atomic_masses[frame.numbers].sum() / edges.prod() * GRAM_PER_CM3
    if "density" in frame.info:
        given = number(frame.info["density"], "density", where)
        if not abs(given - density) <= DENSITY_TOLERANCE * density:
            raise ValueError(
                f"{where}: density is given as {given:g} g/cm3, but masses and cell make "
                f"{density:.4g} g/cm3"
            )
    return density


def _check_distances(frame, edges, where):
    if edges.min() < CLOSEST:
        raise ValueError(f"{where}: cell edge of {edges.min():g} Å, shorter than {CLOSEST} Å")
    wrapped = frame.positions % edges
    wrapped[wrapped >= edges] = 0.0  # a tiny negative number wraps to the edge itself
    tree = cKDTree(wrapped, boxsize=edges, balanced_tree=False, compact_nodes=False)
    pairs = tree.query_pairs(CLOSEST, output_type="ndarray")
    if len(pairs):
        i, j = sorted(pairs[0].tolist())
        apart = wrapped[i] - wrapped[j]
        distance = np.linalg.norm(apart - edges * np.rint(apart / edges))
        raise ValueError(f"{where}: atoms {i} and {j} are {distance:.3f} Å apart")


def _find_energy_key(info, where):
    for key in ENERGY_KEYS:
        if key in info:
            return key
    there = ", ".join(sorted(info)) or "none"
    raise ValueError(
        f"{where}: no energy; set energy_key in load, or rename the key as docs/own_data.md shows "
        f"(keys there: {there})"
    )


def number(value, name, where):
    """``value`` as a float, or a ValueError that says what it is instead and where."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: {name} is {value!r}, expected a number") from None


def _integer(value, name, where):
    if not (found := number(value, name, where)).is_integer():
        raise ValueError(f"{where}: {name} is {value!r}, expected an integer")
    return int(found)
