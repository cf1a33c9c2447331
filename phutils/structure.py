"""What an atomic structure looks like without topology: bonds, coordination, g(r)."""

import numpy as np
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from scipy.spatial import cKDTree

BOND = 1.85  # Å: between the first and the second peak of g(r) of amorphous carbon
MAX_COORDINATION = 5


def longest_bond(first, second=None):
    """Largest distance that counts as a bond: 1.85 Å for carbon, others by covalent radii.

    The sum of two atoms' covalent radii (ASE's, of Cordero et al.) times 1.22: between the first
    two peaks of g(r) for carbon, and for silicon (2.70 Å) as well.

    Parameters
    ----------
    first : int or ndarray of int
        Atomic numbers.
    second : int or ndarray of int, optional
        Those of the other atoms; default: the same.

    Returns
    -------
    float or ndarray
        Å.

    References
    ----------
    Cordero et al., Dalton Trans. 2832 (2008), doi:10.1039/b801115j.
    """
    radii = covalent_radii[first] + covalent_radii[first if second is None else second]
    return BOND * radii / (2 * covalent_radii[6])


def wrapped(atoms):
    """Positions inside the box and the box's edge lengths.

    Parameters
    ----------
    atoms : ase.Atoms
        Orthorhombic and periodic.

    Returns
    -------
    positions : ndarray [n, 3]
        In Å, each coordinate at least 0 and below the edge length.
    cell : ndarray [3]
        In Å.
    """
    cell = atoms.cell.lengths()
    positions = atoms.positions - np.floor(atoms.positions / cell) * cell
    positions[positions >= cell] = 0
    return positions, cell


def bonds(atoms, cutoff=None):
    """Bonded pairs under periodic boundaries.

    Parameters
    ----------
    atoms : ase.Atoms
        Orthorhombic and periodic.
    cutoff : float, optional
        Longest bond in Å; default: `longest_bond` of each pair of elements.

    Returns
    -------
    pairs : ndarray [n_bonds, 2]
        A pair that is bonded through several images is there as often.
    vectors : ndarray [n_bonds, 3]
        From the first to the second atom of each pair, in Å.
    """
    reach = longest_bond(atoms.numbers).max() if cutoff is None else cutoff
    positions, cell = wrapped(atoms)
    if reach > cell.min() / 2:
        pairs, vectors = _with_images(atoms, reach)
    else:
        tree = cKDTree(positions, boxsize=cell)
        pairs = tree.query_pairs(reach, output_type="ndarray")
        vectors = positions[pairs[:, 1]] - positions[pairs[:, 0]]
        vectors -= cell * np.round(vectors / cell)
    if cutoff is None and len(set(atoms.numbers)) > 1:
        near = np.linalg.norm(vectors, axis=1) <= longest_bond(*atoms.numbers[pairs].T)
        pairs, vectors = pairs[near], vectors[near]
    return pairs, vectors


def _with_images(atoms, reach):
    """Pairs and vectors where atoms may meet several images of each other, or of themselves."""
    i, j, vectors = neighbor_list("ijD", atoms, reach)
    x, y, z = vectors.T
    ahead = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))  # of an atom and its image
    once = (i < j) | ((i == j) & ahead)
    return np.stack([i, j], axis=1)[once], vectors[once]


def coordination(atoms, cutoff=None):
    """Number of bonds of every atom, ndarray [n]; see `bonds`."""
    return np.bincount(bonds(atoms, cutoff)[0].ravel(), minlength=len(atoms))


def local_order(structures, cutoff=None):
    """A handful of numbers that describe each structure's bonds.

    Parameters
    ----------
    structures : sequence of ase.Atoms
    cutoff : float, optional
        Longest bond in Å; default: as for `bonds`.

    Returns
    -------
    dict
        ``coordination``: ndarray [n, 6], fractions of atoms with 0, 1, 2, 3, 4 and 5 or more
        bonds; ``bond_mean``, ``bond_std``: ndarray [n], bond lengths in Å (0 without any bond).
    """
    fractions = np.zeros((len(structures), MAX_COORDINATION + 1))
    mean, std = np.zeros(len(structures)), np.zeros(len(structures))
    for i, atoms in enumerate(structures):
        pairs, vectors = bonds(atoms, cutoff)
        count = np.bincount(pairs.ravel(), minlength=len(atoms)).clip(max=MAX_COORDINATION)
        fractions[i] = np.bincount(count, minlength=MAX_COORDINATION + 1) / len(atoms)
        if len(vectors):
            lengths = np.linalg.norm(vectors, axis=1)
            mean[i], std[i] = lengths.mean(), lengths.std()
    return {"coordination": fractions, "bond_mean": mean, "bond_std": std}


def radial_distribution(structures, r_max=5.0, bins=200):
    """Radial distribution function, averaged over frames.

    Parameters
    ----------
    structures : sequence of ase.Atoms
    r_max : float
        Å; beyond half a box the images count as well.
    bins : int

    Returns
    -------
    dict
        ``r``: ndarray [bins], bin centres in Å; ``g``: ndarray [bins].
    """
    edges = np.linspace(0, r_max, bins + 1)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    g = np.zeros(bins)
    for atoms in structures:
        positions, cell = wrapped(atoms)
        if r_max > cell.min() / 2:
            pairs = (
                2 * np.histogram(np.linalg.norm(_with_images(atoms, r_max)[1], axis=1), edges)[0]
            )
        else:
            tree = cKDTree(positions, boxsize=cell)
            pairs = np.diff(tree.count_neighbors(tree, edges))  # atom and itself cancel at r = 0
        g += pairs / shells / (len(atoms) ** 2 / cell.prod())
    return {"r": (edges[1:] + edges[:-1]) / 2, "g": g / len(structures)}
