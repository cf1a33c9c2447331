"""A small project to build, a build folder of a test's own, one thread, and the NEP89 file."""

from importlib import metadata

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


@pytest.fixture
def build_folder(tmp_path, monkeypatch):
    """Artifacts and checkpoints of this test lie in its own folder."""
    monkeypatch.setenv("PHUTILS_BUILD", str(tmp_path))


@pytest.fixture(scope="module")
def one_thread():
    """Of the whole module: results are the same to the last bit for one number of threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def nep89():
    """Path of the full NEP89 file; skips where the extra is missing."""
    reason = "the extra `simulate` is not installed (uv sync --extra simulate)"
    pytest.importorskip("calorine", reason=reason)
    try:
        metadata.version("neptrainkit")
    except metadata.PackageNotFoundError:
        pytest.skip(reason)
    from phutils import potential

    return potential.nep89_path()
