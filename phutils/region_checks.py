"""Checks of an inverse analysis: random regions, moved atoms, and the energies of single atoms.

A region says something only if random bins do not say the same (`null_regions`), if its rings stay
when atoms move by less than they do anyway (`survival`), and, where energies of single atoms are
known, if it finds the atoms that are expensive (`share_matrix`, `rank_correlations`).
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.stats import rankdata

from phutils.inverse import measure

# --- random regions ------------------------------------------------------------------------------


def null_regions(table, low, high, bins, draws=200, seed=0):
    """What `phutils.inverse.measure` says of random regions that hold as many pairs.

    Parameters
    ----------
    table : dict
        Made by `phutils.inverse.tabulate`.
    low, high : ndarray [k] of bool
        The real regions, on the bins that are hit.
    bins : int
        Of the histogram along each axis.
    draws : int
    seed : int

    Returns
    -------
    dict
        ``any bins`` and ``same births``: dicts of ndarray [draws]. In the latter every column of
        the mesh, that is every birth, gives as many pairs to each region as it gives to the real
        one, so that only the death is left to chance.
    """
    pairs, birth = table["pairs"].sum(axis=0), table["pixel"] // bins
    pooled = {k: v.sum(axis=0, keepdims=True, dtype=float) for k, v in table.items() if v.ndim > 1}
    found = {}
    for name, column in (("any bins", np.zeros_like(birth)), ("same births", birth)):
        rng, results = np.random.default_rng(seed), []
        for _ in range(draws):
            drawn = [_random_region(pairs, column, region, rng) for region in (low, high)]
            results.append(measure(pooled, *drawn))
        found[name] = {k: np.array([r[k] for r in results]) for k in measure(pooled, low, high)}
    return found


def _random_region(pairs, column, region, rng):
    """Random bins with as many pairs in every column; of the last bin as large a part as needed."""
    wanted = np.bincount(column, pairs * np.asarray(region, float))
    order = np.lexsort([rng.random(len(pairs)), column])
    before = np.cumsum(pairs[order]) - pairs[order]
    before = before - before[np.searchsorted(column[order], column[order])]
    weight = np.empty(len(pairs))
    weight[order] = np.clip((wanted[column[order]] - before) / pairs[order], 0, 1)
    return weight


def shuffled(weights, column, draws=100, seed=0):
    """Coefficients that changed places, ndarray [k, draws]; within each column (birth) only."""
    rng = np.random.default_rng(seed)
    order = np.argsort(column, kind="stable")
    found = np.empty((len(weights), draws))
    for k in range(draws):
        found[order, k] = weights[np.lexsort([rng.random(len(weights)), column])]
    return found


# --- moved atoms ---------------------------------------------------------------------------------


def survival(before, after, n_atoms, region_before, region_after):
    """How many rings of a region are found again in another version of the same frame.

    Parameters
    ----------
    before, after : list of phutils.cycles.Cycle
        Of the frame, and of the frame with moved atoms or with another tolerance.
    n_atoms : int
    region_before, region_after : ndarray [n] of int
        -1, 0 or 1 for the pairs of each: low, none, high.

    Returns
    -------
    dict
        {-1: ..., 1: ...} of tuples: number of rings, how many have a ring of the very same
        atoms in the other version, sum over rings of the largest overlap with any ring there
        (atoms in both / atoms in either), how many have their nearest ring in the same region.
    """
    old, new = (_members(cycles, n_atoms) for cycles in (before, after))
    shared = old @ new.T
    either = old.sum(axis=1)[:, None] + new.sum(axis=1) - shared
    overlap = np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)
    found = {}
    for region in (-1, 1):
        mine = region_before == region
        if not mine.any() or not len(after):
            found[region] = int(mine.sum()), 0, 0.0, 0
            continue
        best, nearest = overlap[mine].max(axis=1), overlap[mine].argmax(axis=1)
        same = int((best > 1 - 1e-6).sum())
        kept = int((region_after[nearest] == region).sum())
        found[region] = int(mine.sum()), same, float(best.sum()), kept
    return found


def survivors(before, frames, after, n_atoms, region_before, region_after):
    """`survival` over several frames, in percent.

    Parameters
    ----------
    before, after : phutils.cycles.Cycles
        Of all frames, and of other versions of some of them.
    frames : sequence of int
        Which ones these are.
    n_atoms : ndarray [n_frames]
    region_before, region_after : ndarray [n_pairs] of int
        Of all pairs of each.

    Returns
    -------
    ndarray [6]
        Rings with the very same atoms, mean largest overlap, rings in the same region: first of
        the low, then of the high region; 0 where that is empty.
    """
    total = {-1: np.zeros(4), 1: np.zeros(4)}
    for k, i in enumerate(np.asarray(frames).tolist()):
        sides = region_before[before.frame == i], region_after[after.frame == k]
        found = survival(before[i], after[k], n_atoms[i], *sides)
        for region in total:
            total[region] += found[region]
    return np.concatenate([100 * t[1:] / max(t[0], 1) for t in total.values()])


def _members(cycles, n_atoms):
    """Which atoms each ring has, ndarray [n, n_atoms] of 0 and 1."""
    members = np.zeros((len(cycles), n_atoms), np.float32)
    for row, cycle in zip(members, cycles, strict=True):
        row[cycle.vertices] = 1
    return members


# --- energies of single atoms --------------------------------------------------------------------


def share_matrix(cycles, place, n_atoms, k):
    """How pairs are shared out: each one in equal parts to the atoms of its ring.

    Parameters
    ----------
    cycles : phutils.cycles.Cycles
    place : ndarray [n_pairs]
        Of each pair among k bins, -1 for none; see `phutils.inverse.tabulate`.
    n_atoms : ndarray [n_frames]
    k : int

    Returns
    -------
    scipy.sparse.csr_array [atoms of all frames, k]
        Its product with the coefficients of the bins is each atom's share of what the linear
        model makes of the rings.
    """
    first = np.cumsum([0, *n_atoms])
    of_pair = np.repeat(np.arange(len(place)), cycles.n_vertices)
    kept = place[of_pair] >= 0
    of_pair = of_pair[kept]
    atom = first[cycles.frame[of_pair]] + cycles.vertices[kept]
    entries = 1 / cycles.n_vertices[of_pair]
    return coo_array((entries, (atom, place[of_pair])), (first[-1], k)).tocsr()


def rank_correlations(values, energies, n_atoms):
    """Spearman's rank correlation with the energies of the atoms, frame by frame.

    Parameters
    ----------
    values : ndarray [atoms of all frames, m]
    energies : list
        Of each frame's atoms, ndarray [n_atoms], or None.
    n_atoms : ndarray [n_frames]

    Returns
    -------
    ndarray [n_frames, m]
        NaN where energies are not known, or all values of a frame are equal.
    """
    found = np.full((len(energies), values.shape[1]), np.nan)
    blocks = np.split(values, np.cumsum(n_atoms)[:-1])
    for row, block, energy in zip(found, blocks, energies, strict=True):
        if energy is None:
            continue
        ranks = rankdata(block, axis=0)
        ranks -= ranks.mean(axis=0)
        of_energy = rankdata(energy) - (len(energy) + 1) / 2
        scale = np.sqrt(np.square(ranks).sum(axis=0) * np.square(of_energy).sum())
        np.divide(of_energy @ ranks, scale, out=row, where=scale > 0)
    return found
