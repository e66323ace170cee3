"""Aliases with real clients: who may write to them, what Postfix passes on of a wish for reports, and a crash."""

import email
import email.policy
import signal
import smtplib
import subprocess
from email.message import EmailMessage

import pytest

from tests.peers.harness import (
    SOON,
    Gateway,
    Lab,
    Postfix,
    body_of,
    free_port,
    letter,
    letters,
    listener,
    maildirs,
    route,
    smart_host,
    toml,
    wait_for_letters,
    wait_until,
)
from tests.peers.nexthop import NextHop

pytestmark = pytest.mark.peer

ALIASES = """team@home.test bob@home.test, crew@home.test
crew@home.test cy@home.test, far@far.test
one@home.test bob@home.test
"""


@pytest.fixture
def hop(lab: Lab) -> NextHop:
    made = NextHop()
    lab.callback(made.close)
    return made


@pytest.fixture
def gateway(lab: Lab, hop: NextHop) -> Gateway:
    port = free_port()
    made = lab.gateway(
        toml(
            listener("mx", port), route("@home.test", "boxes"), maildirs("boxes"), route("*", "out"),
            smart_host("out", hop.port), SOON, '[aliases]\nfile = "aliases"',
        ),
        [port],
    )
    (made.folder / "aliases").write_text(ALIASES)
    return made.start()


@pytest.fixture
def postfix(lab: Lab, gateway: Gateway) -> Postfix:
    return lab.postfix(f"transport_maps = inline:{{home.test=smtp:[127.0.0.1]:{gateway.ports[0]}}}")


def reports(gateway: Gateway, count: int) -> list[list[dict[str, str]]]:
    """The fields of what Ann was told, each a group for the message and one for each recipient."""
    found = []
    for octets in wait_for_letters(gateway.folder / "mail/home.test/ann", count):
        report = email.message_from_bytes(octets, policy=email.policy.default)
        assert isinstance(report, EmailMessage)
        assert report["Return-Path"] == "<>"
        _, status, *_ = report.iter_parts()
        groups = status.get_payload()
        found.append([{name: value.replace("\n", "") for name, value in one.items()} for one in groups])  # type: ignore[union-attr]
    return found


def ask(port: int, recipient: str, *words: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=30) as client:
        client.sendmail("ann@home.test", [recipient], letter("to a team"), ["ENVID=x7"], words)


def test_postfix_asks_for_success_and_its_sender_hears_that_it_was_expanded(
    gateway: Gateway, postfix: Postfix, hop: NextHop
) -> None:
    ask(postfix.port, "team@home.test", "NOTIFY=SUCCESS,FAILURE")
    (of_message, of_team), = reports(gateway, 1)
    assert of_message["Reporting-MTA"] == "dns; gw.test"
    assert of_message["Original-Envelope-Id"] == "x7"
    assert of_message["Received-From-MTA"] == "dns; postfix.test ([127.0.0.1])"
    assert of_team == {
        "Original-Recipient": "rfc822; team@home.test",
        "Final-Recipient": "rfc822; team@home.test",
        "Action": "expanded",
        "Status": "2.1.5",
        "Last-Attempt-Date": of_team["Last-Attempt-Date"],
        "Final-Log-ID": of_message["X-Queue-ID"],
    }
    for name in ("bob", "cy"):
        arrived, = wait_for_letters(gateway.folder / "mail/home.test" / name)
        assert b"for <team@home.test>" in arrived.replace(b"\n\t", b" ")
    gateway.wait_for_empty_queue()
    assert len(hop.given) == 1
    [said] = gateway.facts("expanded")
    assert (said["recipient"], said["recipients"]) == ("team@home.test", 3)
    assert [fact["action"] for fact in gateway.facts("reported")] == ["expanded"]
    assert len(letters(gateway.folder / "mail/home.test/ann")) == 1, "of no copy, and nothing by Postfix"


def test_postfix_asks_for_success_of_an_alias_for_one(gateway: Gateway, postfix: Postfix) -> None:
    ask(postfix.port, "one@home.test", "NOTIFY=SUCCESS")
    (_, of_bob), = reports(gateway, 1)
    assert (of_bob["Original-Recipient"], of_bob["Final-Recipient"], of_bob["Action"]) == (
        "rfc822; one@home.test", "rfc822; bob@home.test", "delivered"
    )


def swaks(port: int, recipient: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["swaks", "--server", "127.0.0.1", "--port", str(port), "--ehlo", "swaks.test", "--from", "ann@home.test",
         "--to", recipient, "--body", "hello"],
        text=True, capture_output=True, check=False, timeout=60,
    )


def test_a_stranger_reaches_an_alias_and_nothing_behind_it(gateway: Gateway, hop: NextHop) -> None:
    port = gateway.ports[0]
    assert swaks(port, "team@home.test").returncode == 0
    for name in ("bob", "cy"):
        arrived, = wait_for_letters(gateway.folder / "mail/home.test" / name)
        assert body_of(arrived).startswith(b"hello")
    wait_until(lambda: len(hop.given) == 1, 20, "the third goes elsewhere")
    refused = swaks(port, "far@far.test")
    assert refused.returncode == 24, "swaks: no recipient was taken"
    assert "550 5.7.1 <far@far.test>: relay access denied" in refused.stdout

    new = gateway.folder / "new"
    new.write_text("team@home.test dan@home.test\n")
    new.rename(gateway.folder / "aliases")
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: "was read again: 1 aliases" in gateway.words(), 20, "the change is read")
    assert swaks(port, "team@home.test").returncode == 0
    wait_for_letters(gateway.folder / "mail/home.test/dan")
    assert len(letters(gateway.folder / "mail/home.test/bob")) == 1


def test_a_report_that_is_owed_outlives_a_crash(gateway: Gateway) -> None:
    ask(gateway.ports[0], "team@home.test", "NOTIFY=SUCCESS")
    gateway.kill()
    gateway.start()
    assert reports(gateway, 1)[0][1]["Action"] == "expanded"
    gateway.wait_for_empty_queue()
