"""What a model of diagrams has to beat: regressions on what is known without any topology.

Each baseline is a table of a few numbers per structure for ordinary linear regression, `model`.
The last function is the other end: the recipe of an author's teaching notebook.
"""

import numpy as np
from ase import Atoms
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from phutils.frames import run_shards
from phutils.histograms import PersistenceHistogram
from phutils.structure import MAX_COORDINATION, bonds, longest_bond

SHARD = 1020  # frames; four melt-quench runs
R_MAX, R_BINS = 5.0, 50  # of the radial distribution: Å, number of bins
BY_STAGE = "density and stage only"


def model():
    """The estimator of all baselines: least squares, kept stable by a faint Ridge penalty."""
    return make_pipeline(StandardScaler(), Ridge(alpha=1e-3))


def baseline_features(structures, diagrams, bond=None, folder=None, n_jobs=None, progress=False):
    """Inputs of all trivial baselines.

    Parameters
    ----------
    structures : phutils.dataset.Structures
    diagrams : phutils.diagrams.Diagrams
        Of the same frames, with degree 1.
    bond : float, optional
        Longest bond in Å; default: `phutils.structure.longest_bond` of the largest atom.
    folder : path-like, optional
        Artifacts of the dataset, to keep what has been computed.
    n_jobs : int, optional
        Processes; default: one per core.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict
        {name: ndarray [n, k]}, simplest first: ``mean`` (a constant), ``number of pairs`` (of
        degree 1, per atom), ``density`` (a parabola), ``density and stage only`` (a parabola for
        each stage), ``eight numbers`` (density; fractions of atoms with 1, 2, 3, 4 and more bonds;
        mean and standard deviation of the bond lengths in Å), ``eight numbers, products``
        (these and the products of any two), ``distances`` (neighbours of an atom by distance, in 50
        bins up to 5 Å or half the smallest box).
    """
    density = structures.density[:, None]
    near = neighbours(structures, bond, folder=folder, n_jobs=n_jobs, progress=progress)
    order = [near["coordination"][:, 1:], near["bond_mean"][:, None], near["bond_std"][:, None]]
    eight = np.hstack([density, *order])
    centred = StandardScaler().fit_transform(eight)  # no leak: it does not change their span
    products = [centred[:, [i]] * centred[:, i:] for i in range(eight.shape[1])]
    return {
        "mean": np.zeros((len(structures), 1)),
        "number of pairs": (diagrams.counts(1) / structures.n_atoms)[:, None],
        "density": np.hstack([density, density**2]),
        BY_STAGE: density_stage_features(structures),
        "eight numbers": eight,
        "eight numbers, products": np.hstack([eight, *products]),
        "distances": near["distances"],
    }


def density_stage_features(structures):
    """A parabola in the density for each stage.

    Parameters
    ----------
    structures : phutils.dataset.Structures

    Returns
    -------
    ndarray [n, 3 * n_stages]
    """
    stages = np.unique(structures.stage)
    is_stage = structures.stage[:, None] == stages
    powers = (structures.density - np.mean(structures.density))[:, None] ** np.arange(3)
    return (is_stage[:, :, None] * powers[:, None, :]).reshape(len(structures), -1)


def neighbours(structures, bond=None, folder=None, n_jobs=None, progress=False):
    """Bonds and distances of every structure, from one search for neighbours.

    Parameters
    ----------
    structures : phutils.dataset.Structures
        Orthorhombic boxes.
    bond, folder, n_jobs, progress
        As for `baseline_features`.

    Returns
    -------
    dict
        ``coordination``, ``bond_mean``, ``bond_std``: as `phutils.structure.local_order`;
        ``distances``: ndarray [n, 50], mean number of neighbours of an atom in each bin.
    """
    bond = longest_bond(structures[0].numbers).max() if bond is None else bond
    r_max = max(bond, min(R_MAX, structures.cell.min() / 2))
    shards = run_shards(
        neighbour_shard,
        structures,
        (float(bond), float(r_max)),
        size=SHARD,
        label="neighbours",
        n_jobs=n_jobs,
        folder=folder,
        progress=progress,
    )
    shards = list(shards)
    return {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}


def neighbour_shard(frames, bond, r_max, first=0):
    """Neighbours of a few frames, (positions [n, 3], cell [3, 3]) in Å each; see `neighbours`."""
    n = len(frames)
    found = {
        "coordination": np.zeros((n, MAX_COORDINATION + 1)),
        "bond_mean": np.zeros(n),
        "bond_std": np.zeros(n),
        "distances": np.zeros((n, R_BINS)),
    }
    for i, (positions, cell) in enumerate(frames):
        pairs, vectors = bonds(Atoms(positions=positions, cell=cell, pbc=True), r_max)
        length = np.linalg.norm(vectors, axis=1)
        counts = np.histogram(length, R_BINS, (0, r_max))[0]
        found["distances"][i] = 2 * counts / len(positions)
        bonded = length <= bond
        if bonded.any():
            found["bond_mean"][i], found["bond_std"][i] = (
                length[bonded].mean(),
                length[bonded].std(),
            )
        count = np.bincount(pairs[bonded].ravel(), minlength=len(positions))
        count = np.bincount(count.clip(max=MAX_COORDINATION), minlength=MAX_COORDINATION + 1)
        found["coordination"][i] = count / len(positions)
    return found


def teaching_images(diagrams, bins=128, window=(0.0, 4.0), sigma=0.08):
    """Persistence images of an author's teaching notebook, as HomCloud makes them.

    Equal to ``PIVectorizerMesh(window, bins, sigma=sigma, weight="none").vectorize`` of HomCloud:
    counts, a Gaussian filter that reflects at the edges of the mesh, and the half of the mesh
    above the diagonal.

    Parameters
    ----------
    diagrams : phutils.diagrams.Diagrams
        With degree 1.
    bins : int
    window : tuple of float
        Births and deaths in Å².
    sigma : float
        Of the Gaussian, in Å².

    Returns
    -------
    ndarray [n, bins * (bins + 1) / 2]
    """
    counts = PersistenceHistogram(bins, window, normalise="none").fit_transform(diagrams)
    width = sigma * bins / (window[1] - window[0])
    above = np.triu_indices(bins)
    return np.array([gaussian_filter(c.astype(float), width)[above] for c in counts])
