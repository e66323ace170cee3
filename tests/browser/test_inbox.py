"""Captured mail: it arrives while somebody looks, is read in each way, and can do nothing."""

import re
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.browser.axe import faults
from tests.browser.conftest import DESKTOP, PHONE, Served, Windows, expect, serve
from tests.browser.mail import CANARY, hostile, order, send
from tests.peers.harness import Lab, maildirs, route, wait_until


@pytest.fixture(scope="module")
def staging(shared_lab: Lab) -> Served:
    return serve(shared_lab, route("*", "boxes"), maildirs("boxes"), '[staging]\ncapture = "all"')


@pytest.fixture
def served(staging: Served) -> Served:
    """With nothing captured."""
    everything = Request(f"{staging.address}api/v1/inbox?all=true", method="DELETE")
    everything.add_header("Authorization", f"Bearer {staging.token}")
    with urlopen(everything, timeout=10) as answer:
        assert answer.status == 200
    return staging


def tab(page: Any, name: str) -> Any:
    page.get_by_role("tab", name=name).click()
    return page.get_by_role("tabpanel")


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_mail_arrives_is_read_and_is_deleted(
    served: Served, windows: Windows, size: tuple[int, int], scheme: str
) -> None:
    page = windows.open(served.signed_in, size, scheme)
    page.get_by_role("link", name="Inbox").click()
    page.get_by_text("Nothing has arrived yet").wait_for()
    send(served.smtp, "bob@shop.test", message=order())
    row = page.get_by_role("row").filter(has_text="Your order has been sent")
    row.wait_for()  # by itself
    expect(page).to_have_title(re.compile(re.escape("(1)")))
    row.get_by_role("link").click()
    frame = page.frame_locator("iframe")
    frame.locator("#sent").wait_for()
    # Its own picture is shown, that of others is not even asked for.
    logo = frame.get_by_alt_text("logo")
    wait_until(lambda: logo.evaluate("image => image.complete && image.naturalWidth") == 1, 10, "its logo is shown")
    page.get_by_text("1 remote item not loaded").wait_for()
    tab(page, "Text").get_by_text("It should reach you on Tuesday").wait_for()
    tab(page, "Source").get_by_text("Content-Type: multipart/mixed").wait_for()
    tab(page, "Headers").get_by_text("ann@home.test").first.wait_for()
    tab(page, "Links").get_by_text("https://shop.test/orders/42").first.wait_for()
    found = tab(page, "Attachments")
    with page.expect_download() as download:
        found.get_by_role("listitem").filter(has_text="invoice.pdf").get_by_role("link").click()
    assert download.value.suggested_filename == "invoice.pdf"
    assert faults(page) == []

    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("1 message deleted").wait_for()
    page.get_by_text("Nothing has arrived yet").wait_for()


def test_a_search_and_all_deleted(served: Served, windows: Windows) -> None:
    for number in range(3):
        send(served.smtp, f"bob{number}@shop.test", subject=f"Letter {number}")
    page = windows.open(f"{served.signed_in}")
    page.get_by_role("link", name="Inbox").click()
    page.get_by_text("3 messages, 3 unread").wait_for()
    for words, wanted in (("bob1", 1), ("subject:letter", 3), ("text:hello to:bob2@shop.test", 1), ("nowhere", 0)):
        page.get_by_role("searchbox").fill(words)
        page.keyboard.press("Enter")
        if wanted:
            page.get_by_text(f"{wanted} message").first.wait_for()
            expect(page.locator("table.rows tbody tr")).to_have_count(wanted)
        else:
            page.get_by_text("Nothing matches").wait_for()
    page.goto(f"{served.address}#/inbox")
    page.get_by_text("3 messages").wait_for()
    page.get_by_role("button", name="Delete all").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete 3").click()
    page.get_by_text("3 messages deleted").wait_for()
    page.get_by_text("Nothing has arrived yet").wait_for()


def test_no_script_of_a_mail_runs(served: Served, windows: Windows) -> None:
    outside: list[str] = []
    page = windows.open(served.signed_in)
    page.context.on("request", lambda request: outside.append(request.url))
    page.on("dialog", lambda dialog: windows.complaints.append(f"dialog: {dialog.message}"))
    page.context.on("page", lambda other: windows.complaints.append(f"window: {other.url}"))
    send(served.smtp, "bob@shop.test", message=hostile())
    page.get_by_role("link", name="Inbox").click()
    page.get_by_role("row").last.get_by_role("link").click()
    frame = page.frame_locator("iframe")
    frame.get_by_text("Hello").wait_for()
    for name in ("Text", "Source", "Headers", "Attachments", "Links", "HTML"):
        tab(page, name)
        page.wait_for_timeout(150)
    if frame.locator("#lure").count():
        frame.locator("#lure").click()
    page.get_by_role("link", name="Trace").click()
    page.get_by_role("heading", name="Trace", exact=True).wait_for()
    page.get_by_role("searchbox").fill("bob@shop.test")
    page.keyboard.press("Enter")
    page.get_by_role("row").nth(1).wait_for()
    page.get_by_role("row").nth(1).click()
    page.get_by_text("Queued", exact=True).first.wait_for()
    assert page.evaluate(f"() => window.{CANARY}") is None
    assert not [url for url in outside if not url.startswith(served.address)]


def test_what_it_claims_to_be_is_seen(served: Served, windows: Windows) -> None:
    """The direction of a name of a file cannot be turned, and a link that lies is named."""
    send(served.smtp, "bob@shop.test", message=hostile())
    page = windows.open(served.signed_in)
    page.get_by_role("link", name="Inbox").click()
    page.get_by_role("row").last.get_by_role("link").click()
    files = tab(page, "Attachments")
    files.get_by_role("listitem").first.wait_for()
    assert "\u202e" not in files.inner_text()
    expect(tab(page, "Links")).to_contain_text("name another place")
