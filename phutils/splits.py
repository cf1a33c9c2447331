"""Training and test sets as index arrays: at random, group by group, and as published."""

import numpy as np


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
    by : str, optional
        ``"trajectory"``, ``"run"`` or ``"density"``.

    Returns
    -------
    train, test : numpy.ndarray
        Sorted indices into ``structures``; the same for the same seed.

    Raises
    ------
    ValueError
        If one side would be empty.
    """
    group = np.arange(len(structures)) if by is None else _groups(structures, by)
    labels, group = np.unique(group, return_inverse=True)
    n_test = round(test_fraction * len(labels))
    if not 0 < n_test < len(labels):
        what = "frames" if by is None else f"groups by {by}"
        raise ValueError(f"test_fraction {test_fraction} of {len(labels)} {what}: a side is empty")
    chosen = np.random.default_rng(seed).permutation(len(labels))[:n_test]
    test = np.isin(group, chosen)
    return _sides(structures, test, apart=by is not None)


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
