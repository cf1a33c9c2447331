"""The files that describe the environment agree with each other."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
FILES = ("pyproject.toml", "uv.lock", "requirements.lock", ".python-version", "README.md")
EXPORT = ["export", "--frozen", "--no-emit-project", "--no-hashes", "--no-annotate"]
EXPORT += ["--group", "dev", "-o", "requirements.lock"]


def uv(folder, *arguments):
    """Run uv in a folder; skip where there is none."""
    local = ROOT / ".tools" / "bin" / "uv"
    program = local if local.exists() else shutil.which("uv")
    if not program:
        pytest.skip("uv is neither in .tools/ nor on PATH")
    return subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True)


def lock_problem(folder):
    """Say how uv.lock falls short of pyproject.toml; None when it does not.

    uv recognises an up-to-date lock without the network and without a cache.
    """
    answer = uv(folder, "lock", "--check", "--offline")
    return answer.stderr if answer.returncode else None


def export_problem(folder):
    """Name the lines in which requirements.lock is not what uv exports; None when it is."""
    before = (folder / "requirements.lock").read_text().splitlines()
    answer = uv(folder, *EXPORT, "-q")
    assert answer.returncode == 0, answer.stderr
    after = (folder / "requirements.lock").read_text().splitlines()
    return sorted(set(before) ^ set(after)) if before != after else None


def read(folder):
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    lock = tomllib.loads((folder / "uv.lock").read_text())
    wanted = {r.name: r for r in map(Requirement, project["dependencies"])}
    locked = {p["name"]: Version(p["version"]) for p in lock["package"] if "version" in p}
    return project, wanted, locked


def pin_problems(folder):
    """List the pins with a known reason that have been lost."""
    _, wanted, locked = read(folder)
    problems = []
    if str(wanted["pulp"].specifier) != "==3.3.2" or locked["pulp"] != Version("3.3.2"):
        problems.append("pulp is not 3.3.2: newer ones break HomCloud's stable volumes")
    book = wanted["jupyter-book"].specifier
    if book.contains("2.0", prereleases=True) or not book.contains("1.0.4.post1"):
        problems.append("jupyter-book must be >=1.0.4.post1,<2: version 2 ignores _config.yml")
    if not Version("1.0.4.post1") <= locked["jupyter-book"] < Version("2"):
        problems.append(f"jupyter-book {locked['jupyter-book']} is locked")
    return problems


def python_problems(folder):
    """List the files that name another Python than .python-version."""
    python = (folder / ".python-version").read_text().strip()
    project, _, _ = read(folder)
    problems = []
    allowed = SpecifierSet(project["requires-python"])
    major, minor = map(int, python.split("."))
    neighbours = [f"{major}.{minor - 1}.99", f"{major}.{minor + 1}.0"]
    if not allowed.contains(f"{python}.1") or any(map(allowed.contains, neighbours)):
        problems.append(f"pyproject.toml: requires-python {allowed} is not {python} alone")
    if f"python={python}" not in yaml.safe_load(environment(folder))["dependencies"]:
        problems.append(f"environment.yml does not name python={python}")
    return problems


def environment(folder):
    return (folder / "environment.yml").read_text()


@pytest.fixture
def copy(tmp_path):
    """Copy the files of the environment to a folder where a test may damage them."""
    for name in (*FILES, "environment.yml", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "phutils", tmp_path / "phutils", ignore=shutil.ignore_patterns("__*__"))
    return tmp_path


def change(path, old, new):
    text = path.read_text()
    assert old in text, f"{path.name} no longer holds {old!r}: mend this test"
    path.write_text(text.replace(old, new))


def test_lock_is_up_to_date():
    assert lock_problem(ROOT) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"ase>=3.26"', '"ase>=3.26", "pip>=1"'),
        ('"ase>=3.26"', '"ase<3.20"'),
        ('"doit>=0.36",', ""),
    ],
    ids=["added", "narrowed", "removed"],
)
def test_a_changed_requirement_is_noticed(copy, old, new):
    assert lock_problem(copy) is None
    change(copy / "pyproject.toml", old, new)
    assert lock_problem(copy) is not None


def test_requirements_are_the_export_of_the_lock(copy):
    assert export_problem(copy) is None


def test_a_changed_export_is_noticed(copy):
    change(copy / "requirements.lock", "pulp==3.3.2", "pulp==3.3.1")
    assert export_problem(copy) == ["pulp==3.3.1", "pulp==3.3.2"]


def test_requirements_suit_the_editable_install_beside_them():
    text = (ROOT / "requirements.lock").read_text()
    assert "--hash" not in text  # pip would demand one of `-e .` too
    assert not re.search(r"^-e|phutils", text, re.MULTILINE)
    assert not re.search(r"^(calorine|neptrainkit)\b", text, re.MULTILINE)  # extras stay out
    assert re.search(r"^pytest==", text, re.MULTILINE)  # the group dev is in


def test_the_pins_with_a_reason_are_there():
    assert pin_problems(ROOT) == []


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("pyproject.toml", '"pulp==3.3.2"', '"pulp>=3.3.2"'),
        ("pyproject.toml", '"jupyter-book>=1.0.4.post1,<2"', '"jupyter-book>=1.0.4.post1"'),
        ("uv.lock", 'name = "pulp"\nversion = "3.3.2"', 'name = "pulp"\nversion = "4.2.0"'),
    ],
    ids=["pulp opened", "jupyter-book opened", "pulp moved in the lock"],
)
def test_a_lost_pin_is_noticed(copy, name, old, new):
    change(copy / name, old, new)
    assert len(pin_problems(copy)) == 1


def test_every_file_names_the_same_python():
    assert python_problems(ROOT) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "culprit"),
    [
        (".python-version", "3.12", "3.13", "pyproject.toml"),
        ("environment.yml", "python=3.12", "python=3.11", "environment.yml"),
        ("pyproject.toml", ">=3.12,<3.13", ">=3.12", "pyproject.toml"),
    ],
)
def test_another_python_is_noticed(copy, name, old, new, culprit):
    change(copy / name, old, new)
    assert any(problem.startswith(culprit) for problem in python_problems(copy))


def test_conda_installs_the_locked_requirements_then_the_package():
    conda = yaml.safe_load(environment(ROOT))
    assert conda["dependencies"][-1] == {"pip": ["-r requirements.lock", "-e ."]}


def test_the_installed_packages_are_the_locked_ones():
    """The environment these tests run in has the versions of requirements.lock."""
    from importlib import metadata

    wrong = []
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            installed = "absent"
        if not requirement.specifier.contains(installed):
            wrong.append(f"{line}: {installed}")
    assert wrong == []


def test_the_citation_names_the_version_and_licence_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project, _, _ = read(ROOT)
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert {r["doi"] for r in citation["references"]} == {
        "10.1063/5.0159349",
        "10.5281/zenodo.7905585",
    }


def test_contributing_gives_the_command_that_made_the_requirements():
    command = (ROOT / "requirements.lock").read_text().splitlines()[1].removeprefix("#").strip()
    assert command == " ".join(["uv", *EXPORT])
    given = (ROOT / "CONTRIBUTING.md").read_text()
    assert command.removeprefix("uv export ") in given
