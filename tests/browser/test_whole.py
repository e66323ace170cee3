"""Numbers, journal and health of a real gateway, and no grave fault in any view of one."""

import pytest

from tests.browser.axe import faults
from tests.browser.conftest import DESKTOP, PHONE, Served, Windows, expect, queueing, serve, settled
from tests.browser.mail import send
from tests.peers.harness import Lab, free_port, wait_until


@pytest.fixture(scope="module")
def served(shared_lab: Lab) -> Served:
    made = serve(shared_lab, *queueing(free_port()))
    send(made.smtp, "bob@slow.test", subject="Minutes of Tuesday")
    send(made.smtp, "carl@home.test", subject="Delivered at once")
    facts = made.gateway.facts
    wait_until(lambda: facts("deferred") and facts("delivered"), 20, "one waits, one is there")
    return made


def test_numbers_move_as_mail_comes(served: Served, windows: Windows) -> None:
    page = windows.open(served.signed_in)
    page.get_by_text("live", exact=True).wait_for()
    came = page.locator(".tile").filter(has_text="In").first
    wait_until(lambda: came.locator(".tile-number").inner_text() not in ("–", "0"), 10, "mail is counted")
    page.get_by_role("link", name="slow").first.wait_for()
    page.get_by_role("figure").filter(has_text="Traffic").wait_for()


def test_facts_are_shown_as_they_happen(served: Served, windows: Windows) -> None:
    page = windows.open(served.signed_in)
    page.goto(f"{served.address}#/trace/live?event=delivered")
    page.get_by_text("live", exact=True).wait_for()
    send(served.smtp, "dora@home.test")
    log = page.get_by_role("log")
    log.get_by_text("dora@home.test").first.wait_for()
    assert "Queued" not in log.inner_text()
    page.keyboard.press("p")
    page.get_by_text("paused").wait_for()
    send(served.smtp, "emil@home.test")
    page.get_by_text("1 fact passed by").wait_for()
    assert "emil" not in log.inner_text()


def test_health_and_configuration(served: Served, windows: Windows) -> None:
    page = windows.open(served.signed_in)
    page.get_by_role("link", name="Health").click()
    page.get_by_role("heading", name="Certificates").wait_for()
    config = page.get_by_role("region", name="Configuration in force").last
    expect(config).to_contain_text("[backend.slow]")


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "dark"), (PHONE, "light")])
def test_no_grave_fault(served: Served, windows: Windows, size: tuple[int, int], scheme: str) -> None:
    page = windows.open(served.signed_in, size, scheme)
    queue_id = served.gateway.queue()[0]["queue_id"]
    found = {}
    for view in ("now", "queue", f"queue/m/{queue_id}", "queue/lanes", f"trace/{queue_id}", "trace/live", "health"):
        page.goto(f"{served.address}#/{view}")
        settled(page)
        found[view] = faults(page)
    assert not any(found.values()), {view: words for view, words in found.items() if words}


def test_a_reload_says_what_it_would_change_and_what_is_wrong(served: Served, windows: Windows) -> None:
    windows.expected = ["422"]
    page = windows.open(f"{served.signed_in}")
    page.get_by_role("link", name="Health").click()
    config = served.gateway.config
    whole = config.read_text()
    config.write_text(whole + "\n[limits]\nrecipients = 17\n")
    page.get_by_role("button", name="Reload…").click()
    question = page.get_by_role("dialog")
    question.get_by_text("limits.recipients").wait_for()
    question.get_by_role("button", name="Reload", exact=True).click()
    page.get_by_role("region", name="What the reload changed").get_by_text("limits.recipients").wait_for()
    wait_until(lambda: served.gateway.facts("reloaded"), 10, "the journal has it")

    config.write_text(whole + "\n[limits]\nrecipiants = 17\n")
    page.get_by_role("button", name="Reload…").click()
    page.get_by_role("region", name="Why nothing was reloaded").get_by_text("recipiants").wait_for()
