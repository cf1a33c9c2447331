"""run.py in a folder of its own, with stand-ins for uv, pip and the environment's Python."""

import ast
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from phutils.keys import LABELS

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are shell scripts")

# uv notes its calls in a file; `sync` makes an environment whose Python repeats its arguments.
UV = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$1" in
    --version) echo "uv ${UV_SAYS:-0.13.9} (stand-in)";;
    python) [ -z "$NO_PYTHON" ] || { echo "error: No interpreter found for 3.12" >&2; exit 2; };;
    sync)
        [ -z "$GATE" ] || { mkdir -p .venv; until [ -e "$GATE" ]; do sleep 0.02; done; }
        [ "${SYNC_STATUS:-0}" -ne 0 ] && exit $SYNC_STATUS
        mkdir -p .venv/bin
        cp python-stand-in .venv/bin/python;;
esac
"""
PYTHON = """#!/bin/sh
echo "in $(basename "$PWD"): $@"
[ -z "$LONG_JOB" ] || exec "$LONG_JOB" -c "
import os, signal, time
signal.signal(signal.SIGINT, lambda *_: os._exit(2))  # as pytest leaves
print('started', flush=True)
time.sleep(60)"
exit ${JOB_STATUS:-0}
"""
PIP = """
import os, pathlib, shutil, sys
if os.environ.get("PIP_STATUS"):
    sys.exit("ERROR: pip fell over")
target = pathlib.Path(sys.argv[sys.argv.index("--target") + 1], "bin")
target.mkdir(parents=True)
shutil.copy("uv-stand-in", target / "uv")
with open(os.environ["CALLS"], "a") as calls:
    calls.write(" ".join(["pip", *sys.argv[1:]]) + "\\n")
"""


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def place(tmp_path):
    """Make a folder with run.py and the stand-ins; return functions to run it and to read calls."""
    folder = tmp_path / "project"
    (folder / "notebooks").mkdir(parents=True)
    (folder / "notebooks" / "03_ridge.ipynb").write_text("{}")
    for name in ("run.py", "pyproject.toml", "uv.lock", ".python-version"):
        shutil.copy(ROOT / name, folder / name)
    script(folder / "uv-stand-in", UV)
    script(folder / "python-stand-in", PYTHON)
    script(tmp_path / "modules" / "pip" / "__main__.py", PIP)
    script(tmp_path / "modules" / "pip" / "__init__.py", "")
    (tmp_path / "home").mkdir()
    tools = tmp_path / "tools"  # the only PATH, so that no uv of this machine is found
    tools.mkdir()
    for name in ("sh", "cp", "mkdir", "basename", "sleep"):
        (tools / name).symlink_to(shutil.which(name))
    calls = tmp_path / "calls"
    base = {
        "PATH": str(tools),
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(tmp_path / "modules"),
        "CALLS": str(calls),
        "BOOK_MIN_FREE_GB": "0",
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/",  # nothing answers there
        "no_proxy": "*",
    }

    def start(*arguments, cwd=folder, **env):
        command = [sys.executable, str(folder / "run.py"), *arguments]
        pipe = subprocess.PIPE
        env = {**base, **env}
        return subprocess.Popen(
            command, cwd=cwd, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def run(*arguments, **env):
        child = start(*arguments, **env)
        out, err = child.communicate(timeout=30)
        return SimpleNamespace(status=child.returncode, out=out, err=err)

    def read_calls():
        return calls.read_text().splitlines() if calls.exists() else []

    return SimpleNamespace(folder=folder, start=start, run=run, calls=read_calls, base=base)


def sentence(result):
    """Return what run.py said last; the run must have been refused in this one line."""
    assert result.status == 2
    assert "Traceback" not in result.err
    return result.err.splitlines()[-1]


def untouched(place):
    return not (place.folder / ".tools").exists() and not (place.folder / ".venv").exists()


# --- the command line


def test_help_explains_each_job_in_a_line(place):
    result = place.run("--help")
    assert result.status == 0
    for job in ("book", "notebook", "test", "lab", "serve"):
        assert any(
            line.split()[:1] == [job] and len(line.split()) > 4 for line in result.out.split("\n")
        )
        own = place.run(job, "--help")
        assert own.status == 0 and f"usage: run.py {job}" in own.out
    assert untouched(place)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["book", "--profile", "huge"], ["--profile", "'huge'", "quick", "default", "paper"]),
        (["book", "--dataset", "no/such"], ["--dataset", "no/such", "embedded", "zenodo", "path"]),
        (["book", "-n", "0"], ["-n", "0 is not a whole number"]),
        (["book", "--prof", "quick"], ["--prof quick"]),
        (["notebook", "99_none"], ["99_none", "03_ridge"]),
        (["notebook", "03_ridge", "-p", "alpha"], ["-p", "2 arguments"]),
        (["serve", "--port", "70000"], ["--port", "70000"]),
        (["bake"], ["'bake'", "book"]),
        ([], ["JOB"]),
    ],
)
def test_a_wrong_command_is_refused_in_one_line_before_any_set_up(place, arguments, words):
    result = place.run(*arguments)
    assert result.err.count("\n") == 1
    assert all(word in sentence(result) for word in words), result.err
    assert untouched(place)
    assert place.calls() == []


def test_profiles_are_those_of_profiles_toml():
    spec = importlib.util.spec_from_file_location("run", ROOT / "run.py")
    run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run)
    table = tomllib.loads((ROOT / "profiles.toml").read_text())
    assert set(run.PROFILES) <= set(table)
    assert run.LABELS == LABELS


def test_run_py_needs_only_the_standard_library_of_python_3_9():
    tree = ast.parse((ROOT / "run.py").read_text(), feature_version=(3, 9))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    assert names <= set(sys.stdlib_module_names)
    assert "tomllib" not in names  # new in 3.11


# --- what reaches the package


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["book"], "in project: -m phutils.pipeline book --dataset embedded"),
        (
            ["book", "--labels", "gfn1", "--profile", "default"],
            "in project: -m phutils.pipeline book --profile default --dataset embedded "
            "--labels gfn1",
        ),
        (
            ["book", "--profile", "quick", "--dataset", "zenodo", "-n", "3"],
            "in project: -m phutils.pipeline book --profile quick --dataset zenodo -n 3",
        ),
        (
            ["notebook", "03_ridge.ipynb", "-p", "alpha", "-2", "-p", "name", "a b"],
            "in project: -m phutils.pipeline notebook --dataset embedded "
            "03_ridge -p alpha -2 -p name a b",
        ),
        (
            ["test", "-x", "--", "--help", "tests/test_run.py", "-n", "2"],
            "in project: -m pytest -x -- --help tests/test_run.py -n 2",
        ),
        (["lab", "--no-browser"], "in notebooks: -m jupyterlab --no-browser"),
    ],
)
def test_arguments_reach_the_job(place, arguments, expected):
    result = place.run(*arguments)
    assert (result.status, result.out) == (0, expected + "\n"), result.err


def test_a_dataset_path_is_made_absolute_where_the_reader_stands(place, tmp_path):
    (tmp_path / "here" / "mine").mkdir(parents=True)
    result = place.run("book", "--dataset", "mine", cwd=tmp_path / "here")
    assert result.out.endswith(f"--dataset {tmp_path / 'here' / 'mine'}\n")


def test_the_job_s_exit_status_is_passed_through(place):
    assert place.run("test", JOB_STATUS="5").status == 5


def test_ctrl_c_is_quiet_and_gives_130(place):
    child = place.start("test", LONG_JOB=sys.executable)
    while child.stdout.readline() != "started\n":
        pass
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert "Traceback" not in err and "KeyboardInterrupt" not in err


# --- the set-up


def test_first_call_sets_up_and_the_second_does_not_call_uv(place):
    first = place.run("test")
    assert first.status == 0
    assert "GB to download" in first.err and "GB on disk" in first.err
    pip, sync = place.calls()
    assert pip.startswith("pip install") and pip.endswith("uv>=0.13.9,<0.14")
    assert sync.startswith("sync --frozen --inexact --group dev --project")
    second = place.run("test")
    assert (second.status, second.err) == (0, "")
    assert len(place.calls()) == 2


def test_a_ready_environment_costs_less_than_50_ms(place):
    place.run("test")
    spec = importlib.util.spec_from_file_location("run_there", place.folder / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    started = time.process_time()
    module.set_up()
    assert time.process_time() - started < 0.05


@pytest.mark.parametrize("name", ["uv.lock", "pyproject.toml", ".python-version"])
def test_a_changed_pin_is_noticed(place, name):
    place.run("test")
    with (place.folder / name).open("a") as handle:
        handle.write("\n")
    again = place.run("test")
    assert again.status == 0 and "up to date" in again.err
    assert [call.split()[0] for call in place.calls()] == ["pip", "sync", "--version", "sync"]


def test_a_moved_folder_and_a_vanished_python_are_noticed(place):
    place.run("test")
    moved = place.folder.rename(place.folder.with_name("moved"))
    command = [sys.executable, moved / "run.py", "test"]
    subprocess.run(command, cwd=moved, env=place.base, check=True, capture_output=True)
    assert place.calls()[-1].startswith("sync")
    (moved / ".venv" / "bin" / "python").unlink()
    subprocess.run(command, cwd=moved, env=place.base, check=True, capture_output=True)
    assert [call.split()[0] for call in place.calls()].count("sync") == 3


def test_uv_of_another_version_in_tools_is_replaced(place):
    script(place.folder / ".tools" / "bin" / "uv", "#!/bin/sh\necho uv 0.4.0\n")
    assert place.run("test").status == 0
    assert [call.split()[0] for call in place.calls()] == ["pip", "sync"]


def wait_for_sync(place):
    while "sync" not in " ".join(place.calls()):
        time.sleep(0.01)


def wait_until_it_waits(child):
    assert any("waiting" in line for line in child.stderr), "it did not wait for the other run"


def test_a_failed_update_is_done_again_even_when_the_change_is_taken_back(place):
    place.run("test")
    before = (place.folder / "uv.lock").read_text()
    (place.folder / "uv.lock").write_text(before + "\n")
    assert place.run("test", SYNC_STATUS="2").status == 2
    (place.folder / "uv.lock").write_text(before)
    calls = len(place.calls())
    assert place.run("test").status == 0
    assert place.calls()[calls + 1].startswith("sync")


def test_a_killed_set_up_is_done_again(place, tmp_path):
    child = place.start("test", GATE=str(tmp_path / "never"))
    wait_for_sync(place)
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    assert not (place.folder / ".venv" / "set-up-stamp").exists()
    again = place.run("test")
    assert again.status == 0 and again.out.startswith("in project")


def test_a_package_that_was_half_written_is_installed_again(place):
    place.run("test")
    packages = place.folder / ".venv" / "lib" / "python3.12" / "site-packages"
    for name, size, installer in [("whole", 4, "uv"), ("cut", 9, "uv"), ("mine", 9, "pip")]:
        info = packages / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (packages / f"{name}.py").write_text("a=1\n")
        (info / "INSTALLER").write_text(installer + "\n")
        (info / "RECORD").write_text(f"{name}.py,sha256=x,{size}\n{name}-1.0.dist-info/RECORD,,\n")
    (packages / "begun-1.0.dist-info").mkdir()
    (place.folder / ".venv" / "set-up-stamp").unlink()
    result = place.run("test")
    assert result.err.count("is incomplete") == 2
    left = sorted(path.name for path in packages.glob("*.dist-info"))
    assert left == ["mine-1.0.dist-info", "whole-1.0.dist-info"]


def test_of_two_runs_at_once_one_sets_up_and_the_other_waits(place, tmp_path):
    first = place.start("test", GATE=str(tmp_path / "gate"))
    wait_for_sync(place)
    second = place.start("test")
    wait_until_it_waits(second)
    (tmp_path / "gate").touch()
    for child in (first, second):
        assert child.communicate(timeout=30)[0].startswith("in project")
    assert [call.split()[0] for call in place.calls()] == ["pip", "sync"]


def test_a_run_waits_for_uv_left_behind_by_a_killed_run(place, tmp_path):
    first = place.start("test", GATE=str(tmp_path / "gate"))
    wait_for_sync(place)
    first.kill()  # run.py alone: uv goes on
    second = place.start("test")
    wait_until_it_waits(second)
    (tmp_path / "gate").touch()
    assert second.communicate(timeout=30)[0].startswith("in project")
    first.communicate()
    assert [call.split()[0] for call in place.calls()].count("sync") == 2


# --- machines that do not allow it


def test_no_disk_space(place):
    result = place.run("book", BOOK_MIN_FREE_GB="1e9")
    assert "GB of free disk space" in sentence(result)
    assert place.calls() == [] and not (place.folder / ".venv").exists()


def test_disk_space_is_counted_against_what_is_there(place, monkeypatch):
    spec = importlib.util.spec_from_file_location("run_there", place.folder / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("BOOK_MIN_FREE_GB", raising=False)
    monkeypatch.setattr(module, "NEEDED_GB", 8)
    big = place.folder / ".venv" / "big"
    big.parent.mkdir()
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=2e9))
    with pytest.raises(SystemExit) as refused:
        module.check_disk()
    assert refused.value.code == 2
    with big.open("wb") as handle:
        handle.truncate(7_000_000_000)  # a sparse file: takes no space
    module.check_disk()


def test_no_network_for_uv(place):
    result = place.run("book", PIP_STATUS="1")
    assert "package index does not answer" in sentence(result)
    assert "the same command again" in sentence(result)


def test_no_network_for_the_packages(place):
    result = place.run("book", SYNC_STATUS="2")
    assert "environment could not be downloaded" in sentence(result)
    assert not (place.folder / ".venv" / "set-up-stamp").exists()


def test_a_failure_with_the_network_up_is_not_put_on_the_network(place, tmp_path):
    index = script(tmp_path / "index" / "index.html", "").as_uri()
    result = place.run("book", PIP_STATUS="1", UV_DEFAULT_INDEX=index)
    assert sentence(result) == "run.py: uv could not be set up: ERROR: pip fell over"
    result = place.run("book", SYNC_STATUS="2", UV_DEFAULT_INDEX=index)
    assert "uv's own message above" in sentence(result)


def test_no_python_3_12(place):
    result = place.run("book", SYNC_STATUS="2", NO_PYTHON="1")
    assert "Python 3.12" in sentence(result)
    assert "conda env create -f environment.yml" in sentence(result)
    assert place.calls()[-1].startswith("python find") and place.calls()[-1].endswith(" 3.12")


def without_pip(tmp_path):
    """Hide pip, as Debian's bare python3 does, and let `-m venv` fail as it does there."""
    modules = tmp_path / "bare"
    text = "import importlib.util as u\nreal = u.find_spec\n"
    text += "u.find_spec = lambda name, *a: None if name == 'pip' else real(name, *a)\n"
    script(modules / "sitecustomize.py", text)
    script(modules / "venv.py", "raise SystemExit('ensurepip is not available')")
    return {"PYTHONPATH": str(modules)}


def test_neither_pip_nor_venv_nor_uv(place, tmp_path):
    result = place.run("book", **without_pip(tmp_path))
    assert "apt install python3-pip" in sentence(result)


def test_without_pip_uv_on_the_path_is_used(place, tmp_path):
    script(tmp_path / "bin" / "uv", UV)
    result = place.run(
        "test", PATH=f"{tmp_path / 'bin'}:{tmp_path / 'tools'}", **without_pip(tmp_path)
    )
    assert result.status == 0, result.err
    assert [call.split()[0] for call in place.calls()] == ["sync"]


def test_without_pip_a_virtual_environment_brings_it(place, tmp_path):
    env = without_pip(tmp_path)
    fetch = '#!/bin/sh\necho venv-pip >> "$CALLS"\nmkdir -p .tools/partial/bin\n'
    fetch += "cp uv-stand-in .tools/partial/bin/uv\n"
    text = "import pathlib, sys\nbin = pathlib.Path(sys.argv[-1], 'bin')\nbin.mkdir(parents=True)\n"
    text += f"(bin / 'python').write_text({fetch!r})\n(bin / 'python').chmod(0o755)\n"
    script(tmp_path / "bare" / "venv.py", text)
    result = place.run("test", **env)
    assert result.status == 0, result.err
    assert [call.split()[0] for call in place.calls()] == ["venv-pip", "sync"]


# --- serving


def test_serve_before_the_book_is_built(place):
    assert "python3 run.py book" in sentence(place.run("serve"))
    assert untouched(place)


def test_serve_on_a_taken_port(place):
    script(place.folder / "_build" / "html" / "index.html", "hello")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = sentence(place.run("serve", "--port", port))
    assert port in said and "--port" in said


def test_serve_serves_the_book_on_loopback_and_stops_quietly(place):
    site = place.folder / "_build" / "html"
    script(site / "index.html", "<p>a page</p>")
    script(site / "_static" / "a.js", "1")
    (place.folder / "_build" / "private").write_text("no")
    child = place.start("serve", "--port", "0")
    watchdog = threading.Timer(20, child.kill)
    watchdog.start()
    address = child.stdout.readline().split()[0]
    assert address.startswith("http://127.0.0.1:")
    open_ = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    assert open_(address).read() == b"<p>a page</p>"
    assert open_(address + "_static/a.js").headers["Content-Type"] == "text/javascript"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        open_(address + "../private")
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    watchdog.cancel()
    assert (child.returncode, err) == (130, "")
    assert untouched(place)
