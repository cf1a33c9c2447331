import subprocess

import nbformat
import pytest
from small_project import make_notebook

from phutils import book, keys, pipeline
from phutils.profiles import BuildError


@pytest.fixture
def executed(project):
    pipeline.run_notebook("01_good", keys.executed_path("01_good", project), root=project)
    return project


def test_staging_copies_follows_and_cleans(executed, monkeypatch):
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    staged = executed / "_build" / "src"
    (executed / "_ext").mkdir()
    (executed / "_ext" / "shell.py").write_text("x = 1")
    (executed / "README.md").write_text("not a page")
    book.stage(executed)
    assert (staged / "_ext" / "shell.py").exists() and not (staged / "README.md").exists()
    stamp = (staged / "index.md").stat().st_mtime_ns
    (executed / "_ext" / "shell.py").unlink()
    book.stage(executed)
    assert not (staged / "_ext" / "shell.py").exists()
    assert (staged / "index.md").stat().st_mtime_ns == stamp  # untouched: Sphinx keeps its page
    monkeypatch.setenv("GITHUB_REPOSITORY", "two/fork")
    book.stage(executed)
    assert "https://github.com/two/fork" in (staged / "_config.yml").read_text()


def test_whole_book_is_rendered_and_recognised(executed):
    book.render("embedded", "default", executed)
    html = executed / "_build" / "html"
    assert (html / "index.html").exists() and (html / "notebooks" / "01_good.html").exists()
    assert book.is_rendered("embedded", "default", executed)
    assert not book.is_rendered("embedded", "quick", executed)
    (executed / "index.md").write_text("# Small\n\nOther words.\n")
    assert not book.is_rendered("embedded", "default", executed)


def test_a_warning_fails_the_build(executed):
    (executed / "index.md").write_text("# Small\n\n[nowhere](missing.md)\n")
    with pytest.raises(BuildError, match=r"do not render cleanly:\n.*missing.md"):
        book.render("embedded", "default", executed)
    assert not book.is_rendered("embedded", "default", executed)


def test_a_notebook_with_an_error_fails_the_build(executed):
    path = keys.executed_path("01_good", executed)
    notebook = nbformat.read(path, as_version=4)
    error = nbformat.v4.new_output("error", ename="KeyError", evalue="x", traceback=[])
    notebook.cells[-1].outputs.append(error)
    nbformat.write(notebook, path)
    with pytest.raises(BuildError, match="01_good, cell .* holds an error: KeyError"):
        book.render("embedded", "default", executed)


def test_a_page_without_html_fails_the_build(executed, monkeypatch):
    monkeypatch.setattr(book, "toc_pages", lambda root: ["index", "notebooks/01_good", "ghost"])
    with pytest.raises(BuildError, match="without HTML: ghost"):
        book.render("embedded", "default", executed)


def test_toc_of_the_book_lists_existing_pages():
    pages = book.toc_pages()
    assert pages[0] == "index" and len(pages) == len(set(pages))
    for page in pages:
        found = [book.ROOT / f"{page}{suffix}" for suffix in (".md", ".ipynb")]
        assert any(path.exists() for path in found), page


def test_building_must_leave_git_clean(tmp_path):
    assert book.git_status(tmp_path) is None
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    before = book.git_status(tmp_path)
    book.check_git(before, tmp_path)
    make_notebook(tmp_path / "left.ipynb", "n: int = 1")
    with pytest.raises(BuildError, match=r"left git dirty:\n\?\? left.ipynb"):
        book.check_git(before, tmp_path)
