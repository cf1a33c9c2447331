import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phutils import alpha
from phutils.reduction import reduce_filtration


def random_box(seed, n=120, cell=(9.0, 9.5, 10.2), apart=0.9):
    """Random atoms that keep apart as atoms do, so that no void spans the box."""
    rng, cell = np.random.default_rng(seed), np.array(cell)
    positions = np.empty((0, 3))
    while len(positions) < n:
        new = rng.random(3) * cell
        away = positions - new
        away -= cell * np.round(away / cell)
        if (np.linalg.norm(away, axis=1) > apart).all():
            positions = np.vstack([positions, new])
    return positions, cell


def diagrams(positions, cell):
    found = reduce_filtration(*alpha.alpha_filtration(positions, cell))
    # values that are equal in exact arithmetic may differ in the last bit
    return {k: pairs[pairs[:, 1] - pairs[:, 0] > 1e-9] for k, pairs in found.items()}


def assert_same(one, two, atol=1e-9):
    for degree in (0, 1, 2):
        assert one[degree].shape == two[degree].shape
        np.testing.assert_allclose(
            np.sort(one[degree], axis=0), np.sort(two[degree], axis=0), atol=atol
        )


@pytest.mark.parametrize("n, cell", [(120, (9.0, 9.5, 10.2)), (216, (12.0, 12.0, 12.0))])
def test_triangulation_fills_the_torus(n, cell):
    positions, cell = random_box(0, n, cell)
    vertices, shifts, corners, _ = alpha.periodic_delaunay(positions, np.diag(cell))
    np.testing.assert_allclose(corners, positions[vertices] + shifts * cell)
    values, (edges, triangles, tetrahedra) = alpha.alpha_filtration(positions, cell)
    assert np.abs(alpha._triple(corners)).sum() / 6 == pytest.approx(cell.prod())
    # Euler characteristic of the 3-torus; each triangle has two sides
    assert len(values[0]) - len(values[1]) + len(values[2]) - len(values[3]) == 0
    assert len(values[2]) == 2 * len(values[3])
    np.testing.assert_array_equal(np.bincount(tetrahedra.ravel()), 2)
    assert triangles.max() < len(edges)


def test_no_simplex_enters_before_its_faces():
    values, boundaries = alpha.alpha_filtration(*random_box(1))
    for k, boundary in enumerate(boundaries):
        assert (values[k][boundary].max(axis=1) <= values[k + 1]).all()


def test_every_empty_circumsphere_is_empty():
    positions, cell = random_box(2)
    *_, corners, centre = alpha.periodic_delaunay(positions, np.diag(cell))
    radius = np.linalg.norm(centre, axis=1)
    centre = corners[:, 0] + centre
    apart = centre[:, None] - positions[None]
    apart -= cell * np.round(apart / cell)
    nearest = np.linalg.norm(apart, axis=2).min(axis=1)
    np.testing.assert_allclose(nearest, radius, rtol=1e-9)


def test_tetrahedra_centred_on_a_face_of_the_cell_are_kept_once():
    positions, cell = random_box(7)
    reference = diagrams(positions, cell)
    *_, corners, centre = alpha.periodic_delaunay(positions, np.diag(cell))
    for k in range(0, len(centre), len(centre) // 25):
        moved = positions - corners[k, 0] - centre[k]  # the centre of one is now at the origin
        assert len(alpha.alpha_filtration(moved, cell, jitter=0)[0][3]) == len(centre)
        assert_same(reference, diagrams(moved, cell))


def test_faces_that_do_not_match_are_degenerate():
    """Squares between cubes can be cut along either diagonal, one from each side."""
    grid = np.stack(np.indices((4, 4, 4)), -1).reshape(-1, 3) + 0.5
    with pytest.raises(alpha.DegenerateError):
        alpha.alpha_filtration(grid, [4.0] * 3, jitter=0)


def test_circumcentres_are_equidistant():
    corners = np.random.default_rng(3).random((20, 4, 3))
    for k in (2, 3, 4):
        simplex = corners[:, :k]
        centre = simplex[:, 0] + alpha._circumcentre(simplex)
        distance = np.linalg.norm(simplex - centre[:, None], axis=2)
        np.testing.assert_allclose(distance, distance[:, :1].repeat(k, axis=1))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), shift=st.tuples(*[st.floats(-30, 30)] * 3))
def test_translation_and_wrapping_change_nothing(seed, shift):
    positions, cell = random_box(seed)
    assert_same(diagrams(positions, cell), diagrams(positions + np.array(shift), cell))


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1000),
    axes=st.permutations([0, 1, 2]),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
)
def test_cubic_symmetry_and_order_change_nothing(seed, axes, signs):
    positions, cell = random_box(seed)
    shuffled = np.random.default_rng(seed).permutation(positions)
    turned = shuffled[:, axes] * np.array(signs)
    assert_same(diagrams(positions, cell), diagrams(turned, cell[list(axes)]))


def test_scaling_scales_squared_radii():
    positions, cell = random_box(4)
    one, two = diagrams(positions, cell), diagrams(2 * positions, 2 * cell)
    assert_same({k: 4 * v for k, v in one.items()}, two)


def test_long_box():
    assert len(diagrams(*random_box(5, 500, (10.0, 10.0, 36.0)))[1]) > 100


@pytest.mark.parametrize("n", [5, 8, 20, 60])
def test_any_basis_of_a_lattice_gives_the_same_diagrams(n):
    """Few atoms meet their own images; a slanted cell describes the same crystal."""
    positions = np.random.default_rng(n).random((n, 3)) * [5.0, 6.1, 7.3]
    box = np.diag([5.0, 6.1, 7.3])
    slanted = np.array([[1, 0, 0], [1, 1, 0], [-1, 1, 1]]) @ box
    assert_same(diagrams(positions, box), diagrams(positions, slanted))
    assert_same(diagrams(positions, box), diagrams(positions + 1.234, slanted))


@pytest.mark.parametrize("n", [3, 6])
def test_small_cell_has_the_euler_characteristic_of_a_torus(n):
    positions = np.random.default_rng(1).random((n, 3)) * [3.0, 3.3, 3.7]
    values, boundaries = alpha.alpha_filtration(positions, [3.0, 3.3, 3.7])
    vertices, edges, triangles, tetrahedra = (len(v) for v in values)
    assert vertices - edges + triangles - tetrahedra == 0 and triangles == 2 * tetrahedra
    assert (boundaries[0][:, 0] == boundaries[0][:, 1]).any()  # an atom and its own image


def test_simple_cubic_lattice_has_its_known_diagram():
    grid = np.stack(np.indices((5, 5, 5)), -1).reshape(-1, 3) * 2.0
    with pytest.raises(alpha.DegenerateError):
        alpha.alpha_filtration(grid, [10.0, 10.0, 10.0], jitter=0)
    found = reduce_filtration(*alpha.alpha_filtration(grid, [10.0] * 3))
    # edges at a^2/4, squares at a^2/2, cubes at 3a^2/4; three loops and three sheets never die
    for degree, count, pair in ((0, 124, (0, 1)), (1, 248, (1, 2)), (2, 124, (2, 3))):
        pairs = found[degree][found[degree][:, 1] - found[degree][:, 0] > 1e-6]
        np.testing.assert_allclose(pairs, np.tile(pair, (count, 1)), atol=1e-6)


def test_one_atom_in_a_primitive_cell():
    """Face-centred cubic: triangles at a^2/6, tetrahedral and octahedral holes."""
    a = 3.6
    cell = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * a / 2
    found = reduce_filtration(*alpha.alpha_filtration(np.zeros((1, 3)), cell))
    pairs = {k: v[v[:, 1] - v[:, 0] > 1e-6] for k, v in found.items()}
    assert len(pairs[0]) == 0
    np.testing.assert_allclose(pairs[1], [[a**2 / 8, a**2 / 6]] * 3, atol=1e-6)
    np.testing.assert_allclose(pairs[2], [[a**2 / 6, 3 * a**2 / 16]] * 2, atol=1e-6)


def test_cluster_in_vacuum_is_that_of_the_cluster():
    positions = random_box(3, 60, (6.0, 6.0, 6.0))[0]
    cell = np.array([40.0, 40.0, 40.0])
    moved = diagrams(positions + 21.3, cell)
    assert_same(diagrams(positions, cell), moved)
    assert len(moved[0]) == 59 and len(moved[1]) > 30


def test_slab_with_vacuum():
    positions = random_box(4, 120, (9.0, 9.0, 6.0))[0]
    assert_same(*(diagrams(positions + z, [9.0, 9.0, 25.0]) for z in (0.0, 11.0)))


def test_dead_components_are_one_less_than_the_atoms():
    positions, cell = random_box(6)
    found = diagrams(positions, cell)
    assert len(found[0]) == len(positions) - 1
    assert (found[0][:, 0] == 0).all()
    assert all((v[:, 1] > v[:, 0]).all() for v in found.values())
