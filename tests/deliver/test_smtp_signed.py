"""Signatures over the network in memory: of what the hop takes, as it takes it."""

import re
from typing import Any

import attrs

from mailgw.deliver.signing import JUNK_FIELDS, Signing
from mailgw.interfaces import IFilesJunk
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Message
from mailgw.mail.outcome import Permanence
from mailgw.mail.parameters import MailParameters
from mailgw.trust.arc import ArcWord
from mailgw.trust.dkim import DkimWord
from tests.deliver.smtp_net import ANN, Net, large, message
from tests.deliver.test_signing import DOMAIN, FOUND, KEYS, STRANGER
from tests.deliver.test_smtp_asked import ehlo
from tests.tables import each
from tests.trust import test_arc_signatures as arc
from tests.trust.dkim_mail import NOW, verified

HEADER = f"From: Joe <joe@{DOMAIN}>\r\nSubject: Hi\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
LETTER = (HEADER + "Content-Transfer-Encoding: 8bit\r\n\r\n.dot\r\nJosé\r\n").encode()
UTF8 = (HEADER.replace("Joe ", "José ") + "Content-Transfer-Encoding: 8bit\r\n\r\n.dot\r\nJosé\r\n").encode()
BINARY = (HEADER + "Content-Transfer-Encoding: binary\r\n\r\n").encode() + b"\0one\ntwo\rthree"


def signing() -> Signing:
    return Signing(lambda domain: KEYS.get(domain, ()), DOMAIN, "mx.example.net", lambda: NOW, lambda event: None, None)


def net(**changes: Any) -> Net:
    return Net(signing=signing(), **changes)


def ours(octets: bytes, body: BodyType = BodyType.EIGHT_BIT, **changes: Any) -> Message:
    return attrs.evolve(message(octets, body), is_ours=True, **changes)


def content(heard: bytes) -> bytes:
    """What came by DATA."""
    stuffed = heard.partition(b"DATA\r\n")[2]
    assert stuffed.endswith(b"\r\n.\r\n")
    return re.sub(rb"(?m)^\.", b"", stuffed.removesuffix(b".\r\n"))


def words(octets: bytes) -> list[DkimWord]:
    return [one.word for one in verified(octets)]


BOTH = [DkimWord.PASS, DkimWord.PASS]


@each(("words_of_it", "encoding"), [((b"8BITMIME", b"SIZE"), b"8bit"), ((b"SIZE",), b"quoted-printable")])
def test_it_is_signed_as_the_hop_takes_it(words_of_it: tuple[bytes, ...], encoding: bytes) -> None:
    for what in (ours(LETTER), attrs.evolve(large(LETTER[:9], LETTER[9:], body=BodyType.EIGHT_BIT), is_ours=True)):
        where = net()
        delivery = where.deliver(what)
        heard = where.accept().greet(ehlo(*words_of_it)).accept_all()
        assert delivery.outcomes[ANN].is_delivered
        got = content(heard)
        assert b"Content-Transfer-Encoding: " + encoding in got
        assert words(got) == BOTH
        assert f" SIZE={len(got)}".encode() in heard


def test_each_host_gets_it_signed_in_its_own_form() -> None:
    made = signing()
    got = []
    for offer in ((b"8BITMIME",), (), (b"8BITMIME",)):
        where = Net(signing=made)
        where.deliver(ours(LETTER))
        got.append(content(where.accept().greet(ehlo(*offer)).accept_all()))
    assert [words(one) for one in got] == [BOTH] * 3
    assert got[0] == got[2] != got[1]


JUNK = MailParameters(tags=("junk",))


@each(("changes", "parameters", "is_marked"), [
    ({"marks_junk": True}, JUNK, True),
    ({"marks_junk": True}, MailParameters(tags=("spam",)), False),
    ({"marks_junk": True}, MailParameters(), False),
    ({}, JUNK, False),
])
def test_junk_is_marked_for_who_files_it(changes: dict[str, bool], parameters: MailParameters, is_marked: bool) -> None:
    for what in (message(LETTER), large(LETTER[:9], LETTER[9:])):
        where = Net(**changes)
        assert IFilesJunk.providedBy(where.backend) is bool(changes)
        where.deliver(attrs.evolve(what, parameters=parameters))
        got = content(where.accept().greet(ehlo(b"8BITMIME")).accept_all())
        assert got == (b"X-Spam: Yes\r\nX-Spam-Flag: YES\r\n" if is_marked else b"") + LETTER


def test_what_is_marked_is_signed_and_sealed_with_its_mark() -> None:
    where = net(marks_junk=True)
    where.deliver(ours(LETTER, parameters=JUNK))
    got = content(where.accept().greet(ehlo(b"8BITMIME")).accept_all())
    assert words(got) == BOTH
    assert got.endswith(JUNK_FIELDS + LETTER)
    where = net(marks_junk=True)
    where.deliver(attrs.evolve(message(STRANGER), parameters=JUNK))
    got = content(where.accept().greet().accept_all())
    assert arc.verified(got).word is ArcWord.PASS
    assert got.endswith(JUNK_FIELDS + STRANGER)


def test_a_header_beyond_ascii() -> None:
    where = net()
    where.deliver(ours(UTF8, parameters=MailParameters(smtputf8=True)), [Mailbox("josé", "example.org")])
    heard = where.accept().greet(ehlo(b"8BITMIME", b"SMTPUTF8")).accept_all()
    assert b"SMTPUTF8\r\n" in heard
    assert words(content(heard)) == BOTH


def test_binary_content_by_bdat() -> None:
    where = net()
    delivery = where.deliver(ours(BINARY, BodyType.BINARY))
    peer = where.accept().greet(ehlo(b"CHUNKING", b"BINARYMIME", b"8BITMIME"))
    peer.heard()
    peer.say(b"250 ok\r\n250 ok\r\n")
    got = b""
    while not got.endswith(BINARY):
        size, got_now = re.fullmatch(rb"BDAT (\d+)[^\r]*\r\n(.*)", peer.heard(), re.DOTALL).groups()  # type: ignore[union-attr]
        assert int(size) == len(got_now)
        got += got_now
        peer.say(b"250 ok\r\n")
    assert delivery.outcomes[ANN].is_delivered
    assert words(got) == BOTH


def test_a_stranger_s_is_sealed() -> None:
    where = net()
    where.deliver(message(STRANGER))
    got = content(where.accept().greet().accept_all())
    assert arc.verified(got).word is ArcWord.PASS
    assert got.endswith(FOUND + STRANGER.removeprefix(FOUND))


@each(("changes", "first"), [
    ({"sign": False}, b"From"), ({"seal": False}, b"DKIM-Signature"), ({"sign": False, "seal": False}, b"From"),
])
def test_a_backend_that_does_not_sign(changes: dict[str, bool], first: bytes) -> None:
    where = net(**changes)
    where.deliver(ours(LETTER))
    assert content(where.accept().greet(ehlo(b"8BITMIME")).accept_all()).startswith(first)


def test_trouble_with_its_content_is_temporary_and_the_session_is_kept() -> None:
    where = net()
    what = attrs.evolve(large(LETTER, TemporaryFault("no disk"), body=BodyType.SEVEN_BIT), is_ours=True)
    delivery = where.deliver(what)
    peer = where.accept().greet()
    assert (delivery.outcomes[ANN].permanence, delivery.outcomes[ANN].reply.text) == (Permanence.TEMPORARY, "no disk")
    assert peer.heard() == b""
    delivery = where.deliver(ours(LETTER, BodyType.SEVEN_BIT))
    peer.accept_all()
    assert delivery.outcomes[ANN].is_delivered
