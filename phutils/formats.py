"""Frames out of files, unchecked: extxyz for extended xyz, ASE for the rest."""

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.data import atomic_numbers
from extxyz import cextxyz
from extxyz.core import iread_dicts


class Frame(NamedTuple):
    """One frame as a file gives it, unchecked."""

    numbers: np.ndarray  # [n_atoms]
    positions: np.ndarray  # [n_atoms, 3], Å
    cell: np.ndarray  # [3, 3], Å
    pbc: tuple
    info: dict  # everything else, the energy included
    arrays: dict = {}  # what else has three numbers an atom, the forces included


def read_frames(path):
    """Yield every `Frame` of a file: extended xyz by its own library, the rest through ASE."""
    yield from read_extxyz(path) if is_extxyz(path) else read_ase(path)


def is_extxyz(path):
    """Whether a file begins like extended xyz: the number of atoms, then a lattice."""
    with Path(path).open("rb") as file:
        count, comment = file.readline(32), file.readline(10_000)
    return count.strip().isdigit() and b"Lattice" in comment and b"Properties" in comment


def read_extxyz(path):
    """Yield the frames of an extended xyz file; the package extxyz is ten times as fast as ASE.

    A frame whose header it does not take (single quotes, spaces around ``=``, values that are not
    finite) is left to ASE, with those that follow.

    Raises
    ------
    ValueError
        Naming file and frame, where the text breaks off or does not fit its header.
    """
    file, index = cextxyz.cfopen(str(path), "r"), 0
    try:
        for frame in iread_dicts(file):
            yield _from_extxyz(frame)
            index += 1
            begin = cextxyz.cftell(file)
        message = "the file ends within the frame"
    except Exception as error:  # of its own kind, or what NumPy says of odd values
        message = " ".join(str(error).split()).removeprefix("ERROR: ")
    finally:
        cextxyz.cfclose(file)
    if index:
        with Path(path).open("rb") as text:
            text.seek(begin)
            if not any(line.strip() for line in text):
                return
    rest = itertools.islice(read_ase(path), index, None)
    try:
        first = next(rest, None)
    except ValueError:
        first = None
    if first is None:
        raise ValueError(f"{path}, frame {index}: {message}")
    yield first
    yield from rest


def _from_extxyz(frame):
    if not {"species", "pos"} <= set(frame.arrays):
        raise ValueError(f"no columns species and pos, only {', '.join(frame.arrays)}")
    symbols = [str(symbol) for symbol in frame.arrays["species"]]
    for atom, symbol in enumerate(symbols):
        if symbol not in atomic_numbers:
            raise ValueError(f"atom {atom} is of unknown element {symbol!r}")
    numbers = [atomic_numbers[symbol] for symbol in symbols]
    cell = frame.cell.T  # the library has the lattice vectors as columns
    pbc = tuple(np.atleast_1d(frame.pbc).tolist())
    pbc = pbc if cell.any() and len(pbc) == 3 else (False,) * 3
    own = {k: v for k, v in frame.arrays.items() if k != "pos" and _by_atom(v, len(numbers))}
    return Frame(np.array(numbers), frame.arrays["pos"], cell, pbc, frame.info, own)


def read_ase(path):
    """Yield the frames of any file ASE reads; what its calculator holds goes into ``info``.

    Of a database (``.db``, ``.json``) the key-value pairs and the data of a row go there, too.

    Raises
    ------
    ValueError
        Naming the file and the first frame that ASE could not read, with its own message.
    """
    index, frames = 0, _ase_images(Path(path))
    while True:
        try:
            atoms = next(frames, None)
        except Exception as error:  # its many formats raise anything
            message = str(error) or type(error).__name__
            raise ValueError(f"{path}, frame {index}: ASE cannot read it: {message}") from error
        if atoms is None:
            return
        results = getattr(atoms.calc, "results", {})
        info = {key: np.asarray(value).item() for key, value in results.items() if _single(value)}
        own = atoms.arrays | results
        own = {k: v for k, v in own.items() if k != "positions" and _by_atom(v, len(atoms))}
        info, pbc = atoms.info | info, tuple(atoms.pbc)
        yield Frame(atoms.numbers, atoms.positions, atoms.cell.array, pbc, info, own)
        index += 1


def _ase_images(path):
    from ase.db import connect
    from ase.io import iread
    from ase.io.formats import filetype

    if filetype(str(path)) not in ("db", "json"):
        yield from iread(path, index=slice(None), do_not_split_by_at_sign=True)
        return
    for row in connect(path).select():
        atoms = row.toatoms()
        data = {key: np.asarray(v).item() for key, v in row.data.items() if _single(v)}
        atoms.info |= data | row.key_value_pairs
        atoms.arrays |= {key: v for key, v in row.data.items() if _by_atom(v, len(atoms))}
        yield atoms


def _by_atom(value, n_atoms):
    return np.shape(value) == (n_atoms, 3) and np.asarray(value).dtype.kind in "fiu"


def _single(value):
    return np.size(value) == 1 and np.asarray(value).dtype != object
