"""A real browser for the pages that viz writes: Debian's Chromium, headless, driven by Playwright.

`page` is a new page; when its test ends, it is an error if the page printed one to the console or
asked for anything beyond its own file. `accessible` is the check of axe-core.

Where Chromium or Playwright are missing these tests are skipped, but they fail where CI is set.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Seen(NamedTuple):
    """What a page did that it should not do."""

    errors: list[str]  # printed to the console, or thrown and not caught
    left: list[str]  # what it asked for outside its own file


# A browser for each test file: while there is one, its event loop runs in the tests' thread, and
# tests elsewhere that need their own would fail.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, one for each test file."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("Playwright: pip install 'tensorgrad-engine[dev]'")
    found = [path for name in BROWSERS if (path := shutil.which(name))]
    if not found:
        _missing("Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        # In a container, where tests run as root, Chromium has no sandbox and little /dev/shm.
        args = ["--no-sandbox", "--disable-dev-shm-usage"]
        chromium = playwright.chromium.launch(executable_path=found[0], args=args)
        yield chromium
        chromium.close()


@pytest.fixture
def seen() -> Seen:
    """What `page` did that it should not do; empty lists if nothing."""
    return Seen([], [])


@pytest.fixture
def page(browser: Any, seen: Seen) -> Iterator[Any]:
    """A new page, offline, of 1280 x 720; `page.goto(path.as_uri())` opens a file."""

    def asked(request: Any) -> None:
        opened = request.is_navigation_request() and request.url.startswith(("file:", "about:"))
        if not opened and not request.url.startswith(("data:", "blob:")):
            seen.left.append(request.url)

    def printed(message: Any) -> None:
        if message.type == "error":
            seen.errors.append(message.text)

    context = browser.new_context(offline=True)
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("request", asked)
    page.on("websocket", lambda socket: seen.left.append(socket.url))
    page.on("console", printed)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    yield page
    context.close()
    assert seen == ([], [])


@pytest.fixture
def accessible() -> Callable[[Any], None]:
    """`accessible(page)`: AssertionError with what axe-core finds wrong on the page as it is."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        _missing("axe-core: pip install 'tensorgrad-engine[dev]'")

    def check(page: Any) -> None:
        results = Axe().run(page)
        assert not results.violations_count, results.generate_report()

    return check


def _missing(what: str) -> None:
    stop = pytest.fail if os.environ.get("CI") else pytest.skip
    stop(f"no browser tests without {what}")
