"""A row's reason is for people, and says enough to be told again."""

from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.outcome import Outcome, Scope, refused, temporary
from mailgw.mail.reply import Reply
from mailgw.queue.reasons import outcome_of, reason_of
from mailgw.queue.replies import ReplyClass
from tests.tables import each

MX = "mx1.example.org [192.0.2.1]:25"
LATER = refused(Reply(450, "4.7.1", ("Come back: 550 5.1.1 later",)), Scope.RECIPIENT, MX)


@each(
    ("outcome", "reply_class", "reason", "is_ours"),
    [
        (LATER, "greylisted", f"greylisted: {MX}: 450 4.7.1 Come back: 550 5.1.1 later", False),
        (LATER, "", f"{MX}: 450 4.7.1 Come back: 550 5.1.1 later", False),
        (LATER, "of: ours 2", f"of: ours 2: {MX}: 450 4.7.1 Come back: 550 5.1.1 later", False),
        (refused(Reply(421, "", ("",)), Scope.HOST, "[2001:db8::1]:25"), "x", "x: [2001:db8::1]:25: 421 ", False),
        (refused(Reply(452, "4.2.2", ("full",)), Scope.RECIPIENT, "unix:/run/lmtp"), "",
         "unix:/run/lmtp: 452 4.2.2 full", False),
        (temporary("4.4.1", "Cannot connect: No answer", Scope.HOST, MX), "",
         f"{MX}: 451 4.4.1 Cannot connect: No answer", True),
        (temporary("4.4.3", "DNS", Scope.HOST, ""), "", "451 4.4.3 DNS", True),
    ],
)
def test_there_and_back(outcome: Outcome, reply_class: str, reason: str, is_ours: bool) -> None:
    assert reason_of(outcome, ReplyClass(reply_class) if reply_class else None) == reason
    back = outcome_of(reason)
    assert (back.reply, back.hop, back.is_ours) == (outcome.reply, outcome.hop, is_ours)
    assert back.permanence is outcome.permanence


@each(
    ("reason", "hop", "words"),
    [
        ("/var/mail/bob: 452 4.3.1 No space", "", "452 4.3.1 No space"),  # a path is nobody's business
        ("", "", "451 4.4.7 It is tried again and again"),
        ("an older version's words", "", "451 4.4.7 an older version's words"),
    ],
)
def test_what_is_in_no_such_form(reason: str, hop: str, words: str) -> None:
    assert (outcome_of(reason).hop, str(outcome_of(reason).reply)) == (hop, words)


@given(st.text(max_size=80))
def test_any_words_come_to_something(reason: str) -> None:
    assert 400 <= outcome_of(reason).reply.code < 600
