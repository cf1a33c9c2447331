"""Two-dimensional maps of descriptor spaces, by principal components and by t-SNE.

The paper judges maps by eye (Sec. III, Figs. 5 and 6); `phutils.islands` and `phutils.likeness`
put numbers to what is seen there.
"""

import numpy as np
from joblib import effective_n_jobs
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from phutils.artifacts import cached
from phutils.frames import in_order

COMPONENTS = 50  # that t-SNE sees of longer descriptors
SHORT = 512  # features, up to which principal components are found by diagonalisation


def checked_space(space):
    """One row of descriptors a frame, as an array.

    Parameters
    ----------
    space : array [frames, features]

    Returns
    -------
    ndarray [frames, features]

    Raises
    ------
    ValueError
        If it has another shape, is not finite (naming the frame), or all frames are the same.
    """
    space = np.asarray(space)
    if space.ndim != 2 or not space.size:
        raise ValueError(f"descriptors have shape {space.shape}, not (frames, features)")
    for frame in np.flatnonzero(~np.isfinite(space).all(axis=1))[:1]:
        raise ValueError(f"the descriptor of frame {frame} holds a value that is not finite")
    if (space == space[0]).all():
        raise ValueError("the descriptors of all frames are the same")
    return space


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
    descriptors = checked_space(descriptors).astype(float)
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
    descriptors = checked_space(descriptors)
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
