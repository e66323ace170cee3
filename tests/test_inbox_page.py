"""What docs/inbox.rst shows is what there is."""

import re
from pathlib import Path

from mailgw.config.document import InboxBoundsTable
from mailgw.inbox_desk import MOST_WAIT, MOST_WAITING, USUAL_ROWS
from mailgw.mail.scripted import MOST_SECONDS, SLOW_SECONDS, script_of
from mailgw.mail.shown_html import MAX_CHARACTERS, MAX_DEPTH, MAX_TAGS
from mailgw.mail.shown_letter import INLINE_OCTETS, LIMITS, MAX_TEXT, SEARCHED
from mailgw.policy.rules.scripted import REMEMBERED
from mailgw.store.captured import MESSAGE_OCTETS, MOST_ROWS
from mailgw.web.inbox_api import FRAME, operations

TOP = Path(__file__).parent.parent
PAGE = (TOP / "docs/inbox.rst").read_text()
WORDS = " ".join(PAGE.split())


def test_the_test_that_it_shows_is_one_of_the_example() -> None:
    [shown] = re.findall(r"^    def test_.*?(?=^\S)", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("    ") for line in shown.rstrip().splitlines()]
    assert "\n".join(lines) in (TOP / "etc/examples/staging/test_signup.py").read_text()


def test_its_numbers_are_those_of_the_code() -> None:
    bounds = InboxBoundsTable()
    assert (bounds.messages, bounds.octets) == (5000, 1 << 30)
    assert (MESSAGE_OCTETS, INLINE_OCTETS, MAX_TEXT, MAX_CHARACTERS) == (64 << 20, 8 << 20, 1_048_576, 1_048_576)
    assert (LIMITS.parts, LIMITS.depth, LIMITS.octets, LIMITS.lines) == (500, 20, 32 << 20, 500_000)
    assert (SLOW_SECONDS, MOST_SECONDS, MOST_WAIT, USUAL_ROWS) == (10, 60, 60, 50)
    for number in (SEARCHED, REMEMBERED, MAX_TAGS, MAX_CHARACTERS, LIMITS.lines):
        assert f"{number:,}" in WORDS
    for number in (MOST_WAITING, MOST_ROWS, MAX_DEPTH, LIMITS.parts):
        assert f"{number} " in WORDS


def test_every_failure_that_it_tells_is_one() -> None:
    told = re.findall(r"^``(x\+\w+)@``", PAGE, re.MULTILINE)
    assert len(told) == 7
    for one in [*told, *re.findall(r"``(x\+\w+)@``", PAGE)]:
        assert script_of(one) is not None, one


def test_every_operation_is_there() -> None:
    for one in operations():
        assert f"{one.path} " in WORDS or f"{one.path}?" in WORDS, one.path
    assert FRAME.startswith(re.findall(r"Content-Security-Policy: (.*) \.\.\.", PAGE)[0])
