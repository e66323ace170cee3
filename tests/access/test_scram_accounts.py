"""Keys for SCRAM: an account's, and a stranger's, which look alike."""

from base64 import b64encode

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

    def another(self, number: int, scheme: str = "") -> str | None:
        usable = [one for one in self.stored.values() if one.startswith(f"{{{scheme}")]
        return usable[number % len(usable)] if usable else None


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


def test_whether_anybody_can() -> None:
    assert ScramAccounts(ACCOUNTS, b"").has_any
    nobody = ScramAccounts(FakeAccounts(bob="{PLAIN}x"), b"")
    assert not nobody.has_any
    assert shape(nobody.keys("bob@example.org")) == (4096, 16, 32, 32)  # the last one was taken away meanwhile
