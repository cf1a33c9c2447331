"""Further results for some frames, stored beside the trajectories they belong to.

What was computed for frames of ``<folder>/<density>_run<k>.npy`` lies below the same root, as
``<name>/<folder>/<density>_run<k>.npy``, with a ``SHA256SUMS`` of its own. Each record names its
row in the trajectory's file, ``row``, and that file's checksum, ``trajectory``, so that results of
another version are noticed.
"""

from pathlib import Path

import numpy as np

from phutils.artifacts import atomic_write
from phutils.store import CHECKSUMS, list_files, read_records, write_checksums


def record_dtype(fields):
    """Record of one frame: ``row``, the `fields` (as for `numpy.dtype`) and ``trajectory``."""
    return np.dtype([("row", "<i4"), *fields, ("trajectory", "S64")])


def complete(root, name, folders, compute, dtype=None):
    """Compute and store what is missing or of another version, then write the checksums.

    Parameters
    ----------
    root : path-like
        Of the dataset, with a ``SHA256SUMS``.
    name : str
        Folder of the results below it.
    folders : sequence of str
        Of the trajectories that have such results.
    compute : callable
        Takes a `phutils.store.StoreFile`, and returns records of `record_dtype` whose
        ``trajectory`` is still empty; or None if no frame of it is wanted.
    dtype : numpy.dtype, optional
        Stored records of another type are computed again.

    Returns
    -------
    int
        Number of trajectories that were computed.
    """
    home, count = Path(root) / name, 0
    for file in list_files(root):
        target = home / file.folder / file.path.name
        if file.folder not in folders:
            continue
        if target.exists() and _belong(np.load(target, allow_pickle=False), file, dtype):
            continue
        records = compute(file)
        if records is None:
            continue
        records["trajectory"] = file.digest.encode()
        with atomic_write(target) as stream:
            np.save(stream, records, allow_pickle=False)
        print(f"finished {target}")
        count += 1
    if home.is_dir():
        write_checksums(home)
    return count


def aligned(structures, name, module, dtype=None):
    """Stored records of a view's frames, trajectory by trajectory.

    A frame is known by its trajectory's file and its row there. The labels of the view do not
    matter: one with other energies (``load(..., labels="gfn1")``) finds the same records.

    Parameters
    ----------
    structures : phutils.dataset.Structures
    name : str
        Folder of the results, as for `complete`.
    module : str
        That makes them, for the message.
    dtype : numpy.dtype, optional
        Records of another type are of another version.

    Yields
    ------
    at : ndarray of int
        Frames of the view that have a record.
    records : ndarray
        Theirs, in the same order.

    Raises
    ------
    ValueError
        If a file is damaged or belongs to another version of its trajectory.
    """
    listed = {}
    for number in np.unique(structures._table["file"]):
        path = structures._files[number].path
        root = path.parent.parent
        if not (root / name / CHECKSUMS).is_file():
            continue
        if root not in listed:  # other labels change the digest in the view, not that on disk
            listed[root] = [
                {(file.folder, file.path.name): file for file in list_files(home)}
                for home in (root, root / name)
            ]
        trajectories, stored = listed[root]
        key = path.parent.name, path.name
        if key not in stored:
            continue
        records = read_records(stored[key])
        if not _belong(records, trajectories[key], dtype):
            raise ValueError(
                f"{stored[key].path} belongs to another version of {path}: compute it again with "
                f"`python -m {module}`"
            )
        at = np.flatnonzero(structures._table["file"] == number)
        place = {row: k for k, row in enumerate(records["row"].tolist())}
        found = np.array([place.get(row, -1) for row in structures._table["row"][at].tolist()])
        yield at[found >= 0], records[found[found >= 0]]


def _belong(records, file, dtype):
    known = dtype is None or records.dtype == dtype
    return known and bool((records["trajectory"] == file.digest.encode()).all())
