"""Two-dimensional maps of descriptor spaces, and measures of how far these fall into islands.

The paper judges maps by eye (Sec. III, Figs. 5 and 6). The measures here ask the same of any
space, of the map as well as of the descriptors themselves. Snapshots of one trajectory are near
copies of each other, so that nobody's neighbours are taken from its own trajectory.
"""

import numpy as np
from joblib import effective_n_jobs
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from phutils.artifacts import cached
from phutils.frames import in_order

BLOCK = 512  # frames whose distances to all others are in memory at a time
COMPONENTS = 50  # that t-SNE sees of longer descriptors
SHORT = 512  # features, up to which principal components are found by diagonalisation
PAIRED = 400  # frames whose distances to each other are ranked

# --- maps ----------------------------------------------------------------------------------------


def principal_components(descriptors, n=COMPONENTS):
    """Principal components; the first two are the map by PCA.

    Parameters
    ----------
    descriptors : array [frames, features]
    n : int
        Components, at most; there are always two, the second one zero for a single feature.

    Returns
    -------
    dict of ndarray
        ``components`` [frames, n], ``shares`` [n] of the variance.

    Raises
    ------
    ValueError
        For a descriptor that is not finite (naming the frame) or descriptors that are all the same.
    """
    descriptors = _checked(descriptors).astype(float)
    k, short = min(n, *descriptors.shape), min(descriptors.shape)
    few = descriptors.shape[1] <= SHORT or k >= short - 1
    with threadpool_limits(1):  # the same map on any machine
        pca = PCA(k, svd_solver="full" if few else "arpack", random_state=0)
        found = pca.fit_transform(descriptors)
    peak = np.abs(found).argmax(axis=0)
    found *= np.sign(found[peak, np.arange(k)])  # the sign of a component is arbitrary
    shares = pca.explained_variance_ratio_
    if k == 1:
        found, shares = np.pad(found, ((0, 0), (0, 1))), np.pad(shares, (0, 1))
    return {"components": found, "shares": shares}


def embed(descriptors, perplexity=30.0, seed=0):
    """Map descriptors to a plane by t-SNE.

    It starts from the first two principal components, and of descriptors longer than 50 it sees the
    first 50 of them.

    Parameters
    ----------
    descriptors : array [n, features]
    perplexity : float
        The paper has 30, and 10 and 50 in Figs. S11 and S12.
    seed : int

    Returns
    -------
    dict of ndarray
        ``map`` [n, 2].

    Raises
    ------
    ValueError
        For a descriptor that is not finite (naming the frame), descriptors that are all the same,
        or too few frames for the perplexity.

    References
    ----------
    van der Maaten & Hinton, J. Mach. Learn. Res. 9, 2579 (2008).
    """
    descriptors = _checked(descriptors)
    if not 0 < perplexity < len(descriptors):
        raise ValueError(
            f"t-SNE with perplexity {perplexity:g} needs more frames than that, "
            f"and there are {len(descriptors)}"
        )
    if descriptors.shape[1] > COMPONENTS:
        descriptors = principal_components(descriptors)["components"]
    if descriptors.shape[1] == 1:
        descriptors = np.pad(descriptors, ((0, 0), (0, 1)))
    with threadpool_limits(1):
        tsne = TSNE(perplexity=perplexity, random_state=seed, init="pca", n_jobs=1)
        return {"map": tsne.fit_transform(descriptors).astype(float)}


def embed_each(folder, calls, n_jobs=None, progress=True):
    """`embed` several times, in parallel; what is done is kept on disk, map by map.

    Parameters
    ----------
    folder : path-like
        Artifacts of the dataset (`phutils.artifacts.folder`).
    calls : sequence of (descriptors, perplexity, seed)
    n_jobs : int, optional
        Processes; default: one per core.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of ndarray [n, 2]
    """
    calls = [(cached, folder, embed, np.asarray(x), float(p), seed) for x, p, seed in calls]
    found = in_order(calls, 1 if len(calls) == 1 else effective_n_jobs(n_jobs or -1))
    return [f["map"] for f in tqdm(found, "t-SNE", len(calls), unit="map", disable=not progress)]


# --- neighbours ----------------------------------------------------------------------------------


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
        Into which the trajectories are divided at random, to leave out one at a time; see `error`.
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
    space = _checked(space).astype(float)
    labels = np.asarray(labels)
    groups = np.unique(groups, return_inverse=True)[1].ravel()
    n = len(space)
    if not n == len(labels) == len(groups):
        raise ValueError(f"{n} descriptors, {len(labels)} labels and {len(groups)} trajectories")
    part, number = _parts(groups, parts, seed)
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


def shared(one, other):
    """Share of neighbours that two spaces of the same frames have in common.

    Parameters
    ----------
    one, other : dict
        From `neighbours`, with the same `k`, `parts` and `seed`.

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
        As for `neighbours`.

    Returns
    -------
    dict of ndarray
        ``spearman`` [1 + parts], the coefficient of all frames, and with each part of the
        trajectories left out.
    """
    one, other = _checked(one), _checked(other)
    groups = np.unique(groups, return_inverse=True)[1].ravel()
    part, number = _parts(groups, parts, seed)
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


def above(one, other):
    """Whether one quantity is larger than another by more than two errors of the difference.

    Parameters
    ----------
    one, other : array [1 + parts], or float
        As for `error`; without parts nothing is above anything.
    """
    gain = np.asarray(one, float) - np.asarray(other, float)
    return bool(gain[0] > 2 * error(gain))


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


def error(values):
    """Standard error by the delete-a-group jackknife.

    Parameters
    ----------
    values : array [1 + parts]
        A quantity of all frames, and with each part of the trajectories left out.

    Returns
    -------
    float
        What the choice of trajectories is worth; NaN without parts.
    """
    rest = np.asarray(values, float)[1:]
    if len(rest) < 2:
        return np.nan
    return float(np.sqrt((len(rest) - 1) * np.mean((rest - rest.mean()) ** 2)))


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
    return float(trustworthiness(_checked(descriptors)[taken], found[taken], n_neighbors=k))


# --- inside --------------------------------------------------------------------------------------


def _checked(space):
    space = np.asarray(space)
    if space.ndim != 2 or not space.size:
        raise ValueError(f"descriptors have shape {space.shape}, not (frames, features)")
    for frame in np.flatnonzero(~np.isfinite(space).all(axis=1))[:1]:
        raise ValueError(f"the descriptor of frame {frame} holds a value that is not finite")
    if (space == space[0]).all():
        raise ValueError("the descriptors of all frames are the same")
    return space


def _parts(groups, parts, seed):
    """Part of each frame, from 1, whole trajectories together; how many there are to leave out."""
    everyone = groups.max() + 1
    number = min(parts, everyone)
    order = np.random.default_rng(seed).permutation(everyone)
    return 1 + (order % max(number, 1))[groups], number


def _distances(space):
    """Yield (rows, squared distances [rows, n]), a block at a time."""
    space = space - space.mean(axis=0)
    squares = np.einsum("ij,ij->i", space, space)
    for start in range(0, len(space), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(space)))
        distance = squares[rows][:, None] + squares - 2 * space[rows] @ space.T
        yield rows, np.maximum(distance, 0)


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
