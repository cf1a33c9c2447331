"""Atoms at random places, and what the diagrams of two cells must have in common."""

import numpy as np
from ase import Atoms

from phutils.alpha import alpha_filtration
from phutils.frames import check_frame
from phutils.reduction import reduce_pairs


def box(positions, cell):
    """Carbon atoms in a periodic cell."""
    return Atoms(f"C{len(positions)}", positions=positions, cell=cell, pbc=True)


def spread(n, cell, seed=0, apart=0.9):
    """`n` atoms at random places in a cell, at least `apart` Å from each other."""
    rng, cell, scaled = np.random.default_rng(seed), Atoms(cell=cell).cell.array, np.empty((0, 3))
    while len(scaled) < n:
        new = rng.random(3)
        away = scaled - new
        if (np.linalg.norm((away - np.round(away)) @ cell, axis=1) > apart).all():
            scaled = np.vstack([scaled, new])
    return box(scaled @ cell, cell)


def assert_same(one, two, scale=1.0, atol=1e-9, below=np.inf):
    """Two diagrams are equal, the second one's values times `scale`, up to deaths `below`."""
    for degree in (0, 1, 2):
        a, b = (x[degree][x[degree][:, 1] < y] for x, y in ((one, below), (two, below / scale)))
        a = a[a[:, 1] - a[:, 0] >= 1e-6 * scale]
        assert a.shape == b.shape
        a, b = _columns(a), _columns(b) * scale
        rounding = 1e-12 * a.max(initial=0)  # of lifetimes, the third column
        np.testing.assert_allclose(a, b, atol=max(atol * max(scale, 1), rounding), rtol=1e-9)


def _columns(pairs):
    """Births, deaths and lifetimes, each sorted: ties in one need not be in order of another."""
    return np.sort(np.column_stack([pairs, pairs[:, 1] - pairs[:, 0]]), axis=0)


def filtration(atoms):
    """Value and dimension of every simplex, the pairs, and the simplices that are in none."""
    values, boundaries = alpha_filtration(*check_frame(atoms.positions, atoms.cell.array))
    pairs = reduce_pairs(values, boundaries)
    dimension = np.repeat(np.arange(4), [len(v) for v in values])
    endless = np.setdiff1d(np.arange(len(dimension)), pairs[:, 1:])
    return np.concatenate(values), dimension, pairs, endless


def assert_covers(atoms, found, large, large_found, unique=True):
    """What a cell and its m-fold supercell, with their diagrams, must have in common.

    Every simplex is there m times, if the triangulation is `unique`. Before the first ring around
    the cell is born, every part of the complex has m copies in the supercell, each as it is, so
    that all pairs that die until then are there m times as well. By Alexander duality the same
    holds, for the holes between the balls, of all pairs born after the last closed surface across
    the cell. What lies between these two depends on the cell: a ring around it is not closed in
    the supercell.

    Returns
    -------
    float
        Share of the cell's pairs of degrees 1 and 2 that are m times in the supercell.
    """
    values, dimension, _, endless = filtration(atoms)
    large_values, large_dimension, *_ = filtration(large)
    fold, common = len(large) // len(atoms), 0
    assert fold >= 2 and len(large) == fold * len(atoms) == len(large_found[0]) + 1
    atol = 1e-9 if unique else 2e-7
    for k in range(4) if unique else ():
        few, many = np.repeat(values[dimension == k], fold), large_values[large_dimension == k]
        np.testing.assert_allclose(np.sort(few), np.sort(many), atol=atol)
    assert np.bincount(dimension[endless]).tolist() == [1, 3, 3, 1]
    born = values[endless]
    first, last = born[dimension[endless] == 1].min(), born[dimension[endless] == 2].max()
    for degree in (0, 1, 2):
        early, late = ((1, -np.inf, first - 1e-6), (0, last + 1e-6, np.inf))
        for column, low, high in (early, late):
            few, many = (
                x[degree][(low < x[degree][:, column]) & (x[degree][:, column] < high)]
                for x in (found, large_found)
            )
            np.testing.assert_allclose(
                _columns(np.repeat(few, fold, axis=0)), _columns(many), atol=atol
            )
            common += len(few) if degree else 0
    return common / max(len(found[1]) + len(found[2]), 1)
