import numpy as np
import pytest
from map_spaces import DENSITY, ENERGY, GROUPS, ISLANDS, LABELS, NOISE, ONE, measured

from phutils import islands


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
    monkeypatch.setattr(islands, "BLOCK", block)
    found = measured(space, k=5)
    for name, value in slow_measures(space, DENSITY, ENERGY, GROUPS, 5).items():
        assert found[name] == pytest.approx(value), name


@pytest.mark.parametrize("block", [7, 512])
def test_without_a_part_is_as_if_it_had_never_been(monkeypatch, block):
    monkeypatch.setattr(islands, "BLOCK", block)
    found = islands.neighbours(ONE, LABELS, GROUPS, k=5, parts=4, seed=3)
    values = islands.measures(found, DENSITY, ENERGY)
    left_out = []
    for i in range(1, 5):
        kept = found["near"][i, :, 0] >= 0
        left_out.append(set(GROUPS[~kept]))
        rest = (a[kept] for a in (ONE, LABELS, GROUPS, DENSITY, ENERGY))
        for name, value in measured(*rest, k=5).items():
            assert values[name][i] == pytest.approx(value), name
    assert [len(groups) for groups in left_out] == [3] * 4
    assert set.union(*left_out) == set(range(12))  # whole trajectories, each of them once


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
    assert islands._modularity(near, label) == pytest.approx(expected)


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
    np.testing.assert_array_equal(islands.density_labels(DENSITY), LABELS)
    assert islands.density_labels([1.0, 1.74, 1.76, 9.0], levels).tolist() == [0, 0, 1, 3]
    density, groups = np.linspace(1.25, 3.25, 240, endpoint=False), np.arange(240) // 2
    labels = islands.density_labels(density, levels)
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


def test_bad_measures():
    with pytest.raises(ValueError, match="240 descriptors, 239 labels and 240 trajectories"):
        islands.neighbours(ONE, LABELS[1:], GROUPS)
    with pytest.raises(ValueError, match="10 neighbours in other trajectories are wanted, of 5"):
        islands.neighbours(ONE, LABELS, np.arange(240) < 5)
    two = ONE[:10], LABELS[:10], np.arange(10) < 4
    assert islands.neighbours(*two, k=4)["near"].shape == (1, 10, 4)
    with pytest.raises(ValueError, match="4 neighbours in other trajectories are wanted, of 0"):
        islands.neighbours(*two, k=4, parts=2)
    with pytest.raises(ValueError, match="the same"):
        islands.neighbours(np.ones((240, 2)), LABELS, GROUPS)
    with pytest.raises(ValueError, match="240 frames, 240 densities and 239 energies"):
        islands.measures(islands.neighbours(ONE, LABELS, GROUPS), DENSITY, ENERGY[1:])
