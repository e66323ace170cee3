"""Postfix with opendkim behind us and before us: its word on what we sign, and ours on what it signs."""

import smtplib
from email import message_from_bytes, policy
from pathlib import Path

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailgw.trust.dkim_sign import SigningKey
from tests.peers.harness import (
    RELAYS,
    SOON,
    Gateway,
    Lab,
    Postfix,
    free_port,
    letter,
    listener,
    maildirs,
    route,
    runtime_user,
    smart_host,
    toml,
    wait_for_letters,
    wait_until,
)
from tests.peers.opendkim import results, signer, verifier
from tests.peers.zones import ValidatingUnbound, Zone

pytestmark = pytest.mark.peer

KEYS = {
    domain: [SigningKey(domain, "r", generate_private_key(65_537, 2048)),
             SigningKey(domain, "e", Ed25519PrivateKey.generate())] for domain in ("home.test", "gw.test")
}
RECORDS = {
    f"{key.selector}._domainkey.{key.domain}": [key.record().encode()] for keys in KEYS.values() for key in keys
}
HEADER = "From: Ann <ann@home.test>\r\nTo: bob@boxes.test\r\nMIME-Version: 1.0\r\n"
LETTERS = [
    f"{HEADER}Subject: plain\r\n\r\nHello!\r\n",
    f"{HEADER}Subject: odd  \r\n\t white   space \r\n  \r\nX-Empty:\r\n\r\n.\r\n..\r\n a  b\t \r\n \r\n\r\n",
    f"{HEADER}Subject: without a body\r\n\r\n",
    f"{HEADER}Subject: =?utf-8?q?=C3=BC?=\r\nContent-Type: text/plain; charset=utf-8\r\n"
    f"Content-Transfer-Encoding: 8bit\r\n\r\nGr\u00fc\u00dfe \u4e2d\u6587  \r\n",
    f"{HEADER}Subject: parts\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\npreamble\r\n--=_b\r\n"
    f"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<p>\u00fc</p> \r\n--=_b\r\n"
    f"Content-Type: multipart/alternative; boundary=\"=_b=_b\"\r\n\r\n--=_b=_b\r\n\r\na\r\n--=_b=_b--\r\n--=_b--\r\n"
    f"end",
    f"{HEADER}Subject: a large one\r\n\r\n" + "We lost the game, and are hungry;  as mail has them. \r\n" * 20_000,
]


def subject_of(octets: bytes) -> str:
    return str(message_from_bytes(octets, policy=policy.default)["Subject"])


@attrs.frozen
class Ours:
    gateway: Gateway
    postfix: Postfix


def key_files(folder: Path) -> str:
    """``[dkim]``, and its files."""
    lines = ["[dkim]"]
    for domain, keys in KEYS.items():
        for key in keys:
            file = folder / f"{domain}-{key.selector}.pem"
            file.write_bytes(key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.chmod(0o600)
        words = ", ".join(f'{key.selector} = "{folder}/{domain}-{key.selector}.pem"' for key in keys)
        lines.append(f'[dkim.domains."{domain}"]\nkeys = {{ {words} }}')
    return "\n".join(lines)


def boxes(lab: Lab, more: str) -> Postfix:
    """A Postfix that keeps what is for boxes.test, once opendkim has looked at it."""
    verifying = lab.own(verifier(lab.folder, lab.public_folder(), RECORDS)).start()
    _, _, uid, gid = runtime_user()
    return lab.postfix(f"""smtpd_milters = unix:{verifying.socket}
smtpd_recipient_restrictions = check_recipient_access inline:{{nobody@boxes.test=REJECT}}, permit
virtual_mailbox_domains = boxes.test
virtual_mailbox_base = @DIR@/mail
virtual_mailbox_maps = static:box/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
{more}
""")


@pytest.mark.parametrize("unoffered", ["", "8bitmime, chunking, pipelining"])
def test_opendkim_verifies_what_we_sign(lab: Lab, unoffered: str) -> None:
    """Also where the next server takes no 8-bit content, so that it is converted before it is signed."""
    postfix = boxes(lab, f"smtpd_discard_ehlo_keywords = {unoffered}")
    port, folder = free_port(), lab.folder
    gateway = lab.gateway(
        toml(listener("mx", port, RELAYS), route("*", "out"), smart_host("out", postfix.port), SOON, key_files(folder)),
        [port],
    ).start()
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        for text in LETTERS:
            client.sendmail("ann@home.test", ["bob@boxes.test"], text.encode(), mail_options=["BODY=8BITMIME"])
        # and our own words: the bounce of what Postfix refuses
        client.sendmail("bob@boxes.test", ["nobody@boxes.test"], letter("refused"))
    arrived = wait_for_letters(postfix.folder / "mail/box", len(LETTERS) + 1, 60)
    found = {subject_of(octets): octets for octets in arrived}
    assert len(found) == len(LETTERS) + 1
    for subject, octets in found.items():
        message = message_from_bytes(octets, policy=policy.compat32)
        said = [value.encode() for value in message.get_all("Authentication-Results", [])]
        assert results(said) == ["pass", "pass"], (subject, octets[:3000])
    bounce = next(octets for octets in found.values() if b"multipart/report" in octets)
    assert b"header.d=gw.test" in bounce
    gateway.wait_for_empty_queue()


def test_we_verify_what_opendkim_signs(lab: Lab) -> None:
    """A Postfix whose filters sign, by RSA and by Ed25519, hands on to us."""
    sockets = [lab.own(signer(lab.folder, lab.public_folder(), key, "relaxed/simple")).start().socket
               for key in KEYS["home.test"]]
    zone = Zone("home.test", [
        *(f'{key.selector}._domainkey TXT {quoted(key.record())}' for key in KEYS["home.test"]),
        '_dmarc TXT "v=DMARC1; p=reject"', '@ TXT "v=spf1 ip4:127.0.0.1 -all"',
    ], signed=False)
    unbound = lab.own(ValidatingUnbound(lab.folder, lab.public_folder(), [zone])).start()
    port = free_port()
    gateway = lab.gateway(
        toml(
            listener("mx", port), route("@boxes.test", "boxes"), maildirs("boxes"), SOON,
            f'[dns]\nservers = ["{unbound.server}"]', top="trusted_clients = []",
        ), [port],
    ).start()
    filters = ", ".join(f"unix:{socket}" for socket in sockets)
    postfix = lab.postfix(f"smtpd_milters = {filters}\nrelayhost = [127.0.0.1]:{port}\n")
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=60) as client:
        for text in LETTERS:
            client.sendmail("ann@home.test", ["bob@boxes.test"], text.encode(), mail_options=["BODY=8BITMIME"])
    arrived = wait_for_letters(gateway.folder / "mail/boxes.test/bob", len(LETTERS), 60)
    for octets in arrived:
        message = message_from_bytes(octets, policy=policy.compat32)
        (said,) = message.get_all("Authentication-Results", [])
        assert said.count("dkim=pass header.d=home.test") == 2, (said, octets[:3000])
        assert {word.strip() for word in said.split(";")} >= {"gw.test", "dmarc=pass header.from=home.test", "arc=none"}
        assert "spf=pass smtp.mailfrom=ann@home.test" in said
    # The same from elsewhere, with nothing behind it, and with a signature of which a word was changed.
    forged = arrived[0].replace(b"\n", b"\r\n") if b"\r\n" not in arrived[0] else arrived[0]
    forged = forged[forged.index(b"DKIM-Signature:"):]
    with smtplib.SMTP("127.0.0.1", port, timeout=60, source_address=("127.0.0.9", 0)) as client:
        client.sendmail("ann@home.test", ["bob@boxes.test"], forged)
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail("ann@home.test", ["bob@boxes.test"], forged.replace(b"Ann", b"Eve"))
    assert refused.value.smtp_code == 550
    assert refused.value.smtp_error.startswith(b"5.7.1 home.test asks")
    wait_until(lambda: len(wait_for_letters(gateway.folder / "mail/boxes.test/bob")) == len(LETTERS) + 1, 20, "it")


def quoted(text: str) -> str:
    """As a zone file has it: strings of at most 255 octets (RFC 1035 s3.3)."""
    return " ".join(f'"{text[start:start + 250]}"' for start in range(0, len(text), 250))
