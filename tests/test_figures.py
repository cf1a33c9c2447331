import base64
import re
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk
from IPython.core.interactiveshell import InteractiveShell
from matplotlib import pyplot as plt

from phutils import figures


@pytest.fixture
def diamond():
    return bulk("C", "diamond", a=3.57, cubic=True).repeat(2)


def test_structure_shows_every_atom_and_half_bonds_inside(diamond):
    figure = figures.structure(diamond)
    sticks, box, atoms = figure.data
    assert len(atoms.x) == len(diamond) and len(box.x) == 12 * 3
    ends = np.stack([sticks.x, sticks.y, sticks.z], axis=1).astype(float).reshape(-1, 3, 3)
    lengths = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    assert len(lengths) == 4 * len(diamond)  # four bonds an atom, drawn from both ends
    np.testing.assert_allclose(lengths, 3.57 * np.sqrt(3) / 8, atol=2e-3)
    assert set(atoms.marker.color) == {figures.ORANGE} and "4 bonds" in atoms.text[0]


def test_show_carries_alt_text_for_the_page_and_json_for_jupyterlab(diamond, monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", lambda bundle, raw: shown.append(bundle))
    figures.show(figures.structure(diamond), 'Diamond, "cubic"')
    (bundle,) = shown
    assert 'aria-label="Diamond, &quot;cubic&quot;"' in bundle["text/html"]
    assert "plotly-graph-div" in bundle["text/html"] and "<html" not in bundle["text/html"]
    assert bundle["application/vnd.plotly.v1+json"]["data"]
    assert bundle["text/plain"] == 'Diamond, "cubic"'
    with pytest.raises(ValueError, match="needs alt text"):
        figures.show(figures.structure(diamond), " ")
    assert InteractiveShell  # the bundle is shown by IPython's own display


def test_a_static_figure_stands_in_where_there_is_no_javascript(diamond, monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", lambda bundle, raw: shown.append(bundle))
    fig, ax = plt.subplots(figsize=(1, 1))
    figures.show(figures.structure(diamond), 'Diamond, "cubic"', static=fig)
    (bundle,) = shown
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    fallback = re.search("<noscript>(.*)</noscript>", bundle["text/html"]).group(1)
    assert f"base64,{bundle['image/png']}" in fallback
    assert 'alt="Diamond, &quot;cubic&quot;"' in fallback
    assert not plt.fignum_exists(fig.number)


def test_views_side_by_side_share_one_legend(diamond):
    views = [figures.structure(diamond, title=title) for title in ("one", "two")]
    for view in views:
        view.add_scatter3d(x=[0], y=[0], z=[0], name="ring", legendgroup="ring", showlegend=True)
    views[1].add_scatter3d(x=[0], y=[0], z=[0], name="pore", showlegend=True)
    figure = figures.side_by_side(views)
    assert [trace.scene for trace in figure.data] == ["scene"] * 4 + ["scene2"] * 5
    assert [trace.name for trace in figure.data if trace.showlegend] == ["ring", "pore"]
    assert figure.layout.showlegend
    domains = figure.layout.scene.domain.x, figure.layout.scene2.domain.x
    assert domains == ((0, 0.5), (0.5, 1))
    assert [note.text for note in figure.layout.annotations] == ["one", "two"]
    assert views[1].data[0].scene is None  # the views themselves are as before
    assert not figures.side_by_side([figures.structure(diamond)]).layout.showlegend


def test_coordinates_are_sent_in_single_precision(diamond):
    figure = figures.structure(diamond, colours="#aaaaaa")
    assert figure.data[2].x.dtype == np.float32 and figure.data[2].marker.color == "#aaaaaa"


def test_slider_has_a_step_a_figure(diamond):
    one, two = figures.structure(diamond), figures.structure(diamond, marker=9)
    figure = figures.with_slider([one, two], ["a", "b"], "radius ")
    assert [frame.name for frame in figure.frames] == ["a", "b"]
    assert [step.args[0] for step in figure.layout.sliders[0].steps] == [("a",), ("b",)]
    assert figure.frames[1].data[2].marker.size == 9
    assert figure.layout.height == one.layout.height + 100  # room for the slider
    with pytest.raises(ValueError):
        figures.with_slider([one, two], ["a"])


def test_parity_has_one_diagonal_over_all_points():
    fig, ax = plt.subplots()
    figures.parity(ax, np.array([0.0, 1.0]), np.array([0.1, 0.9]), "train")
    figures.parity(ax, np.array([-1.0, 2.0]), np.array([0.0, 2.5]), "test")
    assert len(ax.lines) == 1
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [-1, 2.5])
    assert "eV" in ax.get_xlabel() and "eV" in ax.get_ylabel()
    plt.close(fig)


def test_mesh_leaves_empty_bins_white_and_centres_signed_colours():
    fig, ax = plt.subplots()
    values = np.array([[0.0, -2.0], [1.0, np.nan]])
    bar = figures.on_mesh(ax, values, np.array([0.0, 1, 2]), signed=True, label="x / eV")
    shown = ax.collections[0].get_array().reshape(2, 2)
    np.testing.assert_array_equal(shown.mask, [[True, False], [False, True]])
    assert shown[1, 0] == -2  # axis 0 of the values is birth, the horizontal axis
    assert (bar.norm.vmin, bar.norm.vcenter, bar.norm.vmax) == (-2, 0, 2)
    plt.close(fig)


def test_every_ring_is_drawn_once_by_its_size():
    sizes = [3, 3, 4, 5, 6, 6, 7, 8, 12]
    cycles = [SimpleNamespace(birth=0.5, death=1.0 + n, n_vertices=n) for n in sizes]
    fig, ax = plt.subplots()
    figures.diagram_by_vertices(ax, cycles)
    drawn = {c.get_label(): len(c.get_offsets()) for c in ax.collections}
    wanted = {"3": 2, "4": 1, "5": 1, "6": 2, "7": 1, "8 or more": 2}
    assert {k: n for k, n in drawn.items() if k in wanted} == wanted
    assert sum(drawn.values()) == len(sizes)
    plt.close(fig)


def test_diagram_without_legend_and_colours_of_rings():
    fig, ax = plt.subplots()
    figures.diagram_by_vertices(ax, [], legend=False)
    assert ax.get_legend() is None
    figures.diagram_by_vertices(ax, [])
    assert ax.get_legend().get_title().get_text() == "atoms in ring"
    plt.close(fig)
    expected = [figures.RINGS[n][0] for n in (3, 6, 8, 8)]
    assert [figures.ring_colour(n) for n in (0, 6, 8, 40)] == expected


def test_stage_names():
    assert figures.stage_label("quench2") == "cooling, 5000 to 300 K"
    assert figures.stage_label("annealing") == "annealing"
    assert figures.stage_colour("annealing") == figures.BLACK
    colours = [colour for _, colour in figures.STAGES.values()]
    assert len(set(colours)) == len(colours)
