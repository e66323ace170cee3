"""The queue, steered by hand: mail that waits is found, opened, held, released, tried and cancelled."""

import pytest

from tests.browser.conftest import DESKTOP, PHONE, Served, Windows, expect, queueing, serve
from tests.browser.mail import send
from tests.peers.harness import Lab, free_port, wait_until


@pytest.fixture
def served(lab: Lab) -> Served:
    return serve(lab, *queueing(free_port()))


LOOKS = [(DESKTOP, "light"), (PHONE, "dark")]


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_mail_is_held_released_tried_and_cancelled(
    served: Served, windows: Windows, size: tuple[int, int], scheme: str
) -> None:
    windows.expected = ["404"]  # in the end it is gone
    send(served.smtp, "bob@slow.test", subject="Minutes of Tuesday")
    wait_until(lambda: len(served.gateway.facts("deferred")) == 1, 20, "it was tried once")
    page = windows.open(served.signed_in, size, scheme)
    page.get_by_role("link", name="Queue").click()
    row = page.get_by_role("row").filter(has_text="bob@slow.test")
    row.wait_for()
    assert "token" not in page.url
    row.get_by_role("link").click()
    page.get_by_role("heading", name="Minutes of Tuesday").wait_for()
    expect(page.get_by_text("ann@home.test").first).to_be_visible()

    page.get_by_role("button", name="Hold").click()
    page.get_by_text("1 recipient held").wait_for()
    assert served.gateway.queue()[0]["state"] == "held"
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("1 recipient released").wait_for()
    assert served.gateway.queue()[0]["state"] != "held"

    tried = len(served.gateway.facts("deferred"))
    wait_until(lambda: len(served.gateway.facts("deferred")) > 1, 20, "released mail is tried")
    page.get_by_role("button", name="Retry").click()
    page.get_by_text("1 recipient due now").wait_for()
    wait_until(lambda: len(served.gateway.facts("deferred")) > tried, 20, "it was tried again")

    page.get_by_role("button", name="Cancel…").click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("Cancel 1 recipient?")
    page.keyboard.press("Escape")
    question.wait_for(state="detached")
    assert len(served.gateway.queue()) == 1
    page.get_by_role("button", name="Cancel…").click()
    question.get_by_role("button", name="Cancel 1").click()
    page.get_by_text("1 recipient cancelled").wait_for()
    assert served.gateway.queue() == []
    page.get_by_text("Not here").wait_for()


def test_orders_for_all_that_match_and_for_a_lane(served: Served, windows: Windows) -> None:
    windows.expected = ["401"]  # nobody is signed in at first
    for number in range(3):
        send(served.smtp, f"bob{number}@slow.test", sender=f"ann{number % 2}@home.test")
    wait_until(lambda: len(served.gateway.facts("deferred")) == 3, 20, "all were tried once")
    page = windows.open(f"{served.address}#/now")
    page.get_by_label("Token").fill(served.token)
    page.keyboard.press("Enter")
    page.goto(f"{served.address}#/queue?sender=ann0%40home.test")
    expect(page.get_by_role("row")).to_have_count(3)  # with the head
    page.get_by_role("button", name="Hold").click()
    page.get_by_role("dialog").get_by_role("button", name="Hold 2").click()
    page.get_by_text("2 recipients held").wait_for()
    assert sorted(str(row["state"]) for row in served.gateway.queue()) == ["held", "held", "waiting"]

    page.goto(f"{served.address}#/queue/lanes")
    lane = page.get_by_role("row").filter(has_text="slow").last
    lane.get_by_role("button", name="Suspend slow").click()
    page.get_by_role("dialog").get_by_role("button", name="Suspend").click()
    page.get_by_text("slow is suspended").wait_for()
    assert "slow" in served.gateway.command("queue", "lanes")
    page.get_by_role("button", name="Resume slow").click()
    page.get_by_text("slow is resumed").wait_for()

    page.goto(f"{served.address}#/queue?sender=ann0%40home.test")
    page.get_by_role("checkbox", name="Select all rows shown").check()
    page.get_by_text("2 chosen").wait_for()
    page.get_by_role("button", name="Bounce…").click()
    page.get_by_role("dialog").get_by_role("button", name="Bounce 2").click()
    page.get_by_text("2 recipients bounced").wait_for()
    wait_until(lambda: len(served.gateway.facts("bounced")) == 2, 20, "their sender is told")


def test_what_was_said_stands_with_the_message(lab: Lab, windows: Windows) -> None:
    windows.expected = ["404"]
    hop = lab.hop({"RCPT": ["451 4.7.1 Greylisted, <b>come back</b> in five minutes"]})
    served = serve(lab, *queueing(hop.port))
    send(served.smtp, "bob@slow.test", subject="Greylisted")
    wait_until(lambda: len(served.gateway.facts("deferred")) == 1, 20, "it was tried once")
    page = windows.open(served.signed_in)
    page.get_by_role("link", name="Queue").click()
    page.get_by_role("row").filter(has_text="bob@slow.test").get_by_role("link").click()
    talk = page.get_by_role("list", name="The conversation")
    for words in ("RCPT TO:<bob@slow.test>", "451 4.7.1 Greylisted, <b>come back</b> in five minutes"):
        expect(talk).to_contain_text(words)
    hop.recover()
    page.get_by_role("button", name="Retry").click()
    page.get_by_text("1 recipient due now").wait_for()
    page.get_by_text("Not here").wait_for()  # it went
    page.goto(f"{served.address}#/trace?search=bob%40slow.test")
    page.get_by_role("row").filter(has_text="bob@slow.test").first.click()
    line = page.get_by_role("list").filter(has_text="Delivered").first
    for word in ("Connected", "Queued", "Deferred", "Delivered"):
        expect(line).to_contain_text(word)
