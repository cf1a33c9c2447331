"""Whether a space of descriptors falls into islands: how it is ordered by density and by energy.

The paper sees islands on maps (Sec. III, Figs. 5 and 6). The measures here ask the same of any
space, of the map as well as of the descriptors themselves. Snapshots of one trajectory are near
copies of each other, so that nobody's neighbours are taken from its own trajectory.
"""

import numpy as np
from threadpoolctl import threadpool_limits

from phutils.jackknife import parts_of
from phutils.maps import checked_space

BLOCK = 512  # frames whose distances to all others are in memory at a time


def density_labels(density, levels=None):
    """Number of each frame's density among the `levels`, the nearest one counting.

    Parameters
    ----------
    density : array [n]
        g/cm³.
    levels : array, optional
        g/cm³; default: the densities there are, to 0.01 g/cm³.

    Returns
    -------
    ndarray [n] of int
    """
    density = np.asarray(density, float)
    levels = np.unique(density.round(2)) if levels is None else np.sort(levels)
    return np.abs(density[:, None] - levels).argmin(axis=1)


def neighbours(space, labels, groups, k=10, parts=0, seed=0):
    """Nearest frames of other trajectories, of all frames and with parts of these left out.

    Parameters
    ----------
    space : array [n, features]
        Descriptors, or points of a map.
    labels : array [n] of int
        See `density_labels`.
    groups : array [n]
        Trajectory of each frame.
    k : int
        Neighbours of a frame.
    parts : int
        Into which the trajectories are divided at random, to leave out one at a time; see
        `phutils.jackknife`.
    seed : int
        Of that division.

    Returns
    -------
    dict of ndarray
        ``near`` [1 + parts, n, k], the neighbours without order: first of all frames, then without
        each part, where the rows of the part itself are -1; ``same`` and ``other`` [1 + parts, n],
        distances to the nearest frame of the same and of another label, infinite without any;
        ``labels`` and ``groups`` [n].

    Raises
    ------
    ValueError
        For a descriptor that is not finite, descriptors that are all the same, lengths that differ,
        or fewer than `k` frames in the other trajectories of some frame.
    """
    space = checked_space(space).astype(float)
    labels = np.asarray(labels)
    groups = np.unique(groups, return_inverse=True)[1].ravel()
    n = len(space)
    if not n == len(labels) == len(groups):
        raise ValueError(f"{n} descriptors, {len(labels)} labels and {len(groups)} trajectories")
    part, number = parts_of(groups, parts, seed)
    for i in range(1 + number):
        left = groups[part != i]
        elsewhere = len(left) - np.bincount(left).max(initial=0)
        if elsewhere < k:
            raise ValueError(f"{k} neighbours in other trajectories are wanted, of {elsewhere}")
    shape = 1 + number, n
    near = np.full((*shape, k), -1, np.int32)
    same, other = np.full((2, *shape), np.inf, np.float32)
    with threadpool_limits(1):
        for rows, distance in _distances(space):
            distance[groups[rows][:, None] == groups] = np.inf
            alike = labels[rows][:, None] == labels
            for i in range(shape[0]):
                kept = part[rows] != i
                at, here = rows[kept], distance[kept]
                here[:, part == i] = np.inf
                near[i, at] = np.argpartition(here, k - 1, axis=1)[:, :k]
                same[i, at] = np.sqrt(np.where(alike[kept], here, np.inf).min(axis=1))
                other[i, at] = np.sqrt(np.where(alike[kept], np.inf, here).min(axis=1))
    return {"near": near, "same": same, "other": other, "labels": labels, "groups": groups}


def measures(found, density, energy):
    """How a space is ordered by density and by energy.

    Parameters
    ----------
    found : dict
        From `neighbours`.
    density : array [n]
        g/cm³.
    energy : array [n]
        eV/atom.

    Returns
    -------
    dict of ndarray [1 + parts]
        The value of all frames, and with each part of the trajectories left out.
        ``purity``: share of neighbours with the frame's own label, 1 for islands of one density,
        of the frames that have so many like them in other trajectories;
        ``chance``: the same for neighbours drawn at random;
        ``gap``: distance to the nearest frame of another label over that to the nearest of the
        same one, median (above 1: gaps between densities);
        ``modularity`` of the graph of neighbours with the labels as communities;
        ``density_error``: mean absolute difference of density to the neighbours, over that to
        frames of other trajectories at random: 0 where a place tells the density, 1 where it tells
        nothing;
        ``energy_error``: RMSE of the neighbours' mean as a prediction of the energy, meV/atom.
        NaN where there is nothing to compare, as with a single density.

    Raises
    ------
    ValueError
        If there is not one density and one energy a frame.
    """
    density, energy = np.asarray(density, float), np.asarray(energy, float)
    n = len(found["labels"])
    if not n == len(density) == len(energy):
        raise ValueError(f"{n} frames, {len(density)} densities and {len(energy)} energies")
    rows = []
    for near, same, other in zip(found["near"], found["same"], found["other"], strict=True):
        kept = near[:, 0] >= 0
        near, labels, groups = near[kept], found["labels"][kept], found["groups"][kept]
        alike = found["labels"][near] == labels[:, None]
        elsewhere, chance = _chance(labels, groups)
        able = elsewhere >= near.shape[1]
        both = kept & np.isfinite(same) & np.isfinite(other) & (same > 0)
        ratio = other[both] / same[both]
        off = (energy[near].mean(axis=1) - energy[kept]) ** 2
        place = np.cumsum(kept) - 1  # of a frame among those that are kept
        apart = _mean_apart(density[kept], groups)
        off_density = np.abs(density[near] - density[kept][:, None]).mean()
        rows.append(
            {
                "purity": alike[able].mean() if able.any() else np.nan,
                "chance": chance[able].mean() if able.any() else np.nan,
                "gap": np.median(ratio) if len(ratio) else np.nan,
                "modularity": _modularity(place[near], labels) if able.any() else np.nan,
                "density_error": off_density / apart if apart > 1e-6 else np.nan,
                "energy_error": 1000 * np.sqrt(off.mean()),
            }
        )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


# --- inside --------------------------------------------------------------------------------------


def _distances(space):
    """Yield (rows, squared distances [rows, n]), a block at a time."""
    space = space - space.mean(axis=0)
    squares = np.einsum("ij,ij->i", space, space)
    for start in range(0, len(space), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(space)))
        distance = squares[rows][:, None] + squares - 2 * space[rows] @ space.T
        yield rows, np.maximum(distance, 0)


def _chance(labels, groups):
    """Frames of the own label in other trajectories, and their share of all frames there."""
    counts = np.zeros((groups.max() + 1, labels.max() + 1))
    np.add.at(counts, (groups, labels), 1)
    elsewhere = counts.sum(axis=0) - counts
    return elsewhere[groups, labels], elsewhere[groups, labels] / elsewhere.sum(axis=1)[groups]


def _mean_apart(values, groups):
    """Mean absolute difference of two values from different groups."""

    def total(v):
        return 2 * np.sum((2 * np.arange(len(v)) - len(v) + 1) * np.sort(v))

    inside = [values[groups == g] for g in np.unique(groups)]
    number = len(values) ** 2 - sum(len(v) ** 2 for v in inside)
    return (total(values) - sum(map(total, inside))) / number


def _modularity(near, labels):
    """Newman's modularity of the graph that joins each frame with its neighbours."""
    degree = near.shape[1] + np.bincount(near.ravel(), minlength=len(near))
    inside = np.mean(labels[near] == labels[:, None])
    share = np.bincount(labels, weights=degree) / degree.sum()
    return inside - np.sum(share**2)
