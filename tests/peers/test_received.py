"""What our own Received says of the TLS that a message came over, beside what the openssl command calls it."""

import email
import re
import smtplib
import ssl
import subprocess
from pathlib import Path

import pytest

from mailgw.mail.cipher_suites import registered_name
from tests.peers.harness import Lab, letter, maildirs, route, wait_for_letters

pytestmark = pytest.mark.peer

SUITES = ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-SHA256"]


def registered_names() -> dict[str, str]:
    """IANA's names by OpenSSL's, of all that it knows."""
    words = ["openssl", "ciphers", "-stdname", "-v", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]
    lines = subprocess.run(words, text=True, capture_output=True, check=True).stdout.splitlines()
    return {line.split()[2]: line.split()[0] for line in lines}


def client_with(suite: str, own: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """For one suite of TLS 1.2, or any of 1.3 where ``suite`` is ``""``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if suite:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(suite)
    if own is not None:
        context.load_cert_chain(*own)
    return context


def test_received_names_the_suite_as_it_is_registered(lab: Lab) -> None:
    authority = lab.authority
    near = lab.mx(
        authority.toml() + f'client_ca = "{authority.ca}"', route("@box.test", "boxes"), maildirs("boxes")
    ).start()
    negotiated = []
    person = authority.person("ann@home.test")
    for number, context in enumerate([*map(client_with, SUITES), client_with(""), client_with("", person)]):
        with smtplib.SMTP("127.0.0.1", near.port, local_hostname="client.test", timeout=60) as client:
            client.starttls(context=context)
            assert isinstance(client.sock, ssl.SSLSocket)
            found = client.sock.cipher()
            assert found is not None
            negotiated.append((found[0], found[1]))
            client.sendmail("ann@home.test", [f"bob{number}@box.test"], letter("hi"))
    assert [name for name, _ in negotiated[:3]] == SUITES
    known = registered_names()
    for number, (name, version) in enumerate(negotiated):
        [message] = wait_for_letters(near.folder / f"mail/box.test/bob{number}")
        field = " ".join(email.message_from_bytes(message).get_all("Received", [])[0].split())
        verified = " (client certificate verified)" if number == 4 else ""
        assert re.fullmatch(
            rf"from client\.test \(\[127\.0\.0\.1\]\) \(using {re.escape(version)} with cipher {name} \([0-9]+ bits\)\)"
            rf"{re.escape(verified)} by gw\.test with ESMTPS id [!-~]+ for <bob{number}@box\.test>"
            rf" tls {known[name]}(?: group [A-Za-z][A-Za-z0-9_-]*)?; .*",
            field,
        ), field
        assert "ann@" not in field


def test_every_name_is_the_one_that_openssl_knows() -> None:
    theirs = registered_names()
    ours = {name: registered for name in theirs if (registered := registered_name(name))}
    assert len(ours) > 40
    assert ours == {name: theirs[name] for name in ours}
