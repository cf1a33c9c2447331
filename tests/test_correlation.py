import numpy as np
import pytest
from scipy.signal import lfilter

from phutils import correlation
from phutils.dataset import load


@pytest.fixture
def series():
    """Thirty series that forget with a factor of 0.8 a step, on parabolas of their own."""
    generator = np.random.default_rng(0)
    steps = generator.normal(size=(30, 2000)) * np.sqrt(1 - 0.8**2)
    place = np.linspace(-1, 1, 2000) ** np.arange(3)[:, None]
    return list(lfilter([1], [1, -0.8], steps) + generator.normal(size=(30, 3)) @ place)


def test_correlation_time_of_a_known_process(series):
    lags = np.arange(20)
    curve = correlation.autocorrelation(series, lags)
    assert curve[0] == 1
    np.testing.assert_allclose(curve[:6], 0.8 ** lags[:6], atol=0.04)
    found = correlation.correlation_time(20 * lags, curve)
    assert found == pytest.approx(-20 / np.log(0.8), rel=0.08)
    with_trend = correlation.autocorrelation(series, lags, trend=0)
    assert with_trend[10] > curve[10] + 0.2  # what drifts seems to remember


def test_rms_change_grows_as_the_process_forgets(series):
    found = correlation.rms_change(series, [1, 30])
    assert found[0] == pytest.approx(np.sqrt(2 * (1 - 0.8)), rel=0.05)
    assert found[1] > found[0]
    np.testing.assert_array_equal(correlation.rms_change([np.arange(4.0)], [1, 3]), [1, 3])


def test_short_series_give_no_number_and_no_warning():
    short = [np.arange(8.0)]
    assert np.isnan(correlation.rms_change(short, [8, 30])).all()
    assert np.isnan(correlation.autocorrelation(short, [0, 1])).all()
    assert np.isnan(correlation.autocorrelation([np.ones(40)], [0, 1], trend=0)).all()
    assert np.isnan(correlation.autocorrelation([np.arange(40.0) ** 3], [50])).all()
    assert np.isnan(correlation.correlation_time(np.arange(3), np.array([1, 0.9, 0.8])))
    assert np.isnan(correlation.correlation_time(np.arange(3), np.full(3, np.nan)))


def test_legs_of_the_embedded_runs_and_of_a_file():
    structures = load("embedded")
    series, step, unit = correlation.legs(structures, "quench2")
    assert len(series) == len(np.unique(structures.trajectory)) and unit == "fs"
    assert {len(values) for values in series} == {100} and step == pytest.approx(20, abs=0.01)
    first = (structures.trajectory == structures.trajectory[0]) & (structures.stage == "quench2")
    np.testing.assert_array_equal(series[0], structures.energy_per_atom[first])
    assert correlation.legs(load("data/examples/own.extxyz"), "")[1:] == (1.0, "frames")
