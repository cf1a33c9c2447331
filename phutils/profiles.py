"""Profiles and parameters: what a notebook may be given, and what each profile gives it."""

import ast
import json
import tomllib
from pathlib import Path

from phutils.artifacts import ROOT


class BuildError(Exception):
    """A build step failed; the message is for the reader as it stands."""


def load_profiles(root=ROOT):
    """Content of ``profiles.toml``.

    Returns
    -------
    dict
        {profile: {"cell_timeout": seconds, notebook: {parameter: value}}}
    """
    with (Path(root) / "profiles.toml").open("rb") as file:
        return tomllib.load(file)


def profile_table(profile, root=ROOT):
    """One profile's table.

    Raises
    ------
    BuildError
        If there is no such profile.
    """
    profiles = load_profiles(root)
    if profile not in profiles:
        raise BuildError(f"unknown profile {profile!r}: choose one of {', '.join(profiles)}")
    return profiles[profile]


def notebook_path(name, root=ROOT):
    """Path of a source notebook, given as ``03_ridge``, ``03_ridge.ipynb`` or a path to it."""
    path = Path(root) / "notebooks" / f"{Path(name).stem}.ipynb"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.ipynb")))
        raise BuildError(f"unknown notebook {name!r}: there are {known}")
    return path


def declared_parameters(path):
    """Parameters that a notebook declares: {name: default value}, in the order of its cell.

    Raises
    ------
    BuildError
        If a default is not a literal.
    """
    parameters = {}
    for cell in read_notebook(path)["cells"]:
        if "parameters" not in cell["metadata"].get("tags", []):
            continue
        for node in ast.parse(cell_source(cell)).body:
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            try:
                parameters[target.id] = ast.literal_eval(node.value)
            except ValueError:
                raise BuildError(f"{path.name}: parameter {target.id} is not a literal") from None
    return parameters


def check_parameters(path, given):
    """Refuse parameters that a notebook does not declare, or of another type than its default.

    Parameters
    ----------
    path : pathlib.Path
        Source notebook.
    given : dict
        Parameter names and values.

    Raises
    ------
    BuildError
        Naming notebook, parameter and value.
    """
    declared = declared_parameters(path)
    for name, value in given.items():
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise BuildError(f"{path.stem} has no parameter {name!r}; its parameters are: {known}")
        default = declared[name]
        numeric = isinstance(value, int) and isinstance(default, float)
        if default is None or value is None or (numeric and not isinstance(value, bool)):
            continue
        if type(value) is not type(default):
            kind = type(default).__name__
            raise BuildError(f"{path.stem}: parameter {name} = {value!r} should be of type {kind}")


def parse_value(text):
    """A command-line value as Python reads it (``20``, ``1e-3``, ``[1]``, ``true``) or as text."""
    plain = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in plain:
        return plain[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def read_notebook(path):
    """A notebook as plain JSON data."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def cell_source(cell):
    """Source text of a cell of `read_notebook`."""
    return "".join(cell["source"])
