"""Splits in time, cut diagrams and transfer, each on data whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.linear_model import Ridge

from phutils import scores, scrutiny
from phutils.diagrams import Diagrams
from phutils.splits import random_split

RNG = np.random.default_rng(9)


def frames(lengths=(7, 5), step=0.5):
    """Trajectories of these lengths; those of a later one are not at the same times."""
    return SimpleNamespace(
        trajectory=np.repeat(np.arange(len(lengths)), lengths),
        time=np.concatenate([step * np.arange(k) + i for i, k in enumerate(lengths)]),
        energy_per_atom=np.arange(sum(lengths)) / 10,
    )


# --- leakage -------------------------------------------------------------------------------------


def test_stretches_stay_within_a_trajectory():
    labels = scrutiny.time_blocks(frames(), 3)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 4, 4]
    assert len(np.unique(scrutiny.time_blocks(frames(), 1))) == 12
    assert len(np.unique(scrutiny.time_blocks(frames(), 100))) == 2
    with pytest.raises(ValueError, match="a stretch of 0 frames"):
        scrutiny.time_blocks(frames(), 0)


def test_single_frames_held_out_are_the_random_split():
    structures = frames((60, 40))
    for seed in range(3):
        by = scrutiny.time_blocks(structures, 1)
        for ours, usual in zip(
            random_split(range(100), 0.2, seed, by),
            random_split(range(100), 0.2, seed),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, usual)


def test_gap_is_the_time_to_the_nearest_training_frame():
    structures = frames((7, 5, 2))
    test = np.array([0, 3, 6, 8, 12])
    train = np.array([1, 2, 5, 10, 11])  # none of the last trajectory
    found = scrutiny.gaps(structures, train, test)
    np.testing.assert_allclose(found, [0.5, 0.5, 0.5, 1.0, np.inf])
    structures.time[:] = np.nan  # then places count
    np.testing.assert_array_equal(scrutiny.gaps(structures, train, test), [1, 1, 1, 2, np.inf])


def test_copying_takes_the_energy_of_the_nearest_frame():
    structures = frames((6, 6))
    features = np.arange(12.0)[:, None] ** 1.5
    splits = [(np.array([0, 2, 4, 6, 8, 10]), np.array([1, 3, 11]))]
    found = scrutiny.copy_nearest(structures, features, splits)
    assert found["copied"].tolist() == [0, 2, 10] and found["test"].tolist() == [1, 3, 11]
    np.testing.assert_allclose(found["rmse"], 100)  # each is a tenth of an eV off
    np.testing.assert_allclose(found["gap"], 0.5)
    assert found["split"].tolist() == [0, 0, 0]


# --- descriptors ---------------------------------------------------------------------------------


def test_lifetimes_divide_a_diagram():
    points = [RNG.uniform(0, 2, (k, 2)).cumsum(axis=1) for k in (5, 0, 8)]
    diagrams = Diagrams.from_frames([{1: p} for p in points], (1,), [10, 20, 30], {1: "lost"})
    long = scrutiny.by_lifetime(diagrams, shortest=1.0)
    short = scrutiny.by_lifetime(diagrams, longest=1.0)
    for i, p in enumerate(points):
        life = p[:, 1] - p[:, 0]
        np.testing.assert_array_equal(long[i][1], p[life >= 1])
        np.testing.assert_array_equal(short[i][1], p[life < 1])
    assert long.n_atoms.tolist() == [10, 20, 30] and long.failed == {1: "lost"}


def test_blocks_side_by_side_weigh_the_same():
    small = csr_array(RNG.poisson(0.3, (50, 30)).astype(float))
    large = csr_array(1000 * RNG.poisson(0.3, (50, 7)).astype(float))
    X = scrutiny.comparable(small, large).toarray()
    variances = X.var(axis=0)
    np.testing.assert_allclose([variances[:30].sum(), variances[30:].sum()], 0.5)
    np.testing.assert_allclose(scrutiny.comparable(small).toarray().var(axis=0).sum(), 1)
    with pytest.raises(ValueError, match="block 1 are equal"):
        scrutiny.comparable(small, csr_array(np.ones((50, 3))))


def test_best_is_clear_only_beyond_its_spread():
    usual = np.array([50.0, 60.0, 70.0])
    errors = {"usual": usual, "a": usual - [2.0, 2.1, 1.9], "b": usual - [9.0, -6.0, 1.0]}
    assert scrutiny.best_of(errors, "usual") == ("a", True)
    del errors["a"]
    assert scrutiny.best_of(errors, "usual") == ("b", False)
    errors["b"] = usual + 1
    assert scrutiny.best_of(errors, "usual") == ("usual", False)
    assert scrutiny.best_of({"usual": usual[:1], "b": usual[:1] - 9}, "usual") == ("b", False)


# --- transfer ------------------------------------------------------------------------------------


def test_transfer_trains_and_tests_apart():
    X = RNG.poisson(1.0, (120, 12)).astype(float)
    group = np.arange(120) % 3
    energy = X @ RNG.normal(size=12) + np.where(group == 2, 5.0, 0.0)
    split = random_split(range(120), 0.25, 0)
    simple = (group == 2)[:, None].astype(float)
    found = scrutiny.transfer(csr_array(X), energy, group, [split], 0.1, simple, "none")
    train, test = split
    for a in range(3):
        used = train[group[train] == a]
        model = Ridge(alpha=0.1 * len(used)).fit(X[used], energy[used])
        for b in range(3):
            at = test[group[test] == b]
            rmse = scores.rmse(model.predict(X[at]), energy[at])
            np.testing.assert_allclose(found["rmse"][0, a, b], rmse, rtol=1e-6)
            flat = scores.rmse(np.full(len(at), energy[used].mean()), energy[at])
            np.testing.assert_allclose(found["trivial"][0, a, b], flat, rtol=1e-6)
    assert found["rmse"][0, 0, 2] > 5 * found["rmse"][0, 2, 2] > 0


def test_transfer_leaves_out_what_has_no_frames():
    X, energy = csr_array(RNG.poisson(1.0, (20, 6)).astype(float)), RNG.normal(size=20)
    group = np.repeat([0, 1], [10, 10])
    split = np.arange(12), np.arange(12, 20)  # no test frame of group 0
    found = scrutiny.transfer(X, energy, group, [split], 0.1, energy[:, None])
    assert np.isnan(found["rmse"][0, :, 0]).all() and np.isfinite(found["rmse"][0, :, 1]).all()


# --- other energies ------------------------------------------------------------------------------


def test_energies_of_other_labels_are_matched_by_frame():
    ours, some = frames((7, 5)), np.array([8, 2, 11])
    theirs = SimpleNamespace(
        trajectory=ours.trajectory[some],
        time=ours.time[some],
        energy_per_atom=np.array([1.0, 2.0, 3.0]),
    )
    found = scrutiny.matched_energies(ours, theirs)
    assert found[some].tolist() == [1, 2, 3] and np.isnan(np.delete(found, some)).all()


def test_slope_and_offset_come_from_the_training_frames():
    x = RNG.normal(size=40)
    reference = 3 * x - 7
    reference[30:] += 0.1
    x[[5, 35]] = np.nan
    splits = [(np.arange(30), np.arange(30, 40)), (np.arange(30), np.array([35]))]
    found = scrutiny.affine(x, reference, splits)
    assert len(found["test"]) == 1  # nothing is left to test in the other one
    np.testing.assert_allclose(found["test"], 100, rtol=1e-3)
    assert np.isnan(found["predicted"][35]) and np.isfinite(found["predicted"][30])
