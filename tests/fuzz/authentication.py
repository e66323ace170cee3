"""Fuzzed: what strangers say of who a message is from (Authentication-Results, DMARC, ARC)."""

from collections.abc import Sequence

from mailgw.mail.address import is_shapely
from mailgw.testing import FakeResolver
from mailgw.trust import authres, dmarc
from mailgw.trust.arc import MOST_SETS, ArcResult, ArcSet, ArcWord, BrokenChain, Signed, validated
from mailgw.trust.arc_signatures import ArcVerification
from mailgw.trust.authres import AuthResults
from mailgw.trust.dkim_key import LoadedKeys
from mailgw.trust.dmarc import Dmarc, DmarcResult, Identifier
from mailgw.trust.dmarc_record import REPORT_ADDRESSES
from mailgw.trust.told import told


def results(octets: bytes) -> None:
    """A field's body, whose words are written and read again; and a header, of which nothing of ours stays."""
    found = authres.read_field(octets)
    if isinstance(found, AuthResults):
        assert authres.authserv_id(octets) == found.authserv_id
        if len(found.authserv_id.encode()) <= authres.VALUE_OCTETS // 2:
            _reads_back(found)
    else:
        assert found.why.isprintable(), found.why
    if isinstance(found, AuthResults):
        _reads_back(AuthResults("a.example", told(b"Authentication-Results:" + octets, [found.authserv_id]).results))
    left, count = authres.without_ours(octets, ["a.example"])
    assert (count == 0) is (left == octets)
    assert not authres.results_by(left, ["a.example"])
    assert authres.without_ours(left, ["a.example"]) == (left, 0)


def _reads_back(found: AuthResults) -> None:
    octets = authres.written(found, True)
    assert max(map(len, octets.split(b"\r\n"))) <= 998, octets
    assert not octets.replace(b"\r\n", b"").strip(b"\t").count(b"\n"), octets
    again = authres.read_field(octets.partition(b":")[2])
    assert isinstance(again, AuthResults), (octets, again)
    assert authres.read_field(authres.written(again, True).partition(b":")[2]) == again
    if all(is_shapely(prop.value) and len(prop.value) < 200 for one in found.results for prop in one.properties):
        assert [one.properties for one in again.results] == [one.properties for one in found.results]


def judged(octets: bytes) -> None:
    """A From, a blank line, then lines: ``NAME RECORD`` is what DNS says, ``NAME`` alone fails, ``!RESULT NAME`` is a
    signature's; whatever it comes to has its words, and took no more questions than it may."""
    header, _, rest = octets.partition(b"\n\n")
    records: dict[str, list[bytes]] = {}
    failing: list[str] = []
    signatures = []
    for line in rest.split(b"\n"):
        name, space, text = line.partition(b" ")
        if name.startswith(b"!"):
            signatures.append(Identifier(text.decode("latin-1"), name[1:].decode("latin-1")))
        elif space:
            records.setdefault("_dmarc." + name.decode("latin-1").lower(), []).append(text)
        else:
            failing.append("_dmarc." + name.decode("latin-1").lower())
    resolver = FakeResolver(text_records=records, failing=frozenset(failing))
    authors = dmarc.author_domains(b"From: " + header + b"\r\n")
    try:
        dmarc.evaluate(authors, signatures[0] if signatures else None, signatures, resolver).send(None)
    except StopIteration as done:
        found = done.value
        assert isinstance(found, Dmarc)
        assert found.why.isprintable(), found.why
        assert (found.policy is not None) is (found.result is DmarcResult.FAIL)
        assert len(resolver.asked) == len(set(resolver.asked))
        assert len(resolver.asked) <= dmarc.QUERIES * (dmarc.DOMAINS + dmarc.IDENTIFIERS + 1)
        if found.record is not None:
            assert len(found.record.aggregate_to) <= REPORT_ADDRESSES


def chain(octets: bytes) -> None:
    """A message, whose chain breaks for want of keys if it has a structure, and passes if all signatures are right."""
    header, separator, body = octets.partition(b"\r\n\r\n")
    verification = ArcVerification(header + separator[:2], 10_000, LoadedKeys(1), 0.0)
    verification.feed(body)
    verification.end()
    found = verification.chain
    try:
        verification.result(FakeResolver()).send(None)
    except StopIteration as done:
        result = done.value
        assert isinstance(result, ArcResult)
        assert result.word is (ArcWord.FAIL if found else ArcWord.NONE), result
        assert result.why.isprintable(), result

    async def right(signed: Signed, sets: Sequence[ArcSet]) -> str:
        return ""

    try:
        validated(found, right).send(None)
    except StopIteration as done:
        result = done.value
        if not isinstance(found, BrokenChain) and found:
            assert result.word is ArcWord.PASS
            assert 1 <= result.instance == len(result.sealers) <= MOST_SETS
            for one in result.sets:
                one.said()
