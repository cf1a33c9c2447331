"""What is up to date: the key of everything that an executed notebook was made from.

That is its own source, the `phutils` modules it imports, other files it reads, parameters, dataset,
locked environment, and the keys of the chapters it builds on. The notebook carries the key in its
metadata, so that the file itself tells whether it is current.
"""

import hashlib
import re
from pathlib import Path

from phutils.artifacts import ROOT, imported_modules, package_files
from phutils.profiles import (
    BuildError,
    cell_source,
    declared_parameters,
    notebook_path,
    profile_table,
    read_notebook,
)

LABELS = USUAL, *OTHERS = ("nep89", "gfn1", "lda")  # of the embedded data


def _code(notebook):
    cells = (cell_source(c) for c in notebook["cells"] if c["cell_type"] == "code")
    return "\n".join(re.sub(r"^\s*[%!].*$", "pass", cell, flags=re.M) for cell in cells)


def dataset_key(dataset, root=ROOT):
    """Key of a dataset's content: checksum file, record, or the file's size and time of change.

    Raises
    ------
    BuildError
        If a path does not exist.
    """
    if dataset == "zenodo":
        return dataset
    path = Path(root, "data", "SHA256SUMS") if dataset == "embedded" else Path(dataset).expanduser()
    if not path.exists():
        raise BuildError(
            f"dataset {dataset!r} not found: give embedded, zenodo or the path of an existing file"
        )
    if dataset == "embedded":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return repr([(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files])


def builds_on(path):
    """Chapters whose published results a notebook reads: its metadata ``phutils.after``."""
    return read_notebook(path)["metadata"].get("phutils", {}).get("after", [])


def reads(path, root=ROOT):
    """Further files a notebook reads, such as results of benchmarks: ``phutils.reads``."""
    patterns = read_notebook(path)["metadata"].get("phutils", {}).get("reads", [])
    return sorted(file for pattern in patterns for file in Path(root).glob(pattern))


def check_labels(dataset, labels, root=ROOT):
    """Raise `BuildError` unless a dataset has such labels."""
    if labels not in LABELS:
        raise BuildError(f"unknown labels {labels!r}: choose one of {', '.join(LABELS)}")
    if labels == USUAL:
        return
    folder = Path(root, "data") if dataset == "embedded" else Path(dataset).expanduser()
    sums = folder / "labels" / "SHA256SUMS"
    if f" {labels}/" not in (sums.read_text() if sums.is_file() else ""):
        raise BuildError(f"dataset {dataset!r} has no labels {labels!r}")


def notebook_key(name, dataset="embedded", profile="default", extra=None, root=ROOT, labels=USUAL):
    """Key of everything an executed notebook is made from (see the module's docstring).

    Other labels count for the notebooks that have a parameter of this name, and for those that
    build on one.
    """
    path = notebook_path(name, root)
    digest = hashlib.sha256(path.read_bytes())
    files = package_files(imported_modules(_code(read_notebook(path))))
    for file in [*files, *reads(path, root)]:
        digest.update(file.read_bytes())
    lock = Path(root) / "uv.lock"
    digest.update(lock.read_bytes() if lock.exists() else b"")
    settings = profile_table(profile, root).get(path.stem, {})
    if labels != USUAL and "labels" in declared_parameters(path):
        settings = settings | {"labels": labels}
        sums = Path(root, "data", "labels", "SHA256SUMS")
        digest.update(sums.read_bytes() if sums.exists() else b"")
    digest.update(repr([dataset, dataset_key(dataset, root), profile, settings, extra]).encode())
    for chapter in builds_on(path):
        digest.update(notebook_key(chapter, dataset, profile, None, root, labels).encode())
    return digest.hexdigest()


def executed_path(name, root=ROOT):
    """Where the book takes an executed notebook from."""
    return Path(root) / "_build" / "src" / "notebooks" / f"{Path(name).stem}.ipynb"


def is_current(name, dataset="embedded", profile="default", root=ROOT, labels=USUAL):
    """Whether the executed notebook in the build folder was made from just these inputs."""
    try:
        found = read_notebook(executed_path(name, root))["metadata"]["phutils"]["key"]
    except (FileNotFoundError, KeyError, ValueError):
        return False
    return found == notebook_key(name, dataset, profile, None, root, labels)
