"""What an atomic structure looks like without topology: bonds, coordination, g(r)."""

import numpy as np
from scipy.spatial import cKDTree

BOND = 1.85  # Å: between the first and the second peak of g(r) of amorphous carbon
MAX_COORDINATION = 5


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


def bonds(atoms, cutoff=BOND):
    """Bonded pairs under periodic boundaries.

    Parameters
    ----------
    atoms : ase.Atoms
        Orthorhombic and periodic.
    cutoff : float
        Longest bond in Å.

    Returns
    -------
    pairs : ndarray [n_bonds, 2]
    vectors : ndarray [n_bonds, 3]
        From the first to the second atom of each pair, minimum image, in Å.

    Raises
    ------
    ValueError
        If the cutoff exceeds half the shortest edge of the box.
    """
    positions, cell = wrapped(atoms)
    if cutoff > cell.min() / 2:
        raise ValueError(f"cutoff {cutoff} Å exceeds half the box, {cell.min() / 2:.3f} Å")
    pairs = cKDTree(positions, boxsize=cell).query_pairs(cutoff, output_type="ndarray")
    vectors = positions[pairs[:, 1]] - positions[pairs[:, 0]]
    return pairs, vectors - cell * np.round(vectors / cell)


def coordination(atoms, cutoff=BOND):
    """Number of bonds of every atom, ndarray [n]; see `bonds`."""
    return np.bincount(bonds(atoms, cutoff)[0].ravel(), minlength=len(atoms))


def local_order(structures, cutoff=BOND):
    """A handful of numbers that describe each structure's bonds.

    Parameters
    ----------
    structures : sequence of ase.Atoms
    cutoff : float
        Longest bond in Å.

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
        Å; at most half the shortest edge of any box.
    bins : int

    Returns
    -------
    dict
        ``r``: ndarray [bins], bin centres in Å; ``g``: ndarray [bins].

    Raises
    ------
    ValueError
        If `r_max` exceeds half a box.
    """
    edges = np.linspace(0, r_max, bins + 1)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    g = np.zeros(bins)
    for atoms in structures:
        positions, cell = wrapped(atoms)
        if r_max > cell.min() / 2:
            raise ValueError(f"r_max {r_max} Å exceeds half the box, {cell.min() / 2:.3f} Å")
        tree = cKDTree(positions, boxsize=cell)
        pairs = np.diff(tree.count_neighbors(tree, edges))  # an atom and itself cancel at r = 0
        g += pairs / shells / (len(atoms) ** 2 / cell.prod())
    return {"r": (edges[1:] + edges[:-1]) / 2, "g": g / len(structures)}
