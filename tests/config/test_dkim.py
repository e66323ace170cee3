"""``[dkim]``: what it comes to, and its faults."""

import os
from pathlib import Path

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailgw.config.checks import owner_faults
from mailgw.config.doubts import doubts
from mailgw.config.settings import DkimSettings
from mailgw.disk import Disk
from mailgw.store.dkim_keys import KeyFolder, NewKey, new_key
from mailgw.trust.dkim_rotation import KeyType, RotationRules, State
from tests.config.making import SMALL, faults_of, into, loaded, make_certificate, make_encrypted_key
from tests.tables import each
from tests.trust.dkim_mail import RSA_SECRET


def pem(key: object) -> bytes:
    octets: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]
    return octets


ED25519, EC = pem(Ed25519PrivateKey.generate()), pem(generate_ec(SECP256R1()))
SHORT = b"""-----BEGIN RSA PRIVATE KEY-----
MIIBPQIBAAJBAMArnsnY2FGRAbgbMCOSSiuClYUt/I7sceq1boKwgC9HoYeuBvhF
FY18g9e4Oed5A9gRXoDuQT01rfGAG6rZGZMCAwEAAQJBAKyhQta+dqznX6z8t4Ts
8LYfa6QlCIF4BGm9LJY4ah6NYJ0n42OjegIPlQMUJzwp/I0lBSNq1psjEgdA550J
cKECIQD4EbIH/IMxYB7f0v8Eru0McrMMIrXPx+ZY053dhYZaIwIhAMZQbPABZLdw
aieoRcr1hB1ROpGFf8lO1BYwwYAUeSHRAiEA77zqOR2oDEfAjr7zBiunm6gdsVS6
MJwX2TBqGHO6a9ECIQCi5R0WZ46bPzNzL71kYRcMHdTGA6pbaOy87X+D/U0igQIh
AKrqa8TtVMu91xO7/wFzdfZr0a7eCgS9OOmeQp3TZKsQ
-----END RSA PRIVATE KEY-----
"""


def make_keys(folder: Path) -> None:
    for name, octets in (
        ("rsa", RSA_SECRET), ("ed25519", ED25519), ("open", ED25519), ("group", ED25519), ("words", b"a\n"), ("ec", EC),
    ):
        (folder / name).write_bytes(octets)
        (folder / name).chmod({"open": 0o644, "group": 0o640}.get(name, 0o600))
    make_encrypted_key(folder / "encrypted")
    (folder / "encrypted").chmod(0o600)


def configured(folder: Path, table: str, base: str = SMALL) -> Path:
    make_keys(folder)
    file = folder / "mailgw.toml"
    file.write_text(f"{base}[dkim]\n{table}\n")
    return file


UNSAID = (RotationRules(), {}, (), 60.0)


def test_what_it_comes_to(tmp_path: Path) -> None:
    config = loaded(configured(tmp_path, """seal_as = "EXAMPLE.org"
[dkim.domains."Example.ORG"]
keys = { 2026A = "rsa", "b.c" = "ed25519", d = "group" }
[dkim.domains."bücher.example"]
"""))
    assert config.dkim == DkimSettings(f"{tmp_path}/state/dkim", "example.org", {
        "example.org": {"2026a": f"{tmp_path}/rsa", "b.c": f"{tmp_path}/ed25519", "d": f"{tmp_path}/group"},
        "xn--bcher-kva.example": {},
    }, *UNSAID)
    assert list(config.dkim.domains["example.org"]) == ["2026a", "b.c", "d"]
    assert loaded(configured(tmp_path, 'folder = "keys"')).dkim == DkimSettings(f"{tmp_path}/keys", None, {}, *UNSAID)
    (tmp_path / "mailgw.toml").write_text(SMALL)
    assert loaded(tmp_path / "mailgw.toml").dkim == DkimSettings(f"{tmp_path}/state/dkim", None, {}, *UNSAID)


def ours(keys: str) -> str:
    return f'[dkim.domains."example.org"]\nkeys = {keys}'


AT = "16: dkim.domains.example.org.keys"


@each(("table", "faults"), [
    (ours('{ a = "none" }'), [f"{AT}.a: none: cannot be read: No such file or directory"]),
    (ours('{ a = "." }'), [f"{AT}.a: .: cannot be read: Is a directory"]),
    (ours('{ a = "open" }'), [f"{AT}.a: open: is open to every user here: chmod o= open"]),
    (ours('{ a = "words" }'), [f"{AT}.a: words: not a private key in PEM"]),
    (ours('{ a = "ec", b = "encrypted" }'), [
        f"{AT}.a: ec: neither RSA nor Ed25519", f"{AT}.b: encrypted: it has a password",
    ]),
    (ours('{ a = "rsa", A = "ed25519" }'), [f"{AT}.A: the selector a stands there twice"]),
    (ours('{ "a b" = "rsa" }'), [f"{AT}.a b: expected a selector such as \"2026a\", not 'a b'"]),
    (ours('{ "[192.0.2.1]" = "rsa" }'), [
        f"{AT}.[192.0.2.1]: expected a selector such as \"2026a\", not '[192.0.2.1]'"]),
    (ours('{ a = 5 }'), [f'{AT}.a: expected text ("…"), not 5']),
    (ours('{}'), [f'{AT}: expected at least one, such as {{ 2026a = "dkim.pem" }}; without keys, the folder has them']),
    (ours('"rsa"'), [f"{AT}: expected tables, [dkim.domains.example.org.keys.NAME], not 'rsa'"]),
    ('[dkim.domains."-x"]\n[dkim.domains."[192.0.2.1]"]\n[dkim.domains.org]\n[dkim.domains."a b.example"]', [
        f'{line}: dkim.domains.{word}: expected a domain such as "example.org", not {word!r}'
        for line, word in ((15, "-x"), (16, "[192.0.2.1]"), (17, "org"), (18, "a b.example"))
    ]),
    ('[dkim.domains."bücher.example"]\n[dkim.domains."xn--bcher-kva.example"]', [
        "16: dkim.domains.xn--bcher-kva.example: xn--bcher-kva.example has a table already",
    ]),
    ('seal_as = "example.org"', ['15: dkim.seal_as: there is no [dkim.domains."example.org"]']),
    ('seal_as = "exampel.org"\n[dkim.domains."example.org"]', [
        "15: dkim.seal_as: there is no [dkim.domains.\"exampel.org\"]; did you mean 'example.org'?",
    ]),
    ('seal_as = "x"\n[dkim.domains."a.example"]\n[dkim.domains."b.example"]', [
        '15: dkim.seal_as: there is no [dkim.domains."x"]; there are a.example, b.example',
    ]),
    ("seal_as = 5", ['15: dkim.seal_as: expected text ("…"), not 5']),
    ("sign_as = 5", [
        "15: dkim.sign_as: unknown key; expected one of folder, seal_as, wait, retire, publish, publish_timeout, "
        "domains",
    ]),
])
def test_faults(tmp_path: Path, table: str, faults: list[str]) -> None:
    assert faults_of(configured(tmp_path, table)) == [f"mailgw.toml:{fault}" for fault in faults]


def test_a_short_key(tmp_path: Path) -> None:
    file = configured(tmp_path, ours('{ a = "short" }'))
    (tmp_path / "short").write_bytes(SHORT)
    (tmp_path / "short").chmod(0o600)
    assert faults_of(file) == [f"mailgw.toml:{AT}.a: short: RSA of 512 bits, not 1024 to 4096"]


def test_no_key_shows_anywhere(tmp_path: Path) -> None:
    config = loaded(configured(tmp_path, ours('{ a = "rsa" }')))
    assert "PRIVATE KEY" not in repr(config)
    assert RSA_SECRET.decode().splitlines()[1] not in repr(config)


def test_keys_of_the_folder_that_cannot_be_used(tmp_path: Path) -> None:
    file = configured(tmp_path, 'folder = "keys"\n[dkim.domains."example.org"]')
    folder = KeyFolder(str(tmp_path / "keys"), Disk())
    folder.add("example.org", [NewKey("a", KeyType.ED25519, new_key(KeyType.ED25519))], 0.0)
    folder.change("example.org", lambda keys: [attrs.evolve(key, state=State.SIGNING) for key in keys])
    pem = Path(folder.file("example.org", "a"))
    assert faults_of(file) == []
    pem.chmod(0o644)
    at = "mailgw.toml:16: dkim.domains.example.org: keys/example.org"
    assert faults_of(file) == [
        f"{at}/a.pem: is open to every user here: chmod o= keys/example.org/a.pem; mailgw dkim retire a --force "
        "lets it sign no more"]
    pem.chmod(0o640)
    assert faults_of(file) == []
    os.remove(folder.state_file("example.org"))
    assert faults_of(file) == [
        f"{at}/keys.json is missing, and there are keys beside it: put it back from a backup; or move the .pem files "
        "away and make new keys, mailgw dkim make example.org"]


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone becomes another user")
def test_what_the_gateway_s_user_may_not_read(tmp_path: Path) -> None:
    config = loaded(configured(tmp_path, ours('{ a = "rsa" }')))
    told = [str(fault) for fault in owner_faults(config, (65534, 65534)) if fault.key.startswith("dkim")]
    assert len(told) == 1
    assert "dkim.domains.example.org.keys.a" in told[0]
    assert "user 65534, as whom mailgw will run, may not read it" in told[0]


SEALING = 'seal_as = "example.org"\n[dkim.domains."example.org"]\nkeys = { a = "rsa" }'


@each(("backend", "told"), [
    (SMALL, ["dkim: nothing is signed", "dkim.seal_as: nothing is sealed"]),
    (into("out") + '[backend.out]\ntype = "smtp"\n', []),
    (into("out") + '[backend.out]\ntype = "smtp"\nsign = false\nseal = false\n',
     ["dkim: nothing is signed", "dkim.seal_as: nothing is sealed"]),
    (into("out") + '[backend.out]\ntype = "lmtp"\nhosts = ["127.0.0.1:24"]\nsign = true\n',
     ["dkim.seal_as: nothing is sealed"]),
])
def test_doubts(tmp_path: Path, backend: str, told: list[str]) -> None:
    found = [str(doubt) for doubt in doubts(loaded(configured(tmp_path, SEALING, backend))) if "dkim" in doubt.key]
    assert [words in line for words, line in zip(told, found, strict=True)] == [True] * len(told)


@each(("keys", "is_told"), [
    ('keys = { a = "rsa" }', False), ('keys = { b = "ed25519" }', True),
    ('keys = { b = "ed25519", a = "rsa" }', False), ("", False),  # of the folder; that it has none is told
])
def test_a_seal_by_ed25519_alone_is_a_doubt(tmp_path: Path, keys: str, is_told: bool) -> None:
    table = f'seal_as = "example.org"\n[dkim.domains."example.org"]\n{keys}'
    config = loaded(configured(tmp_path, table, into("out") + '[backend.out]\ntype = "smtp"\n'))
    assert any("no key of RSA" in str(doubt) for doubt in doubts(config)) is is_told
    if keys:
        return
    folder = KeyFolder(config.dkim.folder, Disk())
    for kind, is_told in ((KeyType.ED25519, True), (KeyType.RSA, False)):
        folder.add("example.org", [NewKey(str(kind), kind, ED25519 if is_told else RSA_SECRET)], 0.0)
        folder.change("example.org", lambda keys: [attrs.evolve(one, state=State.SIGNING) for one in keys])
        assert any("no key of RSA" in str(doubt) for doubt in doubts(config)) is is_told


def test_who_logs_in_may_write_any_name_into_from(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    (tmp_path / "passwd").touch()
    base = into("out") + """[[listen]]
role = "submission"
endpoint = "tcp:587"
[backend.out]
type = "smtp"
[tls]
certificate = "fullchain.pem"
private_key = "privkey.pem"
[accounts]
passwd_file = "passwd"
"""
    one, two = '[dkim.domains."example.org"]\n', '[dkim.domains."example.org"]\n[dkim.domains."example.net"]\n'
    for text, table, is_told in (
        (base, one, True), (base, two, True), (f"{base}check_from = true\n", two, False),
        (f"{base}check_from = true\n", one, False), (base, "", False),
        (into("out") + '[backend.out]\ntype = "smtp"\n', two, False),
    ):
        told = doubts(loaded(configured(tmp_path, table, text)))
        assert [doubt.key for doubt in told if "check_from = true" in doubt.why] == ["dkim.domains"] * is_told
