"""Run the notebooks: papermill, progress, failures.

An executed notebook carries its key (`phutils.keys`) in its metadata and replaces the previous one
in a single rename. A run killed at any moment loses only the notebook it was in, less what that
notebook had already stored through `phutils.artifacts`.

Command line: ``python -m phutils.pipeline book`` and ``python -m phutils.pipeline notebook NAME``.
"""

import argparse
import logging
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from phutils.artifacts import ROOT, atomic_write
from phutils.keys import LABELS, USUAL, check_labels, dataset_key, notebook_key
from phutils.profiles import (
    BuildError,
    check_parameters,
    declared_parameters,
    notebook_path,
    parse_value,
    profile_table,
    read_notebook,
)

KERNEL = "python3"


# --- execution -----------------------------------------------------------------------------------


def run_notebook(
    name,
    target,
    dataset="embedded",
    profile="default",
    parameters=None,
    root=ROOT,
    labels=USUAL,
):
    """Execute one notebook with papermill and move the result into place when all of it ran.

    Parameters
    ----------
    name : str
        Notebook, for example ``03_ridge``.
    target : path-like
        Executed notebook; replaced only on success. A failed one is kept in ``_build/failed``.
    dataset, profile : str
        Passed to the notebook where it declares them; the profile's table gives more parameters.
    parameters : dict, optional
        Overrides, checked against what the notebook declares.
    root : path-like
        Root of the project.
    labels : str
        Passed to the notebook where it declares them.

    Raises
    ------
    BuildError
        For an unknown parameter, a cell that raised, ran out of time or did not complete, or a
        kernel that died; the message names notebook and cell, with the end of the traceback.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from traitlets.config import Config

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # failures are reported below
    path, target = notebook_path(name, root), Path(target)
    table = profile_table(profile, root)
    declared = declared_parameters(path)
    values = {"dataset": dataset, "profile": profile}
    values |= {"labels": labels} if labels != USUAL else {}
    values = {k: v for k, v in values.items() if k in declared}
    values |= table.get(path.stem, {}) | (parameters or {})
    check_parameters(path, values)
    key = notebook_key(name, dataset, profile, parameters, root, labels)

    partial = Path(root) / "_build" / "failed" / path.name
    partial.parent.mkdir(parents=True, exist_ok=True)
    at, started = [0], time.monotonic()
    config = Config({"KernelManager": {"transport_encryption": "auto"}})
    try:
        papermill.execute_notebook(
            path,
            partial,
            values,
            kernel_name=KERNEL,
            progress_bar=False,
            execution_timeout=table["cell_timeout"],
            cwd=path.parent,
            config=config,
            on_cell_start=_progress(path, at),
        )
    except papermill.PapermillExecutionError as error:
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in error.traceback]
        tail = "\n".join("\n".join(lines).strip().splitlines()[-12:])
        where = f"{path.stem}, cell {error.cell_index + 1}"
        raise BuildError(f"{where} raised {error.ename}\n{tail}\n(kept: {partial})") from None
    except CellTimeoutError:
        limit = table["cell_timeout"]
        raise BuildError(f"{path.stem}, cell {at[0]} ran longer than {limit} s") from None
    except DeadKernelError:
        raise BuildError(f"{path.stem}, cell {at[0]}: the kernel died") from None

    notebook = without_rest(nbformat.read(partial, as_version=4))
    check_executed(notebook, path.stem)
    notebook.metadata["phutils"] = {**notebook.metadata.get("phutils", {}), "key": key}
    with atomic_write(target, "w") as file:
        nbformat.write(notebook, file)
    partial.unlink()
    _say(f"{path.stem:<18} {time.monotonic() - started:7.1f} s")
    for index, line in find_warnings(notebook):
        _say(f"  {path.stem}, cell {index}: {line}")


def find_warnings(notebook):
    """Warnings that Python gave while a notebook ran; the pages do not show them.

    Returns
    -------
    list of (int, str)
        Number of the cell, as in the messages of `run_notebook`, and the warning's first line.
    """
    found = []
    for index, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                lines = "".join(output["text"]).splitlines()
                found += [(index, line) for line in lines if "Warning: " in line]
    return found


def without_rest(notebook):
    """Title and reason alone of a notebook that called `phutils.page.skip`; others as they are."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            reason = output.get("metadata", {}).get("phutils", {}).get("skip")
            if reason:
                title = notebook.cells[0].source.splitlines()[0]
                text = f"{title}\n\n```{{note}}\nThis chapter is skipped. {reason}\n```"
                notebook.cells = notebook.cells[:1]
                notebook.cells[0].source = text
                return notebook
    return notebook


def check_executed(notebook, name):
    """Raise `BuildError` unless every code cell completed and none holds an error."""
    for index, cell in enumerate(notebook.cells, 1):
        if cell.cell_type != "code":
            continue
        status = cell.metadata.get("papermill", {}).get("status")
        if status != "completed":
            raise BuildError(f"{name}, cell {index} did not complete (status: {status})")
        for output in cell.outputs:
            if output.output_type == "error":
                raise BuildError(f"{name}, cell {index} holds an error: {output.ename}")


def _say(line):
    print(line, flush=True)


def _progress(path, at, every=30.0):
    """A callback for nbclient: keeps the cell's number in `at`, says it twice a minute."""
    total, started = len(read_notebook(path)["cells"]), time.monotonic()
    last = [started]

    def report(cell, cell_index):
        at[0], now = cell_index + 1, time.monotonic()
        if now - last[0] > every:
            last[0] = now
            _say(f"  {path.stem}: cell {at[0]} of {total} after {now - started:.0f} s")

    return report


# --- command line --------------------------------------------------------------------------------


def book_command(options):
    """Build whatever is out of date through doit, then print where the book is."""
    from doit.cmd_base import DodoTaskLoader
    from doit.doit_cmd import DoitMain

    profile_table(options.profile)
    dataset_key(options.dataset)
    check_labels(options.dataset, options.labels)
    (ROOT / "_build").mkdir(exist_ok=True)
    lock = FileLock(ROOT / "_build" / ".lock")  # released by the system when the build is killed
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BuildError("another build is running in this folder: wait for it") from None
    threads = max(1, (os.cpu_count() or 1) // options.jobs)  # of each notebook: more only wait
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    arguments = ["run", "-f", str(ROOT / "dodo.py"), "-n", str(options.jobs), "-P", "thread"]
    variables = [f"{name}={getattr(options, name)}" for name in ("profile", "dataset", "labels")]
    if DoitMain(DodoTaskLoader()).run([*arguments, "book", *variables]):
        raise BuildError("the book was not built")
    _say(str(ROOT / "_build" / "html" / "index.html"))


@contextmanager
def _environment(values):
    """Environment variables for the processes started meanwhile."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def notebook_command(options):
    """Run one notebook with other parameters, beside the book, and render it as one HTML file.

    What it would hand on to later chapters stays as the book has it. With other labels, a profile
    that is named and no other parameter it is handed on, under names of its own.
    """
    given = {name: parse_value(value) for name, value in options.parameter}
    profile = options.profile or "default"
    publishes = not given or (set(given) == {"labels"} and options.profile)
    target = ROOT / "_build" / "runs" / f"{Path(options.name).stem}.ipynb"
    with _environment({} if publishes else {"PHUTILS_PUBLISH": "no"}):
        run_notebook(options.name, target, options.dataset, profile, given)
    convert = [sys.executable, "-m", "nbconvert", "--to", "html", str(target)]
    subprocess.run(convert, check=True, capture_output=True)
    _say(f"{target}\n{target.with_suffix('.html')}")


def a_dataset(text):
    """A dataset as notebooks are given it: a path in full, since they run in their own folder."""
    path = Path(text).expanduser()
    return str(path.resolve()) if text not in ("embedded", "zenodo") and path.exists() else text


def main(arguments=None):
    """Entry point of ``python -m phutils.pipeline``."""
    parser = argparse.ArgumentParser(
        "phutils.pipeline", description="Run notebooks, build the book"
    )
    commands = parser.add_subparsers(required=True)
    for name, function in (("book", book_command), ("notebook", notebook_command)):
        command = commands.add_parser(name, help=function.__doc__.splitlines()[0])
        command.set_defaults(function=function)
        usual = "default" if name == "book" else None  # a notebook asks whether one was named
        command.add_argument("--profile", default=usual, help="quick, default or paper")
        command.add_argument(
            "--dataset", type=a_dataset, default="embedded", help="embedded, zenodo or a path"
        )
        if name == "book":
            command.add_argument("-n", "--jobs", type=int, default=2, help="notebooks at a time")
            command.add_argument("--labels", default=USUAL, help=" or ".join(LABELS))
        else:
            command.add_argument("name", help="for example 03_ridge")
            command.add_argument(
                "-p",
                "--parameter",
                nargs=2,
                action="append",
                default=[],
                metavar=("KEY", "VALUE"),
                help="override a parameter of the notebook; may be repeated",
            )
    options = parser.parse_args(arguments)
    try:
        options.function(options)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
