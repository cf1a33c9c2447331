"""Turn pages and executed notebooks into the rendered book, and refuse anything less than whole."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from phutils.artifacts import ROOT, atomic_write
from phutils.keys import USUAL, executed_path, notebook_key
from phutils.pipeline import check_executed
from phutils.profiles import BuildError

PAGES = ("_config.yml", "_toc.yml", "*.md", "docs/**/*.md", "*.bib", "_ext/**/*")
NOT_PAGES = {"README.md", "CONTRIBUTING.md"}


def toc_pages(root=ROOT):
    """Pages that the table of contents lists, in order, without extension."""
    toc = yaml.safe_load((Path(root) / "_toc.yml").read_text(encoding="utf-8"))
    pages = [toc["root"]]

    def walk(node):
        for entry in node.get("chapters", []) + node.get("sections", []) + node.get("parts", []):
            if "file" in entry:
                pages.append(entry["file"])
            walk(entry)

    walk(toc)
    return pages


def chapters(root=ROOT):
    """Notebooks that the table of contents lists, for example ``["01_dataset", ...]``."""
    return [Path(page).stem for page in toc_pages(root) if page.startswith("notebooks/")]


def _page_files(root):
    files = (path for pattern in PAGES for path in Path(root).glob(pattern))
    return sorted(
        f for f in files if f.is_file() and f.name not in NOT_PAGES and "__pycache__" not in f.parts
    )


def stage(root=ROOT):
    """Copy the pages to ``_build/src`` where they changed, and remove what is no longer there.

    The repository's address in ``_config.yml`` is replaced by that of the fork being built, where
    the environment names one (``GITHUB_REPOSITORY``).
    """
    root = Path(root)
    staged = root / "_build" / "src"
    wanted = {executed_path(name, root) for name in chapters(root)}
    for source in _page_files(root):
        target = staged / source.relative_to(root)
        content = source.read_bytes()
        fork = os.environ.get("GITHUB_REPOSITORY")
        if source.name == "_config.yml" and fork:
            pattern = rb"https://github\.com/[\w.-]+/[\w.-]+"
            content = re.sub(pattern, f"https://github.com/{fork}".encode(), content)
        if not target.exists() or target.read_bytes() != content:
            with atomic_write(target) as file:
                file.write(content)
        wanted.add(target)
    for path in staged.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()


def book_key(dataset, profile, root=ROOT, labels=USUAL):
    """Key of everything the rendered book is made from."""
    digest = hashlib.sha256(os.environ.get("GITHUB_REPOSITORY", "").encode())
    sources = sorted(Path(root).glob("phutils/*.py"))  # the reference is made from their docstrings
    for path in (*_page_files(root), *sources):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    for name in chapters(root):
        digest.update(notebook_key(name, dataset, profile, None, root, labels).encode())
    return digest.hexdigest()


def is_rendered(dataset, profile, root=ROOT, labels=USUAL):
    """Whether ``_build/html`` was rendered from just these inputs."""
    return built(root).get("key") == book_key(dataset, profile, root, labels)


def built(root=ROOT):
    """Key, dataset, profile and labels of the rendered book; empty when there is none."""
    try:
        return json.loads((Path(root) / "_build" / "html" / "build.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}


def render(dataset, profile, root=ROOT, labels=USUAL):
    """Stage, render with warnings as errors, and check that every page is there.

    Raises
    ------
    BuildError
        Naming what is wrong: a notebook that holds an error, a warning, a missing page.
    """
    import nbformat

    root = Path(root)
    for name in chapters(root):
        check_executed(nbformat.read(executed_path(name, root), as_version=4), name)
    stage(root)
    html = root / "_build" / "html"
    (html / "build.json").unlink(missing_ok=True)
    arguments = ["build", str(root / "_build" / "src"), "--path-output", str(root)]
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", *arguments]
    done = subprocess.run(
        [*command, "-W", "-n", "--keep-going"], capture_output=True, text=True, cwd=root
    )
    output = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    log = root / "_build" / "book.log"
    log.write_text(output, encoding="utf-8")
    if done.returncode:
        lines = [line for line in output.splitlines() if re.search(r"WARNING|ERROR|Error", line)]
        lines = lines or output.splitlines()[-12:]
        raise BuildError("\n".join(["the pages do not render cleanly:", *lines[:20], f"({log})"]))
    missing = [page for page in toc_pages(root) if not (html / f"{page}.html").is_file()]
    if missing:
        raise BuildError(f"pages of the table of contents without HTML: {', '.join(missing)}")
    record = {"key": book_key(dataset, profile, root, labels)}
    record |= {"dataset": dataset, "profile": profile, "labels": labels}
    with atomic_write(html / "build.json", "w") as file:
        json.dump(record, file)


def git_status(root=ROOT):
    """Output lines of ``git status --porcelain``, or None outside a git checkout."""
    command = ["git", "-C", str(root), "status", "--porcelain", "--untracked-files=all"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None


def check_git(before, root=ROOT):
    """Raise `BuildError` if building changed what git sees."""
    after = git_status(root)
    if after != before:
        new = sorted(set((after or "").splitlines()) - set((before or "").splitlines()))
        raise BuildError("building left git dirty:\n" + "\n".join(new))
