"""What was found out of who sent a message, read back from the field that stands on top of it."""

from collections.abc import AsyncIterator

import attrs
from hypothesis import given

from mailgw.mail.authentication import NOT_TRIED, Authentication, MethodResult, Property
from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Message
from mailgw.spool.content import MemoryContent
from mailgw.testing.driving import result_of
from mailgw.trust.authres import FIELD_OCTETS, MOST, AuthResults, read_field, written
from mailgw.trust.read_back import MOST_OCTETS, authentication_of, field_on_top
from tests.tables import each
from tests.trust.test_authres import SHAPELY, results_with

US = "mx.example.org"
FOUND = (
    MethodResult("iprev", "fail", "no name"),
    MethodResult("spf", "softfail", 'so "it" goes', (Property("smtp", "mailfrom", "ann@example.net"),)),
    MethodResult("dmarc", "fail", "nothing passes", (
        Property("header", "from", "example.net"), Property("policy", "dmarc", "reject"),
        Property("policy", "vouched-by", "lists.example.org"),
    )),
)
TRACE = b"Received: from x by y\r\nSubject: hi\r\n\r\nhello\r\n"
FIELD = written(AuthResults(US, FOUND), smtputf8=False)


def message(octets: bytes, **changes: object) -> Message:
    return attrs.evolve(Message("Q", None, BodyType.EIGHT_BIT, 0.0, MemoryContent(octets)), **changes)


@attrs.frozen
class Pieces:
    """A content that is not in memory."""

    whole: bytes
    step: int
    octets: bytes | None = None
    read: list[int] = attrs.Factory(list)

    @property
    def size_octets(self) -> int:
        return len(self.whole)

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.whole), self.step):
            self.read.append(start)
            yield self.whole[start:start + self.step]


def test_what_was_written_reads_back() -> None:
    found = result_of(authentication_of(message(FIELD + TRACE), US.upper()))
    assert found == Authentication(FOUND, US.upper(), "lists.example.org")
    nothing = written(AuthResults(US, ()), smtputf8=False)
    assert result_of(authentication_of(message(nothing + TRACE), US)) == Authentication((), US)


@given(results_with(SHAPELY))
def test_whatever_was_written_reads_back(results: AuthResults) -> None:
    octets = written(results, smtputf8=True) + TRACE
    found = result_of(authentication_of(message(octets), results.authserv_id))
    assert found.results == results.results
    whole = result_of(authentication_of(message(b"", content=Pieces(octets, 5)), results.authserv_id))
    assert whole == found


def test_a_login_is_all_that_is_known_of_who_has_one() -> None:
    found = result_of(authentication_of(message(FIELD + TRACE, login="ann@example.org", is_ours=True), US))
    assert [str(one) for one in found] == ["auth=pass smtp.auth=ann@example.org"]


@each("octets", [
    TRACE,
    TRACE.replace(b"Subject", FIELD + b"Subject"),                   # below our trace: somebody else's
    FIELD.replace(b"mx.example.org", b"mx.example.net") + TRACE,     # another host's
    FIELD.replace(b"Auth", b"X-Auth", 1) + TRACE,
    FIELD.replace(b":", b" :", 1) + TRACE,
    FIELD,                                                           # not all of it is there
    FIELD.replace(b"\r\n", b"\n") + TRACE,
    FIELD.replace(b"spf=", b"spf ") + TRACE,
    b"Authentication-Results: \r\n" + TRACE,
    b"",
])
def test_what_is_not_ours_says_nothing(octets: bytes) -> None:
    assert result_of(authentication_of(message(octets), US)) is NOT_TRIED
    for step in (1, 7, 100):
        assert result_of(authentication_of(message(b"", content=Pieces(octets, step)), US)) is NOT_TRIED, step


def test_who_may_relay_writes_what_he_likes() -> None:
    assert result_of(authentication_of(message(FIELD + TRACE, is_ours=True), US)) is NOT_TRIED


def test_no_more_is_read_than_it_takes() -> None:
    long = FIELD + TRACE + b"x" * 10_000
    for step in (1, 7, 100, 20_000):
        pieces = Pieces(long, step)
        assert len(result_of(authentication_of(message(b"", content=pieces), US))) == 3, step
        assert pieces.read[-1] <= len(FIELD) + step
        pieces = Pieces(TRACE + b"x" * 10_000, step)
        result_of(authentication_of(message(b"", content=pieces), US))
        assert len(pieces.read) == 1
    endless = Pieces(b"Authentication-Results: " + b"x" * (2 * MOST_OCTETS), 1 << 18)
    assert result_of(authentication_of(message(b"", content=endless), US)) is NOT_TRIED
    assert endless.read[-1] == MOST_OCTETS - (1 << 18)


def test_our_own_may_be_larger_than_what_others_may_say() -> None:
    count = MOST[";"] + 1
    many = tuple(
        MethodResult("dkim", "fail", "no key " * 20, (Property("header", "d", f"d{at}.example"),))
        for at in range(count)
    )
    field = written(AuthResults(US, many), smtputf8=False)
    assert len(field) > FIELD_OCTETS
    assert not isinstance(read_field(field_on_top(field + TRACE)), AuthResults)
    assert result_of(authentication_of(message(field + TRACE), US)).results == many
