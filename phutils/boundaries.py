"""What periodic boundaries do to diagrams: a cell against the same cell taken several times.

The paper asks this in its supplement (Sec. S3).
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from phutils.diagrams import persistence_diagrams

TOLERANCE = 1e-6  # Å², as the shortest lifetime that is kept


def supercells(structures, repeat=2, **options):
    """Diagrams of the same frames with the cell taken several times along each axis.

    Parameters
    ----------
    structures : iterable of ase.Atoms
    repeat : int
        Times along each axis.
    **options
        Of `phutils.diagrams.persistence_diagrams`.

    Returns
    -------
    phutils.diagrams.Diagrams
    """
    return persistence_diagrams([atoms.repeat(repeat) for atoms in structures], **options)


def changed_pairs(pairs, larger, copies, tolerance=TOLERANCE):
    """Pairs that a larger periodic cell does not have `copies` times, and those it has beyond.

    A cycle that does not wind around the cell lies `copies` times in the larger one. One that
    does is there because of the periodic boundaries.

    Parameters
    ----------
    pairs, larger : ndarray [n, 2], [m, 2]
        Births and deaths in Å² in both cells.
    copies : int
        Cells in the larger one.
    tolerance : float
        Å²; pairs closer than this are one.

    Returns
    -------
    lost : ndarray [k, 2]
        Pairs of the small cell with a copy missing, each as often as copies are missing.
    gained : ndarray [l, 2]
        Pairs of the larger cell beyond the copies.
    """
    points = np.concatenate([pairs, larger])
    weight = np.repeat([copies, -1], [len(pairs), len(larger)])
    near = cKDTree(points).query_pairs(tolerance, p=np.inf, output_type="ndarray")
    shape = len(points), len(points)
    graph = coo_array((np.ones(len(near)), (near[:, 0], near[:, 1])), shape)
    n_groups, group = connected_components(graph, directed=False)
    net = np.bincount(group, weight, n_groups).astype(int)
    place = points[np.unique(group, return_index=True)[1]]
    return np.repeat(place, net.clip(0), axis=0), np.repeat(place, (-net).clip(0), axis=0)


def boundary_changes(single, larger, copies):
    """Pairs of each frame that a larger cell does not hold `copies` times, or holds beyond.

    Counting simplices and the loops around the torus tells how many there are in the end: a cell
    taken 2 x 2 x 2 has 7, 14 and 7 pairs more of degrees 0, 1 and 2 than eight times those of the
    cell, pairs of no lifetime included.

    Parameters
    ----------
    single, larger : phutils.diagrams.Diagrams
        Of the same frames; ``larger`` from `supercells`.
    copies : int

    Returns
    -------
    dict
        ``share``: {degree: ndarray [n_frames]}, percent of the pairs of the larger cell;
        ``pairs``: {degree: ndarray [k, 2]}, births and deaths (Å²) of all of them.
    """
    share, pairs = {}, {}
    for k in single.degrees:
        both = [changed_pairs(single[i][k], larger[i][k], copies) for i in range(len(single))]
        found = [np.concatenate(sides) for sides in both]
        n_pairs = np.maximum(larger.counts(k), 1)
        share[k] = 100 * np.array([len(points) for points in found]) / n_pairs
        pairs[k] = np.concatenate([np.empty((0, 2)), *found])
    return {"share": share, "pairs": pairs}
