"""NEP89, the potential behind the embedded dataset: parameter file and reference evaluation.

NEP89 is a machine-learned potential (a neuroevolution potential, doi:10.1103/PhysRevB.104.104309)
fitted to PBE-like calculations of 89 elements. Its parameter file is read from the installed
NepTrainKit distribution and cut to its carbon block; calorine evaluates it. `phutils.fast_nep`
evaluates the same block faster, and drives the simulations.

Needs the optional extra ``simulate`` (calorine, and NepTrainKit as the carrier of ``nep89.txt``).
"""

import tempfile
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np


def nep89_path():
    """Path of ``nep89.txt`` inside the installed NepTrainKit distribution."""
    try:
        files = metadata.files("neptrainkit") or []
    except metadata.PackageNotFoundError:
        raise ModuleNotFoundError(
            "the NEP89 potential is missing: install the extra with `uv sync --extra simulate`"
        ) from None
    return next(Path(f.locate()) for f in files if f.name == "nep89.txt")


def read_parameters(text):
    """Take a NEP4 parameter file apart (layout: GPUMD manual).

    Parameters
    ----------
    text : str
        Content of the ``nep.txt`` file.

    Returns
    -------
    elements : list of str
    header : dict
        First word of each of the six header lines, and the others as strings.
    networks : ndarray of str [n_elements, n_neurons * (n_descriptors + 2)]
        One network an element: weights, biases, output weights.
    bias : ndarray of str [1]
    radial, angular : ndarray of str [n_functions * n_basis, n_elements**2]
        Expansion coefficients of the functions of distance, for each pair of elements.
    scaler : ndarray of str [n_descriptors]

    Raises
    ------
    ValueError
        If the number of parameters does not fit the header.
    """
    lines = text.split("\n")
    elements = lines[0].split()[2:]
    n_types = len(elements)
    header = {line.split()[0]: line.split()[1:] for line in lines[1:7]}
    numbers = np.array([line for line in lines[7:] if line.strip()])

    n_max = [int(n) + 1 for n in header["n_max"]]
    basis = [int(n) + 1 for n in header["basis_size"]]
    l_max, four_body, five_body = (int(n) for n in header["l_max"])
    dim = n_max[0] + n_max[1] * (l_max + (four_body > 0) + (five_body > 0))
    network = int(header["ANN"][0]) * (dim + 2)
    sizes = [n_types * network, 1, n_types**2 * n_max[0] * basis[0]]
    sizes += [n_types**2 * n_max[1] * basis[1], dim]
    if len(numbers) != sum(sizes):
        raise ValueError(f"{len(numbers)} parameters in the potential, expected {sum(sizes)}")
    networks, bias, radial, angular, scaler = np.split(numbers, np.cumsum(sizes)[:-1])
    pairs = (c.reshape(-1, n_types**2) for c in (radial, angular))
    return elements, header, networks.reshape(n_types, network), bias, *pairs, scaler


def carbon_block(text, element="C"):
    """Cut a multi-element NEP4 parameter file down to one element; same numbers, fewer of them.

    For one element everything else is dead weight that is parsed again for every new structure.

    Parameters
    ----------
    text : str
        Content of the ``nep.txt`` file.
    element : str
        Chemical symbol to keep.

    Returns
    -------
    str
        Content of a ``nep.txt`` file for that element alone.

    Raises
    ------
    ValueError
        If the element is missing or the number of parameters does not fit the header.
    """
    lines = text.split("\n")[:7]
    elements = lines[0].split()[2:]
    if element not in elements:
        raise ValueError(f"{element} is not among the {len(elements)} elements of the potential")
    t = elements.index(element)
    _, _, networks, bias, radial, angular, scaler = read_parameters(text)
    pair = t * len(elements) + t
    lines[0] = f"{lines[0].split()[0]} 1 {element}"
    return "\n".join(
        [*lines, *networks[t], *bias, *radial[:, pair], *angular[:, pair], *scaler, ""]
    )


@cache
def nep89_carbon():
    """Content of the parameter file of NEP89, cut to carbon."""
    return carbon_block(nep89_path().read_text())


@cache
def _carbon_file():
    folder = tempfile.TemporaryDirectory(prefix="nep89-")
    path = Path(folder.name) / "nep89_C.txt"
    path.write_text(nep89_carbon())
    return folder, path  # the folder goes with the process


def calculator():
    """A fresh ASE calculator by calorine: NEP89 cut to carbon; eV and eV/Å."""
    from calorine.calculators import CPUNEP

    return CPUNEP(str(_carbon_file()[1]))
