import numpy as np
import pytest

from phutils import maps

GENERATOR = np.random.default_rng(0)
DENSITY = np.repeat([1.5, 2.0, 2.5, 3.0], 60)
GROUPS = np.repeat(np.arange(12), 20)  # three trajectories of each density
ENERGY = GENERATOR.normal(size=240)
NOISE = GENERATOR.normal(size=(240, 3))
ISLANDS = NOISE * 0.1 + np.eye(4)[np.repeat(range(4), 60)][:, :3] * 10
ONE = NOISE + 0.0
LABELS = (DENSITY, ENERGY, GROUPS)


def slow_measures(space, density, energy, groups, k):
    """Frame by frame, as one would explain it."""
    purity, chance, ratio, off, squares = [], [], [], [], []
    for i in range(len(space)):
        elsewhere = np.flatnonzero(groups != groups[i])
        distance = np.linalg.norm(space[elsewhere] - space[i], axis=1)
        near = elsewhere[np.argsort(distance)[:k]]
        alike = density[elsewhere] == density[i]
        purity.append(np.mean(density[near] == density[i]))
        chance.append(alike.mean())
        ratio.append(distance[~alike].min() / distance[alike].min())
        off.append(np.abs(density[near] - density[i]).mean())
        squares.append((energy[near].mean() - energy[i]) ** 2)
    found = {"purity": np.mean(purity), "chance": np.mean(chance), "gap": np.median(ratio)}
    found |= {"density_error": np.mean(off)}
    return found | {"energy_error": 1000 * np.sqrt(np.mean(squares))}


@pytest.mark.parametrize("block", [7, 512])
@pytest.mark.parametrize("space", [ISLANDS, ONE], ids=["islands", "one"])
def test_equals_the_slow_way(monkeypatch, space, block):
    monkeypatch.setattr(maps, "BLOCK", block)
    found = maps.measures(space, *LABELS, k=5)
    for name, value in slow_measures(space, *LABELS, 5).items():
        assert found[name] == pytest.approx(value), name


def test_islands_and_one_cloud():
    islands, one = (maps.measures(space, *LABELS) for space in (ISLANDS, ONE))
    assert islands["purity"] == 1 and islands["gap"] > 5 and islands["modularity"] > 0.7
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
    assert maps.measures(own, *LABELS)["purity"] < 0.3
    assert maps.measures(own, DENSITY, ENERGY, np.arange(240))["purity"] == 1


def test_energy_error_is_small_where_neighbours_are_alike():
    space = np.c_[ENERGY, ENERGY]
    assert maps.measures(space, *LABELS)["energy_error"] < 150
    assert maps.measures(ONE, *LABELS)["energy_error"] > 900  # meV/atom; the spread is 1000


def test_continuous_densities():
    density = np.linspace(1.5, 3.5, 240)
    found = maps.measures(density[:, None], density, ENERGY, np.arange(240), k=4)
    assert np.isnan(found["gap"]) == (len(np.unique(density.round(2))) == 240)
    assert 0 < found["density_error"] < 0.03


def test_each_density_once():
    alone = np.arange(20.0)
    found = maps.measures(alone[:, None], alone, alone, np.arange(20), k=3)
    assert np.isnan([found[k] for k in ("purity", "chance", "gap", "modularity")]).all()
    assert np.isfinite([found["density_error"], found["energy_error"]]).all()


def test_repeats_take_whole_trajectories(monkeypatch):
    seen = []

    def measures(space, density, energy, groups, k):
        seen.append((len(space), len(np.unique(groups)), k))
        return {"purity": len(seen)}

    monkeypatch.setattr(maps, "measures", measures)
    found = maps.measure_repeatedly(ONE, *LABELS, k=3, repeats=4, share=0.5)
    assert seen == [(120, 6, 3)] * 4 and found["purity"].tolist() == [1, 2, 3, 4]


# --- maps ----------------------------------------------------------------------------------------


def test_pca_is_numpys():
    found = maps.embed(ONE * [3, 2, 1], "pca")
    centred = ONE * [3, 2, 1] - (ONE * [3, 2, 1]).mean(axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(found["map"]), np.abs(centred @ axes[:2].T), atol=1e-9)
    assert found["variance"] == pytest.approx((values[:2] ** 2).sum() / (values**2).sum())


def test_pca_of_one_feature_lies_on_a_line():
    found = maps.embed(np.arange(5.0)[:, None], "pca")["map"]
    assert found.shape == (5, 2) and not found[:, 1].any()


def test_tsne_keeps_islands_and_repeats_itself():
    wide = np.c_[ISLANDS, np.random.default_rng(1).normal(size=(240, 80)) * 0.01]
    first, again = (maps.embed(wide, perplexity=20, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first["map"], again["map"])
    assert maps.measures(first["map"], *LABELS)["purity"] == 1
    assert 0.9 < first["variance"] <= 1
    assert maps.trust(wide, first["map"]) > 0.7 > maps.trust(wide, NOISE[:, :2])
    assert maps.trust(wide, first["map"], limit=100) > 0.7


@pytest.mark.parametrize(
    "space, options, message",
    [
        (ONE[:20], {}, "perplexity 30 needs more frames than that, and there are 20"),
        (np.ones((50, 4)), {}, "the descriptors of all frames are the same"),
        (np.where(np.arange(240)[:, None] == 7, np.nan, ONE), {}, "descriptor of frame 7"),
        (ONE[:, 0], {}, r"shape \(240,\), not \(frames, features\)"),
        (ONE, {"method": "umap"}, "unknown method 'umap'"),
    ],
)
def test_bad_input(space, options, message):
    with pytest.raises(ValueError, match=message):
        maps.embed(space, **options)


def test_bad_measures():
    with pytest.raises(ValueError, match="240, 240, 239 and 240"):
        maps.measures(ONE, DENSITY, ENERGY[1:], GROUPS)
    with pytest.raises(ValueError, match="10 neighbours in other trajectories are wanted, of 5"):
        maps.measures(ONE, DENSITY, ENERGY, np.arange(240) < 5)
