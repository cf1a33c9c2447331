"""The paper's own data, doi:10.5281/zenodo.7905585 (VASP-LDA): fetched, checked, converted once."""

import hashlib
import re
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from phutils.archive import stem, unpack
from phutils.download import ZENODO, download, record_files
from phutils.formats import read_extxyz
from phutils.readers import number, read_records
from phutils.store import FORMAT, cached_store

RECORD = 7905585
SPLIT = "dataset_train_test_split"
# folder: (atoms in each frame, frames in each file)
FOLDERS = {
    "216atom_amorphous": (216, [2805] * 6),
    "216atom_crystal": (216, [560]),
    "512atom_amorphous": (512, [2805]),
}
# Frames of test.xyz known from public notes: energy [eV], density [g/cm3], stage.
KNOWN = {
    0: (-1970.32638997, 3.5, "quench2"),
    156: (-1657.61773265, 2.6, "buffer_high"),
}


def fetch(cache, url=ZENODO):
    """Folder of stored frames of the paper's archive, made at the first call.

    Parameters
    ----------
    cache : pathlib.Path
        Where downloads and the converted frames are kept.
    url : str
        Server that speaks Zenodo's record API.

    Returns
    -------
    pathlib.Path
        Folder with ``SHA256SUMS``, see `phutils.store`; its name is a key of the archive's
        checksums and of the record format. Later calls need no network.

    Raises
    ------
    ConnectionError
        If the server cannot be reached or breaks off; calling again continues.
    ValueError
        If a checksum, an archive, a folder or a frame is not what it should be.
    """
    home = Path(cache) / f"zenodo-{RECORD}"
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / "download.lock"):
        files = record_files(RECORD, home, url)
        key = repr([FORMAT, sorted((file.name, file.checksum) for file in files)])

        def build():
            for leftover in home.glob("unpacked-*"):
                shutil.rmtree(leftover)
            try:
                archives = [download(file, home / "download") for file in files]
            except ValueError:
                (home / "record.json").unlink()  # the checksums may be what is wrong
                raise
            with tempfile.TemporaryDirectory(prefix="unpacked-", dir=home) as folder:
                for archive in archives:
                    unpack(archive, Path(folder) / stem(archive))
                return convert(Path(folder))

        return cached_store(home / hashlib.sha256(key.encode()).hexdigest()[:16], build)


def convert(folder):
    """Read the unpacked archive: all frames with the published split marked.

    Returns
    -------
    dict
        ``{"<folder>/run<k>.npy": records}`` for `phutils.store.cached_store`.

    Raises
    ------
    ValueError
        If a folder or file is missing, a frame is unusable or of another size than its folder
        says, or a frame of the split is not among the others or stands on both sides.
    """
    store, trajectories = {}, {}
    for name, (n_atoms, expected) in FOLDERS.items():
        paths = _xyz_files(folder, name)
        for run, path in enumerate(paths, start=1):
            records = read_records(path, "energy", run, trajectories)
            if other := set(records) - {n_atoms}:
                size = other.pop()
                first = records[size]["frame"][0]
                raise ValueError(f"{path}, frame {first}: {size} atoms, expected {n_atoms}")
            store[f"{name}/run{run}.npy"] = records[n_atoms]
        counts = [len(store[f"{name}/run{run}.npy"]) for run in range(1, len(paths) + 1)]
        if counts != expected:
            warnings.warn(f"{name}: frames per file {counts}, expected {expected}", stacklevel=2)
    splits = {path.name: path for path in _xyz_files(folder, SPLIT)}
    for label, name in ((1, "train.xyz"), (2, "test.xyz")):
        if name not in splits:
            raise ValueError(f"{SPLIT} of the archive has no {name}")
        _mark_split(store, splits[name], label)
    return store


def _xyz_files(folder, name):
    found = [
        sorted(
            (p for p in path.iterdir() if p.suffix == ".xyz" and not p.name.startswith("._")),
            key=lambda p: [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", p.name)],
        )
        for path in [folder, *folder.rglob("*")]
        if path.name == name and path.is_dir() and "__MACOSX" not in path.parts
    ]
    found = [paths for paths in found if paths]
    if len(found) != 1:
        raise ValueError(f"the archive has {len(found) or 'no'} folders {name} with xyz files")
    return found[0]


def _mark_split(store, path, label):
    """Find every frame of a split file by energy and positions, and mark it."""
    energies = np.concatenate([records["energy"] for records in store.values()])
    places = [(records, row) for records in store.values() for row in range(len(records))]
    order = np.argsort(energies)
    frames = tqdm(
        read_extxyz(path), desc=path.name, unit=" frames", delay=1, mininterval=2, leave=False
    )
    for index, frame in enumerate(frames):
        where = f"{path}, frame {index}"
        energy = number(frame.info.get("energy"), "energy", where)
        if label == 2 and index in KNOWN:
            _check_known(energy, frame, KNOWN[index], where)
        low, high = np.searchsorted(energies, [energy - 1e-5, energy + 1e-5], sorter=order)
        same = [places[k] for k in order[low:high] if _same_positions(*places[k], frame)]
        if not same:
            raise ValueError(f"{where}: its energy {energy} eV and positions are in no other file")
        records, row = min(same, key=lambda place: place[0]["split"][place[1]])
        if records["split"][row] not in (0, label):
            raise ValueError(f"{where}: the frame is in train.xyz and in test.xyz")
        records["split"][row] = label


def _same_positions(records, row, frame):
    stored = records["positions"][row]
    if stored.shape != frame.positions.shape:
        return False
    apart = stored - frame.positions
    edges = records["cell"][row]
    return np.abs(apart - edges * np.rint(apart / edges)).max() < 1e-4


def _check_known(energy, frame, known, where):
    density = number(frame.info.get("density"), "density", where)
    found = energy, density, frame.info.get("process")
    if abs(found[0] - known[0]) > 1e-6 or found[1:] != known[1:]:
        raise ValueError(f"{where}: energy, density, process are {found}, expected {known}")
