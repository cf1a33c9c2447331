import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.stats import spearmanr

from phutils import artifacts, maps

GENERATOR = np.random.default_rng(0)
DENSITY = np.repeat([1.5, 2.0, 2.5, 3.0], 60)
LABELS = np.repeat(range(4), 60)
GROUPS = np.repeat(np.arange(12), 20)  # three trajectories of each density
ENERGY = GENERATOR.normal(size=240)
NOISE = GENERATOR.normal(size=(240, 3))
ISLANDS = NOISE * 0.1 + np.eye(4)[LABELS][:, :3] * 10
ONE = NOISE + 0.0


def measured(space, labels=LABELS, groups=GROUPS, density=DENSITY, energy=ENERGY, **options):
    """Measures of all frames, as floats."""
    found = maps.neighbours(space, labels, groups, **options)
    return {name: v[0] for name, v in maps.measures(found, density, energy).items()}


def slow_measures(space, density, energy, groups, k):
    """Frame by frame, as one would explain it."""
    purity, chance, ratio, off, squares, apart = [], [], [], [], [], []
    for i in range(len(space)):
        elsewhere = np.flatnonzero(groups != groups[i])
        distance = np.linalg.norm(space[elsewhere] - space[i], axis=1)
        near = elsewhere[np.argsort(distance)[:k]]
        alike = density[elsewhere] == density[i]
        purity.append(np.mean(density[near] == density[i]))
        chance.append(alike.mean())
        ratio.append(distance[~alike].min() / distance[alike].min())
        off.append(np.abs(density[near] - density[i]).mean())
        apart.append(np.abs(density[elsewhere] - density[i]).mean())
        squares.append((energy[near].mean() - energy[i]) ** 2)
    found = {"purity": np.mean(purity), "chance": np.mean(chance), "gap": np.median(ratio)}
    found |= {"density_error": np.mean(off) / np.mean(apart)}
    return found | {"energy_error": 1000 * np.sqrt(np.mean(squares))}


@pytest.mark.parametrize("block", [7, 512])
@pytest.mark.parametrize("space", [ISLANDS, ONE], ids=["islands", "one"])
def test_equals_the_slow_way(monkeypatch, space, block):
    monkeypatch.setattr(maps, "BLOCK", block)
    found = measured(space, k=5)
    for name, value in slow_measures(space, DENSITY, ENERGY, GROUPS, 5).items():
        assert found[name] == pytest.approx(value), name


@pytest.mark.parametrize("block", [7, 512])
def test_without_a_part_is_as_if_it_had_never_been(monkeypatch, block):
    monkeypatch.setattr(maps, "BLOCK", block)
    found = maps.neighbours(ONE, LABELS, GROUPS, k=5, parts=4, seed=3)
    values = maps.measures(found, DENSITY, ENERGY)
    left_out = []
    for i in range(1, 5):
        kept = found["near"][i, :, 0] >= 0
        left_out.append(set(GROUPS[~kept]))
        rest = (a[kept] for a in (ONE, LABELS, GROUPS, DENSITY, ENERGY))
        for name, value in measured(*rest, k=5).items():
            assert values[name][i] == pytest.approx(value), name
    assert [len(groups) for groups in left_out] == [3] * 4
    assert set.union(*left_out) == set(range(12))  # whole trajectories, each of them once


def test_jackknife_gives_the_error_of_a_mean():
    x = np.random.default_rng(1).normal(size=400)
    values = [x.mean(), *(np.delete(x, i).mean() for i in range(400))]
    assert maps.error(values) == pytest.approx(x.std(ddof=1) / 20)
    assert np.isnan(maps.error([0.5]))


def test_above_means_by_two_errors():
    one, other = np.array([1.0, 0.9, 1.1, 1.0]), np.array([0.5, 0.4, 0.6, 0.5])
    assert maps.above(one, other) and maps.above(one, 0.1) and not maps.above(other, one)
    noisy = np.array([0.5, 1.5, -0.5, 0.7])
    assert not maps.above(one, noisy) and not maps.above([1.0], [0.5])
    assert maps.nearer({"a": one, "b": other}) == maps.nearer({"b": other, "a": one}) == "a"
    assert maps.nearer({"a": one, "b": noisy}) == "neither"


def test_islands_and_one_cloud():
    islands, one = measured(ISLANDS), measured(ONE)
    assert islands["purity"] == 1 and islands["gap"] > 5 and islands["modularity"] > 0.7
    assert islands["density_error"] == 0 and one["density_error"] == pytest.approx(1, abs=0.1)
    assert abs(one["purity"] - one["chance"]) < 0.05 and one["gap"] < 1
    assert abs(one["modularity"]) < 0.1


def test_modularity_equals_networkx():
    networkx = pytest.importorskip("networkx")
    near = np.array([[1, 2], [0, 2], [1, 3], [2, 4], [3, 5], [4, 3]])
    label = np.array([0, 0, 0, 1, 1, 1])
    graph = networkx.MultiGraph([(i, j) for i in range(6) for j in near[i]])
    expected = networkx.community.modularity(graph, [{0, 1, 2}, {3, 4, 5}])
    assert maps._modularity(near, label) == pytest.approx(expected)


def test_own_trajectory_does_not_count():
    """Islands that are trajectories, each with a density of its own, are no islands of density."""
    own = (GROUPS[:, None] * 5 % 12) * 10.0 + NOISE[:, :1]
    assert measured(own)["purity"] < 0.3
    assert measured(own, groups=np.arange(240))["purity"] == 1


def test_a_density_of_one_trajectory_cannot_be_found_elsewhere():
    groups = np.where(LABELS == 3, 11, GROUPS)  # 3 g/cm³ comes in one trajectory
    found = measured(ISLANDS, groups=groups)
    assert found["purity"] == 1  # of the frames that have others like them
    assert found["density_error"] > 0.1


def test_energy_error_is_small_where_neighbours_are_alike():
    assert measured(np.c_[ENERGY, ENERGY])["energy_error"] < 150
    assert measured(ONE)["energy_error"] > 900  # meV/atom; the spread is 1000


def test_discrete_and_continuous_densities_share_their_bins():
    levels = np.array([1.5, 2.0, 2.5, 3.0])
    np.testing.assert_array_equal(maps.density_labels(DENSITY), LABELS)
    assert maps.density_labels([1.0, 1.74, 1.76, 9.0], levels).tolist() == [0, 0, 1, 3]
    density, groups = np.linspace(1.25, 3.25, 240, endpoint=False), np.arange(240) // 2
    labels = maps.density_labels(density, levels)
    found = measured(density[:, None], labels, groups, density, k=4)
    discrete = measured(DENSITY[:, None] + NOISE[:, :1] * 1e-3, k=4)
    assert found["gap"] > 3 and discrete["gap"] > 100  # gaps between levels are in the sampling
    assert found["density_error"] < 0.03 and found["purity"] > 0.9
    random = measured(ONE, labels, groups, density, k=4)
    assert random["density_error"] == pytest.approx(1, abs=0.1)


def test_each_density_once_and_one_density():
    alone = np.arange(20.0)
    found = measured(alone[:, None], alone.astype(int), np.arange(20), alone, alone, k=3)
    assert np.isnan([found[k] for k in ("purity", "chance", "gap", "modularity")]).all()
    assert np.isfinite([found["density_error"], found["energy_error"]]).all()
    found = measured(ONE, 0 * LABELS, density=np.ones(240))
    assert found["purity"] == found["chance"] == 1
    assert np.isnan([found["gap"], found["density_error"]]).all()


# --- two spaces ----------------------------------------------------------------------------------


def test_shared_neighbours():
    one, same, other = (
        maps.neighbours(space, LABELS, GROUPS, k=10, parts=3)
        for space in (ONE, ONE * 7 + 2, np.random.default_rng(5).normal(size=(240, 3)))
    )
    np.testing.assert_array_equal(maps.shared(one, same), np.ones(4))
    near = zip(one["near"][0], other["near"][0], strict=True)
    expected = np.mean([len(set(a) & set(b)) / 10 for a, b in near])
    assert maps.shared(one, other)[0] == pytest.approx(expected)
    assert maps.shared(one, other)[0] == pytest.approx(10 / 220, abs=0.02)  # chance
    with pytest.raises(ValueError, match="different frames or parts"):
        maps.shared(one, maps.neighbours(ONE, LABELS, GROUPS, k=10, parts=3, seed=1))


def test_distance_correlation(monkeypatch):
    squeezed = ONE * [1, 1, 0.2]

    def correlation(*arguments, **options):
        return maps.distance_correlation(*arguments, **options)["spearman"]

    found = correlation(ONE, squeezed, GROUPS, parts=3)
    i, j = np.triu_indices(240, 1)
    i, j = (x[GROUPS[i] != GROUPS[j]] for x in (i, j))
    expected = spearmanr(*(np.linalg.norm(x[i] - x[j], axis=1) for x in (ONE, squeezed)))[0]
    assert found[0] == pytest.approx(expected) and len(set(found)) == 4
    assert correlation(ONE, -3 * ONE, GROUPS)[0] == pytest.approx(1)
    assert abs(correlation(ONE, NOISE[::-1], GROUPS)[0]) < 0.1
    monkeypatch.setattr(maps, "PAIRED", 50)
    some = np.linspace(0, 239, 50).astype(int)
    expected = correlation(ONE[some], squeezed[some], GROUPS[some])
    found = correlation(ONE, squeezed, GROUPS)
    np.testing.assert_allclose(found, expected)


# --- maps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("short", [2, 512], ids=["arpack", "diagonalised"])
def test_components_are_numpys(monkeypatch, short):
    monkeypatch.setattr(maps, "SHORT", short)
    wide = GENERATOR.normal(size=(240, 9)) * np.arange(1, 10)
    found = maps.principal_components(wide, 3)
    centred = wide - wide.mean(axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    expected = np.abs(centred @ axes[:3].T)
    np.testing.assert_allclose(np.abs(found["components"]), expected, atol=1e-8)
    np.testing.assert_allclose(found["shares"], (values**2 / (values**2).sum())[:3])
    mirrored = maps.principal_components(-wide, 3)["components"]
    assert (np.abs(mirrored).max(axis=0) == mirrored.max(axis=0)).all()  # one sign by rule


def test_components_of_one_feature_lie_on_a_line():
    found = maps.principal_components(np.arange(5.0)[:, None])
    assert found["components"].shape == (5, 2) and not found["components"][:, 1].any()
    assert found["shares"].tolist() == [1, 0]
    assert maps.embed(np.arange(50.0)[:, None], 5)["map"].shape == (50, 2)


def test_tsne_keeps_islands_and_repeats_itself(tmp_path):
    wide = np.c_[ISLANDS, np.random.default_rng(1).normal(size=(240, 80)) * 0.01]
    first, again = maps.embed_each(tmp_path, [(wide, 20, 3)] * 2, 1, False)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, maps.embed(wide, 20, 3)["map"])
    assert measured(first)["purity"] == 1
    assert maps.trust(wide, first) > 0.7 > maps.trust(wide, NOISE[:, :2])
    assert maps.trust(wide, first, limit=100) > 0.7
    assert np.isnan(maps.trust(wide[:20], first[:20]))


def test_maps_that_are_done_survive_a_kill(tmp_path):
    code = (
        "import numpy as np; from phutils import maps\n"
        "x = np.random.default_rng(0).normal(size=(400, 3))\n"
        f"maps.embed_each({str(tmp_path)!r}, [(x, 10 + i, 0) for i in range(40)], 1)"
    )
    command = [sys.executable, "-c", code]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("cache/embed-*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/embed-*.npz")}
    assert 2 <= len(done) < 40
    x = np.random.default_rng(0).normal(size=(400, 3))
    found = maps.embed_each(tmp_path, [(x, 10 + i, 0) for i in range(len(done) + 1)], 1, False)
    assert {path: path.stat().st_mtime_ns for path in done} == done  # read, not made again
    assert len(list(tmp_path.glob("cache/embed-*.npz"))) == len(done) + 1
    np.testing.assert_array_equal(found[0], maps.embed(x, 10, 0)["map"])
    assert artifacts.cached(tmp_path, maps.embed, x, 10.0, 0)["map"].shape == (400, 2)


@pytest.mark.parametrize(
    "space, message",
    [
        (ONE[:20], "perplexity 30 needs more frames than that, and there are 20"),
        (np.ones((50, 4)), "the descriptors of all frames are the same"),
        (np.where(np.arange(240)[:, None] == 7, np.nan, ONE), "descriptor of frame 7"),
        (ONE[:, 0], r"shape \(240,\), not \(frames, features\)"),
        (ONE[:0], r"shape \(0, 3\), not"),
    ],
)
def test_bad_input(space, message):
    with pytest.raises(ValueError, match=message):
        maps.embed(space)


def test_bad_measures():
    with pytest.raises(ValueError, match="240 descriptors, 239 labels and 240 trajectories"):
        maps.neighbours(ONE, LABELS[1:], GROUPS)
    with pytest.raises(ValueError, match="10 neighbours in other trajectories are wanted, of 5"):
        maps.neighbours(ONE, LABELS, np.arange(240) < 5)
    two = ONE[:10], LABELS[:10], np.arange(10) < 4
    assert maps.neighbours(*two, k=4)["near"].shape == (1, 10, 4)
    with pytest.raises(ValueError, match="4 neighbours in other trajectories are wanted, of 0"):
        maps.neighbours(*two, k=4, parts=2)
    with pytest.raises(ValueError, match="the same"):
        maps.neighbours(np.ones((240, 2)), LABELS, GROUPS)
    with pytest.raises(ValueError, match="240 frames, 240 densities and 239 energies"):
        maps.measures(maps.neighbours(ONE, LABELS, GROUPS), DENSITY, ENERGY[1:])
