"""A real browser, headless, at a real `gridscribe serve`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, sync_playwright

from tests.serving import serve

DIST = Path(__file__).parents[1] / "gridscribe" / "viewer" / "dist"


@contextmanager
def serving(output: str, token: str | None = None) -> Iterator[str]:
    """The address of a service of `output`, which must live until the end."""
    with serve(output, token=token) as served:
        yield served.url
        assert served.process.poll() is None, f"the service ended with {served.process.returncode}: {served.log[-40:]}"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium. What lacks is named with the way to install it: a viewer that nobody looked at is not tested."""
    program = shutil.which("chromium")
    assert program, "the viewer is tested in a real browser: install chromium (Debian: apt-get install chromium)"
    assert (DIST / "index.html").is_file(), "the viewer is not built: `make viewer` builds it, and needs node and npm"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page, and all that went on in it."""

    page: Page
    requests: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console, and what no one caught."""

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def hosts(self) -> set[str]:
        """Of everything that was asked for over the network."""
        return {urlsplit(request.url).netloc for request in self.requests if request.url.startswith(("http", "ws"))}

    def tab(self, name: str) -> Locator:
        """Open a tab of the panel; its content."""
        self.page.get_by_role("tab", name=name, exact=True).click()
        return self.page.get_by_role("tabpanel", name=name, exact=True)

    def search(self, words: str) -> Locator:
        """Search for words; the buttons of what was found, best first."""
        panel = self.tab("Search")
        panel.get_by_role("searchbox", name="Words").fill(words)
        panel.get_by_role("searchbox", name="Words").press("Enter")
        panel.get_by_text(f"for “{words}”, best first.").wait_for()
        return panel.get_by_role("list").get_by_role("button")

    def facts(self) -> dict[str, str]:
        """What stands in the answer, by its terms."""
        panel = self.page.get_by_role("tabpanel", name="Answer")
        panel.locator(".headline").wait_for()
        lists = panel.locator("dl")
        terms, values = lists.locator("dt").all_inner_texts(), lists.locator("dd").all_inner_texts()
        return {"": panel.locator(".headline strong").inner_text(), **dict(zip(terms, values, strict=True))}


@contextmanager
def watching(browser: Browser, address: str) -> Iterator[Watched]:
    """A fresh browser, with nothing kept, at an address."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    watched = Watched(context.new_page())
    watched.page.set_default_timeout(30_000)
    watched.page.goto(address)
    yield watched
    context.close()
