"""A real gateway, and Chromium that looks at its page."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.browser.fake_api import FakeApi
from tests.peers.harness import (
    Authority,
    Gateway,
    Lab,
    free_port,
    listener,
    maildirs,
    route,
    smart_host,
    toml,
    wait_until,
)

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-lcd-text",
]
DESKTOP, PHONE = (1280, 800), (390, 844)
SHOTS = Path(__file__).parent.parent.parent / "docs" / "screenshots"
# Chromium names each breach of the policy so.
BREACH = re.compile(r"Content[- ]Security[- ]Policy|violates", re.I)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        fonts = {"FONTCONFIG_FILE": str(Path(__file__).parent / "fonts.conf")}
        letters = fonts if "MAILGW_SCREENSHOTS" in os.environ else {}
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, env={**os.environ, **letters})
        yield made
        made.close()


@attrs.define
class Windows:
    """Pages of a browser; what each of them complains of fails the test."""

    chromium: Any
    complaints: list[str] = attrs.field(factory=list)
    expected: list[str] = attrs.field(factory=list)
    """Parts of complaints that a test brings about."""
    _contexts: list[Any] = attrs.field(factory=list)

    def open(self, address: str, size: tuple[int, int] = DESKTOP, scheme: str = "light", **more: Any) -> Any:
        """A page at an address, in a browser that knows nothing yet."""
        context = self.chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce",
            timezone_id="UTC", locale="en-GB", **more,
        )
        context.set_default_timeout(10_000)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self._said(message))
        page.on("pageerror", lambda fault: self.complaints.append(f"script: {fault}"))
        page.goto(address)
        return page

    def _said(self, message: Any) -> None:
        if message.type == "error" or BREACH.search(message.text):
            self.complaints.append(message.text)

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def check(self) -> None:
        left = [words for words in self.complaints if not any(part in words for part in self.expected)]
        assert not left, left


@pytest.fixture
def windows(chromium: Any) -> Iterator[Windows]:
    made = Windows(chromium)
    yield made
    made.close()
    made.check()


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    from tests.browser.example import example

    made = FakeApi(example())
    with contextlib.closing(made):
        yield made


@attrs.frozen
class Served:
    """A gateway with a page.  ``address`` has its token."""

    gateway: Gateway
    web: int
    lab: Lab

    @property
    def token(self) -> str:
        return (self.gateway.folder / "state" / "api-token").read_text().strip()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.web}/"

    @property
    def signed_in(self) -> str:
        return f"{self.address}#token={self.token}"

    @property
    def smtp(self) -> int:
        return self.gateway.port


@pytest.fixture
def lab(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path, Authority(tmp_path_factory.mktemp("certificates")))
    with contextlib.closing(made):
        yield made


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """For a gateway that all tests of a file look at: it takes seconds to start."""
    made = Lab(tmp_path_factory.mktemp("shared"), Authority(tmp_path_factory.mktemp("certificates")))
    with contextlib.closing(made):
        yield made


def serve(lab: Lab, *parts: str, api: str = "", folder: Path | None = None) -> Served:
    """A gateway that takes mail of anybody on the loopback, and has a page.  Started."""
    smtp, web = free_port(), free_port()
    gateway = lab.gateway(
        toml(
            listener("mx", smtp, 'relay_from = ["127.0.0.0/8"]'),
            f'[api]\nendpoint = "tcp:{web}:interface=127.0.0.1"\n{api}', *parts,
        ),
        [smtp, web], folder,
    )
    gateway.start()
    # The ports listen a little before it does.
    wait_until(lambda: (gateway.folder / "state" / "api-token").exists(), 20, "there is a token")
    return Served(gateway, web, lab)


def expect(seen: Any) -> Any:
    """Playwright's assertions on a page or a locator: each waits until it holds.  What is asked at once is asked too
    early now and then: a page is drawn when its browser comes to it."""
    from playwright.sync_api import expect

    return expect(seen)


def settled(page: Any) -> None:
    """Return once nothing of what is shown is still to come."""
    wait_until(lambda: page.locator(".state.loading").count() == 0, 10, "all is loaded")
    page.wait_for_timeout(100)


def queueing(dead: int) -> Sequence[str]:
    """Mail for @slow.test waits for a host that nobody listens at; the rest is delivered."""
    return (
        route("@slow.test", "slow"), smart_host("slow", dead), route("*", "boxes"), maildirs("boxes"),
        '[retry]\nschedule = ["1h"]\njitter = 0.0',
    )
