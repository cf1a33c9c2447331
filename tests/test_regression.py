import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from phutils import regression, scores
from phutils.histograms import READINGS, Standardise

N, BINS = 150, 12
RNG = np.random.default_rng(0)


def random_histograms(n=N, pairs=60):
    """Probabilities on a mesh, above the diagonal: common pixels, rare ones and empty ones."""
    weight = RNG.exponential(size=(BINS, BINS)) ** 4
    counts = RNG.multinomial(pairs, (np.triu(weight) / np.triu(weight).sum()).ravel(), size=n)
    return counts / counts.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def data():
    histograms = random_histograms()
    slopes = RNG.normal(size=BINS**2)
    energy = histograms @ slopes - 8 + 0.01 * RNG.normal(size=N)
    order = RNG.permutation(N)
    splits = [(np.sort(order[:120]), np.sort(order[120:])), (np.arange(90), np.arange(90, N))]
    splits += [(np.arange(5, 95), np.arange(100, N)), (order[:40], order[40:60])]
    return histograms, energy, splits


def reference(reading, train, alpha):
    """The same model by scikit-learn alone, in double precision, on all pixels."""
    std, shift = train.std(), train.mean()
    step = {
        "none": FunctionTransformer(),
        "global": FunctionTransformer(lambda x: (x - shift) / std),
        "scale": FunctionTransformer(lambda x: x / std),
        "pixel": StandardScaler(),
        "sample": FunctionTransformer(
            lambda x: (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
        ),
    }[reading]
    return make_pipeline(step, Ridge(alpha=alpha, solver="cholesky"))


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("sparse", [True, False])
def test_equals_scikit_learn(data, reading, sparse):
    histograms, energy, splits = data
    given = csr_array(histograms) if sparse else histograms.reshape(N, BINS, BINS)
    alphas = [200.0, 3.0, 0.05]
    tasks = [(train, alphas) for train, _ in splits]
    for (train, _), fit in zip(
        splits, regression.ridge_path(given, energy, tasks, reading), strict=True
    ):
        assert fit.predicted.shape == (3, N) and fit.coefficients.shape == (3, BINS**2)
        for alpha, predicted, coefficients in zip(
            alphas, fit.predicted, fit.coefficients, strict=True
        ):
            model = reference(reading, histograms[train], alpha)
            model.fit(histograms[train], energy[train])
            np.testing.assert_allclose(predicted, model.predict(histograms), rtol=1e-8)
            empty = (histograms[train] == 0).all(axis=0)
            expected = model[-1].coef_
            scale = abs(expected).max()
            seen = np.isfinite(coefficients)
            np.testing.assert_array_equal(seen, True if reading == "sample" else ~empty)
            np.testing.assert_allclose(coefficients[seen], expected[seen], atol=1e-8 * scale)


@pytest.mark.parametrize("reading", sorted(set(READINGS) - {"sample"}))
def test_equals_the_pipeline_of_the_book(data, reading):
    histograms, energy, splits = data
    train = splits[0][0]
    model = make_pipeline(Standardise(reading, drop_empty=True), Ridge(alpha=20.0))
    model.fit(histograms[train], energy[train])
    (fit,) = regression.ridge_path(histograms, energy, [(train, [20.0])], reading)
    np.testing.assert_allclose(fit.predicted[0], model.predict(histograms), atol=2e-5)
    mesh = model[0].on_mesh(model[-1].coef_).ravel()
    np.testing.assert_allclose(fit.coefficients[0], mesh, atol=2e-5)


def test_many_pixels_and_blocks_of_frames(monkeypatch):
    """More pixels than frames, and Gram matrices that are put together from several blocks."""
    monkeypatch.setattr(regression, "CHUNK", 7)
    rng = np.random.default_rng(1)
    histograms = csr_array(rng.random((60, 300)) * (rng.random((60, 300)) < rng.random(300) ** 6))
    energy = rng.normal(size=60)
    sets = [rng.permutation(60)[:k] for k in (3, 20, 50, 59, 60, 10)]
    fits = regression.ridge_path(histograms, energy, [(s, [0.7]) for s in sets], "none")
    for train, fit in zip(sets, fits, strict=True):
        model = Ridge(alpha=0.7).fit(histograms.toarray()[train], energy[train])
        np.testing.assert_allclose(fit.predicted[0], model.predict(histograms.toarray()), atol=1e-9)


def test_global_and_scale_are_one_model_and_none_is_it_with_another_alpha(data):
    histograms, energy, splits = data
    train = splits[0][0]
    variance = histograms[train].var()

    def fit(reading, alpha):
        return next(regression.ridge_path(histograms, energy, [(train, [alpha])], reading))

    same = fit("global", 5.0), fit("scale", 5.0), fit("none", 5.0 * variance)
    for other in same[1:]:
        np.testing.assert_allclose(other.predicted, same[0].predicted, rtol=1e-12)
    np.testing.assert_allclose(same[1].coefficients, same[0].coefficients, rtol=1e-9)


def test_evaluate_scores_every_split_and_alpha(data):
    histograms, energy, splits = data
    found = regression.evaluate(histograms, energy, splits, [1.0, 30.0], "pixel")
    assert found["test"].shape == found["train"].shape == (4, 2)
    for s, (train, test) in enumerate(splits):
        for a, alpha in enumerate((1.0, 30.0)):
            model = reference("pixel", histograms[train], alpha)
            predicted = model.fit(histograms[train], energy[train]).predict(histograms)
            expected = scores.errors(predicted[test], energy[test])
            assert found["test"][s, a] == pytest.approx(expected["rmse"], rel=1e-7)
            for name in ("mae", "bias", "r2"):
                assert found[name][s, a] == pytest.approx(expected[name], rel=1e-6, abs=1e-6)
            rmse = scores.rmse(predicted[train], energy[train])
            assert found["train"][s, a] == pytest.approx(rmse, rel=1e-6)
            np.testing.assert_allclose(found["predicted"][s, a], predicted, rtol=1e-9)
            used = histograms[train].any(axis=0)
            if s == 0:
                coefficients = found["coefficients"][a]
                np.testing.assert_allclose(coefficients[used], model[-1].coef_[used], atol=1e-9)
                assert np.isnan(coefficients[~used]).all()
    with pytest.raises(ValueError, match="no split to evaluate"):
        regression.evaluate(histograms, energy, [], [1.0])


def test_alpha_is_chosen_without_the_test_frames(data):
    histograms, energy, splits = data
    splits = splits[:2]
    inner = [(train[::2], train[1::2]) for train, _ in splits]
    alphas = [0.001, 0.1, 10.0, 1000.0]
    found = regression.evaluate_nested(histograms, energy, splits, inner, alphas)
    validation = regression.evaluate(histograms, energy, inner, alphas)["test"]
    np.testing.assert_allclose(found["validation"], validation, rtol=1e-9)
    assert found["alpha"].tolist() == [alphas[k] for k in validation.argmin(axis=1)]
    for s, alpha in enumerate(found["alpha"]):
        expected = regression.evaluate(histograms, energy, splits[s : s + 1], [alpha])["test"]
        assert found["test"][s] == pytest.approx(expected[0, 0], rel=1e-9)
    shuffled = energy.copy()
    shuffled[np.setdiff1d(np.arange(N), splits[0][0])] = 0  # the choice must not see it
    again = regression.evaluate_nested(histograms, shuffled, splits[:1], inner[:1], alphas)
    np.testing.assert_array_equal(again["validation"], found["validation"][:1])
    with pytest.raises(ValueError, match="an inner split reaches beyond"):
        regression.evaluate_nested(histograms, energy, splits, inner[::-1], alphas)


def fit(histograms, energy, reading="global", alpha=1.0, train=None):
    train = np.arange(len(energy)) if train is None else np.asarray(train)
    return next(regression.ridge_path(histograms, energy, [(train, [alpha])], reading))


def test_bad_input(data):
    histograms, energy, _ = data
    broken = histograms.copy()
    broken[7, 3] = np.nan
    with pytest.raises(ValueError, match="unknown reading 'zscore'"):
        fit(histograms, energy, "zscore")
    for alpha in (0.0, -1e-9, np.nan):
        with pytest.raises(ValueError, match="alpha .* is not positive"):
            fit(histograms, energy, alpha=alpha)
    with pytest.raises(ValueError, match="150 histograms, but energies of shape"):
        fit(histograms, energy[1:])
    with pytest.raises(ValueError, match="histogram of frame 7 is not finite"):
        fit(broken, energy)
    with pytest.raises(ValueError, match="energy of frame 2 is not finite"):
        fit(histograms, np.where(np.arange(N) == 2, np.inf, energy))
    with pytest.raises(ValueError, match="1 training frames: at least two"):
        fit(histograms, energy, train=[3])
    with pytest.raises(ValueError, match="3 training frames: .* each of them once"):
        fit(histograms, energy, train=[3, 4, 3])
    with pytest.raises(ValueError, match="nothing to standardise"):
        fit(np.ones((5, 4)), np.arange(5.0))
    with pytest.raises(ValueError, match="'sample' needs an empty"):
        fit(1 + RNG.random((5, 4)), np.arange(5.0), "sample")
