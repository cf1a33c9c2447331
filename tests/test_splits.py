from types import SimpleNamespace

import numpy as np
import pytest

from phutils.splits import (
    hot_and_cold,
    independent_groups,
    inner_splits,
    learning_splits,
    named_splits,
    published_split,
    random_split,
    restricted,
    split_by,
)


@pytest.fixture
def frames():
    """Three densities, two runs, two stages, five frames each: six trajectories."""
    density, run, stage, _ = (
        part.ravel() for part in np.meshgrid([1.5, 2.4, 3.5], [1, 2], ["a", "b"], range(5))
    )
    trajectory = np.unique(np.stack([density, run]), axis=1, return_inverse=True)[1]
    return columns(density=density, run=run, stage=stage, trajectory=trajectory)


class Columns(SimpleNamespace):
    def __len__(self):
        return len(self.trajectory)


def columns(**arrays):
    n = len(arrays["trajectory"])
    split = arrays.pop("split", np.zeros(n, int))
    return Columns(**arrays, source="test", _table={"split": split})


def assert_partition(train, test, n):
    assert np.all(np.diff(train) > 0)
    assert np.all(np.diff(test) > 0)
    assert sorted([*train, *test]) == list(range(n))


def test_random_split_is_a_partition_fixed_by_its_seed(frames):
    train, test = random_split(frames, 0.2, seed=3)
    assert len(test) == 12
    assert_partition(train, test, 60)
    for same, other in zip(random_split(frames, 0.2, seed=3), (train, test), strict=True):
        np.testing.assert_array_equal(same, other)
    assert not np.array_equal(random_split(frames, 0.2, seed=4)[1], test)
    assert random_split(frames)[1].tolist() == random_split(frames, 0.2, 0)[1].tolist()


def test_random_split_does_not_touch_the_global_generator(frames):
    np.random.seed(0)  # noqa: NPY002
    expected = np.random.RandomState(0).random_sample(3)
    random_split(frames)
    np.testing.assert_array_equal(np.random.random_sample(3), expected)  # noqa: NPY002


@pytest.mark.parametrize(("by", "n_test"), [("trajectory", 20), ("density", 20), ("run", 30)])
def test_random_split_of_whole_groups(frames, by, n_test):
    train, test = random_split(frames, 0.34 if by != "run" else 0.5, seed=1, by=by)
    assert len(test) == n_test
    assert_partition(train, test, 60)
    values = getattr(frames, by)
    assert not set(values[train]) & set(values[test])
    assert not set(frames.trajectory[train]) & set(frames.trajectory[test])


@pytest.mark.parametrize(
    ("by", "labels"),
    [
        ("run", [1, 2]),
        ("density", [1.5, 2.4, 3.5]),
        ("stage", ["a", "b"]),
        ("trajectory", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_leave_one_group_out(frames, by, labels):
    folds = list(split_by(frames, by))
    assert [label for label, _, _ in folds] == labels
    for label, train, test in folds:
        assert_partition(train, test, 60)
        assert set(getattr(frames, by)[test].tolist()) == {label}
        shared = set(frames.trajectory[train]) & set(frames.trajectory[test])
        assert bool(shared) == (by == "stage")


def test_frames_that_share_a_trajectory_are_left_out_of_training():
    """A trajectory whose density drifts from 2.0 to 2.1, and another at 2.1."""
    frames = columns(
        density=np.array([2.0, 2.0, 2.1, 2.1, 2.1]), trajectory=np.array([0, 0, 0, 1, 1])
    )
    label, train, test = next(split_by(frames, "density"))
    assert (label, train.tolist(), test.tolist()) == (2.0, [3, 4], [0, 1])
    with pytest.raises(ValueError, match="nothing is left to train on"):
        list(split_by(frames, "density"))


@pytest.mark.parametrize("fraction", [0, 0.001, 0.999, 1, 2, -0.1])
def test_an_empty_side_is_refused(frames, fraction):
    with pytest.raises(ValueError, match="a side is empty"):
        random_split(frames, fraction)


def test_one_group_cannot_be_split(frames):
    frames.run[:] = 1
    with pytest.raises(ValueError, match="all 60 frames have the same run"):
        list(split_by(frames, "run"))
    with pytest.raises(ValueError, match="of 1 groups by run"):
        random_split(frames, 0.5, by="run")


@pytest.mark.parametrize(
    "call", [lambda f: random_split(f, by="mood"), lambda f: [*split_by(f, "n")]]
)
def test_unknown_groups(frames, call):
    with pytest.raises(ValueError, match="expected run, density, trajectory or stage"):
        call(frames)


def test_published_split():
    frames = columns(trajectory=np.zeros(5), split=np.array([1, 2, 0, 1, 2]))
    train, test = published_split(frames)
    assert (train.tolist(), test.tolist()) == ([0, 3], [1, 4])
    with pytest.raises(ValueError, match="no published split among these frames of test"):
        published_split(columns(trajectory=np.zeros(5)))


def test_random_split_by_given_labels(frames):
    labels = np.arange(60) // 5
    train, test = random_split(frames, 0.25, seed=2, by=labels)
    assert len(test) == 15 and not set(labels[train]) & set(labels[test])
    assert_partition(train, test, 60)
    with pytest.raises(ValueError, match="0.2 of 1 groups: a side is empty"):
        random_split(frames, by=np.zeros(60))


def test_few_trajectories_are_cut_into_stretches(frames):
    np.testing.assert_array_equal(independent_groups(frames), frames.trajectory)
    two = columns(trajectory=np.array([7, 3] * 30))
    groups = independent_groups(two)
    assert len(np.unique(groups)) == 20
    for label in np.unique(groups):
        at = np.flatnonzero(groups == label)
        assert len(at) == 3 and len(np.unique(two.trajectory[at])) == 1
        assert np.ptp(at) == 4  # neighbours within their trajectory


def test_named_splits(frames):
    splits = named_splits(frames, repeats=3, test_fraction=0.34, seed=5)
    assert {name: len(pairs) for name, pairs in splits.items()} == {
        "random": 3,
        "by trajectory": 3,
        "one run out": 2,
        "one density out": 3,
        "one stage out": 2,
    }
    for pairs in splits.values():
        for train, test in pairs:
            assert_partition(train, test, 60)
    for train, test in splits["by trajectory"]:
        assert not set(frames.trajectory[train]) & set(frames.trajectory[test])
    np.testing.assert_array_equal(splits["random"][1][1], random_split(frames, 0.34, 6)[1])
    assert len({tuple(test) for _, test in splits["random"]}) == 3


def test_splits_that_are_not_possible_are_left_out(frames):
    one = columns(
        density=np.full(40, 2.0),
        run=np.ones(40),
        stage=np.full(40, ""),
        trajectory=np.zeros(40, int),
        split=np.arange(40) % 2 + 1,
    )
    splits = named_splits(one, repeats=1)
    assert list(splits) == ["random", "by trajectory", "as published"]
    train, test = splits["by trajectory"][0]
    assert len(test) == 8 and len(train) == 32


@pytest.mark.parametrize("grouped", [True, False])
def test_inner_splits_stay_within_the_training_set(frames, grouped):
    groups = frames.trajectory if grouped else None
    splits = named_splits(frames, 2, 0.34)["by trajectory"]
    for (train, _), (fit, validation) in zip(
        splits, inner_splits(splits, groups, 0.25, seed=1), strict=True
    ):
        np.testing.assert_array_equal(np.sort(np.concatenate([fit, validation])), train)
        assert len(validation) == 10
        shared = set(frames.trajectory[fit]) & set(frames.trajectory[validation])
        assert bool(shared) != grouped
    with pytest.raises(ValueError, match="a side is empty"):
        inner_splits(splits, frames.density * 0)


@pytest.mark.parametrize("grouped", [True, False])
def test_parts_of_a_learning_curve_lie_inside_each_other(frames, grouped):
    trajectory = frames.trajectory
    splits = [(np.arange(10, 60), np.arange(10)), (np.arange(50), np.arange(50, 60))]
    groups = trajectory if grouped else None
    found = learning_splits(splits, [0.01, 0.1, 0.5, 1.0], groups, seed=1)
    assert [len(part) for part, _ in found] == 2 * [2, 5, 25, 50]
    for k, (train, test) in enumerate(splits):
        parts = [part for part, _ in found[4 * k : 4 * k + 4]]
        assert all(t is test for _, t in found[4 * k : 4 * k + 4])
        np.testing.assert_array_equal(parts[-1], train)
        for small, large in zip(parts, parts[1:], strict=False):
            assert set(small) < set(large) and (np.diff(large) > 0).all()
        cut = [t for t in set(trajectory[parts[2]]) if (trajectory[parts[2]] == t).sum() < 10]
        assert (len(cut) == 1) == grouped
    again = learning_splits(splits, [0.5], groups, seed=1)
    np.testing.assert_array_equal(again[0][0], found[2][0])
    assert learning_splits(splits, [0.5], groups, seed=2)[0][0].tolist() != found[2][0].tolist()


@pytest.mark.parametrize("fraction", [0, 1.1, -0.5])
def test_impossible_fractions(frames, fraction):
    with pytest.raises(ValueError, match="are not all above 0 and at most 1"):
        learning_splits([(np.arange(5), np.arange(5, 9))], [0.5, fraction])


def test_hot_and_cold_follow_the_stages_or_else_the_energy():
    stage = np.array(["buffer_high", "quench1", "quench2", "quench2"])
    energy = np.array([-8.0, -7.0, -6.0, -5.0])
    trajectory = np.zeros(4, int)
    known = columns(stage=stage, energy_per_atom=energy, trajectory=trajectory)
    hot, cold = hot_and_cold(known).values()
    np.testing.assert_array_equal(hot, stage == "buffer_high")
    np.testing.assert_array_equal(cold, stage == "quench2")
    unknown = columns(stage=np.full(4, ""), energy_per_atom=energy, trajectory=trajectory)
    assert list(hot_and_cold(unknown)) == ["high energy", "low energy"]
    hot, cold = hot_and_cold(unknown).values()
    assert hot.tolist() == [False, False, False, True]
    assert cold.tolist() == [True, False, False, False]


def test_splits_of_all_frames_are_those_of_the_chosen():
    named = {"random": [(np.array([0, 1, 4, 6]), np.array([2, 3, 5]))]}
    ((train, test),) = restricted(named, np.array([0, 2, 4, 5]))["random"]
    assert train.tolist() == [0, 2] and test.tolist() == [1, 3]
