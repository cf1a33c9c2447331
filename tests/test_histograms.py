import weakref

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from phutils.diagrams import Diagrams
from phutils.histograms import READINGS, PersistenceHistogram, Standardise


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    frames = []
    for n in (40, 70, 55):
        births = rng.random(n) * 7
        frames.append({1: np.stack([births, births + rng.random(n) * 3], axis=1)})
    frames[0][1][0] = [0.0, 8.0]  # the corner belongs to the last bin
    frames[0][1][1] = [0.25, 8.1]  # outside
    frames[0][1][2] = [1 / 16, 2.0]  # exactly on an edge
    return Diagrams.from_frames(frames, (1,), n_atoms=[8, 14, 11])


def test_equals_numpy(found):
    counts = PersistenceHistogram(bins=128, normalise="none").fit_transform(found)
    for i in range(3):
        window = [[0, 8], [0, 8]]
        expected = np.histogram2d(*found[i][1].T, bins=128, range=window)[0]
        np.testing.assert_array_equal(counts[i], expected)
    assert counts.shape == (3, 128, 128) and counts.dtype == np.float32
    assert counts[0, 0, 127] == 1


def test_probability_does_not_depend_on_size(found):
    twice = Diagrams.from_frames([{1: np.concatenate([f[1], f[1]])} for f in found], (1,))
    one, two = (PersistenceHistogram(bins=16).fit_transform(d) for d in (found, twice))
    np.testing.assert_allclose(one.sum(axis=(1, 2)), 1, rtol=1e-6)
    np.testing.assert_allclose(one, two)


def test_counts_per_atom_keep_how_many_pairs_there_are(found):
    counts = PersistenceHistogram(bins=16, normalise="none").fit_transform(found)
    per_atom = PersistenceHistogram(bins=16, normalise="per_atom").fit_transform(found)
    np.testing.assert_allclose(per_atom, counts / np.array([8, 14, 11])[:, None, None], rtol=1e-6)
    doubled = [{1: np.concatenate([frame[1], frame[1]])} for frame in found]
    twice = Diagrams.from_frames(doubled, (1,), n_atoms=[16, 28, 22])
    again = PersistenceHistogram(bins=16, normalise="per_atom").fit_transform(twice)
    np.testing.assert_allclose(again, per_atom, rtol=1e-6)
    rich = Diagrams.from_frames(doubled, (1,), n_atoms=[8, 14, 11])
    more = PersistenceHistogram(bins=16, normalise="per_atom").fit_transform(rich)
    np.testing.assert_allclose(more, 2 * per_atom, rtol=1e-6)


@pytest.mark.parametrize("normalise", ["probability", "per_atom", "none"])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 1.5])
def test_a_stream_of_blocks_gives_the_same(found, normalise, sparse, smoothing):
    histogram = PersistenceHistogram(16, normalise=normalise, sparse=sparse, smoothing=smoothing)
    whole = histogram.fit_transform(found)
    blocks = (found[start : start + 2] for start in (0, 2))
    stream = histogram.fit_transform(blocks)
    assert type(stream) is type(whole) and stream.dtype == whole.dtype
    if sparse:
        whole, stream = whole.toarray(), stream.toarray()
    np.testing.assert_array_equal(stream, whole)
    assert histogram.fit_transform(iter([])).shape == (0, *whole.shape[1:])


def test_blocks_are_let_go(found):
    gone = []

    def blocks():
        for start in (0, 1, 2):
            block = found[start : start + 1]
            gone.append(weakref.ref(block))
            yield block
            del block
            assert [ref() is None for ref in gone[:-1]] == [True] * start

    assert PersistenceHistogram(8, sparse=True).fit_transform(blocks()).shape == (3, 64)


def test_smoothing_keeps_the_shape_and_spreads(found):
    sharp = PersistenceHistogram(bins=64).fit_transform(found)
    smooth = PersistenceHistogram(bins=64, smoothing=2.0).fit_transform(found)
    assert smooth.shape == sharp.shape and smooth.max() < sharp.max()
    assert (smooth > 0).sum() > 5 * (sharp > 0).sum()
    np.testing.assert_allclose(smooth.sum(axis=(1, 2)), 1, rtol=1e-5)


def test_pairs_outside_the_window_are_counted(found):
    outside = (found.pairs[1] > 8).any(axis=1).mean()
    assert PersistenceHistogram().fraction_outside(found) == pytest.approx(outside) and outside > 0


@pytest.mark.parametrize("reading", ["global", "pixel", "sample", "scale", "none"])
def test_readings(found, reading):
    histograms = PersistenceHistogram(bins=8).fit_transform(found)
    values = Standardise(reading).fit(histograms[:2]).transform(histograms)
    flat = histograms.reshape(3, -1).astype(float)
    train = flat[:2]
    std = np.where(np.ptp(train, axis=0) > 0, train.std(axis=0), 1)
    expected = {
        "global": (flat - train.mean()) / train.std(),
        "pixel": (flat - train.mean(axis=0)) / std,
        "sample": (flat - flat.mean(axis=1)[:, None]) / flat.std(axis=1)[:, None],
        "scale": flat / train.std(),
        "none": flat,
    }[reading]
    np.testing.assert_allclose(values, expected, atol=2e-6)
    assert set(READINGS) == {"global", "pixel", "sample", "scale", "none"}
    assert (values >= 0).all() == (reading in ("scale", "none"))


@pytest.mark.parametrize("reading", READINGS)
def test_sparse_and_dense_are_the_same(found, reading):
    dense = PersistenceHistogram(bins=16).fit_transform(found)
    sparse = PersistenceHistogram(bins=16, sparse=True).fit_transform(found)
    np.testing.assert_array_equal(sparse.toarray(), dense.reshape(3, -1))
    one, two = (Standardise(reading, drop_empty=True).fit(h[:2]) for h in (dense, sparse))
    np.testing.assert_array_equal(one.support_, two.support_)
    np.testing.assert_allclose(one.transform(dense), two.transform(sparse), rtol=2e-5, atol=1e-5)
    whole = Standardise(reading).fit(sparse[:2]).transform(sparse)
    np.testing.assert_allclose(whole[:, one.support_], one.transform(dense), rtol=2e-5, atol=1e-5)


def test_empty_bins_can_be_dropped_without_changing_a_prediction(found):
    histograms, energy = PersistenceHistogram(bins=16).fit_transform(found), np.array([1.0, 2, 4])
    whole = make_pipeline(Standardise(), Ridge(alpha=2.0)).fit(histograms, energy)
    dropped = make_pipeline(Standardise(drop_empty=True), Ridge(alpha=2.0)).fit(histograms, energy)
    np.testing.assert_allclose(whole.predict(histograms), dropped.predict(histograms), rtol=1e-5)
    mesh = dropped[0].on_mesh(dropped[-1].coef_)
    filled = (histograms > 0).any(axis=0)
    np.testing.assert_array_equal(np.isfinite(mesh), filled)
    expected = whole[-1].coef_.reshape(16, 16)[filled]
    np.testing.assert_allclose(mesh[filled], expected, rtol=1e-4, atol=1e-6)


def test_bad_input(found):
    with pytest.raises(KeyError, match="not 2"):
        PersistenceHistogram(degree=2).fit_transform(found)
    with pytest.raises(ValueError, match="no histogram with 0 bins"):
        PersistenceHistogram(bins=0).fit(found)
    with pytest.raises(ValueError, match="no histogram"):
        PersistenceHistogram(window=(8.0, 8.0)).fit(found)
    with pytest.raises(ValueError, match="frame 0 has no pair"):
        PersistenceHistogram(window=(20.0, 30.0)).fit_transform(found)
    with pytest.raises(ValueError, match="unknown 'counts': choose one of"):
        PersistenceHistogram(normalise="counts").fit_transform(found)
    nameless = Diagrams.from_frames([found[0]], (1,))
    with pytest.raises(ValueError, match="frame 0 has no known number of atoms"):
        PersistenceHistogram(normalise="per_atom").transform(nameless)
    bad = Diagrams.from_frames([found[0], {1: []}], (1,), [8, 0], {1: "there are no atoms"})
    for normalise in ("probability", "per_atom"):
        with pytest.raises(ValueError, match="frame 1 has no diagram: there are no atoms"):
            PersistenceHistogram(normalise=normalise).transform(bad)
    with pytest.raises(ValueError, match="frame 4 has no diagram"):
        PersistenceHistogram().transform([found, bad])
    assert PersistenceHistogram().transform(bad[bad.valid]).shape == (1, 128, 128)
    with pytest.raises(ValueError, match="unknown reading 'zscore'"):
        Standardise("zscore").fit(np.ones((2, 4, 4)))
    with pytest.raises(ValueError, match="histogram 1 holds a value that is not finite"):
        Standardise().fit(np.array([[1.0, 2], [np.nan, 1]]))
    with pytest.raises(ValueError, match="nothing to standardise"):
        Standardise().fit(np.ones((2, 4)))
    with pytest.raises(ValueError, match="9 pixels, but 4 were fitted"):
        Standardise().fit(np.arange(8.0).reshape(2, 4)).transform(np.ones((2, 3, 3)))
