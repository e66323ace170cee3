"""Parameters: what becomes of what was asked, and that no text breaks the parsers.  Their forms are in dialog files."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.parameters import (
    NO_MAIL_PARAMETERS,
    ByMode,
    DeliverBy,
    MailParameters,
    Ret,
    stored_mail_parameters,
    stored_rcpt_parameters,
)
from mailgw.mail.reply import Reply
from mailgw.wire.smtp_grammar import parse_mail, parse_rcpt, vrfy_fault
from mailgw.wire.smtp_parameters import (
    HOLD_BEYOND_BY,
    HOLD_TOO_LONG,
    NOTHING_ASKED,
    Asked,
    By,
    MailWords,
    mail_keywords,
    mail_parameters,
    offers,
    parse_mail_words,
    rcpt_keywords,
)
from tests.tables import each

ALL = frozenset({
    "SMTPUTF8", "DSN", "REQUIRETLS", "MT-PRIORITY", "DELIVERBY", "FUTURERELEASE", "BINARYMIME", "CHUNKING", "LIMITS",
})
MAIL_WORDS = mail_keywords(ALL, True)
RCPT_WORDS = rcpt_keywords(ALL)
NOW = 1_800_000_000.0
HOUR = 3600

PIECES = st.sampled_from([
    "SIZE", "BODY", "AUTH", "RET", "ENVID", "SMTPUTF8", "REQUIRETLS", "MT-PRIORITY", "BY", "HOLDFOR", "HOLDUNTIL",
    "NOTIFY", "ORCPT", "=", "=", " ", ";", "R", "N", "T", "1", "-", "FULL", "8BITMIME", "NEVER", "SUCCESS", ",",
    "rfc822;", "utf-8;", "\\x{FC}", "+41", "ü", "2027-01-15T08:00:00Z", "@", ":", "<", ">", '"', "\\", "[", "]",
    "IPv6:", "a", ".", "example.org", "İ", "ı", "ſ", "\u2028", "。",
])
GARBAGE = st.lists(PIECES, max_size=12).map("".join).map(str.encode) | st.binary(max_size=30)


@given(GARBAGE | st.just(b"a@example.org"), GARBAGE)
def test_garbage_is_refused_or_can_be_kept(path: bytes, words: bytes) -> None:
    mail = parse_mail(b"FROM:<" + path + b"> " + words, MAIL_WORDS)
    if not isinstance(mail, Reply):
        kept = mail_parameters(mail.asked, NOW, HOUR)
        assert isinstance(kept, Reply) or stored_mail_parameters(str(kept)) == kept
    rcpt = parse_rcpt(b"TO:<" + path + b"> " + words, RCPT_WORDS, MAIL_WORDS, True)
    if not isinstance(rcpt, Reply):
        assert stored_rcpt_parameters(str(rcpt.parameters)) == rcpt.parameters
    vrfy_fault(path + b" " + words, MAIL_WORDS)


@given(st.datetimes(datetime.datetime(1971, 1, 1), datetime.datetime(2100, 1, 1)), st.integers(-23 * 60, 23 * 60))
def test_dates_are_those_of_the_standard_library(moment: datetime.datetime, zone: int) -> None:
    aware = moment.replace(tzinfo=datetime.timezone(datetime.timedelta(minutes=zone)))
    text = aware.isoformat()
    words = parse_mail_words(f"HOLDUNTIL={text}", MAIL_WORDS)
    assert isinstance(words, MailWords)
    assert words.asked.hold_until == pytest.approx(aware.timestamp(), abs=1e-5)


def test_nothing_asked_is_nothing_kept() -> None:
    assert mail_parameters(NOTHING_ASKED, NOW, HOUR) is NO_MAIL_PARAMETERS
    words = parse_mail_words("SIZE=1 BODY=8BITMIME", MAIL_WORDS)
    assert isinstance(words, MailWords)
    assert words.asked is NOTHING_ASKED


def test_durations_become_moments() -> None:
    asked = Asked(Ret.HDRS, "x", True, True, -3, By(120, ByMode.RETURN, True), 60)
    assert mail_parameters(asked, NOW, HOUR) == MailParameters(
        Ret.HDRS, "x", True, True, -3, DeliverBy(NOW + 120, ByMode.RETURN, True), NOW + 60
    )


@each(("asked", "hold_until"), [
    (Asked(hold_seconds=HOUR), NOW + HOUR),
    (Asked(hold_seconds=HOUR + 1), None),
    (Asked(hold_until=NOW + HOUR), NOW + HOUR),
    (Asked(hold_until=NOW + HOUR + 1), None),
])
def test_a_hold_has_a_longest_time(asked: Asked, hold_until: float | None) -> None:
    kept = mail_parameters(asked, NOW, HOUR)
    assert kept == (HOLD_TOO_LONG if hold_until is None else MailParameters(hold_until=hold_until))


def test_a_release_that_is_past_is_none() -> None:
    assert mail_parameters(Asked(hold_until=NOW), NOW, HOUR) == NO_MAIL_PARAMETERS
    assert mail_parameters(Asked(hold_until=NOW + 1), NOW, HOUR) == MailParameters(hold_until=NOW + 1)


@each(("mode", "hold", "is_kept"), [
    (ByMode.RETURN, 59, True), (ByMode.RETURN, 60, False), (ByMode.NOTIFY, 59, True), (ByMode.NOTIFY, 61, False),
])
def test_no_message_is_held_until_its_time_is_over(mode: ByMode, hold: int, is_kept: bool) -> None:
    kept = mail_parameters(Asked(by=By(60, mode, False), hold_seconds=hold), NOW, HOUR)
    assert (kept != HOLD_BEYOND_BY) is is_kept


@each(("word", "kept"), [
    ("HOLDFOR=60", "for;60"), ("holduntil=2027-01-15t09:00:01.5+01:00", "until;2027-01-15t09:00:01.5+01:00"),
    ("HOLDUNTIL=2000-01-01T00:00:00Z", "until;2000-01-01T00:00:00Z"), ("BY=60;N", ""),
])
def test_reports_are_given_the_hold_as_it_came(word: str, kept: str) -> None:
    words = parse_mail_words(word, MAIL_WORDS)
    assert isinstance(words, MailWords)
    parameters = mail_parameters(words.asked, NOW, HOUR)
    assert isinstance(parameters, MailParameters)
    assert parameters.release_request == kept


def test_what_was_asked_reads_as_it_was_said() -> None:
    text = "RET=HDRS ENVID=x SMTPUTF8 REQUIRETLS MT-PRIORITY=-1 BY=90;RT HOLDFOR=60"
    words = parse_mail_words(text, MAIL_WORDS)
    assert isinstance(words, MailWords)
    assert str(words.asked) == text


def test_offers() -> None:
    assert offers(ALL, True, NOW, HOUR) == [
        "SMTPUTF8", "DSN", "MT-PRIORITY", "DELIVERBY", "REQUIRETLS", "FUTURERELEASE 3600 2027-01-15T09:00:00Z",
    ]
    assert offers(frozenset(), True, NOW, HOUR) == []


def test_what_is_known_hangs_on_what_is_offered() -> None:
    assert mail_keywords(frozenset(), False) == {"SIZE", "BODY"}
    assert mail_keywords(frozenset(), True) == {"SIZE", "BODY", "AUTH"}
    assert mail_keywords(frozenset({"DSN"}), False) == {"SIZE", "BODY", "RET", "ENVID"}
    assert rcpt_keywords(ALL - {"DSN"}) == frozenset()
