"""A small project to build: notebooks, profiles and a table of contents in a temporary folder."""

import pytest
from small_project import make_notebook


@pytest.fixture
def project(tmp_path):
    """A project with one good notebook, ``01_good``, listed in its table of contents."""
    (tmp_path / "profiles.toml").write_text(
        "[quick]\ncell_timeout = 20\n[quick.01_good]\nn = 2\n[default]\ncell_timeout = 20\n"
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "SHA256SUMS").write_text("")
    (tmp_path / "_config.yml").write_text(
        "title: Small\nauthor: Us\nexecute: {execute_notebooks: 'off'}\n"
        "repository: {url: https://github.com/one/project}\n"
    )
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nchapters:\n  - file: notebooks/01_good\n"
    )
    (tmp_path / "index.md").write_text("# Small\n\nA page.\n")
    make_notebook(
        tmp_path / "notebooks" / "01_good.ipynb",
        'dataset: str = "embedded"\nprofile: str = "interactive"\nn: int = 1\nx: float = 0.5',
        "print(profile, n, x)",
    )
    return tmp_path
