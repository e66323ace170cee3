"""Reports to senders, end to end: what was asked for with MAIL and RCPT, and the words of a template of one's own."""

import email
import email.policy
import smtplib
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.peers.harness import Gateway, Lab, maildirs, route, smart_host, wait_for_letters
from tests.peers.nexthop import WELL

pytestmark = pytest.mark.peer

WORDS = (Path(__file__).parent.parent.parent / "etc/report_words.txt").read_text()
LETTER = (
    b"From: <ann@home.test>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@home.test>\r\n\r\nsecret\r\n"
)


@pytest.fixture
def gateway(lab: Lab) -> Gateway:
    utf8 = WELL["EHLO"].replace("250-PIPELINING", "250-PIPELINING\r\n250-SMTPUTF8")
    hops = {
        "no": lab.hop({"EHLO": [utf8], "RCPT": ["550 5.1.1 <x>: no such user"]}),
        "later": lab.hop({"RCPT": ["450 4.7.1 greylisted"]}),
        "good": lab.hop(),
    }
    parts = []
    for name, hop in hops.items():
        parts += [route(f"@{name}.test", name), smart_host(name, hop.port, host="localhost")]
    made = lab.mx(
        route("@home.test", "boxes"),
        maildirs("boxes"), *parts, '[retry]\nschedule = ["1s"]\nwarn_after = "1s"\ngive_up_after = "4s"',
        '[reports]\ntemplate = "words.txt"\nfrom_address = "postmaster@home.test"',
    )
    words = WORDS.replace("Subject: Your message could", "From: Postamt\nSubject: Your message could").replace(
        "There is no such address at {domain}.", "In {domain} gibt es „{recipient}“ nicht."
    )
    (made.folder / "words.txt").write_text(words)
    return made.start()


def reports(gateway: Gateway, count: int) -> list[EmailMessage]:
    found = []
    for octets in wait_for_letters(gateway.folder / "mail/home.test/ann", count):
        report = email.message_from_bytes(octets, policy=email.policy.default)
        assert isinstance(report, EmailMessage)
        assert not report.defects
        assert report["Return-Path"] == "<>"
        found.append(report)
    return found


def fields(report: EmailMessage) -> list[dict[str, str]]:
    _, status, *_ = report.iter_parts()
    return [{name: value.replace("\n", "") for name, value in group.items()} for group in status.get_payload()]  # type: ignore[union-attr]


def send(gateway: Gateway, recipient: str, mail: list[str], rcpt: list[str]) -> None:
    with smtplib.SMTP("127.0.0.1", gateway.port, local_hostname="client.test", timeout=30) as client:
        client.sendmail("ann@home.test", [recipient], LETTER, mail, rcpt)


def test_a_failure_says_all_that_was_asked_for(gateway: Gateway) -> None:
    send(gateway, "bob@no.test", [], ["NOTIFY=NEVER"])
    send(gateway, "bob@no.test", ["RET=FULL", "ENVID=a+2Bb"], ["NOTIFY=FAILURE", "ORCPT=rfc822;Bob+2Bx@no.test"])
    report, = reports(gateway, 1)
    assert report["From"] == "Postamt <postmaster@home.test>"
    assert report["In-Reply-To"] == "<1@home.test>"
    human, _, returned = report.iter_parts()
    assert 'Your message "Grüße" of' in human.get_content()
    assert "In no.test gibt es „bob@no.test“ nicht." in human.get_content()
    assert returned.get_content_type() == "message/rfc822"
    assert "secret" in returned.as_string()
    of_message, of_bob = fields(report)
    assert of_message["Original-Envelope-Id"] == "a+b"
    assert of_message["Received-From-MTA"] == "dns; client.test ([127.0.0.1])"
    assert of_bob == {
        "Original-Recipient": "rfc822; Bob+x@no.test",
        "Final-Recipient": "rfc822; bob@no.test",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; localhost",
        "Diagnostic-Code": "smtp; 550 5.1.1 <x>: no such user",
        "Last-Attempt-Date": of_bob["Last-Attempt-Date"],
        "Final-Log-ID": of_message["X-Queue-ID"],
    }


def test_a_delay_then_the_end(gateway: Gateway) -> None:
    send(gateway, "bob@later.test", [], ["NOTIFY=DELAY,FAILURE"])
    delay, failure = reports(gateway, 2)
    _, late = fields(delay)
    assert (late["Action"], late["Status"]) == ("delayed", "4.7.1")
    assert late["Will-Retry-Until"]
    _, failed = fields(failure)
    assert (failed["Action"], failed["Status"]) == ("failed", "5.4.7")
    assert failed["Diagnostic-Code"] == "smtp; 450 4.7.1 greylisted"
    assert "Will-Retry-Until" not in failed


def test_a_success_that_was_asked_for(gateway: Gateway) -> None:
    send(gateway, "bob@home.test", [], [])
    send(gateway, "cy@home.test", [], ["NOTIFY=SUCCESS"])
    delivered, = reports(gateway, 1)
    send(gateway, "bob@good.test", ["RET=FULL"], ["NOTIFY=SUCCESS,FAILURE"])
    relayed = reports(gateway, 2)[1]
    assert (fields(delivered)[1]["Action"], fields(delivered)[1]["Status"]) == ("delivered", "2.0.0")
    assert (fields(relayed)[1]["Action"], fields(relayed)[1]["Remote-MTA"]) == ("relayed", "dns; localhost")
    for report in (delivered, relayed):
        assert list(report.iter_parts())[2].get_content_type() == "text/rfc822-headers"


def test_an_address_beyond_ascii_comes_back_to_one_of_ascii(gateway: Gateway) -> None:
    with smtplib.SMTP("127.0.0.1", gateway.port, local_hostname="client.test", timeout=30) as client:
        client.ehlo()
        client.mail("ann@home.test", ["SMTPUTF8"])
        client.command_encoding = "utf-8"
        assert client.docmd("RCPT TO:<jörg@no.test> ORCPT=utf-8;jörg@no.test")[0] == 250
        client.data(LETTER)
    report, = reports(gateway, 1)
    assert report.as_bytes().isascii(), "every server on the way takes it"
    human, status, _ = report.iter_parts()
    assert "„jörg@no.test“" in human.get_content()
    assert status.get_content_type() == "message/global-delivery-status"
    text = status.as_bytes()
    assert b"Original-Recipient: utf-8; j=C3=B6rg@no.test" in text
    assert b"Final-Recipient: utf-8; j=C3=B6rg@no.test" in text
