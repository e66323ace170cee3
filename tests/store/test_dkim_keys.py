"""The folder of DKIM keys, on a disk in memory with crashes, and on a real one for modes and locks."""

import errno
import os
import stat
from pathlib import Path

import attrs
import pytest

from mailgw.disk import Disk
from mailgw.store import dkim_keys
from mailgw.store.dkim_keys import KeyFolder, NewKey, Unusable, new_key
from mailgw.testing.disk import MemoryDisk
from mailgw.testing.power import Power, PowerFailed
from mailgw.trust.dkim_rotation import KeyLife, KeyType, State
from mailgw.trust.dkim_sign import SigningKey, read_signing_key
from tests.tables import each

NOW = 1_700_000_000.0
DOMAIN = "example.org"
PEM = new_key(KeyType.ED25519)
OTHER = new_key(KeyType.ED25519)


def made(selector: str = "a") -> NewKey:
    return NewKey(selector, KeyType.ED25519, PEM)


def signs(keys: tuple[KeyLife, ...]) -> list[KeyLife]:
    return [attrs.evolve(key, state=State.SIGNING) for key in keys]


def test_a_key_is_kept_and_read_again() -> None:
    folder = KeyFolder("/state/dkim", MemoryDisk())
    assert (folder.domains(), folder.keys(DOMAIN), folder.state(DOMAIN)) == ([], (), None)
    assert folder.signing(DOMAIN) == ([], [])
    lives = folder.add(DOMAIN, [made()], NOW)
    own = read_signing_key(PEM, DOMAIN, "a")
    assert isinstance(own, SigningKey)
    assert lives == [KeyLife("a", KeyType.ED25519, own.record(), NOW, State.WANTED, NOW)]
    assert (folder.domains(), folder.keys(DOMAIN)) == ([DOMAIN], tuple(lives))
    assert folder.signing(DOMAIN) == ([], [])
    before = folder.state(DOMAIN)
    assert before == folder.state(DOMAIN)
    folder.change(DOMAIN, signs)
    assert folder.state(DOMAIN) != before
    [key], bad = folder.signing(DOMAIN)
    assert (key.domain, key.selector, key.record(), bad) == (DOMAIN, "a", own.record(), [])


def test_what_is_gone_is_removed() -> None:
    disk = MemoryDisk()
    folder = KeyFolder("/dkim", disk)
    folder.add(DOMAIN, [made()], NOW)
    folder.change(DOMAIN, lambda keys: [attrs.evolve(key, state=State.GONE) for key in keys])
    assert disk.names("/dkim/example.org") == [".lock", "keys.json"]
    assert not disk.holds(b"PRIVATE")


def test_what_cannot_sign_is_told() -> None:
    disk = MemoryDisk()
    folder = KeyFolder("/dkim", disk)
    folder.add(DOMAIN, [made("a"), made("b"), made("c")], NOW)
    folder.change(DOMAIN, signs)
    disk.remove("/dkim/example.org/a.pem")
    disk.write_atomically("/dkim/example.org/b.pem", b"-----BEGIN")
    disk.write_atomically("/dkim/example.org/c.pem", OTHER)
    assert folder.signing(DOMAIN) == ([], [
        Unusable("a", "/dkim/example.org/a.pem", "cannot be read: No such file or directory"),
        Unusable("b", "/dkim/example.org/b.pem", "not a private key in PEM"),
        Unusable("c", "/dkim/example.org/c.pem", "it is another key than its record is of"),
    ])


@each("content", [b"", b"{}", b"[1]", b'{"version": 2, "keys": []}', b'{"version": 1, "keys": [{"selector": "a"}]}'])
def test_files_that_are_none_of_ours(content: bytes) -> None:
    disk = MemoryDisk()
    disk.make_folder("/dkim/example.org")
    disk.write_atomically("/dkim/example.org/keys.json", content)
    with pytest.raises(ValueError, match=r"/dkim/example\.org/keys\.json: "):
        KeyFolder("/dkim", disk).keys(DOMAIN)


def test_no_path_leads_out_of_the_folder() -> None:
    disk = MemoryDisk()
    folder = KeyFolder("/dkim", disk)
    folder.add(DOMAIN, [made()], NOW)
    octets = disk.read("/dkim/example.org/keys.json", 0, 1 << 20)
    disk.write_atomically("/dkim/example.org/keys.json", octets.replace(b'"a"', b'"../a"'))
    with pytest.raises(ValueError, match="no selector"):
        folder.keys(DOMAIN)
    with pytest.raises(ValueError, match=r"\.\./a is no selector"):
        folder.add("example.net", [made("../a")], NOW)


def test_names_that_are_too_long_leave_nothing() -> None:
    disk = MemoryDisk()
    folder = KeyFolder("/dkim", disk)
    longest = ".".join(["a" * 60, "b" * 60, "c" * 60, "d" * 44])
    assert len(f"mg._domainkey.{longest}d") == 242
    selector = "s" * 13
    with pytest.raises(ValueError, match=r"would have 254 characters: 253 are the most of a name in DNS"):
        folder.add(longest + "d", [made(selector + "s")], NOW)
    with pytest.raises(ValueError, match="has 101 characters: 100 are the most"):
        folder.add(DOMAIN, [made(".".join(["a" * 50] * 2))], NOW)
    assert not disk.is_folder("/dkim")
    folder.add(longest + "d", [made(selector)], NOW)


def test_keys_without_their_lives_are_a_fault_and_no_crash_leaves_them_so() -> None:
    disk = MemoryDisk()
    folder = KeyFolder("/dkim", disk)
    folder.add(DOMAIN, [made()], NOW)
    disk.remove("/dkim/example.org/keys.json")
    for ask in (folder.keys, folder.signing, lambda domain: folder.add(domain, [made("b")], NOW)):
        with pytest.raises(ValueError, match=r"^/dkim/example\.org/keys\.json is missing, and there are keys beside"):
            ask(DOMAIN)
    disk.remove("/dkim/example.org/a.pem")
    assert folder.keys(DOMAIN) == ()
    steps = 0
    while True:
        disk = MemoryDisk()
        disk.power = Power(fails_at=steps)
        folder = KeyFolder("/dkim", disk)
        try:
            folder.add(DOMAIN, [made()], NOW)
        except PowerFailed:
            pass
        else:
            break
        disk.power = Power()
        disk.crash()
        assert len(folder.keys(DOMAIN)) in (0, 1), steps
        steps += 1
    assert steps > 8


def test_a_key_is_loaded_again_only_where_its_octets_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryDisk()
    folder = KeyFolder("/dkim", disk)
    folder.add(DOMAIN, [made()], NOW)
    found = folder.private(DOMAIN, "a")
    disk.write_atomically("/dkim/example.org/a.pem", PEM)
    assert folder.private(DOMAIN, "a") is found
    disk.write_atomically("/dkim/example.org/a.pem", OTHER)
    other = folder.private(DOMAIN, "a")
    assert isinstance(other, SigningKey)
    assert other is not found


def test_a_selector_is_used_once_and_there_is_a_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dkim_keys, "KEYS", 2)
    folder = KeyFolder("/dkim", MemoryDisk())
    folder.add(DOMAIN, [made("a")], NOW)
    with pytest.raises(ValueError, match="selector a is in use"):
        folder.add(DOMAIN, [made("a")], NOW)
    with pytest.raises(ValueError, match="2 are the most"):
        folder.add(DOMAIN, [made("b"), made("c")], NOW)
    folder.add(DOMAIN, [made("b")], NOW)
    assert [key.selector for key in folder.keys(DOMAIN)] == ["a", "b"]
    assert folder.selector(DOMAIN, KeyType.RSA, NOW) == "mg-20231114-r"
    assert folder.selector(DOMAIN, KeyType.RSA, NOW, ["mg-20231114-r"]) == "mg-20231114-2-r"


def test_a_crash_at_each_step_leaves_keys_that_can_be_used() -> None:
    steps = 0
    while True:
        disk = MemoryDisk()
        folder = KeyFolder("/dkim", disk)
        folder.add(DOMAIN, [made("old")], NOW)
        folder.change(DOMAIN, signs)
        disk.power = Power(fails_at=steps)
        try:
            folder.add(DOMAIN, [made("new")], NOW + 1)
            folder.change(DOMAIN, lambda keys: [
                attrs.evolve(key, state=State.GONE if key.selector == "old" else State.SIGNING) for key in keys])
        except PowerFailed:
            pass
        else:
            break
        disk.power = Power()
        disk.crash()
        good, bad = folder.signing(DOMAIN)
        assert (len(good), bad) == (1, []), steps
        for key in folder.keys(DOMAIN):
            assert key.state is State.GONE or isinstance(folder.private(DOMAIN, key.selector), SigningKey), steps
        steps += 1
    assert steps > 8


def test_modes_on_a_real_disk(tmp_path: Path) -> None:
    folder = KeyFolder(str(tmp_path / "dkim"), Disk())
    folder.add(DOMAIN, [made()], NOW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"dkim": 0o700, DOMAIN: 0o700, "a.pem": 0o600, "keys.json": 0o600, ".lock": 0o600}
    path = folder.file(DOMAIN, "a")
    for mode in (0o600, 0o640, 0o660, 0o604, 0o602):
        os.chmod(path, mode)
        [life] = folder.keys(DOMAIN)
        for found in (folder.private(DOMAIN, "a"), folder.fault(DOMAIN, life)):
            if mode & 0o006:
                assert found == Unusable("a", path, f"is open to every user here: chmod o= {path}")
            else:
                assert not isinstance(found, Unusable), mode


def test_who_holds_the_lock_is_waited_for_so_long(tmp_path: Path) -> None:
    class Held(Disk):
        def __init__(self, times: int) -> None:
            self.times = times

        def try_lock(self, descriptor: int) -> bool:
            self.times -= 1
            return self.times < 0

    paused: list[float] = []
    KeyFolder(str(tmp_path), Held(100), paused.append).add(DOMAIN, [made()], NOW)
    assert 4.9 < sum(paused) < 5.1
    with pytest.raises(OSError, match="held it for 5 s") as fault:
        KeyFolder(str(tmp_path), Held(1000), paused.append).add(DOMAIN, [made("b")], NOW)
    assert fault.value.errno == errno.EAGAIN


def test_what_a_key_is_never_stands_in_its_words() -> None:
    assert "PRIVATE" not in repr(made())
    assert "PRIVATE" not in repr(Unusable("a", "b", "c"))


def test_new_keys() -> None:
    for kind, bits, algorithm in ((KeyType.RSA, 1024, "rsa-sha256"), (KeyType.ED25519, 0, "ed25519-sha256")):
        key = read_signing_key(new_key(kind, bits), DOMAIN, "a")
        assert isinstance(key, SigningKey)
        assert key.algorithm.value == algorithm
