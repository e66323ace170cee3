"""Postfix sends to the gateway over STARTTLS, and the gateway relays to Postfix over STARTTLS."""

import random
import smtplib

import attrs
import pytest

from tests.peers.harness import (
    SOON,
    Gateway,
    Lab,
    Postfix,
    body_of,
    free_port,
    listener,
    maildirs,
    route,
    runtime_user,
    smart_host,
    toml,
    wait_for_letters,
)

pytestmark = pytest.mark.peer

HEADER = (
    b"From: <ann@home.test>\r\nSubject: to the octet\r\n"
    b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
)


def large() -> bytes:
    """40 MB in lines."""
    chance = random.Random(40)
    line = [bytes(chance.choices(b"abcdefghijklmnop .=", k=200)) + b"\r\n" for _ in range(500)]
    block = b"".join(line)
    return (block * (40_000_000 // len(block) + 1))[:40_000_000 - 2] + b"\r\n"


def awkward() -> bytes:
    """All octets but NUL, CR and LF; then lines of dots in a period of odd length, so that over 300 KB each of
    them falls on each side of every border at which anybody reads or writes; then dots at the very end."""
    octets = bytes(o for o in range(1, 256) if o not in (10, 13))
    dots = b".\r\n..\r\n.x\r\n...\r\n\r\nab.\r\n.\r\n.\r\n \t\r\n"
    assert len(dots) % 2
    return b"\r\n".join([octets, octets[::-1], b""]) + dots * (300_000 // len(dots)) + b".\r\n" * 9 + b"..\r\n\r\n"


@attrs.frozen
class Pair:
    gateway: Gateway
    gateway_port: int
    postfix: Postfix


@pytest.fixture
def pair(lab: Lab) -> Pair:
    port = free_port()
    authority = lab.authority
    _, _, uid, gid = runtime_user()
    postfix = lab.postfix(
        f"""smtpd_tls_security_level = may
smtpd_tls_cert_file = {authority.certificate}
smtpd_tls_key_file = {authority.private_key}
smtpd_tls_received_header = yes
smtp_tls_security_level = encrypt
transport_maps = inline:{{home.test=smtp:[127.0.0.1]:{port}}}
virtual_mailbox_domains = boxes.test
virtual_mailbox_base = @DIR@/mail
virtual_mailbox_maps = static:box/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""
    )
    gateway = lab.gateway(
        toml(
            listener("mx", port), authority.toml(), route("@home.test", "boxes"), route("@boxes.test", "postfix"),
            maildirs("boxes"), smart_host("postfix", postfix.port, tls="encrypt"), SOON,
        ),
        [port],
    )
    return Pair(gateway.start(), port, postfix)


def unfolded(message: bytes) -> bytes:
    return message.replace(b"\n\t", b" ").replace(b"\n ", b" ")


def send(port: int, recipient: str, body: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=120) as client:
        client.sendmail("ann@home.test", [recipient], HEADER + body, mail_options=["BODY=8BITMIME"])


@pytest.mark.parametrize("made", [awkward, large])
def test_postfix_sends_to_the_gateway(pair: Pair, made) -> None:
    body = made()
    send(pair.postfix.port, "bob@home.test", body)
    arrived, = wait_for_letters(pair.gateway.folder / "mail/home.test/bob", seconds=90)
    assert_same(body_of(arrived), body)
    trace = unfolded(arrived.partition(b"Received: ")[2].partition(b"Received: ")[0])
    assert b"from postfix.test" in trace
    assert b"with ESMTPS " in trace
    assert b"TLSv1." in trace


@pytest.mark.parametrize("made", [awkward, large])
def test_the_gateway_sends_to_postfix(pair: Pair, made) -> None:
    body = made()
    send(pair.gateway_port, "bob@boxes.test", body)
    arrived, = wait_for_letters(pair.postfix.folder / "mail/box", seconds=90)
    assert_same(body_of(arrived), body)
    assert b"from gw.test" in arrived
    assert b"using TLSv1." in arrived  # Postfix's own words for what we relayed over
    assert arrived.startswith(b"Return-Path: <ann@home.test>\n")


def assert_same(arrived: bytes, sent: bytes) -> None:
    """Without printing 40 MB where they differ."""
    expected = sent.replace(b"\r\n", b"\n")
    if arrived != expected:
        at, end = 0, min(len(arrived), len(expected))
        while at < end and arrived[at] == expected[at]:
            at += 1
        near = slice(max(0, at - 40), at + 40)
        pytest.fail(f"{len(arrived)} for {len(expected)} octets; at {at} {arrived[near]!r} for {expected[near]!r}")


def test_the_bodies_are_what_they_say() -> None:
    assert len(large()) == 40_000_000
    assert all(len(line) <= 900 for line in awkward().split(b"\r\n") + large().split(b"\r\n"))
