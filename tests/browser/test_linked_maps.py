"""The linked maps in Chromium, from a file and without a server: mouse, keyboard, no requests."""

import numpy as np
import plotly.io as pio
import pytest
from ase.build import bulk
from ase.io import write

from phutils import map_figures
from phutils.dataset import load
from phutils.structure import bonds

READ = """() => {
  const graph = document.querySelector('.plotly-graph-div');
  const rings = graph.data.slice(3, 6).map(t => [t.x[0], t.y[0]]);
  return {rings, atoms: Array.from(graph.data[8].x), sticks: graph.data[6].x.length,
          said: document.querySelector('output').textContent,
          title: graph.layout.coloraxis.colorbar.title.text,
          colour: Array.from(graph.data[0].marker.color)};
}"""


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    """A page with linked maps of five structures; the maps; the frames; requests to elsewhere."""
    folder = tmp_path_factory.mktemp("linked")
    frames = []
    for k in range(5):
        atoms = bulk("C", "diamond", a=3.4 + 0.1 * k, cubic=True).repeat(2)
        atoms.rattle(0.1, seed=k)
        atoms.info["energy"] = -7.0 * len(atoms) + k
        frames.append(atoms)
    frames = frames[::-1]  # rising density
    write(folder / "some.extxyz", frames)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHUTILS_DATA", str(folder / "downloads"))
        structures = load(folder / "some.extxyz")
        generator = np.random.default_rng(0)
        names = ("SOAP", "SchNet", "PH")
        maps = {m: {k: generator.normal(size=(5, 2)) for k in names} for m in ("t-SNE", "PCA")}
        figure, script = map_figures.linked(maps, structures)
        frames = list(structures)
        for atoms, energy in zip(frames, structures.energy_per_atom, strict=True):
            atoms.info["energy per atom"] = energy
    page = folder / "page.html"
    how = {"include_plotlyjs": True, "include_mathjax": False, "post_script": script}
    drawn = pio.to_html(figure, full_html=False, **how)
    card = f'<div class="card" style="overflow: auto"><div role="group">{drawn}</div></div>'
    head = (
        '<!DOCTYPE html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    )
    page.write_text(f"{head}{card}", encoding="utf-8")
    seen = browser.new_context(viewport={"width": 900, "height": 900}).new_page()
    problems = []
    seen.on("pageerror", lambda error: problems.append(str(error)))
    seen.on("request", lambda r: r.url.startswith("http") and problems.append(r.url))
    seen.goto(page.as_uri())
    seen.wait_for_function("document.querySelector('output')?.textContent")
    seen.wait_for_timeout(500)
    yield seen, maps, frames, problems
    assert problems == []
    seen.context.close()


def check(seen, maps, frames, frame, method="t-SNE"):
    """That one frame is ringed in every map, told, and drawn."""
    found = seen.evaluate(READ)
    expected = [maps[method][name][frame] for name in ("SOAP", "SchNet", "PH")]
    np.testing.assert_allclose(found["rings"], expected, atol=2e-3)
    atoms = frames[frame]
    assert f"{atoms.info['energy per atom']:.3f} eV/atom" in found["said"]
    x = np.mod(atoms.positions[:, 0], atoms.cell[0, 0])
    apart = np.abs(np.array(found["atoms"]) - x)
    assert np.minimum(apart, atoms.cell[0, 0] - apart).max() < 1e-3  # Å
    assert found["sticks"] == 6 * len(bonds(atoms)[0])  # both halves: two ends and a gap each
    return found


def test_the_keyboard_leads_through_all_frames(opened):
    seen, maps, frames, _ = opened
    check(seen, maps, frames, 2)
    slider = seen.get_by_label("Frame")
    slider.focus()
    said = []
    for frame in (3, 4):
        slider.press("ArrowRight")
        seen.wait_for_timeout(400)
        said.append(check(seen, maps, frames, frame)["said"])
    assert said[0] != said[1] == slider.get_attribute("aria-valuetext")


def test_menus_change_map_and_colour(opened):
    seen, maps, frames, _ = opened
    before = seen.evaluate(READ)
    seen.get_by_label("Map").select_option("PCA")
    seen.get_by_label("Colour").select_option("energy")
    after = check(seen, maps, frames, 4, "PCA")
    assert after["title"].startswith("energy") and after["colour"] != before["colour"]
    seen.get_by_label("Map").select_option("t-SNE")


def test_a_click_shows_the_structure(opened):
    seen, maps, frames, _ = opened
    seen.evaluate("document.querySelector('.plotly-graph-div').scrollIntoView()")
    points = seen.locator(".plotly-graph-div .subplot.xy .scatterlayer .trace").first
    box = points.locator("path.point").nth(1).bounding_box()
    seen.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    seen.wait_for_timeout(300)
    seen.mouse.down()
    seen.mouse.up()
    seen.wait_for_timeout(600)
    check(seen, maps, frames, 1)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_card_is_as_high_as_what_it_holds(opened, width):
    seen = opened[0]
    before = seen.viewport_size
    seen.set_viewport_size({"width": width, "height": 900})
    seen.wait_for_timeout(500)
    card = seen.locator(".card")
    within, shown = card.evaluate("c => [c.scrollHeight, c.clientHeight]")
    parts = [seen.locator(name).bounding_box() for name in ("output", ".plotly-graph-div")]
    seen.set_viewport_size(before)
    assert within <= shown + 1
    said, graph = parts
    assert said["y"] + said["height"] <= graph["y"] + 1  # the controls hide nothing
    assert graph["width"] >= 500  # panels to read in, even on a phone
