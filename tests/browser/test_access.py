"""Who is let in, and how: a token, which stands nowhere afterwards."""

from typing import Any

import pytest

from tests.browser.conftest import DESKTOP, PHONE, Windows, expect
from tests.browser.fake_api import FakeApi, of
from tests.peers.harness import wait_until

STRANGER = of({"title": "Unauthorized", "detail": "no such token", "status": 401}, 401)


def logins(fake: FakeApi) -> list[Any]:
    return [body for method, path, _, body in fake.asked if (method, path) == ("POST", "/session")]


def test_a_token_in_the_address_signs_in_and_is_gone(fake: FakeApi, windows: Windows) -> None:
    page = windows.open(f"{fake.address}/#token=secret-token-1")
    page.get_by_role("heading", name="Now").wait_for()
    assert logins(fake) == [{"token": "secret-token-1"}]
    assert "secret" not in page.url
    kept = page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}, history.state])")
    assert "secret" not in kept
    assert "secret" not in page.content()


def test_a_token_is_typed(fake: FakeApi, windows: Windows) -> None:
    windows.expected = ["401"]
    whole = fake.answers[("GET", "/session")], fake.answers[("POST", "/session")]
    fake.answers[("GET", "/session")] = fake.answers[("POST", "/session")] = STRANGER
    page = windows.open(f"{fake.address}/#/queue")
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("not known here").wait_for()
    fake.answers[("GET", "/session")], fake.answers[("POST", "/session")] = whole
    page.get_by_label("Token").fill("right")
    page.keyboard.press("Enter")
    # He is where he wanted to be.
    page.get_by_role("heading", name="Queue").wait_for()
    assert [body["token"] for body in logins(fake)] == ["wrong", "right"]


def test_a_session_that_ended_asks_again(fake: FakeApi, windows: Windows) -> None:
    windows.expected = ["401"]
    page = windows.open(f"{fake.address}/#/queue")
    page.get_by_role("row").nth(1).wait_for()
    fake.answers[("GET", "/queue/messages")] = STRANGER
    page.get_by_role("button", name="Look again").click()
    page.get_by_text("Your session has ended").wait_for()
    expect(page.get_by_role("navigation")).to_have_count(0)


def test_signing_out(fake: FakeApi, windows: Windows) -> None:
    page = windows.open(f"{fake.address}/#/now")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_text("You are signed out").wait_for()
    assert ("DELETE", "/session") in [(method, path) for method, path, _, _ in fake.asked]


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_who_may_only_send_is_told_so(fake: FakeApi, windows: Windows, size: tuple[int, int]) -> None:
    fake.answers[("GET", "/session")] = of({"name": "shop", "scopes": ["send"]})
    page = windows.open(f"{fake.address}/#token=t", size)
    page.get_by_text("This token may send; it may not look").wait_for()
    expect(page.get_by_role("navigation")).to_have_count(0)
    expect(page.get_by_text("looks only").or_(page.get_by_text("connecting"))).to_have_count(0)
    # Another one is taken, and of the first nothing was asked.
    wait_until(lambda: ("DELETE", "/session") in [(method, path) for method, path, _, _ in fake.asked], 5, "it is out")
    assert {path for _, path, _, _ in fake.asked} == {"/session"}
    fake.answers[("GET", "/session")] = of({"name": "ann", "scopes": ["read"]})
    page.get_by_label("Token").fill("another")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Now").wait_for()


def test_who_may_only_look_has_no_orders(fake: FakeApi, windows: Windows) -> None:
    fake.answers[("GET", "/session")] = of({"name": "grafana", "scopes": ["read"]})
    page = windows.open(f"{fake.address}/#/queue")
    page.get_by_text("looks only").wait_for()
    page.get_by_role("row").nth(1).get_by_role("checkbox").check()
    buttons = page.locator("button[data-verb]")
    buttons.nth(2).wait_for()
    for button in buttons.all():
        expect(button).to_be_disabled()
    for view in ("queue/lanes", "inbox", "health", "trace/recordings"):
        page.goto(f"{fake.address}/#/{view}")
        page.get_by_role("button", name="Suspend").or_(page.get_by_role("button", name="Delete all")).or_(
            page.get_by_role("button", name="Reload")).or_(page.get_by_role("button", name="Record")).first.wait_for()
        for word in ("Suspend", "Resume", "Delete", "Reload", "Record a", "Stop"):
            for button in page.get_by_role("button", name=word).all():
                expect(button).to_be_disabled()
