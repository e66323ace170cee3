"""XCLIENT's attributes, as bad as they come."""

from hypothesis import given
from hypothesis import strategies as some

from mailgw.mail.envelope import Role
from mailgw.mail.reply import Reply
from mailgw.wire.smtp_events import Xclient
from mailgw.wire.xclient import parse_xclient

NAMES = ["NAME", "addr", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT", "X", ""]
WORD = some.tuples(some.sampled_from(NAMES), some.text(alphabet="aZ09.:+2D=@[]-\x00\r\né ", max_size=12))


@given(some.lists(WORD, max_size=4), some.sampled_from(list(Role)))
def test_junk_is_refused_and_nothing_raised(words: list[tuple[str, str]], role: Role) -> None:
    told = parse_xclient(" ".join(f"{name}={value}" for name, value in words).encode("latin-1"), role)
    if isinstance(told, Reply):
        assert told.code == 501
        return
    assert isinstance(told, Xclient)
    for text in (told.name, told.helo, told.proto, told.addr, told.destaddr):
        assert text is None or (text.isascii() and text.isprintable() and " " not in text)
    assert role.is_submission or not told.login


@given(some.binary(max_size=80))
def test_octets(octets: bytes) -> None:
    parse_xclient(octets, Role.MX)
