"""Dovecot's authentication protocol: what it says, in any split."""

import itertools
from base64 import b64decode

from hypothesis import given
from hypothesis import strategies as st

from mailgw.wire.dovecot_auth import MAX_LINE_OCTETS, MAX_REQUEST_OCTETS, Answer, AuthClient, Broken, Ready
from tests.tables import each

# As Dovecot 2.3.19 introduces itself.
INTRODUCTION = (
    b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t4242\nCUID\t1\n"
    b"COOKIE\t0123456789abcdef0123456789abcdef\nDONE\n"
)


def ready() -> AuthClient:
    client = AuthClient(77)
    assert client.receive(INTRODUCTION) == [Ready()]
    return client


def test_greeting() -> None:
    assert AuthClient(77).greeting() == b"VERSION\t1\t1\nCPID\t77\n"


def test_a_request() -> None:
    client = ready()
    request = client.request("älice@example.org", "se\tcret", "192.0.2.1")
    assert request is not None
    number, octets = request
    head, _, response = octets.rpartition(b"\tresp=")
    assert (number, head) == (1, b"AUTH\t1\tPLAIN\tservice=smtp\tsecured\tnologin\trip=192.0.2.1")
    assert b64decode(response.strip(), validate=True) == b"\0" + "älice@example.org".encode() + b"\0se\tcret"
    second = client.request("a", "b", "")
    assert second is not None
    assert second[1].startswith(b"AUTH\t2\tPLAIN\tservice=smtp\tsecured\tnologin\tresp=")


def test_a_request_has_a_limit() -> None:
    client = ready()
    for octets in range(MAX_REQUEST_OCTETS):
        request = client.request("a", "b" * octets, "")
        if request is None:
            break
        longest = len(request[1])
    assert MAX_REQUEST_OCTETS - 4 < longest <= MAX_REQUEST_OCTETS


@each(("line", "answer"), [
    (b"OK\t1\tuser=alice@example.org\tfoo=bar", Answer(1, "alice@example.org", False)),
    (b"OK\t1\tuser=a\x01tb\x011\x01z", Answer(1, "a\tb\x01z", False)),
    (b"OK\t1", Answer(1, None, True)),
    (b"FAIL\t3\tuser=alice@example.org", Answer(3, None, False)),
    (b"FAIL\t3\tuser=x\tuser_disabled", Answer(3, None, False)),
    (b"FAIL\t3\tuser=x\ttemp", Answer(3, None, True)),
    (b"FAIL\t3\tcode=temp_fail\treason=x", Answer(3, None, True)),
    (b"CONT\t3\tabc=", Answer(3, None, True)),
    (b"NEWS\tfrom\tthe\tfuture", None),
    (b"", None),
    (b"OK", None),
    (b"FAIL\t9999999999", Answer(9_999_999_999, None, False)),
])
def test_an_answer(line: bytes, answer: Answer | None) -> None:
    assert ready().receive(line + b"\n") == ([] if answer is None else [answer])


@each("octets", [
    b"VERSION\t2\t0\n", b"DONE\n", b"VERSION\t1\t0\nMECH\tLOGIN\nDONE\n", INTRODUCTION + b"OK\tx\tuser=a\n",
    b"OK\t1\tuser=a\n", INTRODUCTION + b"OK\t\xc2\xb2\tuser=a\n",
    INTRODUCTION + b"OK\t" + b"1" * 11 + b"\tuser=a\n", INTRODUCTION + b"FAIL\t" + b"1" * 5000 + b"\n",
])
def test_who_does_not_speak_it(octets: bytes) -> None:
    events = AuthClient(1).receive(octets + b"DONE\n")
    assert isinstance(events[-1], Broken)


def test_a_line_has_a_limit() -> None:
    assert ready().receive(b"x" * MAX_LINE_OCTETS) == []
    assert ready().receive(b"x" * (MAX_LINE_OCTETS + 1)) == [Broken("a line without an end")]


@given(st.lists(st.integers(0, 300), max_size=6), st.binary(max_size=40))
def test_any_split_gives_the_same(places: list[int], garbage: bytes) -> None:
    octets = INTRODUCTION + b"OK\t1\tuser=a\nFAIL\t2\n" + garbage
    cuts = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    client = AuthClient(1)
    split = []
    for start, end in itertools.pairwise(cuts):
        split += client.receive(octets[start:end])
        if split and isinstance(split[-1], Broken):
            break
    assert split == AuthClient(1).receive(octets)
