"""What a reviewer would try on a model of diagrams: other splits, diagrams and groups.

All of it feeds `phutils.regression`; nothing here knows a particular dataset. What periodic
boundaries do is the question of `phutils.boundaries`.
"""

import numpy as np
from scipy.sparse import csr_array, hstack

from phutils import baselines, scores
from phutils.diagrams import Diagrams
from phutils.regression import ridge_path

# --- leakage -------------------------------------------------------------------------------------


def time_blocks(structures, length):
    """Label stretches of consecutive frames of a trajectory, to hold out as a whole.

    Parameters
    ----------
    structures : phutils.dataset.Structures
        Frames of a trajectory in order of time.
    length : int
        Frames in a stretch; the last one of a trajectory may be shorter.

    Returns
    -------
    ndarray [n] of int
        ``random_split(structures, by=...)`` takes it. 1: every frame alone, the paper's split.

    Raises
    ------
    ValueError
        If the length is not positive.
    """
    if length < 1:
        raise ValueError(f"a stretch of {length} frames")
    trajectory = structures.trajectory
    place = np.empty(len(trajectory), int)
    for label in np.unique(trajectory):
        at = np.flatnonzero(trajectory == label)
        place[at] = np.arange(len(at)) // length
    return np.unique(np.stack([trajectory, place]), axis=1, return_inverse=True)[1].ravel()


def gaps(structures, train, test):
    """How far each test frame is from the nearest training frame of its trajectory.

    Parameters
    ----------
    structures : phutils.dataset.Structures
    train, test : ndarray
        Indices.

    Returns
    -------
    ndarray [n_test]
        ps, or places in the dataset where times are unknown; infinite where the trajectory has
        no training frame.
    """
    time = np.asarray(structures.time, float)
    time = time if np.isfinite(time).all() else np.arange(float(len(time)))
    found = np.full(len(test), np.inf)
    for label in np.unique(structures.trajectory[test]):
        known = np.sort(time[train[structures.trajectory[train] == label]])
        if len(known):
            asked = np.flatnonzero(structures.trajectory[test] == label)
            at = time[test[asked]]
            after = np.searchsorted(known, at).clip(1, max(len(known) - 1, 1))
            near = known[np.minimum(np.stack([after - 1, after]), len(known) - 1)]
            found[asked] = np.abs(near - at).min(axis=0)
    return found


def copy_nearest(structures, features, splits):
    """Predict every test frame by the energy of the training frame most like it: pure leakage.

    Parameters
    ----------
    structures : phutils.dataset.Structures
    features : sparse matrix [n, k] or ndarray [n, k]
        What likeness is measured by, see `phutils.scores.nearest_training_frame`.
    splits : sequence of (train, test)

    Returns
    -------
    dict
        ``rmse``: ndarray [n_splits], meV/atom; and of all test frames one after another ``split``,
        ``test`` (index), ``copied`` (index of the training frame) and ``gap`` (see `gaps`).
    """
    energy, rmse, rows = structures.energy_per_atom, [], []
    for number, (train, test) in enumerate(splits):
        _, nearest = scores.nearest_training_frame(features, train, test)
        rmse.append(scores.rmse(energy[nearest], energy[test]))
        rows.append((np.full(len(test), number), test, nearest, gaps(structures, train, test)))
    names = ("split", "test", "copied", "gap")
    columns = (np.concatenate(column) for column in zip(*rows, strict=True))
    return {"rmse": np.array(rmse), **dict(zip(names, columns, strict=True))}


# --- descriptors ---------------------------------------------------------------------------------


def by_lifetime(diagrams, shortest=0.0, longest=np.inf):
    """Diagrams with the pairs that live at least `shortest` and less than `longest` (Å²).

    Returns
    -------
    phutils.diagrams.Diagrams
    """
    pairs, offsets = {}, {}
    for k, points in diagrams.pairs.items():
        life = points[:, 1] - points[:, 0]
        kept = (life >= shortest) & (life < longest)
        pairs[k] = points[kept]
        offsets[k] = np.concatenate([[0], np.cumsum(kept)])[diagrams.offsets[k]]
    return Diagrams(pairs, offsets, diagrams.n_atoms, dict(diagrams.failed))


def comparable(*blocks):
    """Histograms side by side, each scaled to the same total variance, 1 over all of them.

    A penalty then means about the same whatever the mesh. The scale is one number a block, taken
    from all frames.

    Parameters
    ----------
    *blocks : sparse matrix [n, pixels]

    Returns
    -------
    scipy.sparse.csr_array [n, sum of pixels]

    Raises
    ------
    ValueError
        If all frames of a block are equal.
    """
    scaled = []
    for number, block in enumerate(blocks):
        block = csr_array(block, dtype=float)
        mean = block.sum(axis=0) / block.shape[0]
        variance = np.square(block.data).sum() / block.shape[0] - np.square(mean).sum()
        if not variance > 1e-12 * np.square(mean).sum():
            raise ValueError(f"all frames of block {number} are equal: nothing to scale")
        scaled.append(block / np.sqrt(variance * len(blocks)))
    return hstack(scaled, "csr")


def best_of(errors, usual):
    """The setting with the smallest error, and whether it clearly beats the usual one.

    Parameters
    ----------
    errors : dict
        {setting: ndarray [n_splits]}, of the same splits.
    usual : hashable
        One of the settings.

    Returns
    -------
    best : hashable
    clear : bool
        Whether the gain, split by split, is more than twice its standard deviation. A best of
        many is flattered by the choice.
    """
    best = min(errors, key=lambda setting: np.mean(errors[setting]))
    gain = np.asarray(errors[usual]) - np.asarray(errors[best])
    spread = gain.std(ddof=1) if len(gain) > 1 else np.inf
    return best, bool(best != usual and gain.mean() > 2 * spread)


# --- transfer ------------------------------------------------------------------------------------


def transfer(histograms, energy_per_atom, group, splits, penalty, trivial, reading="global"):
    """Train on one group of frames and test on every group, always on held-out frames.

    Parameters
    ----------
    histograms : sparse matrix [n, pixels]
    energy_per_atom : ndarray [n]
        eV/atom.
    group : ndarray [n]
        Stage or density, for example.
    splits : sequence of (train, test)
        Training frames of one group and test frames of another come from either side, so that the
        error within a group is of held-out frames, too.
    penalty : float
        Alpha of the Ridge regression over the number of training frames.
    trivial : ndarray [n, k]
        Features of a linear baseline, for the same training and test frames.
    reading : str
        As for `phutils.regression.ridge_path`.

    Returns
    -------
    dict
        ``rmse`` and ``trivial``: ndarray [n_splits, n_groups, n_groups], meV/atom, the first group
        is the one of training; NaN where a side has fewer than two frames.
    """
    energy, group = np.asarray(energy_per_atom, float), np.asarray(group)
    labels = np.unique(group)
    rmse, base = np.full((2, len(splits), len(labels), len(labels)), np.nan)
    tasks, places, tests = [], [], []
    for k, (train, test) in enumerate(splits):
        tests.append([test[group[test] == label] for label in labels])
        for a, label in enumerate(labels):
            used = train[group[train] == label]
            if len(used) >= 2:
                tasks.append((used, [penalty * len(used)]))
                places.append((k, a))
    fits = ridge_path(histograms, energy, tasks, reading)
    for (k, a), (used, _), fit in zip(places, tasks, fits, strict=True):
        simple = baselines.model().fit(trivial[used], energy[used])
        for b, test in enumerate(tests[k]):
            if len(test) >= 2:
                rmse[k, a, b] = scores.rmse(fit.predicted[0, test], energy[test])
                base[k, a, b] = scores.rmse(simple.predict(trivial[test]), energy[test])
    return {"rmse": rmse, "trivial": base}


# --- other energies ------------------------------------------------------------------------------


def matched_energies(structures, other):
    """Energies of the same frames by other labels.

    Parameters
    ----------
    structures, other : phutils.dataset.Structures
        Of one dataset.

    Returns
    -------
    ndarray [n]
        eV/atom, NaN for frames that ``other`` does not hold.
    """
    keys = zip(other.trajectory.tolist(), other.time.tolist(), strict=True)
    known = dict(zip(keys, other.energy_per_atom.tolist(), strict=True))
    asked = zip(structures.trajectory.tolist(), structures.time.tolist(), strict=True)
    return np.array([known.get(key, np.nan) for key in asked])


def affine(energies, reference, splits):
    """Score energies of another method after a fit of slope and offset on the training frames.

    Parameters
    ----------
    energies : ndarray [n]
        eV/atom; frames that are NaN do not take part.
    reference : ndarray [n]
        eV/atom.
    splits : sequence of (train, test)
        Those that are left without training or test frames are passed over.

    Returns
    -------
    dict
        As `phutils.scores.evaluate`.
    """
    good = np.isfinite(energies)
    kept = [(train[good[train]], test[good[test]]) for train, test in splits]
    kept = [pair for pair in kept if len(pair[0]) > 1 and len(pair[1])]
    return scores.evaluate(
        baselines.model(), np.nan_to_num(energies)[:, None], np.asarray(reference), kept
    )
