from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from scipy.stats import wasserstein_distance

from phutils import inverse
from phutils.cycles import Cycle, Cycles, stable_volumes_of
from phutils.dataset import load
from phutils.diagrams import Diagrams
from phutils.histograms import PersistenceHistogram
from phutils.regression import ridge_path
from phutils.rings import ring_geometry

EDGES = np.linspace(0, 8, 129)


@pytest.fixture(scope="module")
def snapshots():
    """Three liquids of two trajectories, and all their rings."""
    structures = load("embedded")
    at, _ = inverse.choose_frames(structures, "buffer_low", 2.4, 2)
    frames = structures[at[:3]]
    return frames, stable_volumes_of(frames, n_jobs=1, progress=False)


# --- which frames --------------------------------------------------------------------------------


class Frames(SimpleNamespace):
    def __len__(self):
        return len(self.stage)


def frames(stages, densities, energy=None):
    """Structures of two trajectories in turn, for `choose_frames`."""
    n = len(stages)
    energy = np.arange(n) / n if energy is None else energy
    return Frames(
        stage=np.array(stages),
        density=np.array(densities, float),
        trajectory=np.arange(n) % 2,
        energy_per_atom=np.array(energy, float),
    )


def test_the_snapshots_are_those_of_the_stage_and_density():
    structures = load("embedded")
    at, words = inverse.choose_frames(structures)
    assert words == "stage buffer_low at 2.4 g/cm3"
    assert set(structures.stage[at]) == {"buffer_low"} and set(structures.density[at]) == {2.4}
    counts = np.unique(structures.trajectory[at], return_counts=True)[1]
    assert len(counts) >= 2 and set(counts) == {25}
    few, _ = inverse.choose_frames(structures, per_trajectory=3)
    assert len(few) == 3 * len(counts) and set(few) <= set(at)
    assert few[0] == at[0] and few[2] == at[24]  # first and last are among them
    limited, _ = inverse.choose_frames(structures, at_most=10)
    assert len(limited) <= 10 and len(np.unique(structures.trajectory[limited])) >= 2


def test_without_the_stage_frames_of_middle_energy_are_taken():
    n = 100
    data = frames(["melt"] * n, [2.0] * 50 + [3.1] * 50)
    at, words = inverse.choose_frames(data, density=2.1)
    assert words == "the middle fifth of the energies at 2.0 g/cm3, the density nearest to 2.1"
    assert (data.density[at] == 2.0).all() and 8 <= len(at) <= 12
    assert np.quantile(np.arange(50), 0.38) < at.min() and at.max() < np.quantile(range(50), 0.62)
    at, words = inverse.choose_frames(data, stage="melt", density=3.1)
    assert words == "stage melt at 3.1 g/cm3" and len(at) == 50


def test_the_density_is_one_where_the_stage_is():
    data = frames(["buffer_low"] * 4 + ["quench2"] * 4, [3.0] * 4 + [2.4] * 4)
    at, words = inverse.choose_frames(data)
    assert words == "stage buffer_low at 3.0 g/cm3, the density nearest to 2.4"
    assert sorted(at) == [0, 1, 2, 3]


def test_what_cannot_be_chosen_is_said():
    data = frames(["melt"] * 4, [2.0] * 4)
    with pytest.raises(ValueError, match=r"no frame has the stage 'buffer_lo'; there are \['melt"):
        inverse.choose_frames(data, stage="buffer_lo")
    for density in (0, -1, np.nan):
        with pytest.raises(ValueError, match=f"density of {density}"):
            inverse.choose_frames(data, density=density)
    with pytest.raises(ValueError, match="no 0 snapshots"):
        inverse.choose_frames(data, per_trajectory=0)
    with pytest.raises(ValueError, match="no structures"):
        inverse.choose_frames(frames([], []))


# --- coefficients --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def regression():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=12)
    groups = np.repeat(np.arange(10), 20)
    x = rng.random((200, 12)) + 0.3 * rng.normal(size=(10, 12))[groups]
    noise = 0.3 * rng.normal(size=10)[groups]  # shared by a group: frames are not independent
    return x, x @ truth + noise + 0.05 * rng.normal(size=200), groups


def test_coefficients_are_those_of_ridge(regression):
    x, y, groups = regression
    found = inverse.coefficients(x, y, groups, [2.0, 20.0], halves=3)
    (fit,) = ridge_path(x, y, [(np.arange(200), [2.0, 20.0])])
    np.testing.assert_array_equal(found["all"], fit.coefficients)
    assert found["halves"].shape == (3, 12)
    assert inverse.coefficients(x, y, groups, [2.0], halves=0)["halves"].shape == (0, 12)
    with pytest.raises(ValueError, match="one group"):
        inverse.coefficients(x, y, np.zeros(200), [2.0])


def test_halves_scatter_as_much_as_other_data_would():
    """Over many made-up datasets: the spread of the halves is that of the coefficients."""
    rng = np.random.default_rng(1)
    truth, groups = rng.normal(size=5), np.repeat(np.arange(16), 4)
    full, spread = [], []
    for k in range(60):
        x = rng.random((64, 5)) + 0.5 * rng.normal(size=(16, 5))[groups]
        y = x @ truth + 0.5 * rng.normal(size=16)[groups]
        found = inverse.coefficients(x, y, groups, [1e-6], halves=12, seed=k)
        full.append(found["all"][0])
        spread.append(((found["halves"] - found["all"]) ** 2).mean(axis=0))
    ratio = np.sqrt(np.mean(spread, axis=0) / np.var(full, axis=0))
    assert (ratio > 0.7).all() and (ratio < 1.6).all()


def test_pixels_are_those_of_the_histogram():
    rng = np.random.default_rng(2)
    pairs = np.sort(rng.random((500, 2)) * 9, axis=1)
    pairs[:3] = [[0, 8], [0.0625, 0.125], [8, 8]]
    descriptor = PersistenceHistogram(normalise="none")
    diagrams = Diagrams.from_frames([{1: pairs}], (1,), [1])
    pixel = inverse.pixel_of(*pairs.T, descriptor.edges)
    counts = np.bincount(pixel[pixel >= 0], minlength=128**2)
    np.testing.assert_array_equal(counts, descriptor.fit_transform(diagrams).ravel())
    assert (pixel == -1).sum() == (pairs > 8).any(axis=1).sum() > 0


# --- rings, measured and counted -----------------------------------------------------------------


def test_geometry_is_that_of_each_ring(snapshots):
    structures, cycles = snapshots
    lengths, angles = inverse.ring_geometries(structures, cycles)
    at, compared = cycles.vertices_at, 0
    for pair, frame in enumerate(cycles.frame.tolist()):
        here = slice(at[pair], at[pair + 1])
        if not cycles.closed[pair]:
            assert np.isnan(lengths[here]).all() and np.isnan(angles[here]).all()
            continue
        if pair % 20:
            continue
        try:
            expected = ring_geometry(structures[frame], cycles.vertices[here])
        except ValueError:  # winds around the cell
            continue
        np.testing.assert_allclose([lengths[here], angles[here]], expected, atol=1e-8)
        compared += 1
    assert compared > 50 and not cycles.closed.all()


def test_a_pair_without_volume_has_no_geometry():
    none = np.empty((0, 2), int)
    empty = Cycle(0.4, 0.9, np.inf, np.empty((0, 3), int), none, np.empty(0, int), False)
    points, ring = polygon(np.array([3.0, 3, 3]), 5, 1.4, 0.5)
    atoms = Atoms("C5", points, cell=[9] * 3, pbc=True)
    for found in ([empty, ring(0)], [ring(0), empty], [empty, ring(0), empty]):
        cycles = Cycles.from_frames([found])
        lengths, angles = inverse.ring_geometries([atoms], cycles)
        np.testing.assert_allclose(lengths, 1.4)
        np.testing.assert_allclose(angles, 108)
        table = inverse.tabulate([atoms], cycles, EDGES, [0], [np.arange(5.0)])
        assert table["pairs"].sum() == len(found) and table["known"].sum() == 1


def test_the_table_counts_everything_once(snapshots):
    structures, cycles = snapshots
    energies = [np.random.default_rng(k).normal(size=len(a)) for k, a in enumerate(structures)]
    energies[1] = None
    table = inverse.tabulate(structures, cycles, EDGES, structures.trajectory, energies)
    lengths, angles = inverse.ring_geometries(structures, cycles)
    inside = inverse.pixel_of(cycles.birth, cycles.death, EDGES) >= 0
    assert table["pairs"].sum() == inside.sum()
    labels, group = np.unique(structures.trajectory, return_inverse=True)
    of_vertex = np.repeat(group[cycles.frame] + 10 * ~inside, cycles.n_vertices)
    for k in range(len(labels)):
        for name, values, step in (("lengths", lengths, inverse.BIN), ("angles", angles, 1)):
            mine = values[(of_vertex == k) & np.isfinite(values)]
            size = table[name].shape[2]
            expected = np.bincount(np.minimum(mine / step, size - 1).astype(int), minlength=size)
            np.testing.assert_array_equal(table[name][k].sum(axis=0), expected)
    first = cycles[0]
    excess = [energies[0][c.vertices].mean() - energies[0].mean() for c in first if c.n_vertices]
    last = [energies[2][c.vertices].mean() - energies[2].mean() for c in cycles[2] if c.n_vertices]
    assert table["energy"].sum() == pytest.approx(sum(excess) + sum(last))
    assert table["known"].sum() == len(excess) + len(last)
    k = 7  # one pair, followed to its bin
    assert table["pixel"][table["place"][k]] == inverse.pixel_of(
        first[k].birth, first[k].death, EDGES
    )


# --- regions -------------------------------------------------------------------------------------


def polygon(centre, n, side, birth):
    """Positions of a regular ring, and its cycle with atoms numbered from `first`."""
    angle = 2 * np.pi * np.arange(n) / n
    radius = side / (2 * np.sin(np.pi / n))
    points = centre + radius * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    return points, lambda first: Cycle(
        birth,
        birth + 1,
        1.0,
        np.empty((0, 3), int),
        np.empty((0, 2), int),
        first + np.arange(n),
        True,
    )


@pytest.fixture
def two_rings():
    """A hexagon of side 1.42 Å and a triangle of side 1.9 Å whose atoms cost 2 eV more."""
    hexagon, as_low = polygon(np.array([3.0, 3, 3]), 6, 1.42, 0.5)
    triangle, as_high = polygon(np.array([7.0, 7, 7]), 3, 1.9, 0.9)
    atoms = Atoms("C9", np.concatenate([hexagon, triangle]), cell=[12] * 3, pbc=True)
    cycles = Cycles.from_frames([[as_low(0), as_high(6)]])
    energies = [np.repeat([-8.0, -6.0], [6, 3])]
    return inverse.tabulate([atoms], cycles, EDGES, [0], energies)


def test_regions_are_measured(two_rings):
    found = inverse.measure(two_rings, [True, False], [False, True])
    assert found["low pairs"] == found["high pairs"] == 1
    assert found["low peak"] == pytest.approx(1.42, abs=0.006)
    assert found["high peak"] == pytest.approx(1.9, abs=0.006)
    assert found["low width"] == pytest.approx(2.355 * inverse.SMOOTHING, rel=0.05)
    assert found["small angles"] == 100  # a triangle has nothing but 60 degrees
    assert found["lengths apart"] == pytest.approx(0.48, abs=0.011)
    assert found["angles apart"] == pytest.approx(60, abs=1.01)
    assert found["atoms apart"] == pytest.approx(2)
    assert inverse.measure(two_rings, [1, 0], [0, 1], group=0) == found


def test_fractions_of_bins_count_as_fractions(two_rings):
    found = inverse.measure(two_rings, [1, 0], [0.5, 0.5])
    assert found["high pairs"] == 1
    assert found["small angles"] == pytest.approx(100 * 3 / 9)
    assert found["atoms apart"] == pytest.approx(1)


def test_an_empty_region_has_no_numbers(two_rings):
    found = inverse.measure(two_rings, [False, False], [False, True])
    assert found["low pairs"] == 0 and found["high pairs"] == 1
    for name in ("low peak", "low width", "small angles", "lengths apart", "atoms apart"):
        assert np.isnan(found[name]), name
    assert np.isfinite(found["high peak"])


def test_distances_are_those_of_the_bare_values(snapshots):
    structures, cycles = snapshots
    table = inverse.tabulate(structures, cycles, EDGES, structures.trajectory)
    low = table["pixel"] // 128 < 10  # births below 0.625
    high = table["pixel"] // 128 >= 12
    found = inverse.measure(table, low, high)
    lengths, angles = inverse.ring_geometries(structures, cycles)
    side = np.append(high.astype(int) - low, 0)[table["place"]]
    side = np.repeat(side, cycles.n_vertices)
    side[np.isnan(lengths)] = 0
    for name, values in (("lengths apart", lengths), ("angles apart", angles)):
        exact = wasserstein_distance(values[side < 0], values[side > 0])
        assert found[name] == pytest.approx(exact, rel=0.02)
    for name, mine in (("low", side < 0), ("high", side > 0)):
        quartiles = np.quantile(lengths[mine], [0.25, 0.75])
        assert found[f"{name} spread"] == pytest.approx(np.ptp(quartiles), abs=0.01)
    small = [((a >= 50) & (a < 80)).mean() for a in (angles[side < 0], angles[side > 0])]
    assert found["small angles"] == pytest.approx(100 * (small[1] - small[0]), abs=1e-6)
    assert np.isnan(found["atoms apart"])
    runs = [inverse.measure(table, low, high, k)["low pairs"] for k in range(len(table["pairs"]))]
    assert sum(runs) == found["low pairs"]
