"""Sphinx extension: text that chapter 11 makes for the front page of the book.

The root page names what it wants in comments, ``% scoreboard: NAME``. They are replaced by Markdown
that the executed notebook of that chapter has glued under this name; where there is none, they stay
comments. The page is made anew when the notebook changes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

CHAPTER = "notebooks/11_scoreboard.ipynb"
WANTED = re.compile(r"^% scoreboard: (\w+)$", flags=re.M)
PREFIX = "application/papermill.record/"


def glued(notebook: str) -> dict[str, str]:
    """Return the Markdown that an executed notebook has glued, by name.

    Parameters
    ----------
    notebook : str
        Text of the ``.ipynb`` file.
    """
    found = {}
    for cell in json.loads(notebook)["cells"]:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            text = output.get("data", {}).get(f"{PREFIX}text/markdown")
            if name and text is not None:
                found[name] = "".join(text)
    return found


def fill(app, docname, source) -> None:
    """Put the text in (event ``source-read``)."""
    if docname != app.config.root_doc:
        return
    path = Path(app.srcdir) / CHAPTER
    if not path.is_file():
        return
    app.env.note_dependency(CHAPTER)
    found = glued(path.read_text(encoding="utf-8"))
    source[0] = WANTED.sub(lambda match: found.get(match[1], match[0]), source[0])


def setup(app) -> dict:
    """Register the extension."""
    app.connect("source-read", fill)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
