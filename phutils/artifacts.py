"""Results on disk: keyed by content, written atomically, free of pickles.

Two kinds of files live under ``_build/artifacts/<dataset>/``:

``cache/<function>-<key>.npz`` or ``.json``
    What `cached` computed. The key is a digest of the arguments, of the code (the function's
    module and every `phutils` module it imports; comments and docstrings do not count) and of the
    versions of the libraries that this code imports. A file can therefore never be stale: when
    something changes, so does the name. Every profile, JupyterLab and papermill share it.

``<profile>/<chapter>.json``
    What a chapter hands to later ones and to the scoreboard, under a fixed name (`publish`,
    `published`).
"""

import ast
import hashlib
import importlib.util
import io
import json
import os
import re
import sys
import zipfile
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # where the import name is not the distribution's
WITHOUT_EFFECT = {
    "n_jobs",
    "progress",
    "report",
    "folder",
    "first",
}  # arguments that change no result


# --- atomic files --------------------------------------------------------------------------------


@contextmanager
def atomic_write(path, mode="wb"):
    """Open a neighbour of `path` for writing and rename it into place on success.

    Parameters
    ----------
    path : path-like
        Final file; its folder is made when missing.
    mode : str
        As for `open`; text is written as UTF-8.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with partial.open(mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


# --- keys ----------------------------------------------------------------------------------------


@cache
def imported_modules(source):
    """Dotted names of every module that Python source text imports, at any depth of nesting."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def package_files(modules, package="phutils"):
    """Files of `package` among `modules` and what they import in turn, sorted.

    Parameters
    ----------
    modules : iterable of str
        Dotted module names; names outside the package are passed over.
    package : str
        Name of the package whose files are wanted.

    Returns
    -------
    list of pathlib.Path
    """
    root = Path(importlib.util.find_spec(package).origin).parent
    found, queue = set(), list(modules)
    while queue:
        name = queue.pop()
        if name.split(".")[0] != package:
            continue
        path = root.joinpath(*name.split(".")[1:]).with_suffix(".py")
        if path.is_file() and path not in found:
            found.add(path)
            queue += imported_modules(path.read_text(encoding="utf-8"))
    return sorted(found)


def _without_docstrings(source):
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
            and isinstance(body[0].value.value, str)
        ):
            body[0].value.value = ""
    return ast.dump(tree)


@cache
def code_key(module):
    """Digest of a module's code, of the package's modules it imports, and of library versions.

    This module itself does not count: how a result is stored does not change it.

    Raises
    ------
    TypeError
        If the module belongs neither to this package nor to an installed library: the code of a
        notebook cell cannot be followed to everything it uses, so it has no key.
    """
    if module.split(".")[0] != __package__:
        root = module.split(".")[0]
        try:
            return f"{root}=={metadata.version(DISTRIBUTIONS.get(root, root))}"
        except metadata.PackageNotFoundError:
            raise TypeError(
                f"code of {module!r} has no fingerprint: only functions of {__package__} or of an "
                "installed library do"
            ) from None
    digest, libraries = hashlib.sha256(), set()
    for path in package_files([module]):
        if path == Path(__file__).resolve():
            continue
        source = path.read_text(encoding="utf-8")
        digest.update(f"{path.stem}\n{_without_docstrings(source)}\n".encode())
        libraries |= {name.split(".")[0] for name in imported_modules(source)}
    for library in sorted(libraries - sys.stdlib_module_names - {__package__}):
        try:
            version = metadata.version(DISTRIBUTIONS.get(library, library))
        except metadata.PackageNotFoundError:
            version = ""
        digest.update(f"{library}=={version}\n".encode())
    return digest.hexdigest()


def fingerprint(value):
    """Digest of a value's content, the same in every process and on every machine.

    Parameters
    ----------
    value : object
        Numbers, strings, paths, None, arrays, sparse matrices, functions of this package,
        scikit-learn estimators, `ase.Atoms`, anything with a ``fingerprint`` attribute (a
        `Structures` view, for example), and tuples, lists and dicts of these.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    TypeError
        For any other type: guessing an identity could serve a stale result.
    """
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest, value):
    digest.update(f"<{type(value).__name__}>".encode())
    if isinstance(getattr(value, "fingerprint", None), str):
        digest.update(value.fingerprint.encode())
    elif value is None or isinstance(value, bool | int | float | str | os.PathLike):
        digest.update(f"{value if isinstance(value, os.PathLike) else repr(value)}".encode())
    elif isinstance(value, np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        if array.dtype.hasobject:
            raise TypeError("an array of Python objects has no fingerprint")
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    elif hasattr(value, "tocsr"):  # a sparse matrix; importing scipy.sparse to ask takes 0.3 s
        value = value.tocsr()
        _feed(digest, (value.shape, value.data, value.indices, value.indptr))
    elif isinstance(value, list | tuple):
        for item in value:
            _feed(digest, item)
    elif isinstance(value, dict):
        for key in sorted(value, key=repr):
            _feed(digest, (key, value[key]))
    elif callable(value) and hasattr(value, "__qualname__"):
        if "<" in value.__qualname__:  # a closure or lambda carries more than its name says
            raise TypeError(f"no fingerprint for {value.__qualname__}: name a module's function")
        digest.update(f"{value.__qualname__} {code_key(value.__module__)}".encode())
    elif hasattr(value, "get_params"):
        _feed(digest, (type(value), value.get_params(deep=False)))
    elif hasattr(value, "numbers") and hasattr(value, "positions"):
        _feed(digest, (value.numbers, value.positions, value.cell.array, value.pbc))
    else:
        raise TypeError(f"no fingerprint for a {type(value).__name__}")
    digest.update(b"</>")


# --- cache ---------------------------------------------------------------------------------------


def folder(dataset="embedded", build=None):
    """Folder of a dataset's artifacts, ``_build/artifacts/<dataset>``.

    Parameters
    ----------
    dataset : str
        As for `phutils.dataset.load`; a path becomes its file name and a digest of where it lies.
    build : path-like, optional
        Build folder, default ``_build`` in the root of the project.
    """
    name = dataset
    if dataset not in ("embedded", "zenodo"):
        path = Path(dataset).expanduser().resolve()
        name = re.sub(r"[^\w.-]+", "-", path.name) + "-" + fingerprint(str(path))[:8]
    return Path(build or os.environ.get("PHUTILS_BUILD", ROOT / "_build")) / "artifacts" / name


def cached(folder, function, *args, **kwargs):
    """Return ``function(*args, **kwargs)``, from disk where it was computed before.

    Parameters
    ----------
    folder : path-like
        Artifacts of a dataset (see `folder`); the file goes to its ``cache``.
    function : callable
        Returns a dict of arrays (stored as ``.npz``) or anything JSON can hold (``.json``).
        Its keyword arguments named in `WITHOUT_EFFECT` (``n_jobs``, for example) do not enter
        the key.

    Returns
    -------
    dict or JSON value
        The same whether computed now or read: floats of JSON results survive exactly.

    Raises
    ------
    TypeError
        If an argument has no fingerprint, or the result is of neither kind.
    """
    relevant = {k: v for k, v in kwargs.items() if k not in WITHOUT_EFFECT}
    key = fingerprint((function, args, relevant))[:20]
    stem = Path(folder) / "cache" / f"{function.__name__.strip('_')}-{key}"
    found = _read(stem)
    if found is None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(stem.with_name(f".{stem.name}.lock")):  # released by the system on a kill
            found = _read(stem)
            if found is None:
                _write(stem, function(*args, **kwargs))
                found = _read(stem)
        stem.with_name(f".{stem.name}.lock").unlink(missing_ok=True)
    return found[0]


def _write(stem, result):
    is_arrays = isinstance(result, dict) and any(isinstance(v, np.ndarray) for v in result.values())
    if not is_arrays:
        with atomic_write(stem.with_name(f"{stem.name}.json"), "w") as file:
            json.dump(result, file, allow_nan=True, default=_plain)
        return
    arrays = {name: np.asarray(value) for name, value in result.items()}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"result {name!r} is an array of Python objects")
    with atomic_write(stem.with_name(f"{stem.name}.npz")) as file:
        np.savez(file, **arrays)


def _read(stem):
    """A one-tuple of the result, or None where there is none that can be read."""
    try:
        with np.load(stem.with_name(f"{stem.name}.npz"), allow_pickle=False) as arrays:
            return (dict(arrays),)
    except FileNotFoundError:
        pass
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):  # damaged on disk: compute it again
        return None
    try:
        return (json.loads(stem.with_name(f"{stem.name}.json").read_text(encoding="utf-8")),)
    except (FileNotFoundError, ValueError):
        return None


def _plain(value):
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be stored as JSON")


# --- what chapters hand on -----------------------------------------------------------------------


def publish_file(folder, profile, name, content):
    """Write bytes to ``<folder>/<profile>/<name>`` for later chapters.

    Nothing is written where the environment variable ``PHUTILS_PUBLISH`` is ``no``: a run with
    other parameters is no part of the book.
    """
    if os.environ.get("PHUTILS_PUBLISH") == "no":
        return
    with atomic_write(Path(folder) / profile / name) as file:
        file.write(content)


def publish(folder, profile, chapter, results):
    """Leave a chapter's results as ``<chapter>.json``; see `publish_file`."""
    text = json.dumps(results, indent=1, default=_plain)
    publish_file(folder, profile, f"{chapter}.json", text.encode())


def published(folder, profile, chapter):
    """Read what a chapter published.

    Raises
    ------
    FileNotFoundError
        If the chapter has not been run for this dataset and profile.
    """
    path = _published_file(folder, profile, f"{chapter}.json", f": run {chapter}")
    return json.loads(path.read_text(encoding="utf-8"))


def publish_arrays(folder, profile, name, **arrays):
    """Leave arrays as ``<name>.npz``; see `publish_file`."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    publish_file(folder, profile, f"{name}.npz", file.getvalue())


def published_arrays(folder, profile, name):
    """Read what `publish_arrays` wrote.

    Raises
    ------
    FileNotFoundError
        If the chapter has not been run for this dataset and profile.
    """
    with np.load(_published_file(folder, profile, f"{name}.npz"), allow_pickle=False) as found:
        return dict(found)


def _published_file(folder, profile, name, hint=""):
    path = Path(folder) / profile / name
    if not path.exists():
        raise FileNotFoundError(f"{name} is missing for profile {profile!r}{hint}")
    return path
