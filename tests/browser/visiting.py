"""One visit of a page: open it in a fresh window and note everything that goes wrong."""

import contextlib
from dataclasses import dataclass, field

from playwright.sync_api import TimeoutError

HEIGHT = 900

# Mathematics and interactive figures are drawn after the page has loaded.
MATHEMATICS = "() => window.MathJax?.startup?.promise.then(() => true)"
FIGURES = """() => [...document.querySelectorAll('.plotly-graph-div')]
    .every(figure => figure.querySelector('.main-svg'))"""
PATIENCE = 60_000  # ms; a busy machine draws slowly


@dataclass
class Visit:
    """A page in the browser, its console errors, failed requests and requests to elsewhere."""

    page: object
    name: str
    scheme: str
    width: int
    errors: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    elsewhere: list = field(default_factory=list)


@contextlib.contextmanager
def visit(browser, base, name, scheme="light", width=1280):
    """Open page `name` below the address `base`; requests to other places are cut off and noted."""
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    seen = Visit(page, name, scheme, width)

    def gate(route):
        if route.request.url.startswith((base, "data:", "blob:")):
            route.continue_()
        else:
            seen.elsewhere.append(route.request.url)
            route.abort()

    def on_console(message):
        if message.type == "error":
            seen.errors.append(message.text)

    def on_response(response):
        if response.status >= 400:
            seen.failed.append(f"{response.status} {response.url}")

    context.route("**/*", gate)
    page.on("console", on_console)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("response", on_response)
    try:
        page.goto(f"{base}/{name}", timeout=PATIENCE)
        page.evaluate(MATHEMATICS)
        try:
            page.wait_for_function(FIGURES, timeout=PATIENCE)
        except TimeoutError:
            seen.errors.append("an interactive figure was not drawn")
        yield seen
    finally:
        context.close()
