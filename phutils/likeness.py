"""How alike two spaces of the same frames are, by common neighbours and by the ranks of distances.

The paper finds by eye that maps of one descriptor resemble those of another (Sec. III, Figs. 5 and
6). Pairs of one trajectory, which are near copies in any space, do not count here.
"""

import numpy as np
from scipy.stats import spearmanr
from sklearn.manifold import trustworthiness
from threadpoolctl import threadpool_limits

from phutils.jackknife import above, parts_of
from phutils.maps import checked_space

PAIRED = 400  # frames whose distances to each other are ranked


def shared(one, other):
    """Share of neighbours that two spaces of the same frames have in common.

    Parameters
    ----------
    one, other : dict
        From `phutils.islands.neighbours`, with the same `k`, `parts` and `seed`.

    Returns
    -------
    ndarray [1 + parts]
        The value of all frames, and with each part of the trajectories left out.

    Raises
    ------
    ValueError
        If the two are not of the same frames and parts.
    """
    a, b = np.sort(one["near"], axis=2), np.sort(other["near"], axis=2)
    if a.shape != b.shape or ((a < 0) != (b < 0)).any():
        raise ValueError("neighbours of different frames or parts cannot be compared")
    found = []
    for x, y in zip(a, b, strict=True):
        kept = x[:, 0] >= 0
        hits = (x[kept][:, :, None] == y[kept][:, None, :]).sum(axis=(1, 2))
        found.append(hits.mean() / a.shape[2])
    return np.array(found)


def distance_correlation(one, other, groups, parts=0, seed=0):
    """Rank correlation of the distances between frames in two spaces.

    Parameters
    ----------
    one, other : array [n, features]
        Descriptors or maps of the same frames. Of more than 400 frames as many are taken, evenly
        spread; pairs of one trajectory do not count.
    groups : array [n]
        Trajectory of each frame.
    parts, seed
        As for `phutils.islands.neighbours`.

    Returns
    -------
    dict of ndarray
        ``spearman`` [1 + parts], the coefficient of all frames, and with each part of the
        trajectories left out.
    """
    one, other = checked_space(one), checked_space(other)
    groups = np.unique(groups, return_inverse=True)[1].ravel()
    part, number = parts_of(groups, parts, seed)
    at = np.linspace(0, len(groups) - 1, min(PAIRED, len(groups))).astype(int)
    i, j = np.triu_indices(len(at), 1)
    i, j = at[i], at[j]
    i, j = (x[groups[i] != groups[j]] for x in (i, j))
    first, second = (_between(space, at, i, j) for space in (one, other))
    found = []
    for k in range(1 + number):
        kept = (part[i] != k) & (part[j] != k)
        found.append(spearmanr(first[kept], second[kept])[0])
    return {"spearman": np.array(found)}


def nearer(likeness):
    """Which of two something is more like, by more than two errors of the difference.

    Parameters
    ----------
    likeness : dict
        {name: array [1 + parts]}, the larger the more alike; two of them.

    Returns
    -------
    str
        The name, or ``"neither"``.
    """
    (one, first), (other, second) = likeness.items()
    return one if above(first, second) else other if above(second, first) else "neither"


def trust(descriptors, found, k=10, limit=1500):
    """Share of a map's neighbours that are neighbours in the descriptor space as well.

    Parameters
    ----------
    descriptors : array [n, features]
    found : array [n, 2]
        The map.
    k : int
    limit : int
        Of more frames than this, as many are taken, evenly spread: memory grows as the square.

    Returns
    -------
    float
        Trustworthiness, 1 for a perfect map (Venna & Kaski, doi:10.1007/3-540-44668-0_68); NaN for
        fewer than 2 k + 2 frames.
    """
    taken = np.linspace(0, len(found) - 1, min(limit, len(found))).astype(int)
    if len(taken) < 2 * k + 2:
        return np.nan
    return float(trustworthiness(checked_space(descriptors)[taken], found[taken], n_neighbors=k))


# --- inside --------------------------------------------------------------------------------------


def _between(space, at, i, j):
    """Distances of pairs (i, j) of the frames `at`."""
    place = np.zeros(len(space), int)
    place[at] = np.arange(len(at))
    some = space[at].astype(float)
    with threadpool_limits(1):
        some = some - some.mean(axis=0)
        squares = np.einsum("ij,ij->i", some, some)
        table = squares[:, None] + squares - 2 * some @ some.T
    return table[place[i], place[j]]  # squared: the ranks are the same
