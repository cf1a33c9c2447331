#!/usr/bin/env python3
"""Set everything up, then build the book, run the tests or open JupyterLab.

Needs nothing but Python's standard library (3.9 or newer, any platform). The first call fetches uv
into .tools/ and the locked environment of uv.lock into .venv/; later calls see from a stamp that
nothing has changed and start the job at once. Exit status: that of the job; 2 when the command or
the machine does not let the job start; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import functools
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
TOOLS = ROOT / ".tools"
VENV = ROOT / ".venv"
STAMP = VENV / "set-up-stamp"
WINDOWS = os.name == "nt"
UV = TOOLS / "bin" / ("uv.exe" if WINDOWS else "uv")
UV_FROM, UV_BELOW = (0, 13, 9), (0, 14)  # the versions this set-up has been tested with
PROFILES = ("quick", "default", "paper")
LABELS = ("nep89", "gfn1", "lda")  # of the embedded data; the first one is the usual
PINS = ("uv.lock", "pyproject.toml", ".python-version")
LINUX = sys.platform.startswith("linux")
NEEDED_GB = 8 if LINUX else 3  # PyTorch for Linux brings the CUDA libraries along
SIZES = "3.5 GB to download, 7 GB on disk" if LINUX else "1 GB to download, 2 GB on disk"


def say(message):
    print(f"run.py: {message}", file=sys.stderr, flush=True)


def fail(message):
    say(message)
    raise SystemExit(2)


# --- the environment --------------------------------------------------------------------------


def python_in(venv):
    return venv / ("Scripts/python.exe" if WINDOWS else "bin/python")


def stamp_text():
    """Digest of all that decides what is in .venv: the pins, the tool, the place."""
    digest = hashlib.sha256(repr((UV_FROM, UV_BELOW, str(ROOT))).encode())
    for name in PINS:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest() + "\n"


def is_ready():
    try:
        return STAMP.read_text() == stamp_text() and python_in(VENV).exists()
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def only_one():
    """Hold the lock of the set-up: a second run waits here until the first one has finished."""
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "lock").open("a+") as handle:
        if not try_lock(handle):
            say("another run is setting up this folder; waiting for it")
            while not try_lock(handle):
                time.sleep(0.2)
        yield handle  # closing it gives the lock back, and so does the end of the process


def try_lock(handle):
    try:
        if WINDOWS:
            import msvcrt

            handle.seek(0)
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass  # a file system without locks: go on without one
    return True


def check_disk():
    present = sum(f.lstat().st_size for f in VENV.rglob("*") if not f.is_dir()) / 1e9
    needed = float(os.environ.get("BOOK_MIN_FREE_GB") or max(1.0, NEEDED_GB - present))
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < needed:
        fail(
            f"the environment needs about {needed:.0f} GB of free disk space and {ROOT} has "
            f"{free:.1f} GB: free some, or set BOOK_MIN_FREE_GB=0 to try all the same"
        )


def is_online():
    """Whether the package index answers at all; asked only to explain a failure."""
    import urllib.error
    import urllib.request

    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    try:
        urllib.request.urlopen(index or "https://pypi.org/simple/", timeout=5).close()
    except (urllib.error.HTTPError, ValueError):
        pass  # it answers, or uv knows better how to ask
    except OSError as error:
        return "SSL" in str(error)
    return True


def fail_to_download(what, reason):
    if is_online():
        fail(f"{what} could not be set up: {reason}")
    fail(
        f"{what} could not be downloaded because the package index does not answer: connect to the "
        "network (HTTPS_PROXY names a proxy), then give the same command again"
    )


def uv_version(program):
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True)
    except OSError:
        return None
    found = re.match(r"uv (\d+)\.(\d+)\.(\d+)", answer.stdout)
    return tuple(map(int, found.groups())) if found and answer.returncode == 0 else None


def find_pip():
    """Return a command that runs pip, or None. Debian's python3 may come without it."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    venv = TOOLS / "venv"
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", venv], capture_output=True)
    return [python_in(venv), "-m", "pip"] if made.returncode == 0 else None


def find_uv():
    """Return the path of uv: the one in .tools/, fetched when absent, else the one on PATH."""
    version = uv_version(UV)
    if version and UV_FROM <= version < UV_BELOW:
        return UV
    from_text, below_text = (".".join(map(str, v)) for v in (UV_FROM, UV_BELOW))
    pip, answer = find_pip(), None
    if pip:
        say(f"fetching uv {from_text} or newer into .tools/ (about 20 MB)")
        partial = TOOLS / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        command = [*pip, "install", "-q", "--no-deps", "--only-binary=:all:", "--no-user"]
        command += ["--target", partial, f"uv>={from_text},<{below_text}"]
        env = {"PIP_RETRIES": "1", **os.environ, "PIP_REQUIRE_VIRTUALENV": "0"}
        answer = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        if answer.returncode == 0:
            UV.parent.mkdir(exist_ok=True)
            (partial / "bin" / UV.name).replace(UV)
            for leftover in (partial, TOOLS / "venv"):
                shutil.rmtree(leftover, ignore_errors=True)
            return UV
    on_path = shutil.which("uv")
    if on_path:
        say(f"using {on_path}")
        return on_path
    if answer:
        fail_to_download("uv", (answer.stderr.strip().splitlines() or ["pip failed"])[-1])
    fail(
        "this Python has neither pip nor venv: install one (Debian: apt install python3-pip), or "
        "install uv (https://docs.astral.sh/uv), then give the same command again"
    )


def mend():
    """Forget what a killed set-up left half written, so that uv installs it again.

    uv takes a package for installed when its .dist-info folder is there; the RECORD in that folder
    lists the files and sizes which must be there too.
    """
    if VENV.exists() and not python_in(VENV).exists():
        shutil.rmtree(VENV)
    packages = "Lib/site-packages" if WINDOWS else "lib/python3*/site-packages"
    for info in VENV.glob(f"{packages}/*.dist-info"):
        try:
            if (info / "INSTALLER").read_text().strip() != "uv":
                continue
            with (info / "RECORD").open(newline="", encoding="utf-8") as handle:
                for name, _, size in csv.reader(handle):
                    if size and (info.parent / name).stat().st_size != int(size):
                        raise ValueError(name)
        except (OSError, ValueError):
            say(f"{info.name} is incomplete and will be installed again")
            shutil.rmtree(info)


def set_up():
    """Make .venv hold what uv.lock says; return at once when it does already."""
    if is_ready():
        return
    with only_one() as lock:
        if is_ready():  # the run that this one waited for did it
            return
        check_disk()
        started = time.monotonic()
        if VENV.exists():
            say("bringing the environment in .venv/ up to date")
        else:
            say(f"setting up the environment in .venv/, the first time only ({SIZES})")
        uv = find_uv()
        mend()
        STAMP.unlink(missing_ok=True)
        env = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "UV_LOCKED")}
        env["UV_PROJECT_ENVIRONMENT"] = str(VENV)
        project = ["--project", str(ROOT)]
        # --inexact leaves in place what the reader added, for instance the extra `simulate`
        sync = [uv, "sync", "--frozen", "--inexact", "--group", "dev", *project]
        # uv shares the lock: should this process be killed, a next run waits until uv has finished
        shared = {} if WINDOWS else {"pass_fds": [lock.fileno()]}
        if subprocess.run(sync, cwd=ROOT, env=env, **shared).returncode != 0:
            find = [uv, "python", "find", *project, (ROOT / ".python-version").read_text().strip()]
            found = subprocess.run(find, cwd=ROOT, env=env, capture_output=True, text=True)
            if found.returncode != 0 and "No interpreter found" in found.stderr:
                fail(
                    "Python 3.12 was not found and could not be downloaded: install it and try "
                    "again, or take the conda route, `conda env create -f environment.yml`"
                )
            fail_to_download("the environment", "uv's own message above says why")
        partial = STAMP.with_suffix(".tmp")
        partial.write_text(stamp_text())
        partial.replace(STAMP)  # the last act: a set-up that was killed is done again
        say(f"environment ready after {time.monotonic() - started:.0f} s")


# --- the jobs ---------------------------------------------------------------------------------


def run_job(arguments, folder=ROOT):
    """Run the environment's Python, hand signals on, and return its exit status."""
    interrupts = []
    # Ctrl-C reaches the child from the terminal: note it here and let the child tidy up. (With an
    # exception in its place, wait() can lose the child's status and report 0.)
    signal.signal(signal.SIGINT, lambda *_: interrupts.append(1))
    child = subprocess.Popen([python_in(VENV), *arguments], cwd=folder)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    status = child.wait()
    if interrupts and status != 0:
        return 130
    return status if status >= 0 else 128 - status


def serve(port):
    import http.server

    site = ROOT / "_build" / "html"
    if not (site / "index.html").is_file():
        fail("the book has not been built yet: run `python3 run.py book` first")

    class Handler(http.server.SimpleHTTPRequestHandler):
        extensions_map = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
        extensions_map.update({".html": "text/html", ".json": "application/json"})

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        allow_reuse_address = not WINDOWS  # there it would let two servers share one port

    try:
        server = Server(("127.0.0.1", port), functools.partial(Handler, directory=str(site)))
    except OSError as error:
        fail(f"port {port} cannot be used ({error.strerror}): choose another with --port")
    with server:
        print(f"http://127.0.0.1:{server.server_port}/  (Ctrl-C to stop)", flush=True)
        server.serve_forever()


def a_dataset(text):
    if text in ("embedded", "zenodo"):
        return text
    path = Path(text).expanduser().resolve()
    if not path.exists():
        raise argparse.ArgumentTypeError(
            f"there is no {text}; give embedded, zenodo or the path of a file or folder"
        )
    return str(path)


def a_notebook(text):
    names = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    name = Path(text).name[: -len(".ipynb")] if text.endswith(".ipynb") else text
    if name not in names:
        raise argparse.ArgumentTypeError(
            f"there is no notebook {text}; there are {', '.join(names)}"
        )
    return name


def a_number(least, most, text):
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least} to {most}")
    return int(text)


class Parser(argparse.ArgumentParser):
    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message):
        fail(f"{message} (see `python3 run.py --help`)")


def parser():
    top = Parser(prog="run.py", description="Sets up all that is needed, then does the job.")
    jobs = top.add_subparsers(dest="job", metavar="JOB", required=True)

    def job(name, line):
        return jobs.add_parser(name, help=line, description=line)

    book = job("book", "run the notebooks and render the book into _build/html")
    notebook = job("notebook", "run one notebook again with other parameters")
    job("test", "run the tests; what follows goes to pytest")
    job("lab", "open JupyterLab in notebooks/; what follows goes to JupyterLab")
    server = job("serve", "serve the built book on 127.0.0.1")
    for each in (book, notebook):
        each.add_argument("--profile", choices=PROFILES, help="size of the runs: default")
        each.add_argument(
            "--dataset", type=a_dataset, default="embedded", help="embedded, zenodo or a path"
        )
    count = functools.partial(a_number, 1, 1024)
    book.add_argument("-n", dest="jobs", metavar="JOBS", type=count, help="notebooks at a time")
    book.add_argument("--labels", choices=LABELS, default=LABELS[0], help="whose energies")
    notebook.add_argument("name", metavar="NAME", type=a_notebook, help="for instance 03_ridge")
    pair = {"nargs": 2, "action": "append", "default": [], "metavar": ("KEY", "VALUE")}
    notebook.add_argument("-p", dest="pairs", help="set a parameter; may be repeated", **pair)
    port = functools.partial(a_number, 0, 65535)
    server.add_argument("--port", type=port, default=8000, help="default 8000; 0 takes a free one")
    return top


def main(argv):
    rest = argv[1:] if argv[:1] in (["test"], ["lab"]) else []
    if rest[:1] in (["-h"], ["--help"]):
        rest = []
    given = parser().parse_args(argv[: len(argv) - len(rest)])
    if given.job == "serve":
        return serve(given.port)
    set_up()
    if given.job == "test":
        return run_job(["-m", "pytest", *rest])
    if given.job == "lab":
        return run_job(["-m", "jupyterlab", *rest], ROOT / "notebooks")
    command = ["-m", "phutils.pipeline", given.job]
    # a notebook hands on results of other labels if a profile is named: say whether one was
    command += ["--profile", given.profile] if given.profile else []
    command += ["--dataset", given.dataset]
    if given.job == "book":
        command += ["--labels", given.labels] if given.labels != LABELS[0] else []
        return run_job(command + (["-n", str(given.jobs)] if given.jobs else []))
    return run_job([*command, given.name, *(t for pair in given.pairs for t in ("-p", *pair))])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
