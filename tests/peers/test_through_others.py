"""A thousand messages from a gateway through another server into a gateway: nothing lost, nothing changed, and what
was asked for with them happens at the far end.

``MAILGW_MESSAGES`` says how many (default: 60).
"""

import os
import random
import re
import smtplib
from collections.abc import Callable, Sequence
from email import message_from_bytes
from pathlib import Path

import attrs
import pytest

from tests.peers.exim import Exim
from tests.peers.harness import RELAYS, SOON, Gateway, Lab, maildirs, route, smart_host, wait_for_letters, wait_until
from tests.peers.load import message, name_if_whole

pytestmark = pytest.mark.peer

MESSAGES = int(os.environ.get("MAILGW_MESSAGES", "60"))
A_SESSION = 10
SENDER, UTF8_SENDER = "ann@home.test", "änn@home.test"
SECONDS = 60 + MESSAGES / 4


@attrs.frozen
class Letter:
    """What is sent: its name is in its header and its ENVID."""

    name: str
    is_utf8: bool
    asks_for_report: bool
    by_bdat: bool

    @property
    def sender(self) -> str:
        return UTF8_SENDER if self.is_utf8 else SENDER

    @property
    def recipient(self) -> str:
        return "jürgen@far.test" if self.is_utf8 else "bob@far.test"

    def octets(self, chance: random.Random) -> bytes:
        made = message(self.name, chance)
        return "Subject: Grüße, 你好\r\n".encode() + made if self.is_utf8 else made


def send(port: int, letters: Sequence[Letter], chance: random.Random) -> None:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=120) as client:
        client.ehlo()
        client.command_encoding = "utf-8"
        for letter in letters:
            octets = letter.octets(chance)
            asked = [f"SIZE={len(octets)}", "BODY=8BITMIME", f"ENVID={letter.name}", "RET=HDRS"]
            asked += ["SMTPUTF8"] * letter.is_utf8
            notify = "SUCCESS,FAILURE" if letter.asks_for_report else "NEVER"
            taken = [
                client.mail(letter.sender, asked),
                client.rcpt(letter.recipient, [f"NOTIFY={notify}", "ORCPT=rfc822;first+2Bname@far.test"]),
                bdat(client, octets) if letter.by_bdat else client.data(octets),
            ]
            assert [code for code, _ in taken] == [250, 250, 250], taken


def bdat(client: smtplib.SMTP, octets: bytes) -> tuple[int, bytes]:
    """Two chunks, the first one at an odd place, both at once."""
    half = len(octets) // 2 + 1
    client.send(b"BDAT %d\r\n" % half + octets[:half])
    client.send(b"BDAT %d LAST\r\n" % (len(octets) - half) + octets[half:])
    first = client.getreply()
    return client.getreply() if first[0] == 250 else first


Start = Callable[[Lab, int], tuple[int, Callable[[], str]]]
"""Starts a server that sends on to the port; its own port, and what reads its log."""


def postfix(lab: Lab, next_port: int) -> tuple[int, Callable[[], str]]:
    made = lab.postfix(
        f"""relayhost = [127.0.0.1]:{next_port}
smtp_tls_security_level = may
smtputf8_enable = yes
smtputf8_autodetect_classes = all
default_destination_concurrency_limit = 8
"""
    )
    return made.port, made.words


def exim(lab: Lab, next_port: int) -> tuple[int, Callable[[], str]]:
    made = lab.own(Exim(lab.folder, lab.public_folder(), next_port, tls=True))
    return made.start().port, made.words


def chain(lab: Lab, peer: Start) -> tuple[Gateway, Gateway, Callable[[], str]]:
    """A gateway that relays for the loopback, one behind the peer that has the mailboxes, and what the peer logs."""
    far = lab.mx(
        lab.authority.toml(), SOON, maildirs("boxes"), route("@far.test", "boxes"), route("@home.test", "boxes")
    ).start()
    peer_port, log = peer(lab, far.port)
    near = lab.mx(
        lab.authority.toml(), SOON, route("@far.test", "peer"), smart_host("peer", peer_port, tls="opportunistic"),
        listen=RELAYS,
    ).start()
    return near, far, log


def files(folder: Path) -> list[Path]:
    return [file for new in folder.glob("*/new") for file in new.iterdir()]


@pytest.mark.parametrize("peer", [postfix, exim], ids=lambda peer: peer.__name__)
def test_all_arrive_as_they_were(lab: Lab, peer: Start, report: list[str]) -> None:
    near, far, log = chain(lab, peer)
    [near_port] = near.ports
    chance = random.Random(3)
    letters = [
        Letter(f"{number}-{peer.__name__}", number % 4 == 0, number % 3 == 0, number % 2 == 0)
        for number in range(MESSAGES)
    ]
    for start in range(0, MESSAGES, A_SESSION):
        send(near_port, letters[start:start + A_SESSION], chance)
    arrived = far.folder / "mail/far.test"
    wait_until(lambda: len(files(arrived)) >= MESSAGES, SECONDS, f"{MESSAGES} messages in {arrived}")
    judge_contents(letters, files(arrived))
    near.wait_for_empty_queue()
    judge_reports(letters, far)
    report.append(f"{MESSAGES} messages through {peer.__name__}")
    if peer is exim:
        # Exim writes K where it sent by BDAT, L where it pipelined.
        sent = re.findall(r"^.* => .*T=onward.*$", log(), re.MULTILINE)
        assert len(sent) == MESSAGES
        assert all(" K " in line and " L " in line for line in sent), sent[0]


def judge_contents(letters: Sequence[Letter], found: Sequence[Path]) -> None:
    """Each one once, whole, with the envelope that it was sent with."""
    contents = [file.read_bytes() for file in found]
    names = [name_if_whole(content) for content in contents]
    assert sorted(map(str, names)) == sorted(letter.name for letter in letters)
    sent = {letter.name: letter for letter in letters}
    for name, content in zip(names, contents, strict=True):
        assert name is not None
        letter = sent[name]
        assert content.startswith(f"Return-Path: <{letter.sender}>\n".encode()), content[:200]
        trace = content.replace(b"\n\t", b" ").replace(b"\n ", b" ")
        assert (b"Subject: Gr\xc3\xbc\xc3\x9fe, \xe4\xbd\xa0\xe5\xa5\xbd\n" in content) == letter.is_utf8
        assert (b" with UTF8SMTP" in trace) == letter.is_utf8, content[:1000]


def judge_reports(letters: Sequence[Letter], far: Gateway) -> None:
    """A report for each that asked for one, and no other mail to the senders."""
    wanted = {letter.name: letter for letter in letters if letter.asks_for_report}
    folder = far.folder / "mail/home.test"
    wait_until(lambda: len(files(folder)) >= len(wanted), SECONDS, f"{len(wanted)} reports in {folder}")
    far.wait_for_empty_queue()
    told = []
    for file in files(folder):
        made = message_from_bytes(file.read_bytes())
        assert made.get_content_type() == "multipart/report"
        text = file.read_text(errors="replace")
        told.append(re.findall(r"^Original-Envelope-Id: (\S+)$", text, re.MULTILINE)[0])
        assert re.search(r"^Action: delivered$", text, re.MULTILINE), text
        assert re.search(r"^Original-Recipient: rfc822; ?first\+name@far\.test$", text, re.MULTILINE), text
    assert sorted(told) == sorted(wanted)


@pytest.mark.parametrize("peer", [postfix, exim], ids=lambda peer: peer.__name__)
def test_binary_content_gets_through_a_server_that_takes_none(lab: Lab, peer: Start) -> None:
    near, far, _ = chain(lab, peer)
    body = bytes(range(256)) * 40 + b"\r\n.\r\n\n.\n\r.\r\0"
    header = b"From: <ann@home.test>\r\nSubject: binary\r\nMIME-Version: 1.0\r\n"
    header += b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    [port] = near.ports
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=60) as client:
        client.ehlo()
        assert client.mail(SENDER, ["BODY=BINARYMIME"])[0] == 250
        assert client.rcpt("bob@far.test")[0] == 250
        assert bdat(client, header + body)[0] == 250
    arrived, = wait_for_letters(far.folder / "mail/far.test/bob", seconds=60)
    made = message_from_bytes(arrived)
    assert made.get_content_type() == "application/octet-stream"
    assert made.get_payload(decode=True) == body
