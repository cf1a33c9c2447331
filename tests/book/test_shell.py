"""The book's frame: configuration, table of contents, vendored files, and the Sphinx extension."""

import base64
import hashlib
import importlib.util
import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from docutils import nodes
from docutils.utils import new_document
from PIL import Image

from phutils.book import toc_pages

ROOT = Path(__file__).resolve().parents[2]
EXT = ROOT / "_ext"
VENDOR = EXT / "vendor"
FIGURE = '<div id="a1" class="plotly-graph-div" style="height:400px;"></div>'


def load_shell():
    spec = importlib.util.spec_from_file_location("book_shell", EXT / "book_shell.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


shell = load_shell()


@pytest.fixture(scope="module")
def config():
    return yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def sphinx_config():
    """The settings that Sphinx receives in the end, after Jupyter Book merged its own."""
    from jupyter_book.config import get_final_config

    path = sys.path.copy()
    settings, _ = get_final_config(
        user_yaml=ROOT / "_config.yml",
        cli_config={"latex_individualpages": False},
        sourcedir=ROOT,
        raise_on_invalid=True,
    )
    sys.path[:] = path
    return settings


# --- configuration -------------------------------------------------------------------------------


def test_notebooks_are_never_executed_by_the_page_builder(sphinx_config):
    assert sphinx_config["nb_execution_mode"] == "off"


def test_buttons_survive_the_merge_of_settings(sphinx_config, config):
    options = sphinx_config["html_theme_options"]
    assert options["repository_url"] == config["repository"]["url"]
    assert options["repository_branch"] == "main"
    assert options["launch_buttons"]["binderhub_url"] == "https://mybinder.org"
    assert options["launch_buttons"]["colab_url"] == "https://colab.research.google.com"
    for button in ("use_edit_page_button", "use_repository_button", "use_issues_button"):
        assert options[button] is True
    assert options["navbar_persistent"] == []  # a second search bar otherwise


def test_extensions_that_reach_outside_are_off(sphinx_config):
    extensions = sphinx_config["extensions"]
    assert not {"sphinx_thebe", "sphinx.ext.intersphinx"} & set(extensions)
    for needed in ("myst_nb", "sphinx_book_theme", "sphinxcontrib.bibtex", "book_shell"):
        assert needed in extensions
    assert sphinx_config["html_context"]["default_mode"] == "auto"


def test_pages_of_the_toc_exist():
    pages = toc_pages(ROOT)
    assert pages[0] == "index" and "references" in pages
    assert len(pages) == len(set(pages))
    missing = [
        page
        for page in pages
        if not any((ROOT / f"{page}{suffix}").is_file() for suffix in (".md", ".ipynb"))
    ]
    assert missing == []


def test_repository_is_named_in_one_place(config):
    url = config["repository"]["url"]
    files = [ROOT / "_config.yml", ROOT / "_toc.yml", *EXT.glob("*.py"), *EXT.glob("static/*")]
    files += [ROOT / f"{page}.md" for page in toc_pages(ROOT) if (ROOT / f"{page}.md").is_file()]
    places = [path.name for path in files if url in path.read_text(encoding="utf-8")]
    assert places == ["_config.yml"]
    assert (ROOT / "_config.yml").read_text(encoding="utf-8").count(url) == 1


def test_commands_of_the_front_page_exist():
    text = (ROOT / "index.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"python3 run\.py ([a-z]+)", text))
    assert {"book", "test", "notebook", "lab"} <= commands
    run = [sys.executable, str(ROOT / "run.py"), "--help"]
    usage = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert [command for command in commands if command not in usage] == []


# --- references ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def entries():
    from pybtex.database import parse_file

    return parse_file(str(ROOT / "references.bib")).entries


def test_references_are_complete(entries):
    for key, entry in entries.items():
        assert {"title", "year"} <= set(entry.fields), key
        assert entry.persons["author"], key
        if doi := entry.fields.get("doi"):
            assert re.fullmatch(r"10\.\d{4,9}/\S+", doi), key
    assert entries["minamitani2023"].fields["doi"] == "10.1063/5.0159349"
    assert entries["minamitani2023data"].fields["doi"] == "10.5281/zenodo.7905585"


def test_every_citation_has_a_reference(entries):
    for page in [*ROOT.glob("*.md"), *ROOT.glob("notebooks/*.ipynb")]:
        text = page.read_text(encoding="utf-8")
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text):
            unknown = [key for key in keys.split(",") if key.strip() not in entries]
            assert unknown == [], page.name


# --- vendored files and drawings -----------------------------------------------------------------


def test_vendored_files_are_as_published():
    lines = (VENDOR / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = dict(reversed(line.split(maxsplit=1)) for line in lines)
    assert {"mathjax/tex-svg-full.js", "mathjax/LICENSE"} == set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name
    present = {f.relative_to(VENDOR).as_posix() for f in VENDOR.glob("*/*")}
    assert present == set(listed)


def test_vendored_mathjax_has_its_version_and_licence():
    assert (EXT / shell.MATHJAX).is_file()
    assert '"3.2.2"' in (EXT / shell.MATHJAX).read_text(encoding="utf-8")
    licence = (VENDOR / "mathjax" / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence and "Version 2.0" in licence
    assert "Apache License 2.0" in (VENDOR / "README.md").read_text(encoding="utf-8")


def test_plotly_comes_out_of_the_installed_package():
    import plotly
    from plotly.offline import get_plotlyjs_version

    path = shell.plotly_file()
    assert path.is_relative_to(Path(plotly.__file__).parent)
    assert get_plotlyjs_version() in path.read_text(encoding="utf-8")[:300]
    assert not list(EXT.rglob("plotly*.js"))


@pytest.mark.parametrize("name", ["logo.svg", "favicon.svg"])
def test_drawings_are_small_and_well_formed(name, config):
    path = EXT / "static" / name
    assert ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert path.stat().st_size < 3000
    assert f"_ext/static/{name}" in (config["logo"], config["html"]["favicon"])


# --- the extension -------------------------------------------------------------------------------


def test_plotly_is_loaded_once_and_before_the_first_figure():
    body = f"<p>text</p>{FIGURE}<script>Plotly.newPlot()</script>{FIGURE}"
    page = shell.add_plotly(body, "../vendor/plotly/plotly.min.js")
    tag = '<script src="../vendor/plotly/plotly.min.js"></script>'
    assert page.count(tag) == 1
    assert page.index("<p>text</p>") < page.index(tag) < page.index("plotly-graph-div")
    assert page.replace(tag, "") == body


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<p>Plotly draws this.</p>",
        "<pre>&lt;div class=&quot;plotly-graph-div&quot;&gt;</pre>",
        '<div class="not-a-plotly-graph-division"></div>',
    ],
)
def test_plotly_is_not_loaded_without_a_figure(body):
    assert shell.add_plotly(body, "plotly.js") == body


def notebook(*outputs):
    return json.dumps({"cells": [{"cell_type": "markdown"}, {"outputs": list(outputs)}]})


def test_figures_without_html_are_found():
    mime = "application/vnd.plotly.v1+json"
    shown = {"data": {mime: {}, "text/html": ["<p>", FIGURE]}}
    assert shell.lost_figures(notebook(shown, {"output_type": "stream", "text": "a"})) == []
    assert shell.lost_figures(notebook(shown, {"data": {mime: {}}})) == [1]
    assert shell.lost_figures(notebook({"data": {mime: {}, "text/html": "<p>"}})) == [1]


def test_images_without_alternative_text_are_reported(monkeypatch):
    said = []
    monkeypatch.setattr(shell.logger, "warning", lambda text, name, **_: said.append(text % name))
    document = new_document("page")
    document += nodes.image(uri="plot.png", alt="Energies of all structures against density")
    shell.check_alt_text(None, document, "page")
    assert said == []
    document += nodes.image(uri="plot.png")
    document += nodes.image(uri="plot.png", alt="plot.png")
    document += nodes.image(uri="plot.png", alt="  ")
    shell.check_alt_text(None, document, "chapter")
    assert len(said) == 3 and all("chapter" in text and "alt" in text for text in said)


def png(width):
    file = io.BytesIO()
    Image.new("RGB", (width, 5)).save(file, "PNG")
    return file.getvalue()


def test_wide_images_get_a_box_and_others_do_not(tmp_path):
    (tmp_path / "wide.png").write_bytes(png(1100))
    (tmp_path / "narrow.png").write_bytes(png(560))
    (tmp_path / "drawing.svg").write_text("<svg/>")
    data = "data:image/png;base64," + base64.b64encode(png(900)).decode()
    document = new_document("page")
    for uri in ("wide.png", "narrow.png", "drawing.svg", "gone.png", data):
        document += nodes.image(uri=uri)
    line = nodes.paragraph()
    line += nodes.image(uri="wide.png")
    document += line
    shell.box_wide_images(SimpleNamespace(srcdir=tmp_path), document, "page")
    boxed = [image["uri"] for image in document.findall(nodes.image) if boxed_in(image)]
    assert boxed == ["wide.png", data]
    assert len(list(document.findall(nodes.image))) == 6


def boxed_in(image):
    return "wide-figure" in image.parent.get("classes", [])


def test_a_value_and_its_error_stay_together_but_code_is_left_alone():
    together = shell.keep_together
    assert together("<td>4.72 ± 0.24</td>") == "<td>4.72\xa0±\xa00.24</td>"
    assert together("<p>31.3\n± 3.5 meV</p>") == "<p>31.3\xa0±\xa03.5 meV</p>"
    for left in ('<a title="1 ± 2">a ± b</a>', "<pre>1 ± 2</pre>", "<script>x = '1 ± 2'</script>"):
        assert together(left) == left


def test_bibliography_entries_are_items_of_their_list():
    entry = '<div class="citation" id="id1" role="doc-biblioentry">'
    assert shell.list_bibliography(entry) == '<div class="citation" id="id1" role="listitem">'


def test_footer_leads_to_the_licence_of_this_repository():
    assert 'href="https://host/me/book/blob/main/LICENSE"' in shell.footer(
        "https://host/me/book", "main"
    )


def test_install_copies_once_and_renews_what_changed(tmp_path):
    source, target = tmp_path / "a.js", tmp_path / "site" / "vendor" / "a.js"
    source.write_text("one")
    shell.install(source, target)
    first = target.stat()
    shell.install(source, target)
    assert target.read_text() == "one" and target.stat().st_mtime_ns == first.st_mtime_ns
    source.write_text("longer")
    shell.install(source, target)
    assert target.read_text() == "longer"
    assert [path.name for path in target.parent.iterdir()] == ["a.js"]


def test_install_leaves_nothing_behind_when_it_fails(tmp_path, monkeypatch):
    source, target = tmp_path / "a.js", tmp_path / "site" / "a.js"
    source.write_text("one")

    def full(_, name):
        Path(name).write_text("o")
        raise OSError("no space left")

    monkeypatch.setattr(shell.shutil, "copyfile", full)
    with pytest.raises(OSError, match="no space"):
        shell.install(source, target)
    assert list(target.parent.iterdir()) == []
