"""What a reader does with the whole site: search it, and read it from disk."""

import pytest
from visiting import visit

from phutils.book import toc_pages

PAGES = toc_pages()


@pytest.fixture(params=["server", "disk"])
def base(request, book, site):
    """The site by its address, and as files."""
    return site if request.param == "server" else book.resolve().as_uri()


def test_search_finds_a_word(browser, base):
    with visit(browser, base, "search.html?q=amorphous") as seen:
        hits = seen.page.locator("#search-results li a")
        hits.first.wait_for(timeout=15_000)
        addresses = [hit.get_attribute("href").split("?")[0] for hit in hits.all()]
        assert any(address.endswith("index.html") for address in addresses)
        hits.first.click()
        seen.page.wait_for_load_state()
        assert "search.html" not in seen.page.url
        assert seen.page.locator("article h1").count() == 1
        assert (seen.errors, seen.failed, seen.elsewhere) == ([], [], [])


def test_search_finds_nothing_for_a_word_that_is_not_there(browser, site):
    with visit(browser, site, "search.html?q=zyzzyvas") as seen:
        summary = seen.page.locator("#search-results")
        summary.get_by_text("did not match any documents").wait_for(timeout=15_000)
        assert seen.page.locator("#search-results li a").count() == 0


@pytest.mark.parametrize("page", PAGES)
def test_works_from_disk(browser, book, page):
    with visit(browser, book.resolve().as_uri(), f"{page}.html") as seen:
        assert (seen.errors, seen.failed, seen.elsewhere) == ([], [], [])
        formulas = seen.page.locator(".bd-article .math").count()
        assert seen.page.locator(".bd-article .math mjx-container").count() == formulas
        for figure in seen.page.locator(".plotly-graph-div").all():
            assert figure.locator(".main-svg").count() > 0


def test_menu_opens_on_a_phone_and_leads_to_the_chapters(browser, site):
    with visit(browser, site, "index.html", width=390) as seen:
        chapter = next(page for page in PAGES if page.startswith("notebooks/"))
        link = seen.page.locator(f'.bd-sidebar-primary a[href="{chapter}.html"]:visible')
        assert link.count() == 0
        seen.page.locator("button.primary-toggle:visible").first.click()
        link = seen.page.locator(f'a[href="{chapter}.html"]:visible').first
        link.click()
        seen.page.wait_for_url(f"**/{chapter}.html")
