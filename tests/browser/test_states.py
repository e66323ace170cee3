"""What each view shows where there is nothing, something is wrong, nobody answers, or somebody may not."""

from typing import Any

import pytest

from tests.browser.conftest import DESKTOP, PHONE, Windows, expect, settled
from tests.browser.fake_api import FakeApi, of

# A view's address, the operation that fills it, an answer with nothing in it, and what that looks like.
NO_PAGE = {"items": [], "next": None}
VIEWS = [
    ("queue", "/queue/messages", NO_PAGE, "The queue is empty"),
    ("queue?state=held", "/queue/messages", NO_PAGE, "Nothing matches"),
    ("queue/lanes", "/queue/lanes", {"lanes": [], "lane_count": 0, "at": 0, "is_whole": True}, "Nobody waits"),
    ("trace?search=x@y.z", "/trace", {**NO_PAGE, "searched_back_to": None}, "Nothing found"),
    ("trace/recordings", "/recordings", {"recordings": [], "orders": []}, "No recordings"),
    ("inbox", "/inbox", {**NO_PAGE, "messages": 0, "unread": 0}, "Nothing has arrived yet"),
    ("inbox?search=x", "/inbox", {**NO_PAGE, "messages": 3, "unread": 0}, "Nothing matches"),
]
FILLED = [*VIEWS, ("now", "/plots", None, ""), ("health", "/health", None, "")]


def go(page: Any, fake: FakeApi, view: str) -> None:
    """By way of another view, so that it is made anew."""
    page.goto(f"{fake.address}/#/{'trace' if view.startswith('now') else 'now'}")
    page.goto(f"{fake.address}/#/{view}")


def state(page: Any, words: str) -> None:
    page.locator(".state").filter(has_text=words).first.wait_for()


@pytest.mark.parametrize(("view", "path", "nothing", "words"), VIEWS)
def test_nothing(fake: FakeApi, windows: Windows, view: str, path: str, nothing: Any, words: str) -> None:
    fake.answers[("GET", path)] = of(nothing)
    state(windows.open(f"{fake.address}/#/{view}"), words)


def test_a_gateway_without_an_inbox_says_so(fake: FakeApi, windows: Windows) -> None:
    windows.expected = ["422"]
    fake.answers[("GET", "/inbox")] = of({"title": "Unprocessable Content", "detail": "there is no [staging]"}, 422)
    page = windows.open(f"{fake.address}/#/inbox")
    state(page, "Nothing is captured here")
    expect(page.get_by_text("waiting for mail")).to_have_count(0)
    assert len([path for _, path, _, _ in fake.asked if path == "/inbox"]) == 1


def test_trouble_is_told_and_can_be_tried_again(fake: FakeApi, windows: Windows) -> None:
    windows.expected = ["503", "403"]
    page = windows.open(f"{fake.address}/#/queue")
    for view, path, _, _ in FILLED:
        said = fake.answers[("GET", path)]
        fake.answers[("GET", path)] = of({"title": "Service Unavailable", "detail": "the disk is tired"}, 503)
        go(page, fake, view)
        state(page, "the disk is tired")
        fake.answers[("GET", path)] = said
        page.get_by_role("button", name="Try again").click()
        page.locator(".state.error").wait_for(state="detached")


def test_who_may_not_is_told_so(fake: FakeApi, windows: Windows) -> None:
    windows.expected = ["403"]
    page = windows.open(f"{fake.address}/#/queue")
    for view, path, _, _ in FILLED:
        said = fake.answers[("GET", path)]
        fake.answers[("GET", path)] = of({"title": "Forbidden", "detail": "the token lacks the scope read"}, 403)
        go(page, fake, view)
        state(page, "Your token may not see this")
        fake.answers[("GET", path)] = said


def test_nobody_answers_and_then_somebody_does(fake: FakeApi, windows: Windows) -> None:
    windows.expected = ["ERR_INTERNET_DISCONNECTED", "ERR_FAILED"]
    page = windows.open(f"{fake.address}/#/queue")
    page.get_by_role("row").nth(1).wait_for()
    page.context.set_offline(True)
    page.get_by_role("button", name="Look again").click()
    page.get_by_role("alert").filter(has_text="The gateway does not answer").first.wait_for()
    # What was there can still be read.
    expect(page.get_by_role("row").nth(5)).to_be_visible()
    page.get_by_role("link", name="Health").click()
    state(page, "The gateway does not answer")
    page.context.set_offline(False)
    page.get_by_role("heading", name="Certificates").wait_for()
    page.locator(".banner").wait_for(state="detached")


@pytest.mark.parametrize("size", [DESKTOP, PHONE, (360, 700), (1440, 900)])
def test_nothing_is_wider_than_the_page(fake: FakeApi, windows: Windows, size: tuple[int, int]) -> None:
    page = windows.open(f"{fake.address}/#/now", size)
    views = ("now", "queue", "queue/lanes", "queue/m/0018f3a2b4c5d0010a", "trace?search=a@b", "trace/01J", "trace/live",
             "trace/recordings", "inbox", "inbox/100", "health")
    for view in views:
        page.goto(f"{fake.address}/#/{view}")
        settled(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= size[0], view
