"""SOCKS5 as octets; any split of what the proxy says comes to the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.wire.socks5 import NEED_DATA, NotThrough, Signal, Socks5Dialog, Through
from tests.tables import each

LOGIN = ("me", "s3cret")
ANSWER4 = b"\x05\x00\x00\x01\xc0\x00\x02\x63\x04\x38"
ANSWER6 = b"\x05\x00\x00\x04" + bytes(16) + b"\x04\x38"
ANSWER_NAME = b"\x05\x00\x00\x03\x05proxy\x04\x38"
CONNECT4 = b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x19"
CONNECT6 = b"\x05\x01\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x00\x19"


def talk(says: list[bytes], login: tuple[str, str] | None = None, address: str = "192.0.2.1") -> tuple[object, bytes]:
    """What it comes to, and all that we said; the proxy says one thing after the other."""
    dialog = Socks5Dialog(address, 25, login)
    said = dialog.output()
    found: Through | NotThrough | Signal = NEED_DATA
    for octets in says:
        assert found is NEED_DATA
        found = dialog.receive(octets)
        said += dialog.output()
    return found, said


@each(
    ("says", "login", "found", "said"),
    [
        ([b"\x05\x00", ANSWER4], None, Through(b""), b"\x05\x01\x00" + CONNECT4),
        ([b"\x05\x00", ANSWER6 + b"220 "], None, Through(b"220 "), b"\x05\x01\x00" + CONNECT4),
        ([b"\x05\x00", ANSWER_NAME], None, Through(b""), b"\x05\x01\x00" + CONNECT4),
        ([b"\x05\x00", ANSWER4], LOGIN, Through(b""), b"\x05\x02\x00\x02" + CONNECT4),
        (
            [b"\x05\x02", b"\x01\x00", ANSWER4], LOGIN, Through(b""),
            b"\x05\x02\x00\x02" + b"\x01\x02me\x06s3cret" + CONNECT4,
        ),
    ],
)
def test_through(says: list[bytes], login: tuple[str, str] | None, found: object, said: bytes) -> None:
    assert talk(says, login) == (found, said)


def test_an_ipv6_destination() -> None:
    assert talk([b"\x05\x00", ANSWER4], None, "2001:db8::1") == (Through(b""), b"\x05\x01\x00" + CONNECT6)


@each(
    ("says", "login", "why", "is_destination"),
    [
        ([b"\x04"], None, "the proxy does not speak SOCKS5", False),
        ([b"HTTP/1.1 400"], None, "the proxy does not speak SOCKS5", False),
        ([b"\x05\xff"], None, "the proxy wants a login", False),
        ([b"\x05\xff"], LOGIN, "the proxy does not take our way to log in", False),
        ([b"\x05\x02"], None, "the proxy chose what it was not offered", False),
        ([b"\x05\x01"], LOGIN, "the proxy chose what it was not offered", False),
        ([b"\x05\x00" + ANSWER4], None, "the proxy said more than it was asked", False),
        ([b"\x05\x02", b"\x01\x01"], LOGIN, "the proxy refused the login", False),
        ([b"\x05\x02", b"\x01\x00\x05"], LOGIN, "the proxy said more than it was asked", False),
        ([b"\x05\x00", b"\x05\x01"], None, "the proxy failed", False),
        ([b"\x05\x00", b"\x05\x02\x00\x01"], None, "the proxy does not allow it", False),
        ([b"\x05\x00", b"\x05\x04"], None, "No route to host", True),
        ([b"\x05\x00", b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"], None, "Connection refused", True),
        ([b"\x05\x00", b"\x05\x63"], None, "the proxy said 99", False),
        ([b"\x05\x00", b"\x04"], None, "the proxy does not speak SOCKS5", False),
        ([b"\x05\x00", b"\x05\x00\x00\x02\x00"], None, "the proxy's answer cannot be read", False),
    ],
)
def test_not_through(says: list[bytes], login: tuple[str, str] | None, why: str, is_destination: bool) -> None:
    assert talk(says, login)[0] == NotThrough(why, is_destination)


@each("word", ["", "x" * 256, "ü" * 128])
def test_a_login_has_its_limits(word: str) -> None:
    for login in ((word, "x"), ("x", word)):
        with pytest.raises(ValueError, match="255"):
            Socks5Dialog("192.0.2.1", 25, login)
    Socks5Dialog("192.0.2.1", 25, ("x" * 255, "ü" * 127))


@given(st.sampled_from([ANSWER4, ANSWER6, ANSWER_NAME]), st.binary(max_size=8), st.data())
def test_any_split_is_the_same(answer: bytes, rest: bytes, data: st.DataObject) -> None:
    dialog = Socks5Dialog("192.0.2.1", 25, LOGIN)
    dialog.output()
    for whole in (b"\x05\x02", b"\x01\x00"):
        assert [dialog.receive(whole[at:at + 1]) for at in range(len(whole))] == [NEED_DATA] * len(whole)
        assert dialog.output()
    octets = answer + rest
    cuts = sorted(data.draw(st.sets(st.integers(1, len(answer)), max_size=4)))
    pieces = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    found, after = NEED_DATA, b""
    for piece in pieces:
        if found is NEED_DATA:
            found = dialog.receive(piece)
        else:
            after += piece
    assert isinstance(found, Through)
    assert found.rest + after == rest


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_whatever_a_proxy_says_it_ends_or_waits(says: list[bytes]) -> None:
    dialog = Socks5Dialog("192.0.2.1", 25, LOGIN)
    for octets in says:
        if dialog.receive(octets) is not NEED_DATA:
            assert dialog.receive(b"\x05") is NEED_DATA
