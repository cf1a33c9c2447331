"""What must not change a diagram, or change it in a known way, on random and embedded frames."""

import itertools

import numpy as np
import pytest
from ase import Atoms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from periodic_checks import assert_covers, assert_same, box, filtration, spread

from phutils.dataset import load
from phutils.diagrams import persistence_diagram

CELLS = {
    "cube": (60, np.diag([8.0, 8.0, 8.0])),
    "box": (50, np.diag([5.0, 7.0, 11.0])),
    "triclinic": (50, np.array([[7.5, 0, 0], [2.5, 7.0, 0], [-1.5, 3.0, 8.0]])),
    "few": (7, np.array([[4.0, 0, 0], [0.5, 4.2, 0], [0.3, -1.0, 3.7]])),
    "sparse": (20, np.diag([12.0, 13.0, 14.0])),
}
AXES = list(
    itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3))
)

same_every_time = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
structures = load("embedded")
EMBEDDED = [0, len(structures) // 3, len(structures) - 1]


@st.composite
def frames(draw):
    """A random frame in one of the cells, or an embedded one."""
    name = draw(st.sampled_from([*CELLS, "embedded"]))
    if name == "embedded":
        return structures[draw(st.sampled_from(EMBEDDED))]
    return spread(*CELLS[name], seed=draw(st.integers(0, 10**6)))


seeds = st.integers(0, 10**6)


def with_places(atoms, positions, cell=None):
    return box(positions, atoms.cell.array if cell is None else cell)


# --- nothing changes -----------------------------------------------------------------------------


@same_every_time
@given(atoms=frames(), shift=st.tuples(*[st.floats(-100, 100)] * 3))
def test_translation(atoms, shift):
    moved = with_places(atoms, atoms.positions + np.array(shift))
    assert_same(persistence_diagram(atoms), persistence_diagram(moved))


@same_every_time
@given(atoms=frames(), seed=seeds)
def test_each_atom_may_be_any_of_its_images(atoms, seed):
    images = np.random.default_rng(seed).integers(-5, 6, (len(atoms), 3))
    moved = with_places(atoms, atoms.positions + images @ atoms.cell.array)
    assert_same(persistence_diagram(atoms), persistence_diagram(moved))


@same_every_time
@given(atoms=frames(), seed=seeds)
def test_order_of_the_atoms(atoms, seed):
    shuffled = np.random.default_rng(seed).permutation(len(atoms))
    assert_same(persistence_diagram(atoms), persistence_diagram(atoms[shuffled]))


@pytest.mark.parametrize("name", ["box", "triclinic"])
def test_all_rotations_and_reflections_of_the_cube(name):
    atoms = spread(25, CELLS[name][1] * 0.8, seed=1)
    found = persistence_diagram(atoms)
    assert len(AXES) == 48
    for axes, signs in AXES:
        positions, cell = (x[:, axes] * signs for x in (atoms.positions, atoms.cell.array))
        assert_same(found, persistence_diagram(with_places(atoms, positions, cell)))


@same_every_time
@given(which=st.sampled_from(EMBEDDED), turn=st.sampled_from(AXES))
def test_rotations_and_reflections_inside_the_box(which, turn):
    atoms, (axes, signs) = structures[which], turn
    cube = np.full(3, atoms.cell.lengths()[0])
    np.testing.assert_allclose(atoms.cell.lengths(), cube)
    moved = with_places(atoms, atoms.positions[:, axes] * signs, np.diag(cube))
    assert_same(persistence_diagram(atoms), persistence_diagram(moved))


@same_every_time
@given(atoms=frames(), seed=seeds)
def test_any_rotation(atoms, seed):
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    turned = with_places(atoms, atoms.positions @ turn, atoms.cell.array @ turn)
    assert_same(persistence_diagram(atoms), persistence_diagram(turned))


@same_every_time
@given(
    atoms=frames(),
    steps=st.lists(
        st.tuples(st.permutations(range(3)), st.integers(-3, 3), st.sampled_from([1, -1])),
        min_size=1,
        max_size=4,
    ),
)
def test_any_basis_of_the_lattice(atoms, steps):
    basis = np.eye(3, dtype=int)
    for (i, j, k), times, sign in steps:
        basis[i] += times * basis[j]
        basis[k] *= sign
    assert abs(round(np.linalg.det(basis))) == 1
    other = with_places(atoms, atoms.positions, basis @ atoms.cell.array)
    assert_same(persistence_diagram(atoms), persistence_diagram(other), atol=1e-8)


# --- a known change ------------------------------------------------------------------------------


@same_every_time
@given(atoms=frames(), scale=st.floats(0.2, 20))
def test_births_and_deaths_scale_with_the_square(atoms, scale):
    scaled = with_places(atoms, atoms.positions * scale, atoms.cell.array * scale)
    one = persistence_diagram(atoms, min_lifetime=0)
    two = persistence_diagram(scaled, min_lifetime=0)
    for degree in (0, 1, 2):
        assert one[degree].shape == two[degree].shape
        np.testing.assert_allclose(one[degree] * scale**2, two[degree], rtol=1e-8, atol=1e-8)


@same_every_time
@given(atoms=frames(), seed=seeds, size=st.floats(1e-4, 0.05))
def test_a_small_move_of_the_atoms_moves_the_diagram_no_further(atoms, seed, size):
    """Stability: no class is born or dies earlier or later, in radii, than the atoms moved."""
    move = np.random.default_rng(seed).normal(size=(len(atoms), 3))
    move *= size / np.linalg.norm(move, axis=1).max()
    radii = [ranks(atoms), ranks(with_places(atoms, atoms.positions + move))]
    one, two = (np.sort(classes[0][classes[0][:, 1] < np.inf, 1]) for classes in radii)
    np.testing.assert_allclose(one, two, rtol=0, atol=size + 1e-6)
    levels = np.linspace(0.4, 2.5, 15)
    for degree in (1, 2):
        for low, high in itertools.combinations_with_replacement(levels, 2):
            for a, b in (radii, radii[::-1]):
                shrunk = alive(a[degree], low - size - 1e-6, high + size + 1e-6)
                assert shrunk <= alive(b[degree], low, high)


def ranks(atoms):
    """{degree: [n, 2]} of births and deaths as radii, with the classes that never die."""
    values, dimension, pairs, endless = filtration(atoms)
    radius = np.append(np.sqrt(values), np.inf)
    pairs = np.concatenate(
        [pairs[:, 1:], np.column_stack([endless, np.full(len(endless), len(values))])]
    )
    return {k: radius[pairs[dimension[pairs[:, 0]] == k]] for k in (0, 1, 2)}


def alive(classes, low, high):
    return ((classes[:, 0] <= low) & (classes[:, 1] > high)).sum()


@same_every_time
@given(atoms=frames())
def test_pairs_and_simplices_agree_at_every_level(atoms):
    """Euler characteristic of the balls at any radius, from the simplices and from the classes."""
    values, dimension, pairs, endless = filtration(atoms)
    assert 2 * len(pairs) + len(endless) == len(values)
    assert np.bincount(dimension[endless]).tolist() == [1, 3, 3, 1]  # of a torus
    sign = (-1.0) ** dimension
    for level in np.quantile(values, np.linspace(0, 1, 40)):
        born, dead = (values[pairs[:, 1:]] <= level).T
        classes = sign[pairs[:, 1]] @ (born & ~dead) + sign[endless] @ (values[endless] <= level)
        assert classes == sign @ (values <= level)
    found = persistence_diagram(atoms, min_lifetime=0)
    lasting = pairs[values[pairs[:, 2]] > values[pairs[:, 1]]]
    counts = np.bincount(dimension[lasting[:, 1]], minlength=3)
    assert [len(found[k]) for k in (0, 1, 2)] == counts.tolist()


REPEATS = [("box", 2), ("triclinic", 2), ("few", 2), ("few", 3), ("sparse", 2)]


@pytest.mark.parametrize("name, times", REPEATS)
def test_a_supercell_has_every_simplex_and_early_and_late_pairs_again(name, times):
    atoms = spread(*CELLS[name], seed=3)
    check_supercell(atoms, times, share=0.05)


def test_a_supercell_of_an_embedded_frame():
    check_supercell(structures[EMBEDDED[-1]], 2, share=0.2)


def check_supercell(atoms, times, share):
    large = atoms.repeat(times)
    few, many = persistence_diagram(atoms), persistence_diagram(large)
    fold = times**3
    assert len(few[0]) == len(atoms) - 1 and len(many[0]) == fold * len(atoms) - 1
    assert assert_covers(atoms, few, large, many) > share
    # a component lifts to `fold` copies, or to fewer if it winds around the box
    levels = np.sort(few[0][:, 1]) + 1e-6
    parts = [1 + (x[0][:, 1, None] > levels).sum(axis=0) for x in (few, many)]
    assert (parts[0] <= parts[1]).all() and (parts[1] <= fold * parts[0]).all()


# --- two back ends -------------------------------------------------------------------------------


@settings(same_every_time, max_examples=5)
@given(seed=seeds, ratio=st.floats(1, 1.5), density=st.floats(0.08, 0.16))
def test_fast_equals_homcloud_on_random_boxes(seed, ratio, density):
    edge = (140 / density / ratio) ** (1 / 3)
    atoms = spread(140, (edge, edge, edge * ratio), seed)
    assert_same(persistence_diagram(atoms), persistence_diagram(atoms, backend="homcloud"))


@settings(same_every_time, max_examples=3)
@given(which=st.integers(0, len(structures) - 1), shift=st.tuples(*[st.floats(-9, 9)] * 3))
def test_fast_equals_homcloud_on_embedded_frames(which, shift):
    atoms: Atoms = structures[which]
    moved = with_places(atoms, atoms.positions + np.array(shift))
    assert_same(persistence_diagram(atoms), persistence_diagram(moved, backend="homcloud"))
