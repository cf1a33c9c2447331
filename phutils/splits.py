"""Training and test sets as index arrays: at random, group by group, and as published."""

from contextlib import suppress

import numpy as np

FEW = 5  # trajectories; fewer cannot be split in whole
STRETCHES = 10  # into which each of a few is cut


def random_split(structures, test_fraction=0.2, seed=0, by=None):
    """Split at random, frame by frame or in whole groups.

    Frames of one trajectory resemble each other, so that a split frame by frame (the paper's)
    tests interpolation. ``by="trajectory"`` keeps each trajectory on one side.

    Parameters
    ----------
    structures : Structures
    test_fraction : float
        Of frames, or of groups; between 0 and 1.
    seed : int
    by : str or ndarray [n], optional
        ``"trajectory"``, ``"run"`` or ``"density"``, or a label of each frame.

    Returns
    -------
    train, test : numpy.ndarray
        Sorted indices into ``structures``; the same for the same seed.

    Raises
    ------
    ValueError
        If one side would be empty.
    """
    if by is None:
        test = _random_groups(np.arange(len(structures)), test_fraction, seed, "frames")
    elif isinstance(by, str):
        groups = _groups(structures, by)
        test = _random_groups(groups, test_fraction, seed, f"groups by {by}")
    else:
        test = _random_groups(np.asarray(by), test_fraction, seed, "groups")
    return _sides(structures, test, apart=isinstance(by, str))


def split_by(structures, by):
    """Leave one group out at a time.

    Parameters
    ----------
    structures : Structures
    by : str
        ``"run"``, ``"density"`` (to 0.01 g/cm3), ``"trajectory"`` or ``"stage"``. The first three
        never have one trajectory on both sides; a frame of training that would is left out.
        Stages follow each other within a trajectory and share it.

    Yields
    ------
    label, train, test
        The group left out, and sorted indices into ``structures``.

    Raises
    ------
    ValueError
        If there is only one group, or nothing is left to train on.
    """
    group = _groups(structures, by)
    labels = np.unique(group)
    if len(labels) < 2:
        raise ValueError(f"all {len(structures)} frames have the same {by}: nothing to leave out")
    for label in labels:
        yield label.item(), *_sides(structures, group == label, apart=by != "stage")


def published_split(structures):
    """The split that came with the data (the paper's ``train.xyz`` and ``test.xyz``).

    Returns
    -------
    train, test : numpy.ndarray
        Sorted indices into ``structures``; for the whole amorphous part of ``"zenodo"`` the test
        set has 3,366 frames.

    Raises
    ------
    ValueError
        If these structures have none.
    """
    train, test = (np.flatnonzero(structures._table["split"] == side) for side in (1, 2))
    if not len(train) or not len(test):
        raise ValueError(f"no published split among these frames of {structures.source}")
    return train, test


def independent_groups(structures):
    """A label of each frame such that frames of different labels are (nearly) independent.

    Returns
    -------
    ndarray [n] of int
        The trajectory; with fewer than five of them, a tenth of it: stretches touch each other, so
        that a little correlation is left.
    """
    labels, group = np.unique(structures.trajectory, return_inverse=True)
    if len(labels) >= FEW:
        return group
    place = np.empty(len(group), int)
    for label in range(len(labels)):
        at = np.flatnonzero(group == label)
        place[at] = STRETCHES * np.arange(len(at)) // len(at)
    return STRETCHES * group + place


def named_splits(structures, repeats=5, test_fraction=0.2, seed=0):
    """The splits that every model of this book is scored on.

    Parameters
    ----------
    structures : Structures
    repeats : int
        Seeds of the two random ones.
    test_fraction : float
        Of those.
    seed : int
        The first one.

    Returns
    -------
    dict
        {name: list of (train, test)}. ``random``: frame by frame, as in the paper (Sec. III);
        ``by trajectory``: in whole trajectories (see `independent_groups`); ``one run out``,
        ``one density out``, ``one stage out``: each of them in turn, see `split_by`;
        ``as published``: the one that came with the data. Those that these structures do not
        allow are left out.
    """
    seeds = range(seed, seed + repeats)
    groups = independent_groups(structures)
    found = {
        "random": [random_split(structures, test_fraction, s) for s in seeds],
        "by trajectory": [random_split(structures, test_fraction, s, groups) for s in seeds],
    }
    for by in ("run", "density", "stage"):
        with suppress(ValueError):  # one group only, or nothing left to train on
            found[f"one {by} out"] = [(train, test) for _, train, test in split_by(structures, by)]
    with suppress(ValueError):
        found["as published"] = [published_split(structures)]
    return found


def inner_splits(splits, by=None, test_fraction=0.2, seed=0):
    """Split every training set once more, to choose a model's parameters on its second part.

    Parameters
    ----------
    splits : sequence of (train, test)
    by : ndarray [n], optional
        A label of each frame of the dataset: groups are kept together.
    test_fraction : float
        Of the training frames, or of their groups, that serve for validation.
    seed : int

    Returns
    -------
    list of (fit, validation)
        Sorted indices, both within the training set.

    Raises
    ------
    ValueError
        If one side would be empty.
    """
    found = []
    for train, _ in splits:
        group = np.arange(len(train)) if by is None else np.asarray(by)[train]
        held_out = _random_groups(group, test_fraction, seed, "frames or groups of training")
        found.append((train[~held_out], train[held_out]))
    return found


def learning_splits(splits, fractions, groups=None, seed=0):
    """Splits of a learning curve: growing parts of each training set, each inside the next.

    Parameters
    ----------
    splits : sequence of (train, test)
    fractions : sequence of float
        Of the training frames, above 0 and at most 1; a part has two frames at least.
    groups : ndarray [n], optional
        A label of each frame of the dataset: groups are added whole, in random order, and only
        the last one of a part is cut.
    seed : int
        The order differs from split to split.

    Returns
    -------
    list of (part, test)
        All fractions of the first split, then those of the next; sorted indices.

    Raises
    ------
    ValueError
        If a fraction is not above 0 and at most 1.
    """
    if not all(0 < fraction <= 1 for fraction in fractions):
        raise ValueError(f"fractions {tuple(fractions)} are not all above 0 and at most 1")
    found = []
    for k, (train, test) in enumerate(splits):
        generator = np.random.default_rng([seed, k])
        if groups is None:
            order = generator.permutation(train)
        else:
            labels, label = np.unique(np.asarray(groups)[train], return_inverse=True)
            rank = generator.permutation(len(labels))[label]
            order = train[np.argsort(rank, kind="stable")]
        sizes = [max(2, round(fraction * len(train))) for fraction in fractions]
        found += [(np.sort(order[:size]), test) for size in sizes]
    return found


def _random_groups(group, fraction, seed, what):
    """Mask of the frames of randomly chosen groups."""
    labels, group = np.unique(group, return_inverse=True)
    n_test = round(fraction * len(labels))
    if not 0 < n_test < len(labels):
        raise ValueError(f"test_fraction {fraction} of {len(labels)} {what}: a side is empty")
    chosen = np.random.default_rng(seed).permutation(len(labels))[:n_test]
    return np.isin(group, chosen)


def _groups(structures, by):
    if by not in ("run", "density", "trajectory", "stage"):
        raise ValueError(f"by is {by!r}, expected run, density, trajectory or stage")
    values = getattr(structures, by)
    return values.round(2) if by == "density" else values


def _sides(structures, test, apart):
    train = ~test
    if apart:
        train &= ~np.isin(structures.trajectory, structures.trajectory[test])
    if not train.any():
        raise ValueError("nothing is left to train on: the test frames share all trajectories")
    return np.flatnonzero(train), np.flatnonzero(test)


def restricted(splits, chosen):
    """Splits of all frames as splits of the chosen ones alone.

    Parameters
    ----------
    splits : dict
        ``{kind: [(train, test), ...]}``, indices of all frames.
    chosen : ndarray of int, ascending

    Returns
    -------
    dict
        The same with indices into `chosen`.
    """
    return {
        kind: [tuple(np.flatnonzero(np.isin(chosen, side)) for side in pair) for pair in pairs]
        for kind, pairs in splits.items()
    }


def hot_and_cold(structures):
    """Masks of the liquid and of the quenched frames, or of high and low energy where unknown.

    Parameters
    ----------
    structures : Structures

    Returns
    -------
    dict
        {label: boolean ndarray [n]}, the hotter frames first: the stages at 9000 K and from 5000
        to 300 K of the paper's protocol, or, where the dataset has no such stages, the quarters of
        highest and of lowest energy per atom.
    """
    liquid, quenched = (structures.stage == stage for stage in ("buffer_high", "quench2"))
    if liquid.any() and quenched.any():
        return {"liquid, 9000 K": liquid, "cooling, 5000 to 300 K": quenched}
    energy = structures.energy_per_atom
    low, high = np.quantile(energy, [0.25, 0.75])
    return {"high energy": energy >= high, "low energy": energy <= low}
