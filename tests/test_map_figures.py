import base64
import json
import re

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from matplotlib import pyplot as plt

from phutils import figures, map_figures
from phutils.dataset import load


@pytest.fixture
def structures(tmp_path, monkeypatch):
    """Six diamonds of falling density, one of them larger."""
    monkeypatch.setenv("PHUTILS_DATA", str(tmp_path / "downloads"))
    frames = []
    for k in range(6):
        atoms = bulk("C", "diamond", a=3.57 + 0.05 * k, cubic=True).repeat(
            (2, 2, 3 if k == 4 else 2)
        )
        atoms.rattle(0.05, seed=k)
        atoms.info |= {"energy": -7.0 * len(atoms) + k, "stage": "quench2" if k else "</script>"}
        frames.append(atoms)
    write(tmp_path / "some.extxyz", frames)
    return load(tmp_path / "some.extxyz")


@pytest.fixture
def linked(structures):
    generator = np.random.default_rng(0)
    names = ("SOAP", "SchNet", "PH")
    maps = {m: {k: generator.normal(size=(6, 2)) for k in names} for m in ("t-SNE", "PCA")}
    return maps, *map_figures.linked(maps, structures)


def data_of(script):
    return json.loads(re.search(r"const data = (.*);\n", script).group(1).replace("<\\/", "</"))


def test_grid_has_equal_panels_and_a_bar_a_row():
    at = np.random.default_rng(0).normal(size=(50, 2))
    rows = [("one", {"A": at, "B": at}, at[:, 0], map_figures.DENSITY)]
    rows += [("two", {"A": at * [5, 1]}, at[:, 1], map_figures.ENERGY)]
    fig = map_figures.grid(rows)
    fig.canvas.draw()
    panels = [ax for ax in fig.axes if ax.get_title()]
    sizes = [ax.get_window_extent().size for ax in panels]
    assert len(panels) == 3 and np.allclose(sizes, sizes[0], atol=0.5)
    assert np.ptp(sizes[0]) < 0.5  # square
    bars = [ax.get_ylabel() for ax in fig.axes if not ax.get_title() and ax.axison]
    assert bars == [map_figures.DENSITY, map_figures.ENERGY]
    assert panels[0].get_ylabel() == "one\nt-SNE 2" and not panels[1].get_ylabel()
    drawn = panels[0].collections[0]
    np.testing.assert_allclose(sorted(drawn.get_array()), sorted(at[:, 0]))
    plt.close(fig)


def test_dots_show_value_error_and_what_is_missing():
    some = {"purity": np.array([0.5, 0.4, 0.6, 0.5])}
    none = {"purity": np.full(4, np.nan)}
    measured = {("SOAP", "bare", "space"): some, ("PH", "bare", "space"): none}
    measured[("PH", "bare", "PCA")] = some
    fig, (ax, key) = plt.subplots(1, 2)
    map_figures.dots(ax, measured, "purity", [("PH", some)])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["SOAP", "PH"]
    assert len(ax.containers) == 2 and len(ax.lines) == 3  # two with bars, one hollow
    bar = ax.containers[0][2][0].get_segments()[0]
    assert np.diff(bar[:, 1]) == pytest.approx(2 * 0.1155, abs=1e-3)  # two jackknife errors
    map_figures.dots_legend(key, ["bare"], ["space", "PCA"], "others")
    assert [t.get_text() for t in key.get_legend().get_texts()] == [
        "bare",
        "space",
        "PCA",
        "others",
    ]
    plt.close(fig)


def test_linked_maps_keep_frames_together(structures, linked):
    maps, figure, script = linked
    data = data_of(script)
    order = np.argsort(structures.density)
    np.testing.assert_allclose(
        data["values"]["density"]["values"], structures.density[order], atol=1e-3
    )
    np.testing.assert_allclose(data["maps"]["PCA"]["PH"], maps["PCA"]["PH"][order], atol=1e-3)
    np.testing.assert_allclose(figure.data[1].x, maps["t-SNE"]["SchNet"][order, 0], atol=1e-6)
    assert np.diff(data["start"]).tolist() == structures.n_atoms[order].tolist()
    assert [t.replace("<br>", ", ") for t in figure.data[0].text] == data["text"]
    assert f"{structures.density[order[0]]:.2f} g/cm³, cooling" in data["text"][0]
    ringed = [figure.data[k] for k in (3, 4, 5)]
    chosen = order[data["chosen"]]
    for name, ring in zip(data["panels"], ringed, strict=True):
        np.testing.assert_allclose([*ring.x, *ring.y], maps["t-SNE"][name][chosen])


def test_positions_survive_packing(structures, linked):
    data = data_of(linked[2])
    order = np.argsort(structures.density)
    packed = np.frombuffer(base64.b64decode(data["positions"]), "<u2").reshape(-1, 3)
    assert len(packed) == structures.n_atoms.sum() == data["start"][-1]
    for k, i in enumerate(order):
        fraction = packed[data["start"][k] : data["start"][k + 1]] / 65536
        off = fraction * data["cell"][k] - structures[int(i)].positions
        off -= np.round(off / data["cell"][k]) * data["cell"][k]
        assert np.abs(off).max() < 2e-4  # Å


def test_a_stage_cannot_end_the_script(linked):
    assert "</script>" not in linked[2] and any(
        "</script>" in t for t in data_of(linked[2])["text"]
    )


def test_linked_maps_want_a_point_a_frame(structures):
    with pytest.raises(ValueError, match=r"PCA of PH has shape \(5, 2\), not \(6, 2\)"):
        map_figures.linked({"PCA": {"PH": np.ones((5, 2))}}, structures)


def test_show_runs_the_script_with_the_figure(structures, linked, monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", lambda bundle, raw: shown.append(bundle))
    figures.show(linked[1], "Three maps and a structure", script=linked[2])
    page = shown[0]["text/html"]
    name = re.search(r'<div id="([^"]+)" class="plotly-graph-div"', page).group(1)
    assert f'document.getElementById("{name}")' in page and "{plot_id}" not in page
    assert "LINKED_DATA" not in page
