"""SASL exchanges: responses in, challenges, questions or claims out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.envelope import ChannelBindings
from mailgw.mail.errors import LocalProtocolError
from mailgw.wire.bearer import OAuthBearer, XOAuth2
from mailgw.wire.mechanisms import MECHANISMS, offer
from mailgw.wire.sasl import (
    MAX_SECRET_OCTETS,
    NOTHING_OFFERED,
    Certificate,
    External,
    Fault,
    Login,
    Password,
    Plain,
    ScramKeys,
    Token,
    decode_base64,
    encode_base64,
)
from tests.tables import each

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=40)


def plain() -> Plain:
    return Plain(NOTHING_OFFERED)


@given(TEXT | st.just(""), TEXT, TEXT)
def test_plain_takes_any_text(authzid: str, login: str, password: str) -> None:
    message = f"{authzid}\0{login}\0{password}".encode()
    assert plain().respond(message) == Password(authzid, login, password)


@given(st.binary(max_size=30), st.sampled_from(sorted(MECHANISMS)))
def test_any_octets_are_taken_or_refused(octets: bytes, mechanism: str) -> None:
    exchange = MECHANISMS[mechanism](offer(MECHANISMS, ChannelBindings(b"x"), True))
    exchange.respond(octets)


@given(TEXT, TEXT)
def test_login_asks_twice(login: str, password: str) -> None:
    exchange = Login(NOTHING_OFFERED)
    assert exchange.challenge() == b"Username:"
    assert exchange.respond(login.encode()) == b"Password:"
    assert exchange.respond(password.encode()) == Password("", login, password)


def test_plain_says_nothing_first() -> None:
    assert plain().challenge() == b""


def test_what_is_malformed() -> None:
    too_long = b"\0a\0" + b"x" * (MAX_SECRET_OCTETS + 1)
    for octets in [b"", b"a\0b", b"a\0b\0c\0d", b"\0\0secret", b"\0alice\0", b"\0\xff\0x", too_long]:
        assert plain().respond(octets) is Fault.MALFORMED
    just_not = plain().respond(too_long[:-1])
    assert isinstance(just_not, Password)
    exchange = Login(NOTHING_OFFERED)
    exchange.respond(b"a\0b")
    assert exchange.respond(b"x") is Fault.MALFORMED


def test_secrets_are_not_shown() -> None:
    shown = repr([Password("", "alice", "secret"), Token("", "secret"), ScramKeys(1, b"", b"secret", b"secret")])
    assert "secret" not in shown


def test_no_other_mechanism_wants_keys() -> None:
    with pytest.raises(LocalProtocolError):
        plain().supply(ScramKeys(1, b"", b"", b""), "x")


def test_external() -> None:
    exchange = External(NOTHING_OFFERED)
    assert exchange.respond(b"") == Certificate("")
    assert exchange.respond("älice@example.org".encode()) == Certificate("älice@example.org")
    for octets in (b"a\0b", b"\xff", b"x" * (MAX_SECRET_OCTETS + 1)):
        assert exchange.respond(octets) is Fault.MALFORMED


@each(("response", "expected"), [
    # RFC 7628 s4.1, but for the token's ellipses
    (b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01"
     b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01",
     Token("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")),
    (b"n,,\x01auth=Bearer x\x01\x01", Token("", "x")),
    (b"y,,\x01auth=bearer  x\x01\x01", Token("", "x")),
    (b"n,a=a=2Cb=3D2C,\x01auth=Bearer x\x01\x01", Token("a,b=2C", "x")),
    (b"", None), (b"\x01", None), (b"n,,", None), (b"n,,\x01", None), (b"n,,\x01\x01", None),
    (b"p=x,,\x01auth=Bearer x\x01\x01", None),           # nothing to bind
    (b"n,a=b", None),
    (b"n,a=a=b,\x01auth=Bearer x\x01\x01", None),
    (b"n,,\x01auth=Bearer x\x01", None),
    (b"n,,\x01auth=Bearer x\x01\x01\x01", None),
    (b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01", None),
    (b"n,,\x01auth=Basic x\x01\x01", None),
    (b"n,,\x01auth=Bearer x y\x01\x01", None),
    (b"n,,\x01host\x01auth=Bearer x\x01\x01", None),
    (b"n,,\x01auth=Bearer \xff\x01\x01", None),
    (b"n,a=\xff,\x01auth=Bearer x\x01\x01", None),
])
def test_oauthbearer(response: bytes, expected: Token | None) -> None:
    assert OAuthBearer(NOTHING_OFFERED).respond(response) == (expected or Fault.MALFORMED)


@each(("response", "expected"), [
    (b"user=a@example.org\x01auth=Bearer x.y\x01\x01", Token("a@example.org", "x.y")),
    (b"user=\x01auth=Bearer x\x01\x01", Token("", "x")),
    (b"", None), (b"user=a\x01auth=Bearer x\x01", None), (b"user=a\x01auth=x\x01\x01", None),
    (b"auth=Bearer x\x01user=a\x01\x01", None), (b"user=\xff\x01auth=Bearer x\x01\x01", None),
    (b"user=a\x01auth=Bearer x\x01\x01more", None),
])
def test_xoauth2(response: bytes, expected: Token | None) -> None:
    assert XOAuth2(NOTHING_OFFERED).respond(response) == (expected or Fault.MALFORMED)


def test_what_is_offered() -> None:
    usable = ("LOGIN", "PLAIN", "SCRAM-SHA-256", "EXTERNAL")
    without = offer(usable, ChannelBindings(), False)
    assert without.mechanisms == ("SCRAM-SHA-256", "PLAIN", "LOGIN")
    assert without.bindings == {}
    both = offer(usable, ChannelBindings(b"e", b"s"), True)
    assert both.mechanisms == ("EXTERNAL", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN")
    assert both.bindings == {"tls-exporter": b"e", "tls-server-end-point": b"s"}
    assert offer(usable, ChannelBindings(b"", b"s"), False).bindings == {"tls-server-end-point": b"s"}
    assert offer(("PLAIN",), ChannelBindings(b"e"), True).mechanisms == ("PLAIN",)


@given(st.binary(max_size=30))
def test_base64_both_ways(octets: bytes) -> None:
    assert decode_base64(encode_base64(octets)) == octets


def test_base64_is_strict() -> None:
    for line in [b"=", b"A", b"AA=", b"AAAA=", b"AA==AA==", b"A A=", b"!!!!", b"AAA_", b"AAAA\t"]:
        assert decode_base64(line) is None
