"""Volumes against HomCloud, against their definition, and on rings known by hand."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from phutils import cycles
from phutils.dataset import load
from phutils.diagrams import persistence_diagram
from phutils.frames import FrameError
from phutils.rings import ring_geometry
from phutils.volumes import SOLVER


@pytest.fixture(scope="module")
def frames():
    """A liquid frame and a quenched one."""
    structures = load("embedded")
    liquid = np.flatnonzero(structures.stage == "buffer_high")[-1]
    return [structures[int(liquid)], structures[len(structures) - 1]]


@pytest.fixture(scope="module")
def volumes(frames):
    return [cycles.stable_volumes(atoms) for atoms in frames]


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(0)
    return [
        Atoms("C60", positions=rng.random((60, 3)) * 7.5, cell=[7.5] * 3, pbc=True)
        for _ in range(3)
    ]


def ring_in_a_box(n, side, centre):
    """A regular ring of n atoms around `centre`, atoms 64 to 63 + n; the others are far from it."""
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3) * 4.0
    grid += rng.uniform(-0.2, 0.2, grid.shape) + centre + 2.0
    angle = 2 * np.pi * np.arange(n) / n
    radius = side / (2 * np.sin(np.pi / n))
    ring = radius * np.stack([np.cos(angle), np.sin(angle), np.zeros(n)], axis=1) + centre
    ring += rng.uniform(-1e-3, 1e-3, ring.shape)  # points on one circle have no unique triangles
    shuffled = rng.permutation(n)
    positions = np.concatenate([grid, ring[shuffled]])
    atoms = Atoms(f"C{64 + n}", positions=positions, cell=[16.0] * 3, pbc=True)
    return atoms, 64 + np.argsort(shuffled), radius


def diamond(noise):
    atoms = bulk("C", "diamond", a=3.567, cubic=True).repeat(3)
    atoms.rattle(noise, seed=1)
    return atoms


def named(triangles, label=None):
    """Triangles as a set that does not depend on the order of atoms or rows."""
    rows = triangles if label is None else label[triangles]
    return {tuple(sorted(row)) for row in rows.tolist()}


def perimeter(atoms, triangles):
    total = 0.0
    for i, j in combinations(range(3), 2):
        vectors = atoms.positions[triangles[:, i]] - atoms.positions[triangles[:, j]]
        vectors -= atoms.cell.lengths() * np.round(vectors / atoms.cell.lengths())
        total += np.linalg.norm(vectors, axis=1).sum()
    return total


# --- against HomCloud and the definition ---------------------------------------------------------


def homcloud_pairs(atoms):
    import homcloud.interface as hc

    box = tuple((0.0, float(length)) for length in atoms.cell.lengths())
    positions = atoms.get_positions(wrap=True, eps=0)
    diagram = hc.PDList.from_alpha_filtration(positions, periodicity=box, save_boundary_map=True)[1]
    return diagram, np.stack([diagram.births, diagram.deaths], axis=1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PuLP 3 about PuLP 4
@pytest.mark.parametrize("which, epsilon, n", [(0, 0.05, 40), (1, 0.05, 40), (1, 0.0, 12)])
def test_volumes_equal_homclouds(frames, volumes, which, epsilon, n):
    import pulp

    atoms = frames[which]
    found = volumes[which] if epsilon == 0.05 else cycles.stable_volumes(atoms, epsilon)
    diagram, points = homcloud_pairs(atoms)
    life = np.array([cycle.lifetime for cycle in found])
    spread = np.linspace(0, len(found) - 1, n - 6).astype(int)
    chosen = np.unique([*spread, *np.argsort(-life)[:6]])
    same = compared = 0
    for cycle in (found[k] for k in chosen):
        distance = np.abs(points - [cycle.birth, cycle.death]).max(axis=1)
        assert distance.min() < 1e-9
        pair = diagram.pair(int(distance.argmin()))
        settings = {"solver": pulp.HiGHS(msg=0), "return_failure_if_not_found": True}
        if epsilon:
            volume = pair.stable_volume(min(epsilon, 0.5 * cycle.lifetime), **settings)
        else:
            volume = pair.optimal_volume(**settings)
        if np.isinf(cycle.size):
            assert "nfeasible" in volume.message
            continue
        triangles = np.array(volume.cells("vindexes"))
        if cycle.size != len(cycle.triangles):  # fractional: the support is not unique
            assert len(triangles) > cycle.size
            continue
        compared += 1
        assert len(cycle.triangles) == len(triangles), f"pair {cycle.birth, cycle.death}"
        assert perimeter(atoms, cycle.triangles) < perimeter(atoms, triangles) + 1e-6
        if named(cycle.triangles) == named(triangles):
            same += 1
            edges = {tuple(sorted(edge)) for edge in volume.boundary("vindexes")}
            assert edges == {tuple(edge) for edge in cycle.edges.tolist()}
    assert compared >= 0.8 * len(chosen)
    assert same >= 3  # the others are ties, of which HomCloud takes whichever the solver finds


def test_every_volume_fulfils_the_definition(frames, volumes):
    for atoms, found in zip(frames, volumes, strict=True):
        sound = [cycle for cycle in found if cycle.size == len(cycle.triangles)]
        assert len(sound) >= 0.99 * len(found)
        for cycle in sound:
            sides = Counter(
                tuple(sorted(side)) for t in cycle.triangles.tolist() for side in combinations(t, 2)
            )
            odd = sorted(side for side, count in sides.items() if count % 2)
            assert odd == sorted(map(tuple, cycle.edges.tolist()))
            degree = Counter(cycle.edges.ravel().tolist())
            assert all(count % 2 == 0 for count in degree.values())  # closed
            assert set(degree) == set(cycle.vertices.tolist())
            vectors = atoms.positions[cycle.edges[:, 1]] - atoms.positions[cycle.edges[:, 0]]
            vectors -= atoms.cell.lengths() * np.round(vectors / atoms.cell.lengths())
            early = cycle.birth + min(cycles.EPSILON, cycle.lifetime / 2)
            assert ((vectors**2).sum(axis=1) / 4 <= early + 1e-9).all()
            a, b, c = atoms.positions[cycle.triangles[-1]]  # the death triangle
            sides = np.array([b - a, c - b, a - c])
            sides -= atoms.cell.lengths() * np.round(sides / atoms.cell.lengths())
            area = np.linalg.norm(np.cross(sides[0], sides[1])) / 2
            radius = np.linalg.norm(sides, axis=1).prod() / (4 * area)
            assert radius**2 == pytest.approx(cycle.death, abs=1e-8)
            if cycle.closed:
                steps = np.stack([cycle.ring, np.roll(cycle.ring, -1)], axis=1)
                assert sorted(map(tuple, np.sort(steps, axis=1).tolist())) == odd
            else:
                assert cycle.ring is None and (np.diff(cycle.vertices) > 0).all()


def test_pairs_are_the_rows_of_the_diagram(frames, volumes):
    for atoms, found in zip(frames, volumes, strict=True):
        points = np.array([(cycle.birth, cycle.death) for cycle in found])
        np.testing.assert_array_equal(points, persistence_diagram(atoms, (1,))[1])
    atoms, found = frames[1], volumes[1]
    long_lived = cycles.stable_volumes(atoms, min_lifetime=0.5)
    expected = [cycle for cycle in found if cycle.lifetime >= 0.5]
    assert [c.birth for c in long_lived] == [c.birth for c in expected]
    assert 10 < len(long_lived) < len(found) / 2
    chosen = np.array([len(found) - 1, 7, 300])
    for cycle, k in zip(cycles.stable_volumes(atoms, pairs=chosen), chosen, strict=True):
        assert cycle.birth == found[k].birth
        np.testing.assert_array_equal(cycle.triangles, found[k].triangles)
    assert cycles.stable_volumes(atoms, pairs=[]) == []


def test_noise_makes_volumes_smaller(frames):
    atoms = frames[1]
    sizes = [
        np.array([cycle.size for cycle in cycles.stable_volumes(atoms, epsilon)])
        for epsilon in (0.0, 0.05, 0.2)
    ]
    assert (sizes[0] >= sizes[1] - 1e-6).all() and (sizes[1] >= sizes[2] - 1e-6).all()
    assert (sizes[0] > sizes[1]).any()


# --- rings known by hand -------------------------------------------------------------------------


@pytest.mark.parametrize("n, angle", [(5, 108), (6, 120)])
@pytest.mark.parametrize("centre", [0.0, 8.0], ids=["across the boundary", "inside"])
def test_a_regular_ring_is_found(n, angle, centre):
    atoms, ring, radius = ring_in_a_box(n, 1.42, centre)
    long_lived = [c for c in cycles.stable_volumes(atoms) if c.birth < 0.6 and c.lifetime > 0.5]
    assert len(long_lived) == 1
    cycle = long_lived[0]
    assert cycle.birth == pytest.approx(0.71**2, abs=0.01)
    assert cycle.death == pytest.approx(radius**2, abs=0.02)
    assert cycle.n_vertices == n and len(cycle.triangles) == cycle.size == n - 2
    around = ring.tolist() * 2
    start = around.index(cycle.ring[0])
    orders = around[start : start + n], around[start + n : start : -1]
    assert cycle.ring.tolist() in [list(order) for order in orders]
    lengths, angles = ring_geometry(atoms, cycle.ring)
    np.testing.assert_allclose(lengths, 1.42, atol=0.005)
    np.testing.assert_allclose(angles, angle, atol=0.3)


def test_diamond_at_room_temperature_has_six_rings():
    atoms = diamond(0.045)  # Å along each axis
    found = [c for c in cycles.stable_volumes(atoms, 0.1) if c.lifetime > 0.5]
    # 432 bonds among 216 atoms close 217 independent rings, three of which wind around the box
    assert len(found) == 214
    assert np.mean([cycle.n_vertices == 6 for cycle in found]) > 0.95
    lengths, angles = zip(
        *(ring_geometry(atoms, c.ring) for c in found if c.n_vertices == 6), strict=True
    )
    assert np.mean(lengths) == pytest.approx(3.567 * np.sqrt(3) / 4, abs=0.02)
    assert np.mean(angles) == pytest.approx(109.47, abs=1)


def test_perfect_diamond_has_six_rings():
    found = [c for c in cycles.stable_volumes(diamond(0.0)) if c.lifetime > 0.5]
    assert len(found) == 214
    assert all(cycle.n_vertices == 6 for cycle in found)


def test_graphite_at_room_temperature_has_one_ring_per_hexagon():
    cell = np.array([1.42 * np.sqrt(3), 4.26, 6.7])
    layer = np.array([[0, 0, 0], [0.5, 1 / 6, 0], [0.5, 1 / 2, 0], [0, 2 / 3, 0]])
    scaled = np.concatenate([layer, layer + [0, 1 / 3, 0.5]])
    atoms = Atoms("C8", scaled_positions=scaled, cell=cell, pbc=True).repeat((4, 3, 2))
    atoms.rattle(0.03, seed=2)
    found = [c for c in cycles.stable_volumes(atoms) if c.birth < 0.65 and 1.7 < c.death < 2.5]
    # four layers of 24 hexagons; the last one of a layer kills no ring, but closes a surface
    six = [c for c in found if c.n_vertices == 6]
    assert len(found) == 4 * 23 and len(six) >= 0.9 * len(found)
    angles = np.concatenate([ring_geometry(atoms, c.ring)[1] for c in six])
    assert angles.mean() == pytest.approx(120, abs=1)


# --- the same answer, whatever the circumstances -------------------------------------------------


def test_order_and_place_of_the_atoms_do_not_matter(frames, volumes):
    rng = np.random.default_rng(5)
    for atoms, expected in zip(frames, volumes, strict=True):
        shuffled = rng.permutation(len(atoms))
        moved = atoms[shuffled]
        moved.positions += rng.uniform(-20, 20, 3)
        found = cycles.stable_volumes(moved)
        assert len(found) == len(expected)
        for one, two in zip(found, expected, strict=True):
            np.testing.assert_allclose([one.birth, one.death], [two.birth, two.death], atol=1e-9)
            assert named(one.triangles, shuffled) == named(two.triangles)
            assert set(shuffled[one.vertices]) == set(two.vertices)


def test_every_run_and_process_gives_the_same(small, tmp_path, monkeypatch):
    monkeypatch.setattr(cycles, "SHARD", 1)
    here = [cycles.stable_volumes(atoms) for atoms in small]
    alone = cycles.stable_volumes_of(small, n_jobs=1, progress=False)
    others = cycles.stable_volumes_of(small, n_jobs=2, progress=False, folder=tmp_path)
    again = cycles.stable_volumes_of(small, n_jobs=1, progress=False, folder=tmp_path)
    assert len(list((tmp_path / "cache").glob("volume_shard-*.npz"))) == 3
    for name, values in vars(cycles.Cycles.from_frames(here)).items():
        for other in (alone, others, again):
            np.testing.assert_array_equal(getattr(other, name), values)
    for i, frame in enumerate(here):
        for one, two in zip(frame, others[i], strict=True):
            assert (one.birth, one.death, one.size) == (two.birth, two.death, two.size)
            assert one.closed == two.closed
            for name in ("triangles", "edges", "vertices"):
                np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert others.n_vertices.tolist() == [c.n_vertices for frame in here for c in frame]
    assert others.frame.tolist() == [i for i, frame in enumerate(here) for _ in frame]
    with pytest.raises(IndexError, match="frame 3 of 3"):
        others[3]
    assert [c.birth for c in others[-1]] == [c.birth for c in others[2]]


def test_finished_shards_are_not_computed_again(small, tmp_path, monkeypatch):
    monkeypatch.setattr(cycles, "SHARD", 2)
    settings = {"n_jobs": 1, "progress": False, "folder": tmp_path}
    cycles.stable_volumes_of(small[:2], **settings)
    calls, compute = [], cycles._volumes
    monkeypatch.setattr(cycles, "_volumes", lambda *a: calls.append(1) or compute(*a))
    assert len(cycles.stable_volumes_of(small, **settings)) == 3
    assert len(calls) == 1
    cycles.stable_volumes_of(small[:2], epsilon=0.0, **settings)
    assert len(calls) == 3
    assert len(cycles.stable_volumes_of([], **settings)) == 0


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [-0.01, np.nan, np.inf])
def test_bad_epsilon_is_refused(small, epsilon):
    with pytest.raises(ValueError, match="epsilon is"):
        cycles.stable_volumes(small[0], epsilon)
    with pytest.raises(ValueError, match="epsilon is"):
        cycles.stable_volumes_of(small, epsilon, progress=False)


@pytest.mark.parametrize("pairs, message", [([0, 9999], "pair 9999 does"), ([-1], "pair -1 does")])
def test_missing_pair_is_named(small, pairs, message):
    with pytest.raises(ValueError, match=message):
        cycles.stable_volumes(small[0], pairs=pairs)
    with pytest.raises(ValueError, match="not indices"):
        cycles.stable_volumes(small[0], pairs=[0.5])


def test_bad_frame_is_named(small):
    bad = small[2].copy()
    bad.positions[3, 1] = np.nan
    with pytest.raises(FrameError, match="^frame 2: position of atom 3"):
        cycles.stable_volumes_of([*small[:2], bad], n_jobs=1, progress=False)
    tiny = bulk("C", "diamond", a=3.567, cubic=True)
    tiny.rattle(0.05, seed=0)
    with pytest.raises(FrameError, match="^frame 1: two atoms meet through two images"):
        cycles.stable_volumes_of([small[0], tiny], n_jobs=1, progress=False)


def test_failure_of_the_solver_names_the_pair(small, monkeypatch):
    monkeypatch.setitem(SOLVER, "simplex_iteration_limit", 0)
    with pytest.raises(FrameError, match=r"volume of pair \(\d\.\d+, \d\.\d+\) .*HiGHS ended with"):
        cycles.stable_volumes(small[0])
