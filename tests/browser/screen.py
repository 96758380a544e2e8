"""The review screen as a person uses it: points of the photo, keys, buttons; it never sleeps."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import BrowserContext, Page

ROOT = ".t2m-root"


class Screen:
    """One tab of the browser with the review screen in it, and what went wrong in it."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.url = url
        self.page.goto(url)
        self.wait()

    def wait(self) -> None:
        """Until a photo is shown and nothing is on its way."""
        self.page.wait_for_function(
            f"() => {{ const r = document.querySelector('{ROOT}'); "
            "return r && r.__review && r.__review.state().photo !== null }"
        )
        self.page.evaluate(f"() => document.querySelector('{ROOT}').__review.idle()")

    def reload(self) -> None:
        self.page.reload()
        self.wait()

    @property
    def state(self) -> dict[str, Any]:
        value: dict[str, Any] = self.page.evaluate(
            f"() => document.querySelector('{ROOT}').__review.state()"
        )
        return value

    @property
    def instances(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.state["instances"]
        return found

    def instance(self, number: int) -> dict[str, Any]:
        return next(one for one in self.instances if one["id"] == number)

    def point(self, x: float, y: float) -> tuple[float, float]:
        """A point of the photo in pixels of the page."""
        at = self.page.evaluate(
            f"([x, y]) => document.querySelector('{ROOT}').__review.toScreen(x, y)", [x, y]
        )
        return at["x"], at["y"]

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.wait()

    def choose(self, number: int) -> None:
        self.page.locator(f'{ROOT} .t2m-instance[data-id="{number}"]').click()
        self.wait()
        assert self.state["selected"] == number

    def click(self, x: float, y: float, *, button: Any = "left") -> None:
        self.page.mouse.click(*self.point(x, y), button=button)
        self.wait()

    def drag(self, *path: tuple[float, float]) -> None:
        """Press at the first point of the photo, move through the others, let go."""
        self.page.mouse.move(*self.point(*path[0]))
        self.page.mouse.down()
        for x, y in path[1:]:
            self.page.mouse.move(*self.point(x, y), steps=6)
        self.page.mouse.up()
        self.wait()
