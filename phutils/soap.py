"""SOAP descriptors by DScribe, of every atom or averaged.

The descriptors of a dataset are one file, written shard by shard and renamed when it is whole; a
run that was killed goes on behind the last frame that is there. Memory stays flat however many
frames there are.
"""

import io
import re
import warnings
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from filelock import FileLock

from phutils.artifacts import fingerprint
from phutils.frames import FrameError, run_shards

# What the paper found with Optuna (Sec. II.C), and below it what it leaves open.
PAPER = {
    "r_cut": 4.1,  # Å
    "n_max": 8,
    "l_max": 9,
    "sigma": 0.16,  # Å
    "rbf": "gto",  # ours: DScribe's default
}
SHARD = 32  # frames
SAMPLE = 64  # frames that decide the unit in which descriptors are stored


def n_features(settings):
    """Length of the descriptor of one element: n_max (n_max + 1) / 2 times l_max + 1."""
    return settings["n_max"] * (settings["n_max"] + 1) // 2 * (settings["l_max"] + 1)


def soap_features(
    structures,
    settings=PAPER,
    folder=None,
    per_atom=False,
    scale=None,
    element=None,
    n_jobs=None,
    progress=True,
):
    """SOAP descriptors of structures of one element.

    Parameters
    ----------
    structures : phutils.dataset.Structures or sequence of ase.Atoms
        Periodic, in any cell. A cutoff beyond half the cell sees the images, as it should.
    settings : dict
        With the keys of `PAPER`; lengths in Å.
    folder : path-like, optional
        Artifacts of the dataset: the descriptors are kept in its ``cache``, under a name made of
        the frames, the settings and the code.
    per_atom : bool
        Keep the descriptor of every atom; else its mean over the atoms.
    scale : ndarray [2, n_features], optional
        Mean and standard deviation by which descriptors of atoms are stored, see `soap_scale`;
        default: those of these structures. What is to meet the same network needs the same.
    element : str, optional
        Symbol of the element; default: that of the first frame.
    n_jobs : int, optional
        Processes; default: one per core.
    progress : bool
        Show a progress bar.

    Returns
    -------
    ndarray [n, n_features] of float32
        Averaged descriptors as DScribe gives them. Or, with `per_atom`:
    ndarray, memory-mapped where there is a folder, [n, n_atoms, n_features] of float16
        (descriptor - scale[0]) / scale[1], rounded to 2^-11 of itself (5e-4) at most.

    Raises
    ------
    FrameError
        For a second element or, with `per_atom`, another number of atoms, before anything is
        computed; or for a frame that is no periodic structure. Names the frame.
    ValueError
        If there are no frames or a setting is missing, unknown or impossible.

    References
    ----------
    Bartók, Kondor & Csányi, Phys. Rev. B 87, 184115 (2013), doi:10.1103/PhysRevB.87.184115;
    Himanen et al., Comput. Phys. Commun. 247, 106949 (2020), doi:10.1016/j.cpc.2019.106949.
    """
    structures = structures if hasattr(structures, "__getitem__") else list(structures)
    _check_settings(settings)
    options = {"n_jobs": n_jobs, "progress": progress}
    names, paths = ["mean", "atoms"] if per_atom else ["mean"], {}
    if folder is not None:
        key = fingerprint((soap_shard, structures, settings, element))[:20]
        paths = {"mean": Path(folder) / "cache" / f"soap_mean-{key}.npy"}
        if per_atom:
            key = fingerprint((key, soap_scale, scale))[:20]
            paths["atoms"] = Path(folder) / "cache" / f"soap_atoms-{key}.npy"
        found = _opened(paths[names[-1]])
        if found is not None:
            return found if per_atom else np.array(found)
    _descriptor(settings)
    n_atoms = check_elements(structures, element, per_atom)
    if per_atom and scale is None:
        scale = soap_scale(structures, settings, **options)
    call = {"function": soap_shard, "settings": (settings, scale if per_atom else None)}
    call |= {"size": SHARD, "label": "SOAP", **options}
    if folder is None:
        shards = list(run_shards(structures=structures, **call))
        return np.concatenate([shard[names[-1]] for shard in shards])
    n, k = len(structures), n_features(settings)
    kinds = {"mean": ((n, k), np.float32), "atoms": ((n, n_atoms, k), np.float16)}
    paths["mean"].parent.mkdir(parents=True, exist_ok=True)
    lock = paths["mean"].with_suffix(".lock")
    with FileLock(lock):  # released by the system on a kill
        if _opened(paths[names[-1]]) is None:
            _write_shards(structures, {paths[name]: (name, *kinds[name]) for name in names}, call)
    lock.unlink(missing_ok=True)
    found = _opened(paths[names[-1]])
    return found if per_atom else np.array(found)


def soap_scale(structures, settings=PAPER, folder=None, n_jobs=None, progress=False):
    """Mean and standard deviation of the descriptors of atoms in 64 frames, evenly spread.

    A unit for storage in half precision, in which bare descriptors would lose up to 2 % of their
    standard deviation. Models standardise on their training frames all the same.

    Parameters
    ----------
    structures, settings, folder, n_jobs, progress
        As for `soap_features`.

    Returns
    -------
    ndarray [2, n_features]
        Mean and standard deviation; 1 for a descriptor that does not vary.
    """
    chosen = np.unique(np.linspace(0, len(structures) - 1, SAMPLE).astype(int))
    shards = run_shards(
        soap_moments,
        [structures[int(i)] for i in chosen],
        (settings,),
        size=SAMPLE // 8,
        label="SOAP, scale",
        n_jobs=n_jobs,
        folder=folder,
        progress=progress,
    )
    count, total, squares = (sum(part) for part in zip(*(s["sums"] for s in shards), strict=True))
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return np.stack([mean, np.where(std > 1e-7 * np.abs(mean), std, 1.0)])


def soap_shard(frames, settings, scale=None, first=0):
    """Descriptors of a few frames, (positions [n, 3], cell [3, 3]) in Å each.

    Returns
    -------
    dict
        ``mean`` [m, n_features] of float32 and, given a scale, ``atoms`` as `soap_features` says.
    """
    create, mean, atoms = _descriptor(settings), [], []
    for i, (positions, cell) in enumerate(frames):
        found = create(Atoms(numbers=[6] * len(positions), positions=positions, cell=cell, pbc=1))
        mean.append(found.mean(axis=0, dtype=np.float64).astype(np.float32))
        if scale is not None:
            with np.errstate(over="ignore"):
                atoms.append(((found - scale[0]) / scale[1]).astype(np.float16))
        if not np.isfinite(atoms[-1] if atoms else mean[-1]).all():
            raise FrameError(f"frame {first + i}: a descriptor is too large for half precision")
    return {"mean": np.array(mean)} | ({"atoms": np.array(atoms)} if atoms else {})


def soap_moments(frames, settings, first=0):
    """Number of atoms in a few frames, sums of their descriptors and of the squares."""
    create, sums = _descriptor(settings), 0.0
    for positions, cell in frames:
        atoms = Atoms(numbers=[6] * len(positions), positions=positions, cell=cell, pbc=1)
        found = create(atoms).astype(np.float64)
        one = np.full(found.shape[1], len(found))
        sums = sums + np.array([one, found.sum(axis=0), (found**2).sum(axis=0)])
    return {"sums": sums}


def _descriptor(settings):
    """A function from ase.Atoms of carbon to descriptors [n_atoms, n_features]."""
    _check_settings(settings)
    with warnings.catch_warnings():  # its docstrings, in Python 3.12
        warnings.simplefilter("ignore", SyntaxWarning)
        from dscribe.descriptors import SOAP
    return SOAP(species=["C"], periodic=True, dtype="float32", **settings).create


def _check_settings(settings):
    if set(settings) != set(PAPER):
        wrong = ", ".join(sorted(set(settings) ^ set(PAPER)))
        raise ValueError(f"SOAP settings that are missing or unknown: {wrong}")


def check_elements(structures, element, equal_sizes):
    """Number of atoms of a frame; raise for another element, or another number where it matters."""
    if not len(structures):
        raise ValueError("there are no frames")
    n_atoms = None
    for i, atoms in enumerate(structures):
        for number in np.unique(getattr(atoms, "numbers", ())):
            element = element or chemical_symbols[number]
            if chemical_symbols[number] != element:
                raise FrameError(
                    f"frame {i}: it holds {chemical_symbols[number]}, but these descriptors are of "
                    f"{element} alone: one element at a time"
                )
        n_atoms = n_atoms or len(atoms)
        if equal_sizes and len(atoms) != n_atoms:
            raise FrameError(
                f"frame {i}: {len(atoms)} atoms after frames of {n_atoms}: take each size by itself"
            )
    return n_atoms


# --- files ---------------------------------------------------------------------------------------


def _opened(path):
    """A memory map of a finished file, or None where there is none that can be read."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None


def _write_shards(structures, files, call):
    """Append results shard by shard to {final path: (name of the result, shape, dtype)}."""
    with ExitStack() as stack:
        opened, done = {}, len(structures)
        for path, (name, shape, dtype) in files.items():
            file, head, row = _open_to_append(path.with_suffix(".partial"), shape, np.dtype(dtype))
            opened[name] = stack.enter_context(file), head, row
            done = min(done, (file.seek(0, io.SEEK_END) - head) // row)
        for file, head, row in opened.values():
            file.truncate(head + done * row)
            file.seek(0, io.SEEK_END)
        try:
            for shard in run_shards(structures=structures[done:], **call):
                for name, (file, *_) in opened.items():
                    file.write(shard[name].tobytes())
                    file.flush()
        except FrameError as error:  # its number counts from where this run began
            text = re.sub(r"^frame (\d+)", lambda m: f"frame {int(m[1]) + done}", str(error))
            raise FrameError(text) from None
    for path in reversed(files):
        path.with_suffix(".partial").replace(path)


def _open_to_append(path, shape, dtype):
    """A ``.npy`` file with the header of the finished one; bytes of the header and of a row."""
    header = io.BytesIO()
    described = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    header = header.getvalue()
    file = path.open("r+b" if path.exists() else "w+b")
    if file.read(len(header)) != header:
        file.seek(0)
        file.truncate()
        file.write(header)
    return file, len(header), dtype.itemsize * int(np.prod(shape[1:]))
