"""Entries that are regular expressions: which address they are for, what it comes to, and what is no pattern."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.queue.alias_patterns import MAX_ADDRESS_CHARACTERS, AliasPattern, parse_pattern, parse_template
from tests.slowed import SLOWED
from tests.tables import each


def pattern_of(line: str) -> AliasPattern:
    name, regex, example = parse_pattern(line)
    words = line[len(name):].split()
    return AliasPattern(name, 1, regex, tuple(parse_template(word, regex.groups) for word in words), example)


def found(line: str, address: str) -> list[str] | None:
    mailbox = parse_mailbox(address)
    assert mailbox is not None
    targets = pattern_of(line).targets(mailbox)
    return None if targets is None else [str(target) for target in targets]


@each(("line", "address", "targets"), [
    (r"/^sales-(.*)@x\.test$/ crm+$1@x.test", "sales-Berlin@x.test", ["crm+Berlin@x.test"]),
    (r"/^sales-(.*)@x\.test$/ crm+$1@x.test", "SALES-a@x.test", ["crm+a@x.test"]),
    (r"/^sales-(.*)@x\.test$/i crm+$1@x.test", "SALES-a@x.test", None),
    (r"/^sales-(.*)@x\.test$/ crm+$1@x.test", "presales-a@x.test", None),
    (r"/sales-(.*)@x\.test$/ crm+$1@x.test", "presales-a@x.test", ["crm+a@x.test"]),
    (r"/^(a)(b)?@/ $2${1}$(1)$$@x.test", "a@x.test", ["aa$@x.test"]),
    (r"/^(.*)@/ $1@x.test all@y.test", '"a b"@x.test', ['"a b"@x.test', "all@y.test"]),
    # what comes to no address is for somebody else
    (r"/^(.*)@/ crm-$1@x.test", '"a b"@x.test', None),
    (r"/^crm(.*)@/ $1@x.test", "crm@x.test", None),
    (r"/^(.*)@/ $1-$1-$1-$1@x.test", f"{'a' * 64}@x.test", None),
    # the Kelvin sign is no k
    (r"/^k@/ b@x.test", "\u212a@x.test", None),
    (r"/^a\/b@/ b@x.test", "a/b@x.test", ["b@x.test"]),
    (r"/^(.*)=(.*)@x\.test$/ $1--$2@y.test", "joe=evil.test@x.test", ["joe--evil.test@y.test"]),
])
def test_what_an_address_comes_to(line: str, address: str, targets: list[str] | None) -> None:
    assert found(line, address) == targets


@each(("line", "why"), [
    ("/a", "expected /pattern/ and white space"),
    ("/a/b/ c@x.test", "expected /pattern/ and white space"),
    ("/a/x c@x.test", "expected no flag, or i"),
    ("!/a/ c@x.test", "without !"),
    ("/(/ c@x.test", "not a regular expression"),
    ("/(a+)+$/ c@x.test", "keep it busy"),
    ("/^(a|a)*b/ c@x.test", "keep it busy"),
    ("/^.*.*.*b/ c@x.test", "keep it busy"),
    ("/.*.*b/ c@x.test", "keep it busy"),
    (f"/{'a' * 301}/ c@x.test", "at most 300 characters"),
    ("/(.*)@/ joe@$1", "strangers would choose"),
    ("/(.*)@/ $1", "strangers would choose"),
    ("/(.*)@/ $1@x$1.test", "strangers would choose"),
    ("/(.*)@/ $2@x.test", "no \\$2"),
    ("/(.*)@/ $0@x.test", "no \\$0"),
    ("/(.*)@/ $a@x.test", "\\$\\$ for a dollar"),
    ("/(.*)@/ joe", "expected whole addresses"),
    ("/(.*)@/ joe@-", "expected whole addresses"),
    ("/(.*)@/ a..$1@x.test", "expected whole addresses"),
])
def test_what_is_no_pattern(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        pattern_of(line)


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_stranger_never_chooses_the_domain(one: str, other: str) -> None:
    pattern = pattern_of("/^(.*)=(.*)@/ $2@here.test ${1}x@there.test")
    targets = pattern.targets(Mailbox(f"{one}={other}", "x.test"))
    assert targets is None or [target.domain for target in targets] == ["here.test", "there.test"]


def test_a_longer_address_than_there_is_matches_nothing() -> None:
    pattern = pattern_of("/^a*@/ b@x.test")
    at_most = "a" * (MAX_ADDRESS_CHARACTERS - len("@x.test"))
    assert pattern.targets(Mailbox(at_most, "x.test")) is not None
    assert pattern.targets(Mailbox(f"{at_most}a", "x.test")) is None


def test_what_may_be_tried_is_over_soon() -> None:
    for line in (r"/^(.*)-(.*)x@example\.org$/ b@x.test", r"/.*-q@/ b@x.test", r"/(a|b|-)*q@/ b@x.test"):
        began = time.perf_counter()
        assert found(line, f"{'-' * 200}@example.org") is None
        assert time.perf_counter() - began < 0.5 * SLOWED, "milliseconds, on a machine that has nothing else to do"


@each(("pattern", "example"), [
    (r"/^sales-(.*)@x\.test$/", "sales-x@x.test"), (r"/^(a|b)[0-9]+\d?@x\.test$/", "a00@x.test"),
    (r"/^x{3}(?:y|z)\w@x\.test$/", "xxxyx@x.test"), (r"/^abuse@/", None), (r"/^[^x]@x\.test$/", None),
    (r"/^(?=a)a@x\.test$/", "a@x.test"), (r"/^((a{300}){300}){300}@x\.test$/", None),
])
def test_an_example(pattern: str, example: str | None) -> None:
    _, regex, made = parse_pattern(f"{pattern} ")
    assert (None if made is None else str(made)) == example
    assert made is None or re.search(regex, str(made))
