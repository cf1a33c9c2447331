"""The rendered files by themselves: links, fragments, and figures that a page may have lost."""

import json
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from phutils import pipeline
from phutils.book import toc_pages

PAGES = [*toc_pages(), "search", "genindex"]
MOST = 8e6  # bytes of a page and its images
CHAPTERS = [page for page in toc_pages() if page.startswith("notebooks/")]


class Page(HTMLParser):
    """Anchors, links, loaded files and interactive figures of a page."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.loaded, self.figures = set(), [], [], 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors.update(attributes.get(key) for key in ("id", "name"))
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        elif tag == "link" and attributes.get("rel") in ("stylesheet", "preload", "icon"):
            self.loaded.append(attributes["href"])
        elif tag in ("script", "img", "source", "iframe") and attributes.get("src"):
            self.loaded.append(attributes["src"])
        self.figures += "plotly-graph-div" in (attributes.get("class") or "")


@pytest.fixture(scope="module")
def parsed(book):
    """All pages by name."""
    return {page: Page(book / f"{page}.html") for page in PAGES}


@pytest.mark.parametrize("page", PAGES)
def test_internal_links_and_fragments_resolve(book, parsed, page):
    here = (book / f"{page}.html").resolve()
    broken = []
    for link in parsed[page].links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or link in ("#", ""):
            continue
        target = (here.parent / unquote(parts.path)).resolve() if parts.path else here
        if not target.is_file() or not target.is_relative_to(book.resolve()):
            broken.append(link)
        elif parts.fragment and target.suffix == ".html":
            anchors = Page(target).anchors if target != here else parsed[page].anchors
            if unquote(parts.fragment) not in anchors:
                broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES)
def test_loads_only_files_of_the_site(book, parsed, page):
    here = (book / f"{page}.html").resolve()
    for address in parsed[page].loaded:
        if address.startswith("data:"):
            continue
        parts = urlsplit(address)
        assert not parts.scheme and not parts.netloc, address
        assert (here.parent / unquote(parts.path)).is_file(), address


@pytest.mark.parametrize("page", PAGES)
def test_is_not_too_heavy(book, parsed, page):
    here = book / f"{page}.html"
    images = {here.parent / unquote(a) for a in parsed[page].loaded if "_images/" in a}
    assert sum(file.stat().st_size for file in {here, *images}) < MOST


@pytest.mark.parametrize("page", CHAPTERS)
def test_no_interactive_figure_is_lost(book, parsed, page):
    notebook = json.loads((book / "_sources" / f"{page}.ipynb").read_text(encoding="utf-8"))
    hidden = {"remove-cell", "remove-output"}
    made = sum(
        "application/vnd.plotly.v1+json" in output.get("data", {})
        for cell in notebook["cells"]
        if not hidden & set(cell["metadata"].get("tags", []))
        for output in cell.get("outputs", [])
    )
    assert parsed[page].figures == made


@pytest.mark.parametrize("page", CHAPTERS)
def test_no_warning_is_given(book, page):
    notebook = nbformat.read(book / "_sources" / f"{page}.ipynb", as_version=4)
    assert pipeline.find_warnings(notebook) == []


@pytest.mark.parametrize("page", CHAPTERS)
def test_plotly_is_loaded_where_it_is_needed_and_only_there(parsed, page):
    scripts = [address for address in parsed[page].loaded if "plotly" in address]
    assert len(scripts) == (1 if parsed[page].figures else 0)


@pytest.mark.parametrize("page", CHAPTERS)
def test_buttons_lead_to_this_chapter(parsed, page):
    outside = [link for link in parsed[page].links if link.startswith("https://")]
    for place in ("mybinder.org", "colab.research.google.com", "/edit/"):
        assert any(place in link and f"{page}.ipynb" in link for link in outside), place
    assert any(link.endswith(f"_sources/{page}.ipynb") for link in parsed[page].links)
