"""What is seen: nothing is cut, stands behind another thing, or is left over from before."""

import re
from typing import Any

import pytest

from tests.browser.conftest import DESKTOP, PHONE, Windows, expect, settled
from tests.browser.fake_api import FakeApi, of
from tests.peers.harness import wait_until

SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE])
STAGING = {"file": "/etc/mailgw.toml", "staging": True, "written": {"staging": {"capture": "all"}}}
UNDER = "element => getComputedStyle(element).%s"


def plots(fake: FakeApi, **columns: list[float | None]) -> None:
    """What the hour's plots have, one value for each of its steps."""
    whole = fake.answers[("GET", "/plots")]({}, None)[1]
    fake.answers[("GET", "/plots")] = of({
        **whole, "columns": {name: columns.get(name, [None] * 360) for name in whole["columns"]},
    })


@SIZES
def test_the_words_of_each_level_have_room(fake: FakeApi, windows: Windows, size: tuple[int, int]) -> None:
    plots(fake, p50=[0.2] * 360, p95=[0.3] * 360, queued=[123456.0] * 360)
    page = windows.open(f"{fake.address}/#/now", size)
    settled(page)
    for plot in page.locator(".graph").all():
        left = plot.bounding_box()["x"]
        ticks = plot.locator(".tick[text-anchor=end]")
        expect(ticks.nth(1)).to_be_attached()  # it is drawn a moment after it is there
        for tick in ticks.all():
            assert tick.bounding_box()["x"] >= left, tick.text_content()


def test_a_point_alone_is_a_dot(fake: FakeApi, windows: Windows) -> None:
    plots(fake, p50=[0.3, None, 0.2, 0.2, *[None] * 355, 0.1])
    page = windows.open(f"{fake.address}/#/now")
    settled(page)
    plot = page.get_by_role("figure").filter(has_text="Time to delivery")
    expect(plot.locator("circle.alone")).to_have_count(2)


def test_a_table_leaves_its_neighbour_alone(fake: FakeApi, windows: Windows) -> None:
    page = windows.open(f"{fake.address}/#/now")
    settled(page)
    plot, other = page.locator(".plot").nth(0), page.locator(".plot").nth(1)
    before = other.bounding_box()["height"]
    plot.get_by_text("As a table").click()
    plot.get_by_role("table").wait_for()
    wait_until(lambda: plot.bounding_box()["height"] > before + 100, 5, "it has room")
    assert other.bounding_box()["height"] == before


def test_tiles_and_plots_have_one_unit(fake: FakeApi, windows: Windows) -> None:
    now = fake.answers[("GET", "/now")]({}, None)[1]
    fake.answers[("GET", "/now")] = of({**now, "minute": {**now["minute"], "in": 90}})
    plots(fake, **{"in": [1.5] * 360})
    page = windows.open(f"{fake.address}/#/now")
    settled(page)
    tile = page.locator(".tile").filter(has_text="In").first
    wait_until(lambda: tile.locator("p").inner_text() == "90 /min", 5, "the tile has a minute's")
    plot = page.get_by_role("figure").filter(has_text="Traffic")
    expect(plot.get_by_text("a minute, in steps of 10 s")).to_have_count(1)
    expect(plot.locator(".legend li").first).to_have_text(re.compile(r"^In\s+90$"))


@SIZES
def test_that_nothing_leaves_is_seen_in_every_view(fake: FakeApi, windows: Windows, size: tuple[int, int]) -> None:
    fake.answers[("GET", "/config")] = of(STAGING)
    page = windows.open(f"{fake.address}/#/now", size)
    badge = page.get_by_text("staging: nothing leaves")
    for view in ("now", "queue", "trace", "inbox", "health"):
        page.goto(f"{fake.address}/#/{view}")
        badge.wait_for()
        assert badge.evaluate("element => element.scrollWidth <= element.clientWidth"), view
    # What a reload made of it is seen at once.
    fake.answers[("GET", "/config")] = of({**STAGING, "staging": False, "written": {}})
    page.get_by_role("button", name="Reload…").click()
    page.get_by_role("dialog").get_by_role("button", name="Reload", exact=True).click()
    badge.wait_for(state="hidden")


def test_what_is_let_out_is_named(fake: FakeApi, windows: Windows) -> None:
    written = {"staging": {"capture": "all", "let_out": ["relay"]}}
    fake.answers[("GET", "/config")] = of({**STAGING, "written": written})
    page = windows.open(f"{fake.address}/#/now")
    page.get_by_text("staging: nothing leaves but by relay").wait_for()


def test_without_a_file_nothing_is_to_be_reloaded(fake: FakeApi, windows: Windows) -> None:
    note = "the gateway was started without a configuration file: there is none to read again"
    fake.answers[("POST", "/reload")] = of({"done": True, "is_check": False, "changes": [], "faults": [], "note": note})
    page = windows.open(f"{fake.address}/#/health")
    page.get_by_role("button", name="Reload…").click()
    said = page.get_by_role("dialog")
    said.get_by_text("The gateway was started without").wait_for()
    expect(said.get_by_role("button")).to_have_text(["Close"])
    said.get_by_role("button").click()
    expect(page.get_by_role("button", name="Reload…")).to_be_enabled()


@SIZES
def test_a_message_as_it_is_read(fake: FakeApi, windows: Windows, size: tuple[int, int]) -> None:
    page = windows.open(f"{fake.address}/#/inbox/100", size)
    head = page.locator(".message-head")
    head.get_by_text("Carl <carl@example.net>").wait_for()
    assert head.locator("dt").all_inner_texts()[:3] == ["From", "To", "Cc"]
    tabs = page.get_by_role("tablist")
    assert tabs.evaluate("element => element.scrollWidth <= element.clientWidth")


@SIZES
def test_only_what_is_unread_is_bold(fake: FakeApi, windows: Windows, size: tuple[int, int]) -> None:
    page = windows.open(f"{fake.address}/#/inbox", size)
    rows = page.locator("table.rows tbody tr")
    rows.first.wait_for()

    def weight(row: Any) -> int:
        return int(row.locator("td.lead a").evaluate(UNDER % "fontWeight"))

    assert weight(page.locator("tr.unread").first) >= 600
    assert weight(page.locator("tbody tr:not(.unread)").first) == 400


def test_what_was_said_goes_with_its_view(fake: FakeApi, windows: Windows) -> None:
    page = windows.open(f"{fake.address}/#/queue", PHONE)
    page.get_by_role("row").nth(1).wait_for()
    toasts = page.locator(".toast")
    page.evaluate("""async () => {
        const { toast } = await import("./toasts.js");
        for (const one of ["first", "second", "third"]) toast(one, { kind: "trouble" });
    }""")
    expect(toasts).to_have_count(1)
    expect(toasts).to_contain_text("third")
    # Not behind a question, and there again afterwards.
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    expect(toasts.first).to_be_hidden()
    page.keyboard.press("Escape")
    toasts.first.wait_for()
    page.get_by_role("link", name="Inbox").click()
    page.get_by_role("heading", name="Inbox").wait_for()
    expect(toasts).to_have_count(0)
