import base64
import re
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk
from IPython.core.interactiveshell import InteractiveShell
from matplotlib import pyplot as plt

from phutils import figures, structure_views


@pytest.fixture
def diamond():
    return bulk("C", "diamond", a=3.57, cubic=True).repeat(2)


def test_show_carries_alt_text_for_the_page_and_json_for_jupyterlab(diamond, monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", lambda bundle, raw: shown.append(bundle))
    figures.show(structure_views.structure(diamond), 'Diamond, "cubic"')
    (bundle,) = shown
    assert 'aria-label="Diamond, &quot;cubic&quot;"' in bundle["text/html"]
    assert "plotly-graph-div" in bundle["text/html"] and "<html" not in bundle["text/html"]
    assert bundle["application/vnd.plotly.v1+json"]["data"]
    assert bundle["text/plain"] == 'Diamond, "cubic"'
    with pytest.raises(ValueError, match="needs alt text"):
        figures.show(structure_views.structure(diamond), " ")
    assert InteractiveShell  # the bundle is shown by IPython's own display


def test_a_static_figure_stands_in_where_there_is_no_javascript(diamond, monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", lambda bundle, raw: shown.append(bundle))
    fig, ax = plt.subplots(figsize=(1, 1))
    figures.show(structure_views.structure(diamond), 'Diamond, "cubic"', static=fig)
    (bundle,) = shown
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    fallback = re.search("<noscript>(.*)</noscript>", bundle["text/html"]).group(1)
    assert f"base64,{bundle['image/png']}" in fallback
    assert 'alt="Diamond, &quot;cubic&quot;"' in fallback
    assert not plt.fignum_exists(fig.number)


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


def test_table_shows_every_number():
    fig, ax = plt.subplots()
    figures.number_table(ax, np.array([[1.4, 20.0, np.nan], [3.6, 4.0, 5.0]]), "abc", ["x", "y"])
    place = {text.get_position(): text.get_text() for text in ax.texts}
    assert place[0.5, 0.5] == "1" and place[1.5, 0.5] == "20" and place[2.5, 0.5] == "–"
    assert place[0.5, 1.5] == "4" and len(place) == 6
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c"]
    np.testing.assert_array_equal(ax.get_yticks(), [0.5, 1.5])
    colours = ax.collections[0].get_array().reshape(2, 3)
    assert colours[0, 1] == np.log(20)
    plt.close(fig)
