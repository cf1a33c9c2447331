"""Two-dimensional maps of descriptor spaces, and measures of how far these fall into islands.

The paper judges maps by eye (Sec. III.C, Figs. 5 and 6). The measures here ask the same of any
space, of the map as well as of the descriptors themselves. Snapshots of one trajectory are near
copies of each other, so that nobody's neighbours are taken from its own trajectory.
"""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from threadpoolctl import threadpool_limits

BLOCK = 512  # frames whose distances to all others are in memory at a time
COMPONENTS = 50  # that t-SNE sees of longer descriptors


def embed(descriptors, method="tsne", perplexity=30.0, seed=0):
    """Map descriptors to a plane.

    Parameters
    ----------
    descriptors : array [n, features]
    method : {"tsne", "pca"}
        t-SNE starts from the principal components; of descriptors longer than 50 it sees the
        first 50 of them.
    perplexity : float
        Of t-SNE; the paper has 30, and 10 and 50 in Figs. S11 and S12.
    seed : int
        Of t-SNE.

    Returns
    -------
    dict of ndarray
        ``map`` [n, 2]; ``variance``, the share of the variance that the map (PCA) or what t-SNE
        sees of the descriptors holds.

    Raises
    ------
    ValueError
        For a descriptor that is not finite (naming the frame), descriptors that are all the same,
        too few frames for the perplexity, or an unknown method.
    """
    descriptors = _checked(descriptors)
    if method not in ("tsne", "pca"):
        raise ValueError(f"unknown method {method!r}: choose tsne or pca")
    if method == "tsne" and not 0 < perplexity < len(descriptors):
        raise ValueError(
            f"t-SNE with perplexity {perplexity:g} needs more frames than that, "
            f"and there are {len(descriptors)}"
        )
    wanted = 2 if method == "pca" else COMPONENTS
    with threadpool_limits(1):  # the same map on any machine
        pca = PCA(min(wanted, *descriptors.shape), svd_solver="covariance_eigh")
        reduced = pca.fit_transform(descriptors)
        reduced *= np.sign(pca.components_[:, :1].T + 0.5)  # the sign of a component is arbitrary
        variance = np.array(pca.explained_variance_ratio_.sum())
        if method == "pca":
            found = np.zeros((len(reduced), 2))
            found[:, : reduced.shape[1]] = reduced
        else:
            tsne = TSNE(perplexity=perplexity, random_state=seed, init="pca", n_jobs=1)
            found = tsne.fit_transform(reduced if reduced.shape[1] > 1 else descriptors)
    return {"map": found.astype(float), "variance": variance}


def measures(space, density, energy, groups, k=10):
    """How a space is ordered by density and by energy.

    Parameters
    ----------
    space : array [n, features]
        Descriptors, or points of a map.
    density : array [n]
        g/cm³.
    energy : array [n]
        eV/atom.
    groups : array [n]
        Trajectory of each frame. Neighbours are frames of other trajectories.
    k : int
        Neighbours of a frame.

    Returns
    -------
    dict of float
        ``purity``: share of neighbours with the frame's own density, 1 for islands of one density;
        ``chance``: the purity of neighbours drawn at random;
        ``gap``: distance to the nearest frame of another density over that to the nearest of the
        same one, median (above 1: a gap between densities);
        ``modularity`` of the graph of neighbours with the densities as communities;
        ``density_error``: mean absolute difference of density to the neighbours, g/cm³;
        ``energy_error``: RMSE of the neighbours' mean as a prediction of the energy, meV/atom.
        The first four are NaN where every density stands alone.

    Raises
    ------
    ValueError
        For a descriptor that is not finite, lengths that differ, or fewer than `k` frames in the
        other trajectories of some frame.
    """
    space = _checked(space)
    density, energy = np.asarray(density, float), np.asarray(energy, float)
    label = np.unique(density.round(2), return_inverse=True)[1].ravel()
    groups = np.unique(groups, return_inverse=True)[1].ravel()
    n = len(space)
    if not n == len(label) == len(energy) == len(groups):
        sizes = f"{n}, {len(label)}, {len(energy)} and {len(groups)}"
        raise ValueError(f"{sizes} descriptors, densities, energies and trajectories")
    largest = np.bincount(groups).max()
    if n - largest < k:
        raise ValueError(f"{k} neighbours in other trajectories are wanted, of {n - largest}")

    near = np.empty((n, k), int)
    same, other = np.empty(n), np.empty(n)
    for rows, distance in _distances(space):
        distance[groups[rows][:, None] == groups] = np.inf
        part = np.argpartition(distance, k - 1, axis=1)[:, :k]
        near[rows] = part
        alike = label[rows][:, None] == label
        same[rows] = np.where(alike, distance, np.inf).min(axis=1)
        other[rows] = np.where(alike, np.inf, distance).min(axis=1)
    found = {
        "purity": np.mean(label[near] == label[:, None]),
        "chance": _chance(label, groups),
        "gap": np.nan,
        "modularity": _modularity(near, label),
        "density_error": np.mean(np.abs(density[near] - density[:, None])),
        "energy_error": 1000 * np.sqrt(np.mean((energy[near].mean(axis=1) - energy) ** 2)),
    }
    both = np.isfinite(same) & np.isfinite(other) & (same > 0)
    if both.any():
        found["gap"] = np.median(np.sqrt(other[both] / same[both]))
    if not np.isfinite(same).any():
        found |= dict.fromkeys(("purity", "chance", "modularity"), np.nan)
    return {name: float(value) for name, value in found.items()}


def measure_repeatedly(space, density, energy, groups, k=10, repeats=10, share=0.8, seed=0):
    """`measures` of random parts of the trajectories, to see how far chance moves them.

    Parameters
    ----------
    space, density, energy, groups, k
        As for `measures`.
    repeats : int
    share : float
        Of the trajectories in each part.
    seed : int

    Returns
    -------
    dict of ndarray [repeats]
    """
    generator = np.random.default_rng(seed)
    density, energy, groups = map(np.asarray, (density, energy, groups))
    everyone, found = np.unique(groups), []
    for _ in range(repeats):
        number = max(2, round(share * len(everyone)))
        kept = np.isin(groups, generator.choice(everyone, number, replace=False))
        parts = (np.asarray(values)[kept] for values in (space, density, energy, groups))
        found.append(measures(*parts, k))
    return {name: np.array([f[name] for f in found]) for name in found[0]}


def trust(descriptors, found, k=10, limit=3000):
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
        Trustworthiness, 1 for a perfect map (Venna and Kaski, doi:10.1007/3-540-44668-0_68).
    """
    taken = np.linspace(0, len(found) - 1, min(limit, len(found))).astype(int)
    return float(trustworthiness(_checked(descriptors)[taken], found[taken], n_neighbors=k))


# --- inside --------------------------------------------------------------------------------------


def _checked(space):
    space = np.asarray(space)
    if space.ndim != 2 or not space.size:
        raise ValueError(f"descriptors have shape {space.shape}, not (frames, features)")
    for frame in np.flatnonzero(~np.isfinite(space).all(axis=1))[:1]:
        raise ValueError(f"the descriptor of frame {frame} holds a value that is not finite")
    if len(space) > 1 and (space == space[0]).all():
        raise ValueError("the descriptors of all frames are the same")
    return space.astype(float, copy=False)


def _distances(space):
    """Yield (rows, squared distances [rows, n]), a block at a time."""
    space = space - space.mean(axis=0)
    squares = np.einsum("ij,ij->i", space, space)
    for start in range(0, len(space), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(space)))
        distance = squares[rows][:, None] + squares - 2 * space[rows] @ space.T
        yield rows, np.maximum(distance, 0)


def _chance(label, groups):
    """Purity of neighbours drawn at random from the other trajectories."""
    counts = np.zeros((groups.max() + 1, label.max() + 1))
    np.add.at(counts, (groups, label), 1)
    elsewhere = counts.sum(axis=0) - counts
    return np.mean(elsewhere[groups, label] / elsewhere.sum(axis=1)[groups])


def _modularity(near, label):
    """Newman's modularity of the graph that joins each frame with its neighbours."""
    degree = near.shape[1] + np.bincount(near.ravel(), minlength=len(near))
    inside = np.mean(label[near] == label[:, None])
    share = np.bincount(label, weights=degree) / degree.sum()
    return inside - np.sum(share**2)
