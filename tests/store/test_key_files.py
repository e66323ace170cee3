"""Keys in files: which can be used, what is said of the others, and that they are read again."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from twisted.logger import capturedLogs

from mailgw.store import key_files
from mailgw.store.key_files import KeyFiles, read_key_file
from mailgw.testing.driving import result_of
from mailgw.trust.dkim_sign import BadKey, SigningKey
from tests.trust.dkim_mail import RSA_SECRET

PLAIN = NoEncryption()


def pem(key: object, encryption: KeySerializationEncryption = PLAIN) -> bytes:
    octets: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)  # type: ignore[attr-defined]
    return octets


ED25519 = pem(Ed25519PrivateKey.generate())
OTHER = pem(Ed25519PrivateKey.generate())


def file(folder: Path, octets: bytes = ED25519, mode: int = 0o600) -> str:
    path = folder / "key.pem"
    path.write_bytes(octets)
    path.chmod(mode)
    return str(path)


def test_what_can_be_used(tmp_path: Path) -> None:
    for octets in (ED25519, RSA_SECRET, b"words before it\n" + ED25519):
        for mode in (0o600, 0o400, 0o640, 0o440, 0o660):
            key = read_key_file(file(tmp_path, octets, mode), "example.org", "a")
            assert isinstance(key, SigningKey)
            assert (key.domain, key.selector) == ("example.org", "a")
            assert repr(key) == "SigningKey(domain='example.org', selector='a')"


def test_what_cannot(tmp_path: Path) -> None:
    for octets, mode, why in (
        (ED25519, 0o604, "is open to every user here: chmod o= {}"),
        (ED25519, 0o602, "is open to every user here: chmod o= {}"),
        (b"", 0o600, "not a private key in PEM"),
        (ED25519[:50], 0o600, "not a private key in PEM"),
        (b"x" * key_files.FILE_OCTETS + ED25519, 0o600, "not a private key in PEM"),
        (pem(generate_ec(SECP256R1())), 0o600, "neither RSA nor Ed25519"),
        (pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"x")), 0o600, "it has a password"),
    ):
        path = file(tmp_path, octets, mode)
        assert read_key_file(path, "example.org", "a") == BadKey(f"{path}: {why.format(path)}")
    there = tmp_path / "none"
    assert read_key_file(str(there), "example.org", "a") == BadKey(
        f"{there}: cannot be read: No such file or directory")
    assert read_key_file(str(tmp_path), "example.org", "a") == BadKey(f"{tmp_path}: cannot be read: Is a directory")


def keys_of(files: KeyFiles, domain: str) -> list[tuple[str, bytes]]:
    return [(one.selector, pem(one.key)) for one in files(domain)]


def reload(files: KeyFiles) -> None:
    async def do(work: Callable[..., object], *arguments: object) -> object:
        return work(*arguments)

    result_of(files.look(do))  # type: ignore[arg-type] # it need not be a Deferred


def test_they_are_read_again_when_they_change(tmp_path: Path) -> None:
    paths = {name: str(tmp_path / name) for name in ("a", "b")}
    for path in paths.values():
        Path(path).write_bytes(ED25519)
        os.chmod(path, 0o600)
    files = KeyFiles({"example.org": paths, "example.net": {"a": paths["a"]}, "none.example": {}})
    assert keys_of(files, "example.org") == [("a", ED25519), ("b", ED25519)]
    assert keys_of(files, "example.net") == [("a", ED25519)]
    assert keys_of(files, "none.example") == keys_of(files, "example.com") == []
    Path(paths["b"]).write_bytes(OTHER)
    reload(files)
    assert keys_of(files, "example.org") == [("a", ED25519), ("b", OTHER)]
    Path(paths["a"]).write_bytes(OTHER)
    reload(files)
    assert keys_of(files, "example.org") == [("a", OTHER), ("b", OTHER)]
    assert keys_of(files, "example.net") == [("a", OTHER)]  # a file of two domains


def test_an_old_key_stays_where_the_new_one_cannot_be_used(tmp_path: Path) -> None:
    path = Path(file(tmp_path))
    files = KeyFiles({"example.org": {"a": str(path)}})
    for change, why in (
        (lambda: path.chmod(0o644), "is open to every user here"), (lambda: path.write_bytes(b"x"), "is open"),
        (path.unlink, "cannot be read"),
    ):
        change()
        for told in (1, 0):
            with capturedLogs() as logged:
                reload(files)
            assert [why in str(event["why"]) for event in logged] == [True] * told
            assert keys_of(files, "example.org") == [("a", ED25519)]
    path.write_bytes(OTHER)
    path.chmod(stat.S_IRUSR)
    reload(files)
    assert keys_of(files, "example.org") == [("a", OTHER)]


def test_what_has_the_octets_of_before_is_not_loaded_again(tmp_path: Path) -> None:
    path = Path(file(tmp_path))
    files = KeyFiles({"example.org": {"a": str(path)}})
    [key] = files("example.org")
    for change in (lambda: os.utime(path, (1, 1)), lambda: path.chmod(0o640), lambda: path.write_bytes(ED25519)):
        change()
        reload(files)
        assert files("example.org")[0] is key
    path.write_bytes(OTHER)
    reload(files)
    assert files("example.org")[0] is not key


def test_it_does_not_begin_without_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none: cannot be read: No such file or directory; .*also: cannot be read"):
        KeyFiles({"example.org": {"a": str(tmp_path / "none"), "b": str(tmp_path / "also")}})
    assert attrs.fields(SigningKey).key.repr is False
