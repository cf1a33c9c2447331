import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression

from phutils import scores
from phutils.dataset import load


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


def test_density_and_stage_fit_what_depends_on_them_alone():
    structures = load("embedded")
    features = scores.density_stage_features(structures)
    stages = np.unique(structures.stage)
    assert features.shape == (len(structures), 3 * len(stages))
    index = np.searchsorted(stages, structures.stage)
    energy = (index + 1) * (structures.density - 2 * index) ** 2
    fitted = LinearRegression(fit_intercept=False).fit(features, energy).predict(features)
    np.testing.assert_allclose(fitted, energy, atol=1e-8)
