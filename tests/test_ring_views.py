import homcloud.interface as hc
import numpy as np
import pytest
from ase import Atoms
from matplotlib import pyplot as plt

from phutils import figures, ring_views, structure_views
from phutils.cycles import Cycle, stable_volumes
from phutils.dataset import load
from phutils.rings import placed, typical_rings


def ring(vertices, birth=0.5, death=2.0, closed=True):
    edges = np.stack([vertices, np.roll(vertices, -1)], axis=1)
    return Cycle(birth, death, 1.0, np.empty((0, 3), int), edges, np.array(vertices), closed)


@pytest.fixture
def square():
    """A square of side 1.4 Å that crosses two faces of the box, and a fifth atom over it."""
    corners = np.array([[9.8, 9.8, 5], [11.2, 9.8, 5], [11.2, 11.2, 5], [9.8, 11.2, 5]])
    positions = np.concatenate([corners, [[10.5, 10.5, 9]]]) % 10
    return Atoms("C5", positions=positions, cell=[10.0] * 3, pbc=True)


# --- the plane -----------------------------------------------------------------------------------


def test_edges_and_triangles_enter_where_homcloud_says():
    points = np.random.default_rng(4).random((40, 2))
    edges, triangles = ring_views.filtration_in_plane(points)
    lengths = {e: np.linalg.norm(points[e[0]] - points[e[1]]) for e in edges}
    late = [e for e in edges if edges[e] > lengths[e] / 2 + 1e-9]
    assert late  # edges that a third disc covers
    pairs = hc.PDList.from_alpha_filtration(points)
    for degree, radii in ((0, edges), (1, triangles)):  # what kills pieces, what kills rings
        deaths = np.sqrt(pairs[degree].deaths)
        radii = np.array(list(radii.values()))
        assert abs(deaths[:, None] - radii).min(axis=1).max() < 1e-9
    births = np.sqrt(pairs[1].births)
    radii = np.array(list(edges.values()))
    assert abs(births[:, None] - radii).min(axis=1).max() < 1e-9
    # every edge that closes a ring and every triangle belongs to one pair, if only for no time
    assert len(edges) == len(points) - 1 + len(triangles)


def test_growing_balls_show_the_state_at_one_radius():
    points = np.array([[0.0, 0], [2, 0], [1, 1.7]])
    death = 1.7 / 2 + 0.5 / 1.7  # circumradius
    pairs = {"A": (1.0, death)}
    views = [ring_views.growing_balls(points, "abc", pairs, r) for r in (0.5, 1.05, 1.3)]
    assert len({tuple(trace.type for trace in view.data) for view in views}) == 1
    for view, n_edges, n_triangles, at in zip(
        views, (0, 3, 0 + 3), (0, 0, 1), ([], [1.05], [death]), strict=True
    ):
        filled, edges, diagram = view.data[1], view.data[2], view.data[-1]
        assert np.isnan(edges.x.astype(float)).sum() == n_edges + 1
        assert np.isnan(filled.x.astype(float)).sum() == n_triangles + 1
        np.testing.assert_allclose(diagram.y, at)
    assert views[1].data[-1].text == ("A",) and views[2].data[-1].text == ("A, filled",)
    structure_views.with_slider(views, ["0.5", "1.05", "1.3"])


# --- in a structure ------------------------------------------------------------------------------


def test_ring_over_the_boundary_is_drawn_in_one_piece(square):
    view = structure_views.structure(square)
    ring_views.add_rings(view, square, [ring([0, 1, 2, 3])], "4 atoms", figures.SKY)
    mesh, outline = view.data[-2:]
    assert mesh.type == "mesh3d" and outline.name == "4 atoms (1)" and view.layout.showlegend
    corners = np.stack([mesh.x, mesh.y, mesh.z], axis=1).astype(float)
    faces = np.stack([mesh.i, mesh.j, mesh.k], axis=1)
    a, b, c = (corners[faces[:, k]] for k in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    np.testing.assert_allclose(areas, 1.4**2 / 4, rtol=1e-5)  # a fan that covers it once
    points = np.stack([outline.x, outline.y, outline.z], axis=1).astype(float)
    sides = np.linalg.norm(np.diff(points, axis=0), axis=1)
    np.testing.assert_allclose(sides[np.isfinite(sides)], 1.4, rtol=1e-5)
    assert np.isfinite(sides).sum() == 4
    told = "4 atoms: 0 1 2 3<br>birth 0.500, death 2.000 Å²"
    assert set(mesh.text) == {told} and len(mesh.text) == 5
    assert [t for t, x in zip(outline.text, points[:, 0], strict=True) if x == x] == [told] * 5


def test_second_ring_has_its_own_corners(square):
    view = structure_views.structure(square)
    cycles = [ring([0, 1, 2, 3]), ring([0, 1, 4], closed=False), ring([1, 2, 3], 0.6, 0.9)]
    ring_views.add_rings(view, square, cycles, "some", figures.SKY)
    mesh, outline = view.data[-2:]
    assert outline.name == "some (2)"
    np.testing.assert_array_equal(mesh.i, [0, 1, 2, 3, 5, 6, 7])
    np.testing.assert_array_equal(mesh.k, [4] * 4 + [8] * 3)
    assert mesh.text[5].startswith("3 atoms: 1 2 3") and len(mesh.text) == len(mesh.x) == 9
    ends = np.flatnonzero(np.isnan(np.array(outline.x, float)))
    assert ends.tolist() == [0, 6, 11]


def test_no_rings_give_two_empty_traces(square):
    views = [structure_views.structure(square), structure_views.structure(square)]
    ring_views.add_rings(views[0], square, [ring([0, 1, 2, 3])], "4 atoms", figures.SKY)
    ring_views.add_rings(views[1], square, [], "4 atoms", figures.SKY)
    assert [t.type for t in views[0].data] == [t.type for t in views[1].data]
    assert len(views[1].data[-2].x) == 0 and views[1].data[-1].name == "4 atoms (0)"
    assert len(structure_views.with_slider(views, ["a", "b"]).frames[1].data) == 5


# --- flat ----------------------------------------------------------------------------------------


def test_sketch_is_to_scale_and_shows_only_neighbours(square):
    fig, ax = plt.subplots()
    ring_views.sketch(ax, square, ring([0, 1, 2, 3]), figures.SKY)
    polygon = ax.patches[0].get_xy()
    np.testing.assert_allclose(np.linalg.norm(np.diff(polygon, axis=0), axis=1), 1.4, atol=1e-9)
    assert ax.get_aspect() == 1 and ax.get_xlim() == ax.get_ylim()
    bar = ax.lines[-1].get_xdata()
    assert bar[1] - bar[0] == pytest.approx(2)
    grey = ax.collections[0].get_offsets()
    assert len(grey) == 4  # the atom 4 Å above is not shown
    bonds = [line for line in ax.lines if line.get_color() == "#bbbbbb"]
    assert len(bonds) == 4
    for line in bonds:
        assert np.hypot(*np.ptp(line.get_xydata(), axis=0)) == pytest.approx(1.4)
    plt.close(fig)


def test_diagram_letters_its_rings():
    structures = load("embedded")
    atoms = structures[len(structures) - 1]
    found = stable_volumes(atoms)
    chosen = typical_rings(atoms, found)
    fig = plt.figure()
    ax = ring_views.diagram_with_rings(fig, atoms, found, chosen, (0, 5))
    letters = {t.get_text(): t.xy for t in ax.texts}
    cycles = list(chosen.values())
    assert letters == {k: (c.birth, c.death) for k, c in zip("abcde", cycles, strict=True)}
    insets = fig.axes[1:]
    assert insets[1].get_title() == "b: 6 atoms"
    assert insets[1].get_xlabel() == f"({cycles[1].birth:.2f}, {cycles[1].death:.2f})"
    drawn = insets[1].patches[0].get_xy()[:-1]
    sides = np.linalg.norm(drawn - np.roll(drawn, -1, axis=0), axis=1)
    true = placed(atoms, cycles[1])
    assert (sides <= np.linalg.norm(true - np.roll(true, -1, axis=0), axis=1) + 1e-9).all()
    fig.canvas.draw()
    plt.close(fig)


def test_diagram_without_rings_stands_alone(square):
    fig = plt.figure()
    ax = ring_views.diagram_with_rings(fig, square, [ring([0, 1, 2, 3])], {})
    assert fig.axes == [ax] and not ax.texts
    plt.close(fig)


def test_colours_follow_the_diagram():
    assert ring_views.colour_of("6 atoms", ring(range(6))) == figures.RINGS[6][0]
    assert ring_views.colour_of("largest birth", ring(range(3))) == figures.BLACK


def test_static_view_draws_the_rings_of_each_group(square):
    fig, ax = plt.subplots()
    groups = {
        "low": ([ring([0, 1, 2, 3]), ring([0, 1, 2], closed=False)], figures.BLUE),
        "high": ([], figures.RED),
    }
    ring_views.seen_along_z(ax, square, groups)
    low, high = ax.collections[-2:]
    assert low.get_label() == "low (1)" and high.get_label() == "high (0)"
    (path,) = low.get_paths()  # drawn in one piece, with its centre in the box
    sides = np.linalg.norm(np.diff(path.vertices[:5], axis=0), axis=1)
    np.testing.assert_allclose(sides, 1.4)
    assert (path.vertices.mean(axis=0) >= 0).all() and (path.vertices.mean(axis=0) <= 10).all()
    assert not high.get_paths() and ax.get_xlim() == (0, 10)
    plt.close(fig)
