import numpy as np
import pytest
from scipy.stats import spearmanr

from phutils import region_checks
from phutils.cycles import Cycle, Cycles, stable_volumes
from phutils.dataset import load
from phutils.inverse import choose_frames


def ring(*vertices):
    none = np.empty((0, 2), int)
    return Cycle(0.5, 2.0, 1.0, np.empty((0, 3), int), none, np.array(vertices), True)


# --- random regions ------------------------------------------------------------------------------


@pytest.fixture
def table():
    """40 bins in 4 columns of births whose bond lengths depend on the birth alone."""
    rng = np.random.default_rng(0)
    birth = np.repeat(np.arange(4), 10)
    pairs = rng.integers(1, 30, (2, 40))
    lengths = np.zeros((2, 40, 300), int)
    lengths[:, np.arange(40), 140 + 10 * birth] = 5 * pairs
    angles = np.zeros((2, 40, 180), int)
    angles[:, :, 110] = 5 * pairs
    return {
        "pixel": 128 * birth + 20 + np.tile(np.arange(10), 4),
        "place": np.arange(40),
        "pairs": pairs,
        "lengths": lengths,
        "angles": angles,
        "known": pairs,
        "energy": pairs * rng.normal(size=40),
    }


def test_random_regions_hold_as_many_pairs(table):
    low, high = table["pixel"] < 256, table["pixel"] >= 256
    low[3:6], high[30:] = False, False
    pairs = table["pairs"].sum(axis=0)
    null = region_checks.null_regions(table, low, high, 128, draws=20)
    assert set(null) == {"any bins", "same births"}
    for found in null.values():
        np.testing.assert_allclose(found["low pairs"], pairs[low].sum())
        np.testing.assert_allclose(found["high pairs"], pairs[high].sum())
        assert len(np.unique(found["atoms apart"])) > 10  # draws differ


def test_births_alone_explain_what_depends_on_births_alone(table):
    """Here the bond lengths follow from the birth: matched regions show the same distance."""
    low, high = table["pixel"] < 128, table["pixel"] >= 384
    low[5:10], high[35:] = False, False
    null = region_checks.null_regions(table, low, high, 128, draws=30)
    np.testing.assert_allclose(null["same births"]["lengths apart"], 0.30, atol=1e-9)
    assert null["any bins"]["lengths apart"].mean() < 0.15
    again = region_checks.null_regions(table, low, high, 128, draws=30)
    np.testing.assert_array_equal(again["any bins"]["atoms apart"], null["any bins"]["atoms apart"])


def test_shuffled_coefficients_stay_in_their_column():
    weights, column = np.arange(12.0), np.array([2, 0, 1] * 4)
    found = region_checks.shuffled(weights, column, draws=50)
    assert found.shape == (12, 50)
    for c in range(3):
        np.testing.assert_array_equal(
            np.sort(found[column == c], axis=0), np.tile(weights[column == c][:, None], 50)
        )
    assert len({tuple(f) for f in found.T}) > 45
    free = region_checks.shuffled(weights, np.zeros(12, int), draws=50)
    assert any(set(f[column == 0]) != set(weights[column == 0]) for f in free.T)


# --- moved atoms ---------------------------------------------------------------------------------


def test_survival_counts_rings_overlap_and_region():
    before = [ring(0, 1, 2, 3), ring(4, 5, 6), ring(0, 4, 8)]
    after = [ring(4, 5, 6), ring(0, 1, 2, 3, 7, 8)]
    found = region_checks.survival(before, after, 9, np.array([-1, -1, 1]), np.array([-1, 1]))
    assert found[-1] == (2, 1, pytest.approx(1 + 4 / 6), 1)
    assert found[1] == (1, 0, pytest.approx(2 / 7), 1)


def test_survival_of_nothing_and_in_nothing():
    before = [ring(0, 1, 2), ring(3, 4, 5)]
    found = region_checks.survival(before, [], 6, np.array([-1, 0]), np.array([], int))
    assert found == {-1: (1, 0, 0.0, 0), 1: (0, 0, 0.0, 0)}


def test_survivors_are_counted_over_frames():
    before = Cycles.from_frames([[ring(0, 1, 2)], [ring(0, 1, 2), ring(3, 4, 5)], [ring(1, 2, 3)]])
    after = Cycles.from_frames([[ring(1, 2, 4)], [ring(0, 1, 2, 3)]])
    region = np.array([1, -1, -1, -1])
    found = region_checks.survivors(before, [2, 1], after, [6, 6, 6], region, np.array([-1, 0]))
    # of three low rings none is the same; overlaps 2/4, 3/4 and 1/6; one is near a low ring
    np.testing.assert_allclose(found, [0, 100 * (1 / 2 + 3 / 4 + 1 / 6) / 3, 100 / 3, 0, 0, 0])
    found = region_checks.survivors(before, [0, 1, 2], before, [6, 6, 6], region, region)
    np.testing.assert_allclose(found, 100)


def test_a_frame_survives_itself_but_not_a_wild_shake():
    structures = load("embedded")
    at, _ = choose_frames(structures, per_trajectory=1)
    atoms = structures[at[0]]
    moved = atoms.copy()
    moved.rattle(0.3, seed=0)
    rings = stable_volumes(atoms)
    region = np.where(np.arange(len(rings)) % 2, 1, -1)
    size, same, overlap, kept = region_checks.survival(rings, rings, 216, region, region)[1]
    assert same == size and overlap == pytest.approx(size)
    shaken = stable_volumes(moved)
    other = np.ones(len(shaken), int)
    size, same, overlap, kept = region_checks.survival(rings, shaken, 216, region, other)[1]
    assert same < 0.7 * size and 0.2 * size < overlap < 0.9 * size and kept == size


# --- energies of single atoms --------------------------------------------------------------------


def test_every_pair_is_shared_out_in_equal_parts():
    cycles = Cycles.from_frames([[ring(0, 1, 2), ring(1, 2, 3, 4)], [ring(0, 1, 2), ring(0, 2, 3)]])
    place = np.array([0, 1, 1, -1])
    matrix = region_checks.share_matrix(cycles, place, np.array([5, 4]), 2)
    assert matrix.shape == (9, 2)
    third, quarter = 1 / 3, 1 / 4
    expected = np.zeros((9, 2))
    expected[:3, 0] = third
    expected[1:5, 1] = quarter
    expected[5:8, 1] = third
    np.testing.assert_allclose(matrix.toarray(), expected)
    shares = matrix @ np.array([3.0, -4.0])  # what the model makes of the pairs is conserved
    assert shares[:5].sum() == pytest.approx(3 - 4) and shares[5:].sum() == pytest.approx(-4)


def test_rank_correlations_are_spearmans():
    rng = np.random.default_rng(3)
    energies = [rng.normal(size=30), None, rng.integers(0, 5, 20).astype(float)]
    values = rng.normal(size=(90, 3)).round(1)
    values[70:, 2] = 1.0
    found = region_checks.rank_correlations(values, energies, [30, 40, 20])
    assert found.shape == (3, 3) and np.isnan(found[1]).all() and np.isnan(found[2, 2])
    for frame, start, stop in ((0, 0, 30), (2, 70, 90)):
        for k in range(2):
            expected = spearmanr(values[start:stop, k], energies[frame]).statistic
            assert found[frame, k] == pytest.approx(expected)
