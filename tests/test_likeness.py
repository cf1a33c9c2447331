import numpy as np
import pytest
from map_spaces import GROUPS, ISLANDS, LABELS, NOISE, ONE
from scipy.stats import spearmanr

from phutils import islands, likeness, maps


def test_shared_neighbours():
    one, same, other = (
        islands.neighbours(space, LABELS, GROUPS, k=10, parts=3)
        for space in (ONE, ONE * 7 + 2, np.random.default_rng(5).normal(size=(240, 3)))
    )
    np.testing.assert_array_equal(likeness.shared(one, same), np.ones(4))
    near = zip(one["near"][0], other["near"][0], strict=True)
    expected = np.mean([len(set(a) & set(b)) / 10 for a, b in near])
    assert likeness.shared(one, other)[0] == pytest.approx(expected)
    assert likeness.shared(one, other)[0] == pytest.approx(10 / 220, abs=0.02)  # chance
    with pytest.raises(ValueError, match="different frames or parts"):
        likeness.shared(one, islands.neighbours(ONE, LABELS, GROUPS, k=10, parts=3, seed=1))


def test_distance_correlation(monkeypatch):
    squeezed = ONE * [1, 1, 0.2]

    def correlation(*arguments, **options):
        return likeness.distance_correlation(*arguments, **options)["spearman"]

    found = correlation(ONE, squeezed, GROUPS, parts=3)
    i, j = np.triu_indices(240, 1)
    i, j = (x[GROUPS[i] != GROUPS[j]] for x in (i, j))
    expected = spearmanr(*(np.linalg.norm(x[i] - x[j], axis=1) for x in (ONE, squeezed)))[0]
    assert found[0] == pytest.approx(expected) and len(set(found)) == 4
    assert correlation(ONE, -3 * ONE, GROUPS)[0] == pytest.approx(1)
    assert abs(correlation(ONE, NOISE[::-1], GROUPS)[0]) < 0.1
    monkeypatch.setattr(likeness, "PAIRED", 50)
    some = np.linspace(0, 239, 50).astype(int)
    expected = correlation(ONE[some], squeezed[some], GROUPS[some])
    found = correlation(ONE, squeezed, GROUPS)
    np.testing.assert_allclose(found, expected)


def test_nearer_means_by_two_errors():
    one, other = np.array([1.0, 0.9, 1.1, 1.0]), np.array([0.5, 0.4, 0.6, 0.5])
    found = likeness.nearer({"a": one, "b": other}), likeness.nearer({"b": other, "a": one})
    assert found == ("a", "a")
    noisy = np.array([0.5, 1.5, -0.5, 0.7])
    assert likeness.nearer({"a": one, "b": noisy}) == "neither"


def test_trust_tells_a_true_map_from_a_random_one():
    wide = np.c_[ISLANDS, np.random.default_rng(1).normal(size=(240, 80)) * 0.01]
    found = maps.principal_components(wide)["components"][:, :2]
    assert likeness.trust(wide, found) > 0.7 > likeness.trust(wide, NOISE[:, :2])
    assert likeness.trust(wide, found, limit=100) > 0.7
    assert np.isnan(likeness.trust(wide[:20], found[:20]))
