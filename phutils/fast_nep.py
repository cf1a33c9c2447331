"""A fast evaluation of a NEP4 potential of one element, for simulations.

Same potential as calorine's `CPUNEP` (energies to 1e-7 eV/atom, forces to 1e-5 eV/Å, tested), some
nine times faster on a few hundred atoms, because

- with one element every radial function depends on one distance only: all of them stand in a table
  of cubic Hermite pieces, whose derivative is the exact derivative of the tabulated energy;
- harmonics are evaluated once a neighbour, not once a radial function, and summed by matrix
  products (`phutils.nep_kernel`);
- neighbours come from a list with a skin (`vesin`), made anew when an atom has moved half of it.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers
from numpy.polynomial import chebyshev
from vesin import NeighborList

from phutils.nep_kernel import CLOSEST, SPACING, evaluate
from phutils.potential import nep89_carbon, read_parameters

SKIN = 0.8  # Å
COULOMB = 14.399645  # eV Å, e^2 / (4 pi epsilon_0)


class Model(NamedTuple):
    """A one-element NEP4 in the form the kernel wants."""

    element: str
    cutoffs: tuple  # Å, of the radial and the angular functions
    radial: np.ndarray  # [nodes, 2, n_radial]: values and slopes times spacing
    angular: np.ndarray  # [nodes, 2, n_angular + 1]; the last one is half the repulsion (eV)
    weights: np.ndarray  # [n_neurons, n_descriptors], scaler included
    biases: np.ndarray  # [n_neurons]
    output: np.ndarray  # [n_neurons], eV
    bias: float  # eV


# --- reading -------------------------------------------------------------------------------------


def _smooth(r, start, end):
    """Half a cosine from 1 at ``start`` to 0 at ``end``, and its derivative (1/Å)."""
    x = np.pi * np.clip((r - start) / (end - start), 0, 1)
    return 0.5 + 0.5 * np.cos(x), -0.5 * np.pi / (end - start) * np.sin(x)


def _table(coefficients, cutoff):
    """Values and slopes [2, nodes, n_functions] of Chebyshev expansions with a cutoff.

    The k-th basis function is (T_k(x) + 1) / 2 times the cutoff function, x = 2 (r/rc - 1)^2 - 1.
    """
    r = np.arange(0, cutoff + 2 * SPACING, SPACING)
    cut, cut_slope = _smooth(r, 0, cutoff)
    x, x_slope = 2 * (r / cutoff - 1) ** 2 - 1, 4 * (r / cutoff - 1) / cutoff
    basis = chebyshev.chebvander(x, coefficients.shape[1] - 1)
    basis[:, 1:] = (basis[:, 1:] + 1) / 2
    inner = coefficients @ basis.T
    derivative = chebyshev.chebval(x, chebyshev.chebder(coefficients / 2, axis=1).T)
    values, slopes = inner * cut, derivative * x_slope * cut + inner * cut_slope
    outside = r > cutoff
    values[:, outside] = slopes[:, outside] = 0
    return r, np.stack([values.T, slopes.T])


def _repulsion(r, number, start, end):
    """Half of the universal screened repulsion (Ziegler, Biersack & Littmark) of a pair, eV."""
    r = np.maximum(r, CLOSEST / 2)
    x = 2 * number**0.23 * 2.134563 * r
    terms = [(0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.02817, 0.20162)]
    screened = sum(a * np.exp(-b * x) for a, b in terms)
    slope = sum(-a * b * np.exp(-b * x) for a, b in terms) * x / r
    value, slope = screened / r, slope / r - screened / r**2
    cut, cut_slope = _smooth(r, start, end)
    half = 0.5 * COULOMB * number**2
    return half * value * cut, half * (slope * cut + value * cut_slope)


def read_model(text):
    """Tabulate a one-element NEP4 parameter file.

    Parameters
    ----------
    text : str
        Content of a ``nep.txt`` file, for example of `phutils.potential.carbon_block`.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If the file holds more than one element, or terms other than those of NEP89 (l up to 4, one
        four-body and one five-body term, fixed repulsion).
    """
    elements, header, networks, bias, radial, angular, scaler = read_parameters(text)
    kind = text.split(maxsplit=1)[0]
    if kind != "nep4_zbl" or len(elements) != 1 or header["l_max"] != ["4", "2", "1"]:
        raise ValueError(
            f"{kind} of {' '.join(elements)} with l_max {' '.join(header['l_max'])}: only nep4_zbl "
            "of one element with l_max 4 2 1 can be tabulated"
        )
    cutoffs = tuple(float(c) for c in header["cutoff"][:2])
    n_radial, n_angular = (int(n) + 1 for n in header["n_max"])
    inner, outer = (float(r) for r in header["zbl"])
    _, radial = _table(radial.astype(float).reshape(n_radial, -1), cutoffs[0])
    r, angular = _table(angular.astype(float).reshape(n_angular, -1), cutoffs[1])
    repulsion = np.stack(_repulsion(r, atomic_numbers[elements[0]], inner, outer))
    angular = np.concatenate([angular, repulsion[..., None]], axis=2)
    for table in (radial, angular):
        table[1] *= SPACING
    scaler = scaler.astype(float)
    network = networks[0].astype(float)
    n_neurons = int(header["ANN"][0])
    weights, biases, output = np.split(network, [n_neurons * len(scaler), -n_neurons])
    return Model(
        element=elements[0],
        cutoffs=cutoffs,
        radial=np.ascontiguousarray(radial.transpose(1, 0, 2)),
        angular=np.ascontiguousarray(angular.transpose(1, 0, 2)),
        weights=weights.reshape(n_neurons, -1) * scaler,
        biases=biases,
        output=output,
        bias=float(bias[0]),
    )


# --- calculator ----------------------------------------------------------------------------------


class FastNEP(Calculator):
    """ASE calculator of a tabulated NEP4; ``energy``, ``energies`` (eV) and ``forces`` (eV/Å).

    Parameters
    ----------
    model : Model
        From `read_model`.
    skin : float
        Å by which the neighbour list reaches beyond the cutoff.

    Raises
    ------
    ValueError
        For atoms of another element.
    RuntimeError
        If two atoms are closer than 0.4 Å.
    """

    implemented_properties = ["energy", "energies", "forces"]

    def __init__(self, model, skin=SKIN):
        super().__init__()
        self.model, self.skin, self._listed = model, skin, None
        # one thread: pairs then have one order, and a trajectory comes out the same again
        self._search = NeighborList(cutoff=model.cutoffs[0] + skin, full_list=True, n_threads=1)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if set(system_changes) - {"positions"}:
            strange = set(self.atoms.symbols) - {self.model.element}
            if strange:
                raise ValueError(
                    f"{', '.join(sorted(strange))}: the potential knows only {self.model.element}"
                )
            self._listed = None
        positions = np.ascontiguousarray(self.atoms.positions)
        if self._listed is None or self._moved(positions) > self.skin / 2:
            self._list(positions)
        m = self.model
        energies, forces, smallest = evaluate(
            positions,
            *self._neighbours,
            m.radial,
            m.angular,
            m.cutoffs,
            m.weights,
            m.biases,
            m.output,
        )
        if smallest < CLOSEST:
            raise RuntimeError(f"two atoms are {smallest:.2f} Å apart")
        energies -= m.bias
        self.results = {"energy": energies.sum(), "energies": energies, "forces": forces}

    def _moved(self, positions):
        return np.sqrt(((positions - self._listed) ** 2).sum(axis=1).max())

    def _list(self, positions):
        cell, periodic = self.atoms.cell.array, self.atoms.pbc
        first, second, shifts = self._search.compute(
            points=positions, box=cell, periodic=periodic, quantities="ijS"
        )
        order = np.argsort(first, kind="stable")
        starts = np.searchsorted(first[order], np.arange(len(positions) + 1))
        self._neighbours = (
            starts,
            second[order].astype(np.int64),
            shifts[order].astype(float) @ cell,
        )
        self._listed = positions.copy()


@cache
def _carbon_model():
    return read_model(nep89_carbon())


def calculator():
    """A fresh calculator of NEP89 cut to carbon."""
    return FastNEP(_carbon_model())
