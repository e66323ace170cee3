"""SASL exchanges: responses in, challenges or credentials out."""

from hypothesis import given
from hypothesis import strategies as st

from mailgw.wire.sasl import MALFORMED, MAX_SECRET_OCTETS, Login, Plain, Secrets, decode_base64, encode_base64

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=40)


@given(TEXT | st.just(""), TEXT, TEXT)
def test_plain_takes_any_text(authzid: str, login: str, password: str) -> None:
    message = f"{authzid}\0{login}\0{password}".encode()
    assert Plain().respond(message) == Secrets(authzid, login, password)


@given(st.binary(max_size=30))
def test_plain_takes_or_refuses_any_octets(octets: bytes) -> None:
    result = Plain().respond(octets)
    assert result is MALFORMED or isinstance(result, Secrets)


@given(TEXT, TEXT)
def test_login_asks_twice(login: str, password: str) -> None:
    exchange = Login()
    assert exchange.challenge() == b"Username:"
    assert exchange.respond(login.encode()) == b"Password:"
    assert exchange.respond(password.encode()) == Secrets("", login, password)


def test_plain_says_nothing_first() -> None:
    assert Plain().challenge() == b""


def test_what_is_malformed() -> None:
    too_long = b"\0a\0" + b"x" * (MAX_SECRET_OCTETS + 1)
    for octets in [b"", b"a\0b", b"a\0b\0c\0d", b"\0\0secret", b"\0alice\0", b"\0\xff\0x", too_long]:
        assert Plain().respond(octets) is MALFORMED
    exchange = Login()
    exchange.respond(b"a\0b")
    assert exchange.respond(b"x") is MALFORMED


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(Secrets("", "alice", "secret"))


@given(st.binary(max_size=30))
def test_base64_both_ways(octets: bytes) -> None:
    assert decode_base64(encode_base64(octets)) == octets


def test_base64_is_strict() -> None:
    for line in [b"=", b"A", b"AA=", b"AAAA=", b"AA==AA==", b"A A=", b"!!!!", b"AAA_", b"AAAA\t"]:
        assert decode_base64(line) is None
