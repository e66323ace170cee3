"""Answers that cannot be read, that end too early, that say why; lives of records."""

import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.names import dns

from mailgw.net.dns_wire import MX, NEGATIVE_SECONDS, POSITIVE_SECONDS, WORDS_OCTETS, Answer, Question
from tests.net.dns_net import cname, mx, reply, unknown
from tests.tables import each

QUESTION = Question.about(4711, "example.org", MX.number, edns=True, authentic=True)


def answer_to(question: Question, *records: object, **more: object) -> bytes:
    query = dns.Message()
    query.fromStr(question.octets)
    return reply(query, *records, **more)  # type: ignore[arg-type]


GOOD = answer_to(QUESTION, mx("example.org", 1, "a.example"), mx("example.org", 2, "b.example"))


def test_what_ends_too_early_is_no_answer() -> None:
    assert len(read(GOOD).records) == 2
    for length in range(len(GOOD)):
        assert QUESTION.read(GOOD[:length]) is None, length


def test_a_truncated_answer_may_end_anywhere() -> None:
    octets = answer_to(QUESTION, mx("example.org", 1, "a.example"), truncated=True)
    assert read(octets[:-3]).truncated


@given(st.binary(max_size=80), st.integers(0, len(GOOD)))
def test_garbage_is_no_answer_or_one(octets: bytes, at: int) -> None:
    for garbage in (octets, GOOD[:at] + octets + GOOD[at:], GOOD[:at] + octets):
        found = QUESTION.read(garbage)
        assert found is None or isinstance(found, Answer)


def read(octets: bytes) -> Answer:
    found = QUESTION.read(octets)
    assert found is not None
    return found


def with_opt(code: int, upper: int, options: bytes) -> bytes:
    opt = b"\0" + struct.pack("!HHIH", dns.OPT, 1232, upper << 24, len(options)) + options
    octets = answer_to(QUESTION, code=code)
    return octets[:10] + b"\0\1" + octets[12:] + opt


def option(number: int, octets: bytes) -> bytes:
    return struct.pack("!HH", number, len(octets)) + octets


@each(
    ("octets", "words", "is_fact"),
    [
        (with_opt(0, 0, b""), "0", True),
        (with_opt(0, 1, b""), "BADVERS", False),
        (with_opt(7, 1, b""), "23", False),
        (with_opt(3, 0, b""), "NXDOMAIN", True),
        (with_opt(2, 0, option(15, b"\0\x06")), "SERVFAIL (DNSSEC bogus)", False),
        (with_opt(2, 0, option(10, b"cookie") + option(15, b"\0\x07no\n")), "SERVFAIL (signature expired: no?)", False),
        (with_opt(2, 0, option(15, b"\3\xe8x\xc3\xa4")), "SERVFAIL (error 1000: x??)", False),
        (with_opt(2, 0, option(15, b"\0")), "SERVFAIL", False),
        (with_opt(2, 0, b"\0\x0f\xff\xff\0\x06"), "SERVFAIL (DNSSEC bogus)", False),
        (with_opt(2, 0, option(15, b"\0\x06" + b"x" * (WORDS_OCTETS + 1))),
         f"SERVFAIL (DNSSEC bogus: {'x' * WORDS_OCTETS})", False),
    ],
)
def test_codes_and_their_words(octets: bytes, words: str, is_fact: bool) -> None:
    found = read(octets)
    assert (found.words, found.is_fact) == (words, is_fact)


@each(
    ("ttl", "seconds"),
    [(0, 0), (86_400, 86_400), (86_401, POSITIVE_SECONDS), (0x7FFFFFFF, POSITIVE_SECONDS), (0x80000000, 0)],
)
def test_lives(ttl: int, seconds: float) -> None:
    def changed(message: dns.Message) -> None:
        message.answers[0].ttl = ttl

    found = read(answer_to(QUESTION, mx("example.org", 1, "a.example"), change=changed))
    assert found.end_of("example.org", MX.number)[2] == seconds
    assert POSITIVE_SECONDS == 86_400


def test_the_life_of_nothing() -> None:
    for soa, seconds in ((None, None), (0, 0), (599, 599), (601, 600)):
        assert read(answer_to(QUESTION, soa=soa)).nothing_seconds == seconds

    def long_lived(message: dns.Message) -> None:
        message.authority[0].ttl = 100_000

    found = read(answer_to(QUESTION, soa=100_000, change=long_lived))
    assert found.nothing_seconds == NEGATIVE_SECONDS == 3600


def test_records_of_other_classes_and_types_do_not_count() -> None:
    def chaos(message: dns.Message) -> None:
        message.answers[0].cls = dns.CH

    octets = answer_to(
        QUESTION, mx("example.org", 1, "a.example"), unknown("example.org", 46, b"signature"), change=chaos
    )
    assert read(octets).end_of("example.org", MX.number)[:2] == ("example.org", ())


def test_chains_in_one_answer_have_an_end() -> None:
    links = [cname(f"{i}.example", f"{i + 1}.example") for i in range(9)]
    name = "0.example"
    for asked, end in ((links, "8.example"), ([cname(name, name)], name)):
        assert read(answer_to(QUESTION, *asked)).end_of(name, MX.number)[:2] == (end, ())
