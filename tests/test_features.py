import pickle

import numpy as np
import pytest

from phutils import features

FEATURES = np.random.default_rng(0).normal(5, 3, (60, 5, 4)).astype(np.float32)
CHOSEN = np.arange(0, 45)


def on_disk(path, array):
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def test_a_memory_map_is_sent_as_the_name_of_its_file(tmp_path):
    mapped = on_disk(tmp_path / "features.npy", FEATURES)
    content = features.with_content(mapped)
    sent = pickle.dumps(content)
    assert len(sent) < 1000 < FEATURES.nbytes
    received = pickle.loads(sent)
    assert isinstance(received.array, np.memmap)
    assert received.fingerprint == content.fingerprint
    np.testing.assert_array_equal(received.array, FEATURES)
    part = pickle.loads(pickle.dumps(features.with_content(mapped[2:])))  # a part travels whole
    np.testing.assert_array_equal(part.array, FEATURES[2:])


def test_content_does_not_depend_on_where_an_array_lies(tmp_path):
    mapped = on_disk(tmp_path / "features.npy", FEATURES)
    digest = features.with_content(FEATURES).fingerprint
    assert features.with_content(mapped).fingerprint == digest
    changed = FEATURES.copy()
    changed[-1, -1, -1] += 1
    others = [changed, FEATURES.reshape(60, -1), FEATURES[:-1], FEATURES.view(np.int32)]
    digests = {features.with_content(other).fingerprint for other in others}
    assert len(digests) == 4 and digest not in digests


@pytest.mark.parametrize("axes", [(0, 1), (0,)])
def test_mean_and_std(monkeypatch, axes):
    monkeypatch.setattr(features, "BLOCK", 7)
    varied = FEATURES if len(axes) == 2 else FEATURES[:, 0].copy()
    varied = varied + np.float32(1000)
    varied[..., 3] = 2.5  # does not vary
    mean, std = features.mean_and_std(varied, CHOSEN)
    chosen = varied[CHOSEN].astype(float)
    np.testing.assert_allclose(mean, chosen.mean(axis=axes), rtol=1e-12)
    np.testing.assert_allclose(std[:3], chosen.std(axis=axes)[:3], rtol=1e-9)
    assert std[3] == 1


def test_a_value_that_is_not_finite_is_named():
    broken = FEATURES.copy()
    broken[7, 2, 1] = np.nan
    with pytest.raises(ValueError, match="frame 7 hold a value that is not finite"):
        features.mean_and_std(broken, CHOSEN)
    assert np.isfinite(features.mean_and_std(broken, CHOSEN[8:])).all()


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros((60, 3), int), r"features are int64 of shape \(60, 3\)"),
        (np.zeros(60), r"features are float64 of shape \(60,\)"),
        (np.zeros((60, 0)), r"of shape \(60, 0\)"),
        (FEATURES[1:], r"59 structures, but energies of shape \(60,\)"),
    ],
)
def test_shapes_that_do_not_fit(array, message):
    features.check_shapes(FEATURES, np.zeros(60))
    with pytest.raises(ValueError, match=message):
        features.check_shapes(array, np.zeros(60))
