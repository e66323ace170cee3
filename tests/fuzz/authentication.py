"""Fuzzed: what strangers say of who a message is from (Authentication-Results)."""

from mailgw.mail.address import is_shapely
from mailgw.trust import authres
from mailgw.trust.authres import AuthResults


def results(octets: bytes) -> None:
    """A field's body, whose words are written and read again; and a header, of which nothing of ours stays."""
    found = authres.read_field(octets)
    if isinstance(found, AuthResults):
        assert authres.authserv_id(octets) == found.authserv_id
        if len(found.authserv_id.encode()) <= authres.VALUE_OCTETS // 2 and _has_short_keywords(found):
            _reads_back(found)
    else:
        assert found.why.isprintable(), found.why
    left, count = authres.without_ours(octets, ["a.example"])
    assert (count == 0) is (left == octets)
    assert not authres.results_by(left, ["a.example"])
    assert authres.without_ours(left, ["a.example"]) == (left, 0)


def _has_short_keywords(found: AuthResults) -> bool:
    words = [word for one in found.results for word in (one.method, one.result)]
    words += [word for one in found.results for prop in one.properties for word in (prop.ptype, prop.name)]
    return max(map(len, words), default=0) <= 60


def _reads_back(found: AuthResults) -> None:
    octets = authres.written(found, True)
    assert max(map(len, octets.split(b"\r\n"))) <= 998, octets
    assert not octets.replace(b"\r\n", b"").strip(b"\t").count(b"\n"), octets
    again = authres.read_field(octets.partition(b":")[2])
    assert isinstance(again, AuthResults), (octets, again)
    assert authres.read_field(authres.written(again, True).partition(b":")[2]) == again
    if all(is_shapely(prop.value) and len(prop.value) < 200 for one in found.results for prop in one.properties):
        assert [one.properties for one in again.results] == [one.properties for one in found.results]
