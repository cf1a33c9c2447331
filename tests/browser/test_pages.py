"""Every page of the book in Chromium: light on a laptop, dark on a phone."""

import io
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from visiting import visit

from phutils.book import toc_pages

RULES = ["wcag2a", "wcag2aa"]
VIEWS = [("light", 1280), ("dark", 390)]
CASES = [(page, *view) for page in toc_pages() for view in VIEWS]

# A figure that was drawn has far more colours than this; an empty card has one or two.
COLOURS = 20
# Shorter than this, an alternative text cannot say what a figure shows.
ALT_LENGTH = 15
# A figure wider than this has several panels; shown narrower than that, its labels are too small.
WIDE, READABLE = 700, 640


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(map(str, case)))
def seen(request, browser, site):
    """One visit, shared by all tests of its page, colours and width."""
    name, scheme, width = request.param
    with visit(browser, site, f"{name}.html", scheme, width) as visited:
        yield visited


def colours(element):
    """Number of colours in a screenshot of an element."""
    image = Image.open(io.BytesIO(element.screenshot())).convert("RGB")
    return len(image.getcolors(maxcolors=image.width * image.height))


def test_loads_without_error(seen):
    assert seen.errors == []
    assert seen.failed == []
    assert seen.elsewhere == []


def test_follows_the_colours_of_the_system(seen):
    assert seen.page.evaluate("document.documentElement.dataset.theme") == seen.scheme


def test_does_not_scroll_sideways(seen):
    wide = seen.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= seen.width


def test_mathematics_is_rendered(seen):
    formulas = seen.page.locator(".bd-article .math")
    assert seen.page.locator(".bd-article .math mjx-container").count() == formulas.count()
    assert seen.page.locator("mjx-merror, [data-mjx-error]").count() == 0


def test_interactive_figures_are_drawn_and_described(seen):
    for figure in seen.page.locator(".plotly-graph-div").all():
        figure.scroll_into_view_if_needed()
        assert figure.locator(".no-webgl").count() == 0
        assert colours(figure) > COLOURS
        described = figure.locator("xpath=ancestor::*[@aria-label]").last
        assert len(described.get_attribute("aria-label")) >= ALT_LENGTH


def test_images_are_loaded_and_described(seen):
    for image in seen.page.locator("img").all():
        source = image.get_attribute("src")
        image.evaluate("i => { i.loading = 'eager'; return i.decode(); }")
        assert image.evaluate("i => i.naturalWidth") > 0, source
        alt = image.get_attribute("alt") or ""
        assert not re.search(r"\.(png|jpe?g|svg|gif)$", alt.strip()), f"{source}: {alt}"
        if image.locator("xpath=ancestor::article").count():
            assert len(alt) >= ALT_LENGTH, f"{source}: {alt!r}"


def test_figures_of_many_panels_are_readable_on_a_phone(seen):
    for image in seen.page.locator(".bd-article img").all():
        image.evaluate("i => { i.loading = 'eager'; return i.decode(); }")
        if image.evaluate("i => i.naturalWidth") <= WIDE:
            continue
        assert image.evaluate("i => i.clientWidth") >= READABLE
        box = image.locator("xpath=ancestor::*[contains(@class, 'wide-figure')]")
        beyond = box.evaluate("b => b.scrollWidth - b.clientWidth")
        if seen.width < READABLE:
            assert beyond > 0 and box.evaluate("b => b.tabIndex") == 0  # for the keyboard, too
        else:
            assert beyond <= 1


def test_interactive_figures_do_not_scroll_within_their_cards(seen):
    for card in seen.page.locator("div.text_html:has(.plotly-graph-div)").all():
        assert card.evaluate("c => c.scrollHeight - c.clientHeight") <= 1


def test_a_value_and_its_error_are_on_one_line(seen):
    text = seen.page.locator(".bd-article").evaluate(
        """article => {
            const copy = article.cloneNode(true);
            for (const code of copy.querySelectorAll("pre, code, script, style")) code.remove();
            return copy.textContent;
        }"""
    )
    assert re.findall(r"\d[ \n]±[ \n]\d", text) == []


def test_computed_sentences_are_not_bold(seen):
    """A computed number stands out; a whole sentence in bold does not read well."""
    weights = seen.page.evaluate(
        """() => [...document.querySelectorAll('.pasted-text')].map(
            value => [value.textContent.length > 60, getComputedStyle(value).fontWeight])"""
    )
    assert all((int(weight) < 600) == long for long, weight in weights)


def test_is_accessible(seen):
    found = Axe().run(seen.page, options={"runOnly": RULES, "preload": False})
    problems = [
        f"{violation['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]
    assert not problems, "\n".join(problems)
