"""Sphinx extension of the book: the reference pages in docs/api, made from docstrings.

It loads Sphinx's own autodoc, autosummary and napoleon and settles how they are used, so that
``_config.yml`` only has to name this file. In docstrings a name in single backticks becomes a link
where it names something on these pages, and code where it does not; a name that begins with
``phutils.`` and leads nowhere is a warning, and so fails a ``-W`` build.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

SETTINGS = {
    "add_module_names": False,
    "autodoc_member_order": "bysource",
    "autodoc_typehints": "none",
    "autosummary_generate": False,
    "default_role": "py:obj",
    "napoleon_google_docstring": False,
    "napoleon_use_ivar": True,
    "napoleon_use_rtype": False,
    "toc_object_entries_show_parents": "hide",
}
ELSEWHERE = ("py:.*", r"(?!phutils\.).*")  # names of parameters and of other packages


def configure(app, config) -> None:
    """Set what the pages need (event ``config-inited``)."""
    for name, value in SETTINGS.items():
        config[name] = value
    config.nitpick_ignore_regex = [*config.nitpick_ignore_regex, ELSEWHERE]


def skip_member(app, what, name, member, skip, options) -> bool | None:
    """Leave out what says nothing (event ``autodoc-skip-member``).

    Fields of named tuples ("Alias for field number 0", they are in the signature of the class), and
    the methods for metadata that scikit-learn puts into each estimator.
    """
    field = type(member).__name__ == "_tuplegetter"
    request = name.startswith("set_") and name.endswith("_request")
    return True if field or request else None


def setup(app) -> dict:
    """Register the extension."""
    for name in ("autodoc", "autosummary", "napoleon"):
        app.setup_extension(f"sphinx.ext.{name}")
    own_key = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    app.add_config_value(
        "api_pages_key", own_key, "env", [str]
    )  # when it changes, all is read anew
    app.add_css_file("api.css")
    app.connect("config-inited", configure, priority=100)
    app.connect("autodoc-skip-member", skip_member)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
