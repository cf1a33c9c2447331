import ast
import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from filelock import FileLock
from small_project import make_notebook

from phutils import keys, pipeline
from phutils.artifacts import ROOT
from phutils.profiles import BuildError, cell_source, declared_parameters, read_notebook


def run(project, name, **options):
    target = keys.executed_path(name, project)
    pipeline.run_notebook(name, target, root=project, **options)
    return nbformat.read(target, as_version=4)


def texts(notebook):
    return [o.text.strip() for c in notebook.cells for o in c.get("outputs", []) if "text" in o]


def test_good_notebook_is_executed_with_profile_and_overrides(project, capsys):
    assert texts(run(project, "01_good")) == ["default 1 0.5"]
    assert texts(run(project, "01_good", profile="quick")) == ["quick 2 0.5"]
    assert texts(run(project, "01_good", profile="quick", parameters={"n": 7})) == ["quick 7 0.5"]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(line.startswith("01_good ") for line in lines)
    assert not list((project / "_build" / "failed").iterdir())


def test_up_to_date_until_an_input_changes(project):
    assert not keys.is_current("01_good", root=project)
    run(project, "01_good")
    assert keys.is_current("01_good", root=project)
    assert not keys.is_current("01_good", profile="quick", root=project)
    source = project / "notebooks" / "01_good.ipynb"
    text = source.read_text()
    source.write_text(text.replace("print(profile", "print(1, profile"))
    assert not keys.is_current("01_good", root=project)
    source.write_text(text)
    assert keys.is_current("01_good", root=project)
    (project / "data" / "SHA256SUMS").write_text("other data")
    assert not keys.is_current("01_good", root=project)


def test_a_run_with_other_parameters_is_not_taken_for_the_books(project):
    run(project, "01_good", parameters={"n": 5})
    assert not keys.is_current("01_good", root=project)


def with_labels(project):
    path = project / "notebooks" / "02_labels.ipynb"
    make_notebook(path, 'labels: str = "nep89"\nprofile: str = "x"', "print(labels)")
    return keys.executed_path("02_labels", project)


def test_labels_reach_the_notebooks_that_have_them_and_their_keys(project):
    with_labels(project)
    make_notebook(project / "notebooks" / "03_on.ipynb", "n: int = 1", "n", after=["02_labels"])
    assert texts(run(project, "02_labels", labels="gfn1")) == ["gfn1"]
    assert keys.is_current("02_labels", root=project, labels="gfn1")
    assert not keys.is_current("02_labels", root=project)
    assert texts(run(project, "02_labels")) == ["nep89"]
    assert keys.is_current("02_labels", root=project)
    key = keys.notebook_key
    names = "01_good", "02_labels", "03_on"
    usual, other = ({n: key(n, root=project, labels=k) for n in names} for k in ("nep89", "gfn1"))
    assert usual["01_good"] == other["01_good"]  # it has no such parameter: it is not run again
    assert usual["02_labels"] != other["02_labels"] and usual["03_on"] != other["03_on"]
    run(project, "01_good", labels="gfn1")
    assert keys.is_current("01_good", root=project)
    sums = project / "data" / "labels" / "SHA256SUMS"
    sums.parent.mkdir(parents=True)
    sums.write_text("more labels")
    assert key("02_labels", root=project) == usual["02_labels"]
    assert key("02_labels", root=project, labels="gfn1") != other["02_labels"]


def chapters_with_labels():
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    return [path for path in paths if "labels" in declared_parameters(path)]


@pytest.mark.parametrize("path", chapters_with_labels(), ids=lambda path: path.stem)
def test_results_of_other_labels_have_names_of_their_own(path):
    cells = [c for c in read_notebook(path)["cells"] if c["cell_type"] == "code"]
    calls = (n for c in cells for n in ast.walk(ast.parse(cell_source(c))))
    calls = [n for n in calls if isinstance(n, ast.Call) and len(n.args) > 2]
    calls = [n for n in calls if "publish" in ast.unparse(n.func).replace("published", "")]
    assert calls
    assert [ast.unparse(n) for n in calls if isinstance(n.args[2], ast.Constant)] == []


@pytest.mark.parametrize(
    "cell, message",
    [
        (
            "a = 1\nraise ValueError('no such ring')",
            r"02_bad, cell 3 raised ValueError\n(.|\n)*no such ring",
        ),
        ("import os\nos._exit(3)", "02_bad, cell 3: the kernel died"),
        ("import time\ntime.sleep(60)", "02_bad, cell 3 ran longer than 2 s"),
    ],
    ids=["raises", "dies", "hangs"],
)
def test_failure_names_notebook_and_cell_and_keeps_the_old_result(project, cell, message):
    path = project / "notebooks" / "02_bad.ipynb"
    make_notebook(path, "n: int = 1", "print('good')")
    run(project, "02_bad")
    make_notebook(path, "n: int = 1", cell, "print('never')")
    profiles = (project / "profiles.toml").read_text()
    (project / "profiles.toml").write_text(
        profiles.replace("cell_timeout = 20", "cell_timeout = 2")
    )
    with pytest.raises(BuildError, match=message):
        run(project, "02_bad")
    old = nbformat.read(keys.executed_path("02_bad", project), as_version=4)
    assert texts(old) == ["good"]
    assert not keys.is_current("02_bad", root=project)
    assert (project / "_build" / "failed" / "02_bad.ipynb").exists()


def test_an_error_that_a_cell_expects_fails_all_the_same(project):
    path = project / "notebooks" / "02_bad.ipynb"
    make_notebook(path, "n: int = 1", "1 / 0", "print('after')")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2].metadata.tags = ["raises-exception"]
    nbformat.write(notebook, path)
    with pytest.raises(BuildError, match="02_bad, cell 3 raised ZeroDivisionError"):
        run(project, "02_bad")


def test_a_cell_that_did_not_complete_is_found(project):
    notebook = run(project, "01_good")
    pipeline.check_executed(notebook, "01_good")
    notebook.cells[-1].metadata.papermill.status = "pending"
    with pytest.raises(BuildError, match=r"did not complete \(status: pending\)"):
        pipeline.check_executed(notebook, "01_good")


def test_warnings_are_told_to_who_builds(project, capsys):
    path = project / "notebooks" / "02_warned.ipynb"
    bar = "import sys\nprint('  0%| | 0/9', file=sys.stderr)"
    make_notebook(path, "n: int = 1", bar, "import warnings\nwarnings.warn('mean of nothing')")
    notebook = run(project, "02_warned")
    said = [line for line in capsys.readouterr().out.splitlines() if "02_warned, cell" in line]
    assert len(said) == 1 and said[0].endswith("UserWarning: mean of nothing")
    assert [index for index, _ in pipeline.find_warnings(notebook)] == [4]
    assert "cell 4:" in said[0]


def test_killed_run_leaves_the_old_result_and_the_next_one_completes(project):
    path = project / "notebooks" / "02_slow.ipynb"
    marker = project / "started"
    make_notebook(
        path,
        "n: int = 1",
        f"import pathlib, time\nfresh = not pathlib.Path({str(marker)!r}).exists()\n"
        f"pathlib.Path({str(marker)!r}).touch()\ntime.sleep(15 if fresh else 0)",
        "print('done')",
    )
    target = keys.executed_path("02_slow", project)
    call = f"pipeline.run_notebook('02_slow', {str(target)!r}, root={str(project)!r})"
    script = f"from phutils import pipeline; {call}"
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not marker.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not target.exists() and not keys.is_current("02_slow", root=project)
    assert texts(run(project, "02_slow")) == ["done"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["book", "--dataset", "no/such/file.xyz"], "dataset 'no/such/file.xyz' not found"),
        (["book", "--profile", "fast"], "unknown profile 'fast'"),
        (["book", "--labels", "dft"], "unknown labels 'dft'"),
        (["notebook", "99_none"], "unknown notebook '99_none'"),
        (["notebook", "03_ridge", "-p", "alhpa", "20"], "03_ridge has no parameter 'alhpa'"),
        (["notebook", "03_ridge", "-p", "alpha", "high"], "parameter alpha = 'high' should be of"),
    ],
)
def test_command_line_errors_are_one_message(arguments, message, capsys):
    assert pipeline.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "Traceback" not in error


@pytest.mark.parametrize(
    "given, expected",
    [
        ([], "yes"),
        (["-p", "alpha", "20"], "no"),
        (["--profile", "quick", "-p", "alpha", "20"], "no"),
        (["-p", "labels", "gfn1"], "no"),  # whose results would they be?
        (["--profile", "quick", "-p", "labels", "gfn1"], "yes"),
        (["--profile", "quick", "-p", "labels", "gfn1", "-p", "every", "4"], "no"),
    ],
)
def test_only_a_run_with_the_books_parameters_or_other_labels_publishes(
    monkeypatch, capsys, given, expected
):
    seen = []

    def run(*args):
        seen.extend([os.environ["PHUTILS_PUBLISH"], args[3]])
        raise BuildError("stop here")

    monkeypatch.setenv("PHUTILS_PUBLISH", "yes")
    monkeypatch.setattr(pipeline, "run_notebook", run)
    assert pipeline.main(["notebook", "03_ridge", *given]) == 1
    assert (
        seen == [expected, "quick" if "quick" in given else "default"]
        and "stop here" in capsys.readouterr().err
    )
    assert os.environ["PHUTILS_PUBLISH"] == "yes"  # as before, for whatever this process does next


@pytest.mark.parametrize("jobs, given, expected", [(1, None, "8"), (3, None, "2"), (3, "5", "5")])
def test_notebooks_share_the_cores(monkeypatch, capsys, tmp_path, jobs, given, expected):
    monkeypatch.setattr(pipeline, "ROOT", tmp_path)
    monkeypatch.setattr(pipeline, "profile_table", lambda name: {})
    monkeypatch.setattr(pipeline, "dataset_key", lambda name: "")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", given or "")
    if not given:
        monkeypatch.delenv("OMP_NUM_THREADS")
    assert pipeline.main(["book", "-n", str(jobs)]) == 1  # there is nothing to build
    assert os.environ["OMP_NUM_THREADS"] == expected


def test_one_build_at_a_time(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(pipeline, "ROOT", tmp_path)
    monkeypatch.setattr(pipeline, "profile_table", lambda name: {})
    monkeypatch.setattr(pipeline, "dataset_key", lambda name: "")
    (tmp_path / "_build").mkdir()
    with FileLock(tmp_path / "_build" / ".lock"):
        assert pipeline.main(["book"]) == 1
    assert "another build is running" in capsys.readouterr().err


def test_a_path_is_given_in_full(tmp_path, monkeypatch):
    (tmp_path / "own.xyz").touch()
    monkeypatch.chdir(tmp_path)
    assert pipeline.a_dataset("own.xyz") == str(tmp_path / "own.xyz")
    assert [pipeline.a_dataset(name) for name in ("embedded", "zenodo", "no/such/file.xyz")] == [
        "embedded",
        "zenodo",
        "no/such/file.xyz",
    ]


def test_a_skipped_chapter_is_a_page_with_its_reason(project, monkeypatch):
    path = project / "notebooks" / "02_skips.ipynb"
    code = "from phutils.page import skip\nif n == 1:\n    skip('It needs two; there is one.')"
    make_notebook(path, "n: int = 1", code, "print('ran')\nprint(undefined if n == 1 else n)")
    found = run(project, "02_skips")
    assert [cell.cell_type for cell in found.cells] == ["markdown"]
    assert found.cells[0].source.splitlines() == [
        "# 02_skips",
        "",
        "```{note}",
        "This chapter is skipped. It needs two; there is one.",
        "```",
    ]
    assert keys.is_current("02_skips", root=project)
    assert texts(run(project, "02_skips", parameters={"n": 2})) == ["ran\n2"]
