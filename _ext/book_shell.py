"""Sphinx extension of the book: pages that work offline, and repairs of the theme.

What it does, in the order of a build:

* points MathJax at the file vendored under ``_ext/vendor`` and copies it into the site;
* derives from the one repository address in ``_config.yml`` what else needs it (footer, links);
* fails a ``-W`` build when an image has no alternative text, or when a Plotly output has no HTML;
* on pages that hold a Plotly figure, and only there, loads ``plotly.min.js`` of the installed
  package just before the first figure;
* puts a box around wide images, which scroll on a phone;
* keeps a value and its error ("4.72 ± 0.24") on one line;
* gives bibliography entries a role that fits the list around them.

It needs the files beside it: stage the whole ``_ext`` folder.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from docutils import nodes
from sphinx.util import logging

HERE = Path(__file__).resolve().parent
MATHJAX = "vendor/mathjax/tex-svg-full.js"
PLOTLY = "vendor/plotly/plotly.min.js"
STYLE, SCRIPT = "book.css", "book.js"

PLOTLY_JSON = "application/vnd.plotly.v1+json"
WIDE = 700  # pixels: wider than the column of text, so a figure of several panels
BETWEEN_TAGS = re.compile(r"(<(script|style|pre)\b.*?</\2>|<[^>]*>)|(?<=\d)\s±\s(?=\d)", re.S)
PLOTLY_FIGURE = re.compile(r'<div[^>]*\bclass="[^"]*\bplotly-graph-div\b')

logger = logging.getLogger(__name__)


def add_plotly(body: str, script: str) -> str:
    """Load Plotly before the first Plotly figure of a page.

    Parameters
    ----------
    body : str
        HTML of the page's content.
    script : str
        Address of ``plotly.min.js`` relative to the page.

    Returns
    -------
    str
        `body` with one script element before the first figure; `body` itself without a figure.
    """
    figure = PLOTLY_FIGURE.search(body)
    if figure is None:
        return body
    tag = f'<script src="{script}"></script>'
    return body[: figure.start()] + tag + body[figure.start() :]


def lost_figures(notebook: str) -> list[int]:
    """Find Plotly outputs that a page could not show.

    Parameters
    ----------
    notebook : str
        Text of an executed ``.ipynb`` file.

    Returns
    -------
    list of int
        Positions of the cells, counted from 0, with Plotly's JSON but no HTML figure beside it.
    """
    lost = []
    for number, cell in enumerate(json.loads(notebook)["cells"]):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if PLOTLY_JSON in data and not PLOTLY_FIGURE.search("".join(data.get("text/html", ""))):
                lost.append(number)
    return lost


def list_bibliography(body: str) -> str:
    """Give bibliography entries the role that the list around them asks for."""
    return body.replace(' role="doc-biblioentry"', ' role="listitem"')


def keep_together(body: str) -> str:
    """Put no-break spaces around the ± between two numbers, but not in code."""
    return BETWEEN_TAGS.sub(lambda found: found[1] or "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}", body)


def png_width(start: bytes) -> int:
    """Return the width in pixels of the PNG that begins with these bytes; 0 for what is none."""
    return int.from_bytes(start[16:20], "big") if start.startswith(b"\x89PNG\r\n\x1a\n") else 0


def first_bytes(uri: str, folder: Path) -> bytes:
    """Return the beginning of an image: a file below `folder`, or one written into its address."""
    if uri.startswith("data:"):
        head, _, data = uri.partition(",")
        return base64.b64decode(data[:32]) if head.endswith(";base64") else b""
    path = folder / uri
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(24)


def footer(repository: str, branch: str) -> str:
    """Return the licence line of every page as HTML."""
    licence = f'<a href="{repository}/blob/{branch}/LICENSE">MIT licence</a>'
    return f"<p>Text, code and figures under the {licence}.</p>"


def plotly_file() -> Path:
    """Return the path of ``plotly.min.js`` in the installed plotly package."""
    import plotly

    return Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


def install(source: Path, target: Path) -> None:
    """Copy `source` to `target` unless it is there already; never leave half a file."""
    if target.is_file() and target.stat().st_size == source.stat().st_size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent)
    os.close(handle)
    try:
        shutil.copyfile(source, name)
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def own_key() -> str:
    """Digest of this extension and its style: when it changes, every page is made anew."""
    files = [HERE / "book_shell.py", HERE / "vendor" / "SHA256SUMS", *(HERE / "static").iterdir()]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


def configure(app, config) -> None:
    """Fill the settings that follow from others (event ``config-inited``)."""
    config.mathjax_path = f"../{MATHJAX}"  # Sphinx counts from _static
    config.mathjax3_config = {"options": {"enableMenu": False}}  # its menu loads more files
    config.html_static_path.append(str(HERE / "static"))
    options = config.html_theme_options
    repository = options["repository_url"].rstrip("/")
    branch = options["repository_branch"]
    options["extra_footer"] = footer(repository, branch)
    config.myst_substitutions = {
        **config.myst_substitutions,
        "repository": f"[repository]({repository})",
        "issues": f"[issue]({repository}/issues)",
    }


def copy_vendored(app) -> None:
    """Put MathJax into the site (event ``builder-inited``)."""
    if app.builder.format == "html":
        install(HERE / MATHJAX, Path(app.outdir) / MATHJAX)


def check_figures(app, docname, source) -> None:
    """Warn of Plotly figures that would be missing from the page (event ``source-read``)."""
    if Path(app.env.doc2path(docname)).suffix == ".ipynb":
        for cell in lost_figures(source[0]):
            logger.warning(
                "cell %d holds a Plotly figure without HTML: show it with the book's renderer",
                cell,
                location=docname,
                type="book",
                subtype="plotly",
            )


def check_alt_text(app, doctree, docname) -> None:
    """Warn of images without alternative text (event ``doctree-resolved``)."""
    for image in doctree.findall(nodes.image):
        alt = image.get("alt", "").strip()
        if not alt or alt == image.get("uri"):
            logger.warning(
                "image without alternative text in %s: set it in the cell's metadata "
                "(mystnb.image.alt) or in the Markdown",
                docname,
                location=image,
                type="book",
                subtype="alt",
            )


def box_wide_images(app, doctree, docname) -> None:
    """Put a box around images wider than the text (event ``doctree-resolved``)."""
    for image in list(doctree.findall(nodes.image)):
        if isinstance(image.parent, nodes.TextElement):
            continue  # within a line of text
        if png_width(first_bytes(image["uri"], Path(app.srcdir))) > WIDE:
            box = nodes.container(classes=["wide-figure"])
            image.replace_self(box)
            box += image


def finish_page(app, pagename, templatename, context, doctree) -> None:
    """Repair one page before it is written (event ``html-page-context``)."""
    if body := context.get("body"):
        body = keep_together(list_bibliography(body))
        if PLOTLY_FIGURE.search(body):
            install(plotly_file(), Path(app.outdir) / PLOTLY)
            body = add_plotly(body, context["pathto"](PLOTLY, 1))
        context["body"] = body


def setup(app) -> dict:
    """Register the extension."""
    app.add_config_value("book_shell_key", own_key(), "env", [str])
    app.add_css_file(STYLE)
    app.add_js_file(SCRIPT)
    app.connect("config-inited", configure)
    app.connect("builder-inited", copy_vendored)
    app.connect("source-read", check_figures)
    app.connect("doctree-resolved", check_alt_text)
    app.connect("doctree-resolved", box_wide_images)
    app.connect("html-page-context", finish_page, priority=900)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
