import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression

from phutils import scores


def test_errors_in_mev():
    predicted, reference = np.array([1.0, 2.0, 3.0]), np.array([1.003, 2.0, 2.996])
    assert scores.rmse(predicted, reference) == pytest.approx(np.sqrt((9 + 16) / 3))
    assert scores.mae(predicted, reference) == pytest.approx(7 / 3)
    assert scores.bias(predicted, reference) == pytest.approx(1 / 3)
    assert scores.r2(reference, reference) == 1


@pytest.mark.parametrize(
    "predicted, reference, message",
    [
        ([1.0], [1.0, 2.0], "shapes"),
        ([[1.0]], [[1.0]], "two vectors"),
        ([], [], "no energies"),
        ([1.0, np.nan], [1.0, 2.0], "predicted energy of frame 1 is nan"),
        ([1.0, 2.0], [np.inf, 2.0], "reference energy of frame 0 is inf"),
    ],
)
def test_bad_energies(predicted, reference, message):
    with pytest.raises(ValueError, match=message):
        scores.rmse(predicted, reference)


def test_evaluate_scores_what_was_held_out():
    x, energy = np.arange(10.0)[:, None], np.arange(10.0) / 100
    splits = [(np.arange(8), np.array([8, 9])), (np.arange(2, 10), np.array([0, 1]))]
    line = scores.evaluate(LinearRegression(), x, energy, splits)
    np.testing.assert_allclose(line["test"], 0, atol=1e-9)
    assert np.isnan(line["predicted"]).sum() == 6
    mean = scores.evaluate(DummyRegressor(), x, energy, splits)
    np.testing.assert_allclose(mean["test"], 10 * np.sqrt((4.5**2 + 5.5**2) / 2))
    with pytest.raises(ValueError, match="no split"):
        scores.evaluate(LinearRegression(), x, energy, [])


def test_interval():
    assert scores.interval([10.0, 12.0]) == "11.0 ± 1.4"
    assert scores.interval([10.0]) == "10.0"
    assert scores.interval([0.98765, 0.98765], 4) == "0.9877 ± 0.0000"


def test_evaluate_gives_all_measures_of_each_test_set():
    rng = np.random.default_rng(0)
    x, energy = rng.normal(size=(30, 2)), rng.normal(size=30)
    splits = [(np.arange(20), np.arange(20, 30)), (np.arange(10, 30), np.arange(10))]
    found = scores.evaluate(LinearRegression(), x, energy, splits)
    for i, (train, test) in enumerate(splits):
        predicted = LinearRegression().fit(x[train], energy[train]).predict(x[test])
        expected = scores.errors(predicted, energy[test])
        for name, key in {"rmse": "test", "mae": "mae", "bias": "bias", "r2": "r2"}.items():
            assert found[key][i] == pytest.approx(expected[name])


def test_the_four_measures_agree_with_their_own_functions():
    predicted, reference = np.array([1.0, 2.5, 3.0]), np.array([1.1, 2.0, 3.2])
    found = scores.errors(predicted, reference)
    for name in ("rmse", "mae", "bias", "r2"):
        assert found[name] == pytest.approx(getattr(scores, name)(predicted, reference))
    assert np.isnan(scores.errors([1.0], [2.0])["r2"])  # undefined, and no warning


def test_every_number_of_the_paper_has_a_source():
    assert scores.PAPER_RMSE == {"ridge": 59.2, "cnn": 40.7, "soap": 16.4, "schnet": 30.5}
    for reported in scores.PAPER.values():
        assert reported.what and reported.source
    assert (scores.PAPER["low"].value, scores.PAPER["high"].value) == (-0.0045, 0.003)
    assert scores.PAPER["teaching"].value == 0.9918


def test_rmse_of_groups():
    predicted = np.array([1.0, 2.0, 3.0, 4.0, np.nan])
    reference = np.array([1.003, 2.004, 3.0, 4.002, 5.0])
    stage, density = np.array(["b", "b", "a", "a", "c"]), np.array([1.5, 1.5, 1.5, 2.0, 2.0])
    by_stage = scores.grouped_rmse(predicted, reference, stage)
    assert list(by_stage) == ["a", "b"]
    assert by_stage == pytest.approx({"a": np.sqrt(2), "b": np.sqrt(12.5)})
    both = scores.grouped_rmse(predicted, reference, stage, density)
    assert both == pytest.approx({("a", 1.5): 0, ("a", 2.0): 2, ("b", 1.5): np.sqrt(12.5)})


def test_power_law_is_recovered():
    sizes = np.array([100, 200, 400, 800])
    found = scores.power_law(sizes, 50 * sizes**-0.3)
    assert found == pytest.approx({"exponent": 0.3, "scale": 50, "exponent_error": 0}, abs=1e-7)
    assert np.isnan(scores.power_law([1, 2], [3, 2])["exponent_error"])
    for sizes, rmses in (([10, 10], [1, 2]), ([10, 20], [1, 0]), ([0, 20], [1, 1])):
        with pytest.raises(ValueError, match="a power law needs positive values at two"):
            scores.power_law(sizes, rmses)


@pytest.mark.parametrize("sparse", [True, False])
def test_nearest_training_frame(sparse):
    rng = np.random.default_rng(0)
    x = rng.random((40, 30)) * (rng.random((40, 30)) < 0.3)
    x[17], x[3] = x[30], x[31] + 1e-4  # a copy and a near copy
    train, test = np.r_[20:40], np.array([17, 3, 5, 0])
    given = csr_array(x) if sparse else x
    distance, frame = scores.nearest_training_frame(given, train, test, block=3)
    every = np.linalg.norm(x[test][:, None] - x[train], axis=2)
    np.testing.assert_array_equal(frame, train[every.argmin(axis=1)])
    np.testing.assert_allclose(distance, every.min(axis=1), rtol=1e-4, atol=1e-9)
    assert frame[:2].tolist() == [30, 31] and distance[0] == 0


def test_rmse_by_distance():
    reference, error = np.zeros(5), np.array([1, 3, 4, 6, 8]) / 1000
    distance, edges = np.array([0.0, 0.1, 0.25, 0.2, 0.9]), np.array([0.0, 0.2, 0.3, 0.4, 0.5])
    rmse, share = scores.rmse_by_distance(distance, error, reference, edges)
    np.testing.assert_allclose(rmse, [np.sqrt(5), np.sqrt(26), np.nan, 8])
    np.testing.assert_allclose(share, [0.4, 0.4, 0, 0.2])
