"""A next hop that answers 4yz, hangs or hangs up is tried again, at every stage; one that says 5yz is believed."""

import email
import email.policy
from email.message import EmailMessage

import pytest

from tests.peers.harness import (
    LATER,
    SOON,
    Lab,
    letter,
    maildirs,
    route,
    smart_host,
    submit,
    wait_for_letters,
    wait_until,
)
from tests.peers.nexthop import DROP, HANG, WELL

pytestmark = pytest.mark.peer

IMPATIENT = [
    f'{stage}_timeout = "1s"'
    for stage in ("connect", "greeting", "hello", "mail", "rcpt", "data_init", "data_block", "data_end")
]
TEMPORARY = {
    "CONNECT": "421 4.3.2 come back later",
    "EHLO": "421 4.3.2 come back later",
    "MAIL": "451 4.3.0 come back later",
    "RCPT": "450 4.2.0 come back later",
    "DATA": "451 4.3.0 come back later",
    "DOT": "452 4.3.1 come back later",
}
ILLNESSES = [(stage, illness) for stage, later in TEMPORARY.items() for illness in (later, HANG, DROP)]


def test_every_temporary_illness_is_survived(lab: Lab) -> None:
    """Each next hop is ill twice in the same way, then well: nothing is lost, nothing bounced."""
    hops = [lab.hop({stage: [illness, illness, WELL[stage]]}) for stage, illness in ILLNESSES]
    parts = []
    for number, hop in enumerate(hops):
        parts += [route(f"@ill{number}.test", f"hop{number}"), smart_host(f"hop{number}", hop.port, *IMPATIENT)]
    gateway = lab.mx(route("@home.test", "boxes"), maildirs("boxes"), *parts, SOON).start()
    for number, (stage, illness) in enumerate(ILLNESSES):
        submit(gateway.port, "ann@home.test", f"bob@ill{number}.test", letter(f"{stage} {illness}"))

    def unserved() -> list[tuple[str, str]]:
        return [
            case for case, hop in zip(ILLNESSES, hops, strict=True)
            if not any(given.answer.startswith("250") for given in hop.given)
        ]

    try:
        wait_until(lambda: not unserved(), 60, "every message arrived")
    except AssertionError:
        pytest.fail(f"never delivered: {unserved()}")
    gateway.wait_for_empty_queue()
    for (stage, illness), hop in zip(ILLNESSES, hops, strict=True):
        assert hop.stages.count(stage) >= 3, (stage, illness, hop.stages)
        whole = [given for given in hop.given if given.answer.startswith("250")]
        assert len(whole) == 1, (stage, illness)
        assert whole[0].content.endswith(f"Subject: {stage} {illness}\r\n\r\nhello\r\n".encode())
    assert not (gateway.folder / "mail").exists(), "a bounce for what was temporary"


def test_the_queue_shows_who_waits_and_why(lab: Lab) -> None:
    hop = lab.hop({"RCPT": ["450 4.2.0 come back later"]})
    gateway = lab.mx(route("@away.test", "out"), smart_host("out", hop.port), LATER).start()
    submit(gateway.port, "ann@home.test", "bob@away.test", letter("patience"))
    wait_until(lambda: any(row["attempts"] for row in gateway.queue()), 20, "one attempt is counted")
    row, = gateway.queue()
    assert row["sender"] == "ann@home.test"
    assert row["recipient"] == "bob@away.test"
    assert row["state"] == "waiting"
    assert row["attempts"] == 1
    assert "come back later" in str(row["reason"])
    assert not hop.given


REFUSALS = {
    "RCPT": "550 5.1.1 no such user here",
    "DATA": "554 5.6.0 not that",
    "DOT": "554 5.7.1 we do not like it",
    "MAIL": "550 5.7.1 not from you",
}


@pytest.mark.parametrize("stage", REFUSALS)
def test_a_refusal_comes_back_as_a_bounce(lab: Lab, stage: str) -> None:
    hop = lab.hop({stage: [REFUSALS[stage]]})
    gateway = lab.mx(
        route("@home.test", "boxes"), route("@away.test", "out"), maildirs("boxes"),
        smart_host("out", hop.port, host="localhost"), SOON,
    ).start()
    submit(gateway.port, "ann@home.test", "bob@away.test", letter("in vain"))
    raw, = wait_for_letters(gateway.folder / "mail/home.test/ann")
    gateway.wait_for_empty_queue()
    assert hop.stages.count(stage) == 1, "a refusal is not tried again"

    bounce = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(bounce, EmailMessage)
    assert bounce["Return-Path"] == "<>"
    assert bounce["Auto-Submitted"].startswith("auto-replied")
    assert bounce["To"].addresses[0].addr_spec == "ann@home.test"
    assert bounce.get_content_type() == "multipart/report"
    assert bounce["Content-Type"].params["report-type"] == "delivery-status"
    assert not bounce.defects
    human, status, returned = bounce.iter_parts()
    assert human.get_content_type() == "text/plain"
    assert "bob@away.test" in human.get_content()
    assert REFUSALS[stage].split(" ", 2)[2] in human.get_content()
    assert status.get_content_type() == "message/delivery-status"
    of_message, of_recipient = status.get_payload()  # type: ignore[misc]
    assert of_message["Reporting-MTA"] == "dns; gw.test"
    assert of_message["Arrival-Date"]
    assert of_recipient["Final-Recipient"] == "rfc822; bob@away.test"
    assert of_recipient["Action"] == "failed"
    assert of_recipient["Status"] == REFUSALS[stage].split()[1]
    assert of_recipient["Diagnostic-Code"].replace("\n", "") == f"smtp; {REFUSALS[stage]}"
    assert of_recipient["Remote-MTA"] == "dns; localhost"
    assert returned.get_content_type() == "text/rfc822-headers"
    assert "Subject: in vain" in returned.get_payload()
    assert "hello" not in returned.get_payload()
