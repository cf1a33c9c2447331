import numpy as np
import pytest
from ase.build import bulk

from phutils import figures, structure_views


@pytest.fixture
def diamond():
    return bulk("C", "diamond", a=3.57, cubic=True).repeat(2)


def test_structure_shows_every_atom_and_half_bonds_inside(diamond):
    figure = structure_views.structure(diamond)
    sticks, box, atoms = figure.data
    assert len(atoms.x) == len(diamond) and len(box.x) == 12 * 3
    ends = np.stack([sticks.x, sticks.y, sticks.z], axis=1).astype(float).reshape(-1, 3, 3)
    lengths = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    assert len(lengths) == 4 * len(diamond)  # four bonds an atom, drawn from both ends
    np.testing.assert_allclose(lengths, 3.57 * np.sqrt(3) / 8, atol=2e-3)
    assert set(atoms.marker.color) == {figures.ORANGE} and "4 bonds" in atoms.text[0]


def test_views_side_by_side_share_one_legend(diamond):
    views = [structure_views.structure(diamond, title=title) for title in ("one", "two")]
    for view in views:
        view.add_scatter3d(x=[0], y=[0], z=[0], name="ring", legendgroup="ring", showlegend=True)
    views[1].add_scatter3d(x=[0], y=[0], z=[0], name="pore", showlegend=True)
    figure = structure_views.side_by_side(views)
    assert [trace.scene for trace in figure.data] == ["scene"] * 4 + ["scene2"] * 5
    assert [trace.name for trace in figure.data if trace.showlegend] == ["ring", "pore"]
    assert figure.layout.showlegend
    domains = figure.layout.scene.domain.x, figure.layout.scene2.domain.x
    assert domains == ((0, 0.5), (0.5, 1))
    assert [note.text for note in figure.layout.annotations] == ["one", "two"]
    assert views[1].data[0].scene is None  # the views themselves are as before
    assert not structure_views.side_by_side([structure_views.structure(diamond)]).layout.showlegend


def test_coordinates_are_sent_in_single_precision(diamond):
    figure = structure_views.structure(diamond, colours="#aaaaaa")
    assert figure.data[2].x.dtype == np.float32 and figure.data[2].marker.color == "#aaaaaa"


def test_slider_has_a_step_a_figure(diamond):
    one, two = structure_views.structure(diamond), structure_views.structure(diamond, marker=9)
    figure = structure_views.with_slider([one, two], ["a", "b"], "radius ")
    assert [frame.name for frame in figure.frames] == ["a", "b"]
    assert [step.args[0] for step in figure.layout.sliders[0].steps] == [("a",), ("b",)]
    assert figure.frames[1].data[2].marker.size == 9
    assert figure.layout.height == one.layout.height + 100  # room for the slider
    with pytest.raises(ValueError):
        structure_views.with_slider([one, two], ["a"])
