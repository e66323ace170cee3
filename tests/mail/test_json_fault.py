"""What is said of octets that are no JSON."""

import msgspec
import pytest

from mailgw.mail.json_fault import json_fault
from mailgw.mail.posted import Unsendable, posted_of
from tests.tables import each

HALF = r"a \u escape is half of a surrogate pair, which is no character"


@each(("octets", "words"), [
    (rb'{"a":"\ud800"}', HALF), (rb'{"a":"\\\uDBFF"}', HALF), (rb'"\ud83d\ude00\ud83d"', HALF), (rb'"\ud800', HALF),
    (rb'{"a":"\\ud800"', "truncated"), (rb'{"a":"\ud83d\ude00', "truncated"), (rb'{"a":"b', "truncated"),
    (rb'{"a":"\udc00"}', "invalid utf-16 surrogate pair"), (b"{]", "malformed"), (b"\xff", "malformed"),
])
def test_half_of_a_surrogate_pair_is_called_so(octets: bytes, words: str) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)) as raised:
        msgspec.json.decode(octets, type=dict[str, str] | str)
    assert words in json_fault(raised.value, octets)


def test_who_sends_mail_is_told_so() -> None:
    with pytest.raises(Unsendable) as raised:
        posted_of(rb'{"from":"a@example.org","subject":"\ud800"}')
    assert HALF in raised.value.why
