"""Keys for SCRAM: an account's, and a stranger's, which look alike."""

from base64 import b64encode
from collections.abc import Sequence

from mailgw.access.scram_accounts import ScramAccounts
from mailgw.wire.sasl import ScramKeys
from mailgw.wire.scram import derive_keys


def stored(password: str, salt: bytes = b"0123456789abcdef", iterations: int = 4096) -> str:
    keys = derive_keys(password.encode(), salt, iterations)
    words = (b64encode(x).decode() for x in (keys.salt, keys.stored_key, keys.server_key))
    return f"{{SCRAM-SHA-256}}{iterations}," + ",".join(words)


class FakeAccounts:
    def __init__(self, **stored: str) -> None:
        self.stored = {f"{name}@example.org": value for name, value in stored.items()}

    def password_of(self, login: str) -> str | None:
        return self.stored.get(login.lower())

    def of_scheme(self, scheme: str) -> Sequence[str]:
        return tuple(one for one in self.stored.values() if one.startswith(f"{{{scheme}"))


ACCOUNTS = FakeAccounts(alice=stored("secret"), bob="{PLAIN}x", list="")


def test_an_account_s_own() -> None:
    accounts = ScramAccounts(ACCOUNTS, b"s" * 16)
    assert accounts.keys("Alice@Example.org") == derive_keys(b"secret", b"0123456789abcdef", 4096)


def shape(keys: ScramKeys) -> tuple[int, int, int, int]:
    return keys.iterations, len(keys.salt), len(keys.stored_key), len(keys.server_key)


def test_a_stranger_s_look_like_some_account_s_always_the_same() -> None:
    accounts, after_a_restart = ScramAccounts(ACCOUNTS, b"s" * 16), ScramAccounts(ACCOUNTS, b"s" * 16)
    real = accounts.keys("alice@example.org")
    for name in ("nobody@example.org", "bob@example.org", "list@example.org", "no address", "", "\udce9"):
        keys = accounts.keys(name)
        assert shape(keys) == shape(real)
        assert keys != real
        assert keys == accounts.keys(name.upper() if name.isascii() else name) == after_a_restart.keys(name)
    assert accounts.keys('"no\\body"@Example.ORG') == accounts.keys("nobody@example.org"), "however it is spelled"
    assert len({accounts.keys(f"{n}@example.org").salt for n in range(10)}) == 10
    assert ScramAccounts(ACCOUNTS, b"t" * 16).keys("nobody") != accounts.keys("nobody")


def test_salts_of_any_length() -> None:
    for octets in (1, 32, 33, 100):
        accounts = ScramAccounts(FakeAccounts(alice=stored("x", b"s" * octets, 5000)), b"s" * 16)
        assert shape(accounts.keys("nobody")) == (5000, octets, 32, 32)


def test_a_long_salt_of_a_stranger_repeats_nothing() -> None:
    salt = ScramAccounts(FakeAccounts(alice=stored("x", b"s" * 96)), b"s" * 16).keys("nobody").salt
    assert len({salt[place:place + 32] for place in (0, 32, 64)}) == 3


def test_accounts_that_come_and_go_change_no_stranger() -> None:
    kinds = (stored("a"), stored("b", iterations=10_000), stored("c", b"s" * 24, 4096))
    accounts = FakeAccounts(**{f"user{number}": kinds[number % 3] for number in range(9)})
    live = ScramAccounts(accounts, b"s" * 16)
    strangers = [f"nobody{number}@example.org" for number in range(60)]
    before = {name: live.keys(name) for name in strangers}
    assert {shape(keys)[:2] for keys in before.values()} == {(4096, 16), (10_000, 16), (4096, 24)}
    del accounts.stored["user0@example.org"], accounts.stored["user4@example.org"]
    accounts.stored["new@example.org"] = kinds[2]
    assert {name: live.keys(name) for name in strangers} == before
    # Those of a shape that goes alone find another one.
    accounts.stored = {name: one for name, one in accounts.stored.items() if one != kinds[1]}
    moved = {name for name in strangers if live.keys(name) != before[name]}
    assert moved == {name for name, keys in before.items() if keys.iterations == 10_000}


def test_whether_anybody_can() -> None:
    assert ScramAccounts(ACCOUNTS, b"").has_any
    nobody = ScramAccounts(FakeAccounts(bob="{PLAIN}x"), b"")
    assert not nobody.has_any
    assert shape(nobody.keys("bob@example.org")) == (4096, 16, 32, 32)  # the last one was taken away meanwhile
