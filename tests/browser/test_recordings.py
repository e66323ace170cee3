"""Sessions of a client, recorded at a press."""

from tests.browser.conftest import Windows, serve
from tests.browser.mail import send
from tests.peers.harness import Lab, maildirs, route


def test_a_client_is_recorded(lab: Lab, windows: Windows) -> None:
    served = serve(lab, route("*", "boxes"), maildirs("boxes"))
    page = windows.open(served.signed_in)
    page.goto(f"{served.address}#/trace/recordings")
    page.get_by_role("button", name="Record a client").click()
    question = page.get_by_role("dialog")
    question.get_by_label("Client’s address or network").fill("127.0.0.1")
    question.get_by_role("button", name="Record").click()
    page.get_by_text("0 of 20 sessions").wait_for()
    send(served.smtp, "frieda@home.test")
    row = page.get_by_role("row").filter(has_text="127.0.0.1")
    row.first.wait_for()
    row.first.click()
    talk = page.get_by_role("list", name="The conversation")
    talk.get_by_text("frieda@home.test").first.wait_for()
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("1 recording deleted").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Not recording 127.0.0.1").wait_for()
