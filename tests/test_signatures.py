"""Our own mail, signed by a whole gateway; what others wrote, sealed where it goes on; keys that change meanwhile."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import dkim
import pytest
import pytest_twisted
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.defer import Deferred

from mailgw.deliver.signing import Signing
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Message
from mailgw.net.tasks import TaskGroup
from mailgw.signatures import SigningKeys
from mailgw.spool.bodies import FileContent
from mailgw.store.state_file import Workshop
from mailgw.testing import Gateway, Peer
from mailgw.trust.dkim_sign import BadKey, SigningKey, read_signing_key
from tests.tables import each

PEMS = [
    key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for key in (generate_private_key(65537, 1024), Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate())
]
DOMAIN = "home.example"
CONFIG = """
hostname = "mx.home.example"
[[route]]
recipients = ["@home.example"]
backend = "mailboxes"
[[route]]
recipients = ["*"]
backend = "internet"
[backend.mailboxes]
type = "maildir"
path = "mail/{{domain}}/{{local_part}}"
recipients = "any"
[backend.internet]
type = "smtp"
[aliases]
file = "{folder}/aliases"
[srs]
domain = "srs.home.example"
secret_file = "{folder}/secret"
[dkim]
seal_as = "home.example"
[dkim.domains."home.example"]
keys = {{ r = "{folder}/rsa", e = "{folder}/ed25519" }}
"""
LETTER = "From: Ann <ann@home.example>\nTo: bob@away.example\nSubject: Hello\n\nHello!\n"


def signing_key(octets: bytes, selector: str) -> SigningKey:
    key = read_signing_key(octets, DOMAIN, selector)
    assert not isinstance(key, BadKey)
    return key


RECORDS = {
    f"{one.selector}._domainkey.{DOMAIN}": one.record().encode()
    for one in (signing_key(PEMS[0], "r"), signing_key(PEMS[1], "e"))
}


def write_key(path: Path, octets: bytes) -> None:
    path.write_bytes(octets)
    path.chmod(0o600)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    write_key(tmp_path / "rsa", PEMS[0])
    write_key(tmp_path / "ed25519", PEMS[1])
    (tmp_path / "secret").write_text("one\n")
    (tmp_path / "aliases").write_text("info@home.example bob@away.example\n")
    made = Gateway(CONFIG.format(folder=tmp_path), accounts={"ann@home.example": "secret"})
    made.dns.mx("away.example", "mx.away.example")
    with made:
        yield made


def away(gateway: Gateway, **replies: Any) -> Peer:
    return gateway.peer("mx.away.example", replies=replies)


def verified(octets: bytes, records: Mapping[str, bytes] = RECORDS) -> list[bool]:
    """What dkimpy says of each signature."""
    def answer(name: bytes, timeout: int = 5) -> bytes | None:
        return records.get(name.decode().removesuffix("."))

    count = octets[:octets.index(b"\r\n\r\n")].lower().count(b"\ndkim-signature:") + octets.startswith(b"DKIM-")
    found = []
    for number in range(count):
        try:
            found.append(dkim.DKIM(octets).verify(number, dnsfunc=answer))
        except dkim.ValidationError:
            found.append(False)
    return found


def arc(octets: bytes) -> bytes:
    def answer(name: bytes, timeout: int = 5) -> bytes | None:
        return RECORDS.get(name.decode().removesuffix("."))

    found: bytes = dkim.arc_verify(octets, dnsfunc=answer)[0]
    return found


def signed(gateway: Gateway) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.method, one.domain, one.selectors) for one in gateway.journal if isinstance(one, fact.Signed)]


OURS = ("dkim", DOMAIN, ("r", "e"))


@each(("letter", "offers_8bit"), [
    (LETTER, True), (LETTER.replace("Hello!", "Grüße, José"), True), (LETTER.replace("Hello!", "Grüße, José"), False),
    (LETTER.replace("Ann", "Zoë"), True), (LETTER.replace("Hello!\n", ".\n..\n \t\n\n\n"), True),
    (LETTER.replace("home.example>", "sub.home.example>"), True),
])
def test_what_a_login_sends_is_signed(tmp_path: Path, letter: str, offers_8bit: bool) -> None:
    for made in gateway.__wrapped__(tmp_path):  # type: ignore[attr-defined] # one for each row
        ehlo = "250-mx.away.example\r\n250-SMTPUTF8\r\n" + ("250-8BITMIME\r\n" if offers_8bit else "") + "250 SIZE"
        peer = away(made, EHLO=ehlo)
        head = "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"
        mail = "SMTPUTF8 BODY=8BITMIME" if "Zoë" in letter else "BODY=8BITMIME"
        answer = made.receive(
            head + letter, sender="ann@home.example", to="bob@away.example", login="ann@home.example", mail=mail)
        assert answer.code == 250, answer
        (taken,) = peer.messages
        assert taken.octets.isascii() or offers_8bit
        assert verified(taken.octets) == [True, True]
        assert verified(taken.octets + b"more\r\n") == [False, False]
        assert signed(made) == [OURS]


def test_what_goes_to_our_own_mailboxes_is_not(gateway: Gateway) -> None:
    gateway.receive(LETTER, sender="ann@home.example", to="joe@home.example", login="ann@home.example")
    (letter,) = gateway.mailbox("joe@home.example")
    assert b"DKIM-Signature" not in letter
    assert signed(gateway) == []


def test_a_stranger_who_writes_in_our_name_is_not_signed(gateway: Gateway) -> None:
    peer = away(gateway)
    assert gateway.receive(LETTER, sender="x@away.example", to="info@home.example").code == 250
    (taken,) = peer.messages
    assert b"DKIM-Signature" not in taken.octets
    assert signed(gateway) == [("arc", DOMAIN, ("r",))]


FORWARDED = LETTER.replace("ann@home.example", "joe@other.example").replace("bob@away.example", "info@home.example")


def test_what_an_alias_sends_on_is_sealed(gateway: Gateway) -> None:
    peer = away(gateway)
    assert gateway.receive(FORWARDED, sender="joe@other.example", to="info@home.example").code == 250
    (taken,) = peer.messages
    assert taken.sender.endswith("@srs.home.example")
    assert taken.octets.startswith(b"ARC-Seal: i=1;")
    assert b"ARC-Authentication-Results: i=1; mx.home.example;\r\n" in taken.octets
    assert arc(taken.octets) == b"pass"
    assert arc(taken.octets.replace(b"Hello!", b"Hullo!")) == b"fail"
    assert signed(gateway) == [("arc", DOMAIN, ("r",))]


def test_a_chain_grows_from_hop_to_hop(gateway: Gateway) -> None:
    peer = away(gateway)
    for name, record in RECORDS.items():
        gateway.dns.text(name, record.decode())
    gateway.receive(FORWARDED, sender="joe@other.example", to="info@home.example")
    once = peer.messages[0].octets
    gateway.receive(once, sender="joe@other.example", to="info@home.example")
    twice = peer.messages[1].octets
    assert twice.startswith(b"ARC-Seal: i=2; a=rsa-sha256; cv=pass;")
    assert arc(twice) == b"pass"
    gateway.receive(twice.replace(b"Hello!", b"Hullo!"), sender="joe@other.example", to="info@home.example")
    broken = peer.messages[2].octets
    assert broken.startswith(b"ARC-Seal: i=3; a=rsa-sha256; cv=fail;")
    gateway.receive(broken, sender="joe@other.example", to="info@home.example")
    assert peer.messages[3].octets.startswith(b"Authentication-Results:")  # the chain is over


def test_a_bounce_and_a_warning_are_signed(gateway: Gateway) -> None:
    peer = away(gateway, RCPT=lambda line: "550 5.1.1 nobody" if "<bob@" in line else None)
    gateway.receive(FORWARDED, sender="joe@away.example", to="info@home.example")
    (report,) = peer.messages
    assert (report.sender, report.recipients) == ("", ("joe@away.example",))
    assert b"multipart/report" in report.octets
    assert verified(report.octets) == [True, True]
    assert signed(gateway) == [("arc", DOMAIN, ("r",)), OURS]
    peer.answer(RCPT=lambda line: "450 4.2.1 later" if "<bob@" in line else None)
    gateway.receive(FORWARDED, sender="joe@away.example", to="info@home.example")
    gateway.advance(hours=5)
    warning = peer.messages[-1]
    assert b"delayed" in warning.octets
    assert verified(warning.octets) == [True, True]


def test_what_applications_send_is_signed(gateway: Gateway) -> None:
    peer = away(gateway)
    content = LETTER.replace("\n", "\r\n").encode()
    sending = Deferred.fromCoroutine(gateway.service._own_mail.send(None, [Mailbox("bob", "away.example")], content))
    gateway.settle()
    assert sending.called
    (taken,) = peer.messages
    assert verified(taken.octets) == [True, True]


def test_a_key_that_changes_is_taken_within_a_minute(gateway: Gateway, tmp_path: Path) -> None:
    peer = away(gateway)

    def send() -> bytes:
        gateway.receive(LETTER, sender="ann@home.example", to="bob@away.example", login="ann@home.example")
        return peer.messages[-1].octets

    new = {**RECORDS, f"e._domainkey.{DOMAIN}": signing_key(PEMS[2], "e").record().encode()}
    write_key(tmp_path / "ed25519", PEMS[2])
    os.utime(tmp_path / "ed25519", (1, 1))
    assert verified(send()) == [True, True]
    gateway.advance(minutes=1)
    assert verified(send(), new) == [True, True]
    (tmp_path / "rsa").unlink()
    gateway.advance(minutes=1)
    assert verified(send(), new) == [True, True]  # the old one stays
    write_key(tmp_path / "ed25519", PEMS[1])
    gateway.service.reload()
    assert verified(send()) == [True, True]


def test_what_waits_is_signed_anew_where_a_key_is_another(gateway: Gateway, tmp_path: Path) -> None:
    peer = away(gateway, CONTENT="451 4.3.0 later")
    gateway.receive(LETTER, sender="ann@home.example", to="bob@away.example", login="ann@home.example")
    assert signed(gateway) == [OURS]
    write_key(tmp_path / "ed25519", PEMS[2])
    gateway.service.reload()
    peer.answer(CONTENT="250 2.0.0 ok")
    gateway.advance(minutes=6)
    new = {**RECORDS, f"e._domainkey.{DOMAIN}": signing_key(PEMS[2], "e").record().encode()}
    (taken,) = peer.messages
    assert verified(taken.octets, new) == [True, True]
    assert signed(gateway) == [OURS, OURS]


def test_white_space_behind_names_is_mended_before_it_is_signed(gateway: Gateway) -> None:
    peer = away(gateway)
    letter = LETTER.replace("From:", "From :").replace("Subject:", "Subject  :")
    gateway.receive(letter, sender="ann@home.example", to="bob@away.example", login="ann@home.example")
    assert peer.messages[0].octets.endswith(LETTER.replace("\n", "\r\n").encode())
    assert verified(peer.messages[0].octets) == [True, True]


def test_it_does_not_start_without_a_key(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "rsa").unlink()
    workshop = Workshop(gateway.disk, gateway.reactor, gateway.reactor)
    with pytest.raises(TemporaryFault, match="rsa: cannot be read: No such file or directory"):
        SigningKeys(gateway.config.dkim, workshop, TaskGroup(lambda what, failure: None))


def test_a_domain_without_keys_of_its_own_has_those_of_the_folder(gateway: Gateway) -> None:
    from mailgw.store.dkim_keys import KeyFolder, NewKey
    from mailgw.trust.dkim_rotation import KeyType, State

    config = CONFIG.partition("[aliases]")[0].format() + '[dkim.domains."home.example"]\n'
    with Gateway(config, accounts={"ann@home.example": "secret"}) as made:
        made.dns.mx("away.example", "mx.away.example")
        peer = away(made)

        def send() -> bytes:
            made.receive(LETTER, sender="ann@home.example", to="bob@away.example", login="ann@home.example")
            return peer.messages[-1].octets

        assert verified(send()) == []
        folder = KeyFolder(made.config.dkim.folder, made.disk)
        folder.add(DOMAIN, [NewKey("r", KeyType.RSA, PEMS[0])], made.now)
        folder.change(DOMAIN, lambda keys: [attrs.evolve(one, state=State.SIGNING) for one in keys])
        made.advance(minutes=1)
        assert verified(send()) == [True]


@pytest_twisted.ensureDeferred
async def test_a_large_message_in_a_file(tmp_path: Path) -> None:
    from twisted.internet import reactor

    from mailgw.disk import Disk
    from mailgw.spool.threads import Threads

    octets = LETTER.replace("\n", "\r\n").encode() + b"a \t line of text\r\n" * 50_000
    path = tmp_path / "body"
    path.write_bytes(octets)
    threads = Threads(reactor, 1, "test")  # type: ignore[arg-type]
    top = b"X-Crown: x\r\n"
    content = FileContent(str(path), len(top) + len(octets), Disk(), threads, top)
    keys = [signing_key(PEMS[0], "r"), signing_key(PEMS[1], "e")]
    made = Signing(lambda domain: keys if domain == DOMAIN else (), None, "", lambda: 1.7e9, lambda event: None, None)
    message = Message("Q", None, BodyType.SEVEN_BIT, 0.0, content, is_ours=True)
    got = (await made.signed(message, True, True)).content
    assert got.octets is None
    whole = b"".join([chunk async for chunk in got.chunks()])
    assert len(whole) == got.size_octets
    assert whole.endswith(top + octets)
    assert verified(whole) == [True, True]
    threads.refuse()
    await Deferred.fromCoroutine(_joined(threads))


async def _joined(threads: Any) -> None:
    threads.join()
