"""Lists of addresses as programs write them: all of one, or nothing."""

from email.utils import getaddresses

from hypothesis import given
from hypothesis import strategies as some

from mailgw.mail.address_list import LONGEST_TEXT, addresses_of_list
from tests.tables import each


@each(("text", "found"), [
    ("", []), (" ", []), (",", []), ("(nobody)", []), ("undisclosed-recipients:;", []), ("Team: (none) ;", []),
    ("root", [("", "root")]),
    ("root (Cron Daemon)", [("Cron Daemon", "root")]),
    ("ann@x.example, bob@y.example", [("", "ann@x.example"), ("", "bob@y.example")]),
    ("ann@x.example; bob", [("", "ann@x.example"), ("", "bob")]),
    (", ann ,, <bob>,", [("", "ann"), ("", "bob")]),
    ("Ann B <ann@x.example>", [("Ann B", "ann@x.example")]),
    ("J. P. O'Neil<j@x.example> (at home)", [("J. P. O'Neil", "j@x.example")]),
    ('"Smith, \\"Al\\" <x@y>" <al@x.example>', [('Smith, "Al" <x@y>', "al@x.example")]),
    ("=?utf-8?q?A=C3=A4?= =?utf-8?q?b?= <a@x.example>", [("=?utf-8?q?A=C3=A4?= =?utf-8?q?b?=", "a@x.example")]),
    ("Åsa <åsa@x.example>", [("Åsa", "åsa@x.example")]),
    ('"a b"@x.example, a."b"@x', [("", '"a b"@x.example'), ("", 'a."b"@x')]),
    ("ann @ x . example, < ann (her) @x.example >", [("", "ann@x.example"), ("her", "ann@x.example")]),
    ("<@one.example,@two.example:ann@x.example>", [("", "ann@x.example")]),
    ("ann@[192.0.2.1], ann@[IPv6:2001:db8::1]", [("", "ann@[192.0.2.1]"), ("", "ann@[IPv6:2001:db8::1]")]),
    ("Team A: ann, Bob <b@x.example>; cy", [("", "ann"), ("Bob", "b@x.example"), ("", "cy")]),
    ("ann (Ann (the first) \\) <eve@x>)", [("Ann (the first) ) <eve@x>", "ann")]),
    ("ann,\r\n\tbob,\n cy\r", [("", "ann"), ("", "bob"), ("", "cy")]),
])
def test_what_is_read(text: str, found: list[tuple[str, str]]) -> None:
    assert addresses_of_list(text) == found


@each("text", [
    "<<bad", '"unclosed', "Ann <ann@good.example", "ann@good.example>", "<>", "Ann <>", "Ann < >", "ann smith",
    "ann@x.example bob@x.example", "a@x.example <b@x.example>", "<a@x> <b@x>", "<a@x> b", "<a<b@x>>", "ann@",
    "@x.example",
    "ann@x@y", "ann@x..example", "ann@x.example.", ".ann", "ann.", "a..b", "(ann", "ann)", "ann@[x", "ann@x]", "a\\b",
    "Team: ann", "Team: a: b;", ": ann;", "a@x: b;", "<a@x>: b;", "a\0b", "a\rb", "a\x7fb", "ann@\"x\"", "ann@[x]y",
    "=?utf-8?q?a,b?= <a@x.example>", "ok@x.example, <<bad", "<:ann@x>", "<@a,b:ann@x>", "<ann@x;>", "ann <ann@x,>",
])
def test_what_is_malformed_is_nothing(text: str) -> None:
    assert addresses_of_list(text) is None


@given(some.text('ab@.,:;<>()[]"\\ =?\r\nä'))
def test_whatever_it_is_it_is_read_or_not(text: str) -> None:
    found = addresses_of_list(text)
    # What is read is what others read there, too.
    if found is not None and ";" not in text and "\\" not in text and "\n" not in text and "\r" not in text:
        assert all(address for _, address in found)
        if '"' not in text and "(" not in text:
            assert [one.address for one in found] == [one for _, one in getaddresses([text]) if one]


def test_long_ones_take_no_time() -> None:
    n = 10**4
    for text in ("(" * n, '"' + "a" * n, "a." * n, "<@a," * n, "<" + "@a," * n + ":", "a,(" * n, "a," * LONGEST_TEXT):
        assert addresses_of_list(text) is None
