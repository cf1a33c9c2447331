"""The rendered book on a loopback server, and a Chromium to look at it.

`BOOK_HTML` names another folder to test than `_build/html`; `CHROMIUM` names the browser to use.
"""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HTML = Path(os.environ.get("BOOK_HTML", ROOT / "_build" / "html"))

BROWSERS = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
]
ARGUMENTS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]


def find_browser(playwright):
    """Path of a Chromium: `CHROMIUM`, the system's, or playwright's own; None without any."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    own = Path(playwright.chromium.executable_path)
    return str(own) if own.exists() else None


@pytest.fixture(scope="session")
def book():
    """Folder of the rendered book; the quick book is built first where there is none."""
    if not (HTML / "index.html").is_file():
        command = [sys.executable, "-m", "phutils.pipeline", "book", "--profile", "quick"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
            pytest.fail(f"the quick book does not build:\n{tail}")
    return HTML


@pytest.fixture(scope="session")
def site(book):
    """Address of the rendered book on a loopback server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(book))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def browser():
    """A running Chromium with software WebGL."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = find_browser(playwright)
        if path is None:
            pytest.skip(
                "no Chromium found: install it (Debian: apt-get install chromium) "
                "or name one in CHROMIUM"
            )
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()
