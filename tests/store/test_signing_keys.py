"""The keys that sign, as whoever signs has them."""

import attrs

from mailgw.store.dkim_keys import KeyFolder, NewKey, new_key
from mailgw.store.signing_keys import FolderKeys
from mailgw.testing.disk import MemoryDisk
from mailgw.testing.driving import result_of
from mailgw.trust.dkim_rotation import KeyLife, KeyType, State

NOW = 1_700_000_000.0
DOMAIN = "example.org"
PEM = new_key(KeyType.ED25519)
RSA_PEM = new_key(KeyType.RSA, 1024)


class Desk:
    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.folder = KeyFolder("/dkim", self.disk)
        self.told: list[tuple[str, str]] = []
        self.keys = FolderKeys(self.folder, lambda domain, why: self.told.append((domain, why)))

    def add(self, selector: str, kind: KeyType = KeyType.ED25519, pem: bytes = PEM) -> None:
        self.folder.add(DOMAIN, [NewKey(selector, kind, pem)], NOW)

    def all_sign(self, *but: str) -> None:
        def change(keys: tuple[KeyLife, ...]) -> list[KeyLife]:
            return [
                attrs.evolve(key, state=State.RETIRED if key.selector in but else State.SIGNING) for key in keys
            ]

        self.folder.change(DOMAIN, change)

    def look(self) -> list[str]:
        async def do(work: object, *arguments: object) -> object:
            return work(*arguments)  # type: ignore[operator]

        result_of(self.keys.look(do))  # type: ignore[arg-type] # it need not be a Deferred
        return [key.selector for key in self.keys(DOMAIN)]


def test_keys_are_those_of_the_last_look_rsa_first() -> None:
    desk = Desk()
    desk.keys.load()
    assert desk.keys(DOMAIN) == ()
    desk.add("e")
    desk.add("r", KeyType.RSA, RSA_PEM)
    assert desk.look() == []
    desk.all_sign()
    assert desk.keys(DOMAIN) == []
    assert desk.look() == ["r", "e"]
    before = desk.keys(DOMAIN)
    desk.look()
    assert desk.keys(DOMAIN) is before, "nothing has changed, nothing is read"
    desk.all_sign("r")
    assert desk.look() == ["e"]
    assert desk.told == []
    again = FolderKeys(desk.folder, lambda domain, why: None)
    again.load()
    assert [key.selector for key in again(DOMAIN)] == ["e"]


def test_a_key_whose_file_is_gone_signs_on_and_that_is_told_once() -> None:
    desk = Desk()
    desk.add("a")
    desk.add("b")
    desk.all_sign()
    assert desk.look() == ["a", "b"]
    octets = desk.disk.read("/dkim/example.org/a.pem", 0, 9999)
    desk.disk.remove("/dkim/example.org/a.pem")
    desk.add("c")
    desk.all_sign("c")
    assert sorted(desk.look()) == ["a", "b"]
    assert sorted(desk.look()) == ["a", "b"]
    why = "/dkim/example.org/a.pem: cannot be read: No such file or directory"
    assert desk.told == [(DOMAIN, why)]
    # Not after its life as a signer.
    desk.all_sign("a", "c")
    assert desk.look() == ["b"]
    desk.all_sign("c")
    assert desk.look() == ["b"]
    desk.disk.write_atomically("/dkim/example.org/a.pem", octets)
    assert desk.look() == ["a", "b"]
    assert [why for _, why in desk.told] == [why, "", why, ""]


def test_keys_that_were_loaded_stay_though_their_folder_goes() -> None:
    desk = Desk()
    desk.add("a")
    desk.all_sign()
    assert desk.look() == ["a"]
    state, pem = (desk.disk.read(f"/dkim/example.org/{name}", 0, 9999) for name in ("keys.json", "a.pem"))
    why = ("/dkim/example.org/keys.json is gone; what was loaded signs on until the next start: put it back from a "
           "backup")
    desk.disk.remove("/dkim/example.org/keys.json")
    assert (desk.look(), desk.look(), desk.told) == (["a"], ["a"], [(DOMAIN, why)])
    desk.disk.remove("/dkim/example.org/a.pem")
    is_folder = desk.disk.is_folder
    desk.disk.is_folder = lambda path: not path.endswith(DOMAIN) and is_folder(path)  # type: ignore[method-assign]
    assert (desk.look(), desk.told) == (["a"], [(DOMAIN, why)])
    desk.disk.is_folder = is_folder  # type: ignore[method-assign]
    desk.disk.write_atomically("/dkim/example.org/a.pem", pem)
    again = FolderKeys(desk.folder, lambda domain, why: desk.told.append((domain, why)))
    again.load()
    assert again(DOMAIN) == ()
    assert "is missing, and there are keys beside it" in desk.told.pop()[1]
    desk.disk.write_atomically("/dkim/example.org/keys.json", state)
    assert (desk.look(), desk.told) == (["a"], [(DOMAIN, why), (DOMAIN, "")])
    desk.all_sign("a")
    assert desk.look() == [], "a file that can be read says so"


def test_trouble_with_the_folder_changes_nothing() -> None:
    desk = Desk()
    desk.add("a")
    desk.all_sign()
    assert desk.look() == ["a"]
    octets = desk.disk.read("/dkim/example.org/keys.json", 0, 9999)
    desk.disk.write_atomically("/dkim/example.org/keys.json", b"{")
    assert desk.look() == ["a"]
    assert "/dkim/example.org/keys.json: " in desk.told[0][1]
    desk.disk.write_atomically("/dkim/example.org/keys.json", octets)
    assert desk.look() == ["a"]
    names = desk.disk.names

    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    desk.disk.names = refuse  # type: ignore[method-assign]
    assert desk.look() == ["a"]
    desk.disk.names = names  # type: ignore[method-assign]
    assert desk.look() == ["a"]
    assert desk.told[1:] == [(DOMAIN, ""), ("", "/dkim: Permission denied"), ("", "")]
