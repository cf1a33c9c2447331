import pytest
from small_project import make_notebook

from phutils import dataset, keys
from phutils.profiles import BuildError


def test_key_follows_the_modules_a_notebook_imports(project, monkeypatch):
    path = project / "notebooks" / "02_uses.ipynb"
    make_notebook(path, "n: int = 1", "from phutils import scores\nscores.PAPER_RMSE")
    other = project / "scores.py"
    other.write_text("changed = 1\n")
    before = (
        keys.notebook_key("02_uses", root=project),
        keys.notebook_key("01_good", root=project),
    )
    found = keys.package_files

    def with_change(modules):
        return [other if p.name == "scores.py" else p for p in found(modules)]

    monkeypatch.setattr(keys, "package_files", with_change)
    assert keys.notebook_key("02_uses", root=project) != before[0]
    assert keys.notebook_key("01_good", root=project) == before[1]


def test_key_follows_the_files_a_notebook_reads(project):
    path = project / "notebooks" / "02_reads.ipynb"
    make_notebook(path, "n: int = 1", reads=["benchmarks/*.json"])
    result = project / "benchmarks" / "speed.json"
    result.parent.mkdir()
    found = {keys.notebook_key("02_reads", root=project)}
    for text in ("1", "2"):
        result.write_text(text)
        found.add(keys.notebook_key("02_reads", root=project))
    assert len(found) == 3


def test_key_follows_the_chapters_a_notebook_builds_on(project):
    make_notebook(project / "notebooks" / "02_later.ipynb", "n: int = 1", after=["01_good"])
    before = keys.notebook_key("02_later", root=project)
    source = project / "notebooks" / "01_good.ipynb"
    source.write_text(source.read_text().replace("0.5", "0.6"))
    assert keys.notebook_key("02_later", root=project) != before


def test_labels_that_a_dataset_lacks_are_refused(tmp_path):
    assert list(keys.LABELS) == ["nep89", *dataset.LABELS]
    keys.check_labels("embedded", "gfn1")
    for name in ("embedded", "zenodo", str(tmp_path)):
        keys.check_labels(name, "nep89", tmp_path)
        with pytest.raises(BuildError, match="has no labels 'gfn1'"):
            keys.check_labels(name, "gfn1", tmp_path)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "SHA256SUMS").write_text("0123  gfn1/1.5_run1.npy\n")
    keys.check_labels(str(tmp_path), "gfn1")
    with pytest.raises(BuildError, match="has no labels 'lda'"):
        keys.check_labels(str(tmp_path), "lda")
    with pytest.raises(BuildError, match="unknown labels 'dft'"):
        keys.check_labels("embedded", "dft")


def test_dataset_key_follows_a_users_file(tmp_path):
    path = tmp_path / "x.xyz"
    path.write_text("1")
    before = keys.dataset_key(str(path))
    assert keys.dataset_key(str(path)) == before
    path.write_text("22")
    assert keys.dataset_key(str(path)) != before
    one = keys.dataset_key(str(tmp_path))
    (tmp_path / "y.xyz").write_text("3")
    assert keys.dataset_key(str(tmp_path)) != one
