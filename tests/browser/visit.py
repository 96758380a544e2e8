"""A tab of the browser that notes what it asked for and what went wrong in it."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Server


class Visit:
    """One tab of the browser, what it asked for and what went wrong in it."""

    def __init__(self, context: BrowserContext, server: Server, *, scheme: str = "light") -> None:
        self.server = server
        self.page: Page = context.new_page()
        self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def go(self, query: str = "?tab=projects") -> Page:
        self.page.goto(self.server.url + query)
        expect(self.page.locator("#projects .t2-card").first).to_be_attached()
        return self.page

    def assert_clean(self) -> None:
        """No error on the page, and nothing asked of anybody but this machine."""
        assert self.errors == []
        hosts = {urlsplit(url).hostname for url in self.requests if url.startswith(("http", "ws"))}
        assert hosts == {"127.0.0.1"}
