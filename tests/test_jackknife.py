import numpy as np
import pytest

from phutils import jackknife


def test_jackknife_gives_the_error_of_a_mean():
    x = np.random.default_rng(1).normal(size=400)
    values = [x.mean(), *(np.delete(x, i).mean() for i in range(400))]
    assert jackknife.error(values) == pytest.approx(x.std(ddof=1) / 20)
    assert np.isnan(jackknife.error([0.5]))


def test_above_means_by_two_errors():
    one, other = np.array([1.0, 0.9, 1.1, 1.0]), np.array([0.5, 0.4, 0.6, 0.5])
    assert jackknife.above(one, other) and jackknife.above(one, 0.1)
    noisy = np.array([0.5, 1.5, -0.5, 0.7])
    assert not jackknife.above(other, one) and not jackknife.above(one, noisy)
    assert not jackknife.above([1.0], [0.5])


def test_parts_keep_trajectories_together():
    groups = np.repeat(np.arange(7), 3)
    part, number = jackknife.parts_of(groups, 3, seed=1)
    assert number == 3 and set(part) == {1, 2, 3}
    assert all(len(set(part[groups == group])) == 1 for group in range(7))
    sizes = np.unique(part[::3], return_counts=True)[1]
    assert sorted(sizes) == [2, 2, 3]
    assert (jackknife.parts_of(groups, 3, seed=2)[0] != part).any()
    assert jackknife.parts_of(groups, 100)[1] == 7
    assert jackknife.parts_of(groups, 0)[1] == 0


def test_as_text_and_as_numbers():
    values = np.array([0.5, 0.4, 0.6])
    assert jackknife.plus_minus(values) == "0.50 ± 0.10"
    assert jackknife.plus_minus(values, 0) == "0 ± 0"
    assert jackknife.plus_minus([0.5]) == "0.50"  # its error is not known
    assert jackknife.plus_minus([np.nan, 1.0, 2.0]) == jackknife.plus_minus([np.nan]) == "–"
    found = jackknife.with_errors({"a": values, "b": [2.0]})
    assert found["a"] == pytest.approx([0.5, 0.1])
    assert found["b"][0] == 2 and np.isnan(found["b"][1])
