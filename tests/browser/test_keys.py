"""All of it by the keyboard, and by who hears it instead of seeing it."""

from typing import Any

import pytest

from tests.browser.axe import faults
from tests.browser.conftest import DESKTOP, PHONE, Windows, expect, settled
from tests.browser.fake_api import FakeApi, of

VIEWS = (
    "now", "queue", "queue?state=held&sender=a%40b.c", "queue/lanes", "queue/m/0018f3a2b4c5d0010a", "trace",
    "trace?search=a@b", "trace/01J", "trace/live", "trace/recordings", "inbox", "inbox/100", "health",
)


def focused(page: Any) -> str:
    words: str = page.evaluate("() => document.activeElement.innerText || document.activeElement.ariaLabel || ''")
    return words


def test_views_by_two_keys(fake: FakeApi, windows: Windows) -> None:
    page = windows.open(f"{fake.address}/#/now")
    page.get_by_role("heading", name="Now").wait_for()
    for key, view in (("q", "Queue"), ("t", "Trace"), ("i", "Inbox"), ("h", "Health"), ("n", "Now")):
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.get_by_role("heading", name=view, exact=True).wait_for()
        expect(page.locator(".views [aria-current=page]")).to_have_text(view)
    page.keyboard.press("q")  # without the g before it
    expect(page.get_by_role("heading", name="Now", exact=True)).to_be_visible()


def test_rows_are_walked_opened_and_left(fake: FakeApi, windows: Windows) -> None:
    page = windows.open(f"{fake.address}/#/queue")
    rows = page.locator("table.rows tbody tr")
    rows.first.wait_for()
    page.keyboard.press("j")
    assert "bob@example.net" in focused(page)
    page.keyboard.press("j")
    assert "carl@big.example" in focused(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    assert "carl@big.example" in focused(page)
    # One row is in the order of Tab, not fifty.
    expect(page.locator("table.rows tbody tr[tabindex='0']")).to_have_count(1)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Minutes of Tuesday").wait_for()
    page.keyboard.press("Escape")
    rows.first.wait_for()
    page.keyboard.press("End")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.get_by_text("1 chosen").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("1 chosen").wait_for(state="detached")


def test_searching_and_the_help(fake: FakeApi, windows: Windows) -> None:
    page = windows.open(f"{fake.address}/#/queue")
    page.locator("table.rows").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("gq j")  # no orders while somebody types
    expect(page.get_by_role("searchbox")).to_have_value("gq j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/#/queue?search=gq+j")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.get_by_role("dialog").get_by_text("Next, previous row").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")


def test_what_meets_many_is_typed(fake: FakeApi, windows: Windows) -> None:
    page = windows.open(f"{fake.address}/#/queue?sender=news%40shop.example")
    fake.answers[("POST", "/queue/remove")] = of({"recipients": 412, "active": 3})
    page.get_by_role("button", name="Cancel…").click()
    question = page.get_by_role("dialog")
    question.get_by_text("Cancel 412 recipients?").wait_for()
    yes = question.get_by_role("button", name="Cancel 412")
    expect(yes).to_be_disabled()
    question.get_by_role("textbox").fill("411")
    expect(yes).to_be_disabled()
    question.get_by_role("textbox").fill("412")
    page.keyboard.press("Enter")
    page.get_by_text("412 recipients cancelled").wait_for()
    page.get_by_text("3 recipients left alone: being tried right now").wait_for()
    orders = [body for method, path, _, body in fake.asked if path == "/queue/remove"]
    assert orders == [{"which": {"sender": "news@shop.example"}}]


def test_a_theme_is_remembered(fake: FakeApi, windows: Windows) -> None:
    page = windows.open(f"{fake.address}/#/now")
    light = page.evaluate("() => getComputedStyle(document.documentElement).backgroundColor")
    page.get_by_role("button", name="Theme").click()  # light
    page.get_by_role("button", name="Theme: light").click()  # dark
    expect(page.locator("html")).not_to_have_css("background-color", light)
    page.reload()
    page.get_by_role("button", name="Theme: dark").wait_for()
    expect(page.locator("html")).not_to_have_css("background-color", light)


def test_a_plot_is_read_by_arrows_and_as_a_table(fake: FakeApi, windows: Windows) -> None:
    page = windows.open(f"{fake.address}/#/now")
    plot = page.get_by_role("figure").filter(has_text="Traffic")
    plot.get_by_role("img").focus()
    page.keyboard.press("ArrowLeft")
    said = plot.locator("[aria-live]")
    expect(said).to_contain_text("In ")
    before = said.inner_text()
    page.keyboard.press("Home")
    expect(said).not_to_have_text(before)
    plot.get_by_text("As a table").click()
    expect(plot.get_by_role("table").get_by_role("row").nth(20)).to_be_visible()


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_no_grave_fault(fake: FakeApi, windows: Windows, size: tuple[int, int], scheme: str) -> None:
    page = windows.open(f"{fake.address}/#/now", size, scheme)
    found = {}
    for view in VIEWS:
        page.goto(f"{fake.address}/#/{view}")
        settled(page)
        found[view] = faults(page)
    page.goto(f"{fake.address}/#/queue?sender=x%40y")
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("dialog").wait_for()
    found["a question"] = faults(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Token").wait_for()
    found["signing in"] = faults(page)
    assert not any(found.values()), {view: words for view, words in found.items() if words}
