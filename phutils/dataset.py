"""The one door to structures: the embedded data, the paper's archive, and any file of a reader.

>>> structures = load("embedded")  # or "zenodo", or a path
>>> structures[0].get_chemical_formula(), structures.energy_per_atom.shape == (len(structures),)
('C216', True)

Positions stay on disk, memory-mapped; only the few numbers per frame that everybody asks for are
in memory. Slices, masks and index arrays give views of the same type.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from operator import index as as_index
from pathlib import Path

import numpy as np

from phutils.splits import published_split, random_split, split_by
from phutils.store import (
    CHECKSUMS,
    FORMAT,
    cache_folder,
    cached_store,
    cell_length,
    frame_dtype,
    list_files,
    map_records,
    pack_frame,
    read_records,
    unpack_atoms,
    write_checksums,
)

__all__ = [
    "Structures",
    "cell_length",
    "frame_dtype",
    "load",
    "pack_frame",
    "published_split",
    "random_split",
    "split_by",
    "unpack_atoms",
    "write_checksums",
]

PARTS = {
    "amorphous": "216atom_amorphous",
    "crystal": "216atom_crystal",
    "large": "512atom_amorphous",
    "continuous": "216atom_continuous",
}
LABELS = {"gfn1": "GFN1-xTB", "lda": "GPAW-LDA"}  # of some frames, beside NEP89 of all

_TABLE = np.dtype(
    [
        ("file", "<i4"),
        ("row", "<i4"),
        ("n_atoms", "<i4"),
        ("energy", "<f8"),
        ("density", "<f8"),
        ("cell", "<f8", (3,)),
        ("time", "<f4"),
        ("temperature", "<f4"),
        ("run", "<i4"),
        ("stage", "<U32"),
        ("split", "u1"),
        ("trajectory", "<i4"),
        ("frame", "<i4"),
    ]
)


@dataclass(frozen=True, eq=False, repr=False)
class Structures:
    """Immutable sequence of periodic structures with their labels.

    ``structures[i]`` is an `ase.Atoms` whose ``info`` has energy, density, stage and run;
    ``structures[slice | mask | index array]`` is a view that copies no positions. ``print`` gives
    a summary. Attributes, one value per frame, read-only:

    ============================ ==============================================================
    ``energy_per_atom``          eV
    ``density``                  g/cm3
    ``cell``                     edges of the box [n, 3], Å
    ``stage``, ``run``           leg of the protocol and independent run it comes from
    ``trajectory``               a number for everything that is correlated, for grouping
    ``n_atoms``
    ``time``, ``temperature``    ps and K (instantaneous), NaN where unknown
    ============================ ==============================================================

    ``with_forces`` are the indices of the frames that have forces. ``forces``, read when it is
    asked for, is a float32 array [n, most atoms, 3] in eV/Å, or None where no frame has any: NaN
    for frames without, and beyond the last atom of a frame that is smaller than the largest.
    ``structures[structures.with_forces].forces`` therefore has no NaN where all frames have one
    size. See `phutils.forces` for which frames these are.

    ``source`` says where they come from, ``labels`` what the energies are: ``"NEP89"``,
    ``"GFN1-xTB"``, ``"GPAW-LDA"``, ``"VASP-LDA"`` or ``"user"``.
    """

    source: str
    labels: str
    _files: tuple
    _table: np.ndarray

    def __post_init__(self):
        self._table.flags.writeable = False

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.__post_init__()

    def __len__(self):
        return len(self._table)

    def __getitem__(self, key):
        if np.ndim(key) == 0 and not isinstance(key, slice):
            return self._atoms(self._table[as_index(key)])
        if not isinstance(key, slice):
            key = np.asarray(key)
            key = key.astype(np.int64) if key.size == 0 and key.dtype != bool else key
            if key.ndim != 1:
                raise IndexError(f"an index array must be one-dimensional, got shape {key.shape}")
        return replace(self, _table=self._table[key].copy())

    def __iter__(self):
        return (self._atoms(entry) for entry in self._table)

    def _atoms(self, entry):
        atoms = unpack_atoms(map_records(self._files[entry["file"]])[entry["row"]])
        atoms.info = {name: entry[name].item() for name in ("energy", "density", "stage", "run")}
        return atoms

    energy_per_atom = property(lambda self: self._table["energy"] / self._table["n_atoms"])
    density = property(lambda self: self._table["density"])
    cell = property(lambda self: self._table["cell"])
    stage = property(lambda self: self._table["stage"])
    run = property(lambda self: self._table["run"])
    trajectory = property(lambda self: self._table["trajectory"])
    n_atoms = property(lambda self: self._table["n_atoms"])
    time = property(lambda self: self._table["time"])
    temperature = property(lambda self: self._table["temperature"])

    @property
    def with_forces(self):
        from phutils.forces import frames_with_forces

        return frames_with_forces(self)

    @property
    def forces(self):
        from phutils.forces import read_forces

        return read_forces(self)

    @property
    def fingerprint(self):
        """Hexadecimal key of these frames and labels in this order, from the files' checksums."""
        used, first, file = np.unique(self._table["file"], return_index=True, return_inverse=True)
        order = np.argsort(first)  # files in order of appearance: the same by every route
        rows = np.stack([np.argsort(order)[file], self._table["row"]]).astype("<i4")
        digest = hashlib.sha256(rows.tobytes())
        for number in used[order]:
            digest.update(self._files[number].digest.encode())
        return digest.hexdigest()

    def __repr__(self):
        if not len(self):
            return f"Structures: no frames of {self.source}, labels {self.labels}"
        return _summary(self)


def _summary(structures):
    sizes = ", ".join(map(str, np.unique(structures.n_atoms)))
    densities = np.unique(structures.density.round(2))
    energy, counts = structures.energy_per_atom, Counter(structures.stage.tolist())
    numbers = set()
    for file in np.unique(structures._table["file"]):
        records = map_records(structures._files[file])
        if "numbers" in records.dtype.names:
            rows = structures._table["row"][structures._table["file"] == file]
            numbers |= set(np.unique(records["numbers"][rows]).tolist())
        else:
            numbers.add(6)
    from ase.data import chemical_symbols

    lines = {
        "frames": f"{len(structures)} of {sizes} atoms",
        "elements": " ".join(chemical_symbols[number] for number in sorted(numbers)),
        "labels": structures.labels,
        "energy": f"{energy.min():.3f} to {energy.max():.3f} eV/atom, "
        f"mean {energy.mean():.3f}, standard deviation {energy.std():.3f}",
        "density": f"{densities[0]:g} to {densities[-1]:g} g/cm3, {len(densities)} values",
        "cell edges": f"{structures.cell.min():.3f} to {structures.cell.max():.3f} Å",
        "stages": ", ".join(f"{stage or 'unnamed'} {n}" for stage, n in counts.items()),
        "trajectories": f"{len(np.unique(structures.trajectory))}, "
        f"runs {', '.join(map(str, np.unique(structures.run)))}",
    }
    unknown = [n for n in ("time", "temperature") if np.isnan(structures._table[n]).all()]
    if unknown:
        lines["unknown"] = ", ".join(unknown)
    body = "\n".join(f"  {name:<13} {value}" for name, value in lines.items())
    return f"Structures from {structures.source}\n{body}"


# --- the doors -----------------------------------------------------------------------------------


def load(source="embedded", part="amorphous", *, labels=None, energy_key=None, zenodo_url=None):
    """Load structures with energies.

    Parameters
    ----------
    source : str or path-like
        ``"embedded"``: the repository's own data, made by `phutils.simulate` with the protocol of
        the paper (Sec. II.A). ``"zenodo"``: the paper's data, doi:10.5281/zenodo.7905585,
        downloaded at the first call. Otherwise a path: a file ASE reads, or a folder that
        ``python -m phutils.simulate --out FOLDER`` made.
    part : str
        ``"amorphous"`` (216 atoms, liquid and amorphous), ``"crystal"`` (diamond, 216 atoms),
        ``"large"`` (512 atoms), ``"continuous"`` (216 atoms, short runs at densities off the
        paper's grid) or ``"all"``, which is the first three. A single file has one part.
    labels : str, optional
        For the embedded data, or a folder made in the same way: ``"nep89"``, the default,
        ``"gfn1"`` or ``"lda"``. The last two keep only the frames that have such an energy (see
        `phutils.labels`). Other sources have one kind of labels, theirs.
    energy_key : str, optional
        For a file: the key of the total energy [eV]; see `phutils.readers.ENERGY_KEYS`.
    zenodo_url : str, optional
        Another server with Zenodo's record API.

    Returns
    -------
    Structures
        Embedded and Zenodo: by part, density, run and time. A file: in its own order.

    Raises
    ------
    FileNotFoundError
        If the path, the embedded data or one of its files is missing.
    ValueError
        If a checksum is wrong, a frame cannot be used (see `phutils.readers.check_frame`), there
        are no such labels, or they belong to other frames.
    ConnectionError
        If the archive cannot be downloaded; a further call continues.
    """
    if part != "all" and part not in PARTS:
        raise ValueError(f"part is {part!r}, expected one of {', '.join(PARTS)}, all")
    if labels not in (None, "nep89", *LABELS):
        raise ValueError(f"labels is {labels!r}, expected one of nep89, {', '.join(LABELS)}")
    root = Path(__file__).resolve().parents[1] / "data"
    root = root if source == "embedded" else Path(source).expanduser()
    if source == "embedded" or (source != "zenodo" and root.is_dir()):
        structures = _open(root, part, str(source), "NEP89")
        return _relabelled(structures, root, labels) if labels in LABELS else structures
    if labels in LABELS:
        raise ValueError(f"labels {labels!r} exist for the embedded data, not for {source}")
    if source == "zenodo":
        from phutils import zenodo

        folder = zenodo.fetch(cache_folder(), zenodo_url or zenodo.ZENODO)
        return _open(folder, part, "zenodo", "VASP-LDA")
    if part not in ("amorphous", "all"):
        raise ValueError(f"{root} is a single file, it has no part {part!r}")
    return _open(_convert(root, energy_key), "all", str(source), "user")


def _convert(path, energy_key):
    """Stored copy of a file's frames, keyed by its content."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(repr([FORMAT, path.suffix, energy_key]).encode())

    def build():
        from phutils import readers

        records = readers.read_records(path, energy_key)
        return {f"frames/{n_atoms}atom.npy": frames for n_atoms, frames in records.items()}

    return cached_store(cache_folder() / "files" / digest.hexdigest()[:32], build)


def _open(root, part, source, labels):
    """View of the frames of one part below ``root``, every file checked."""
    files = tuple(list_files(root))
    tables = []
    for number, file in enumerate(files):
        if file.folder == PARTS["continuous"] if part == "all" else file.folder != PARTS[part]:
            continue
        records = read_records(file)
        table = np.zeros(len(records), _TABLE)
        for name in set(_TABLE.names) & set(records.dtype.names):
            table[name] = records[name]
        if "trajectory" not in records.dtype.names:  # compact: one file, one trajectory
            table["trajectory"] = number
        table["file"], table["row"] = number, np.arange(len(records))
        table["n_atoms"] = records.dtype[-1].shape[0]
        tables.append(table)
    if not tables:
        raise ValueError(f"{root} has no part {part!r}: none of its files is in {PARTS[part]}")
    table = np.concatenate(tables)
    keys = [table["frame"]]
    if labels != "user":
        folders = list(PARTS.values())
        rank = [folders.index(file.folder) if file.folder in folders else 4 for file in files]
        keys += [table["time"], table["run"], table["density"], np.array(rank)[table["file"]]]
    return Structures(source, labels, files, table[np.lexsort(keys)])


def _relabelled(structures, root, labels):
    """The frames of `structures` that have other labels below ``root``, with these energies."""
    files, table = list(structures._files), structures._table.copy()
    listed = (root / "labels" / CHECKSUMS).is_file()
    found = list_files(root / "labels") if listed else []
    found = {file.path.name: file for file in found if file.folder == labels}
    chosen = np.zeros(len(table), bool)
    for number in np.unique(table["file"]):
        file = files[number]
        if file.folder != PARTS["amorphous"] or file.path.name not in found:
            continue
        label = found[file.path.name]
        records = read_records(label)
        if (records["trajectory"] != file.digest.encode()).any():
            raise ValueError(
                f"{label.path} belongs to another version of {file.path}: label it again with "
                f"`python -m phutils.labels --method {labels}`"
            )
        of_file = np.flatnonzero(table["file"] == number)
        at = of_file[np.argsort(table["row"][of_file])][records["row"]]
        chosen[at], table["energy"][at] = True, records["energy"]
        both = hashlib.sha256(f"{file.digest} {label.digest}".encode())
        files[number] = file._replace(digest=both.hexdigest())  # makes the fingerprint another
    if not chosen.any():
        raise ValueError(f"{root} holds no {labels!r} labels of these frames")
    return Structures(structures.source, LABELS[labels], tuple(files), table[chosen])
