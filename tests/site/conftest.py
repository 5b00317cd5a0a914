"""What the tests of the built site share: the site on loopback, a browser, and a page that may go nowhere else.

`make check-site` runs these tests on the built site; `make test` leaves them out, because they need Chromium.
"""

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

from tools import chromium

ROOT = Path(__file__).parents[2]
SITE = Path(os.environ.get("ODYSSEY_SITE", ROOT / "_build" / "html"))
PAGES = sorted(path.relative_to(SITE).as_posix() for path in [*SITE.glob("book/**/*.html"), *SITE.glob("[!i]*.html")])


class Quiet(SimpleHTTPRequestHandler):
    """A server that keeps its log to itself, and serves the site under its published path too, for the page 404."""

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.removeprefix("/ml-odyssey"))

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Where the built site is served."""
    if not (SITE / "book" / "index.html").is_file():
        pytest.fail(f"there is no built site in {SITE}; run `make book` first")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SITE)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="session")
def edition() -> None:
    """A test that needs the browser edition fails where it was not built."""
    if not (SITE / "lite" / "jupyter-lite.json").is_file():
        pytest.fail(f"there is no browser edition in {SITE / 'lite'}; run `make lite` first")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium of this machine."""
    program = chromium.program()
    if program is None:
        pytest.fail("these tests need Chromium: apt-get install chromium, or set CHROMIUM to its program")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=chromium.FLAGS)
        yield browser
        browser.close()


class Visit:
    """Opens pages in one browser context, and remembers what they asked for, and what went wrong."""

    def __init__(self, context: BrowserContext, address: str, also: tuple[str, ...] = ()) -> None:
        self.address, self.context, self.also = address, context, also
        self.elsewhere: list[str] = []  # requests to other hosts, all of them refused
        self.problems: list[str] = []  # errors on the console, and files that are not there
        context.route("**/*", self.guard)
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: message.type == "error" and self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("response", lambda answer: answer.status >= 400 and self.problems.append(answer.url))

    def guard(self, route: Route) -> None:
        """Let a request through if it stays on this machine."""
        url = route.request.url
        if url.startswith((self.address, "file:", "data:", "blob:", *self.also)):
            route.continue_()
        else:
            self.elsewhere.append(url)
            route.abort()

    def open(self, name: str, base: str | None = None) -> Page:
        """The page, loaded, with its formulas set."""
        self.page.goto(f"{base or self.address}/{name}", wait_until="load")
        self.page.evaluate("window.MathJax?.startup ? MathJax.startup.promise : null")
        return self.page


def visit(browser: Browser, address: str, **options: Any) -> Iterator[Visit]:
    with browser.new_context(**options) as context:
        yield Visit(context, address)


@pytest.fixture(scope="session")
def desk(browser: Browser, address: str) -> Iterator[Visit]:
    """A desktop screen, light."""
    yield from visit(browser, address, viewport={"width": 1280, "height": 900}, color_scheme="light",
                     reduced_motion="reduce")  # fmt: skip


@pytest.fixture(scope="session")
def night(browser: Browser, address: str) -> Iterator[Visit]:
    """A desktop screen, dark."""
    yield from visit(browser, address, viewport={"width": 1280, "height": 900}, color_scheme="dark",
                     reduced_motion="reduce")  # fmt: skip


@pytest.fixture(scope="session")
def phone(browser: Browser, address: str) -> Iterator[Visit]:
    """A narrow phone."""
    yield from visit(browser, address, viewport={"width": 360, "height": 740}, color_scheme="light", is_mobile=True,
                     has_touch=True, device_scale_factor=2, reduced_motion="reduce")  # fmt: skip
