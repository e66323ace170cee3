"""Whatever octets come, in whatever pieces: an answer or none, and never a failure of ours."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tests.web.serving import ALL, Served

WORDS = st.sampled_from([
    b"GET ", b"POST ", b"HEAD ", b"DELETE ", b"/", b"/api/v1/things/x", b"/api/v1/orders", b"/api/v1/files",
    b"?limit=1", b"?", b"%", b"%00", b"..", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\r\n\r\n", b"\n", b"\r",
    b"Host: localhost", b"Host:", b"Content-Length: ", b"5", b"0", b"Transfer-Encoding: chunked",
    b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n", b";", b":", b"Authorization: Bearer " + ALL.encode(),
    b"Cookie: mailgw_session=", b"Expect: 100-continue", b"Connection: close", b"Content-Type: application/json",
    b"Content-Type: message/rfc822", b'{"name":"x"}', b"\xff\xfe", b"\x00", b" ", b"\t", b"Connection: keep-alive",
    b"Range: bytes=0-1", b"If-None-Match: *", b"Accept-Encoding: gzip", b"X-Mailgw: 1",
])
HEAD = b"POST /api/v1/orders HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n" % ALL.encode()
STATUSES = (100, 200, 304, 400, 401, 403, 404, 405, 413, 414, 415, 421, 431)
OCTETS = st.one_of(
    st.lists(st.one_of(WORDS, st.binary(max_size=5)), max_size=40).map(b"".join),
    st.lists(WORDS, max_size=20).map(lambda words: HEAD + b"\r\n".join(words) + b"\r\n\r\n"),
)


def said(octets: bytes, cuts: list[int]) -> tuple[list[bytes], int]:
    """The statuses that came, and how many orders were given; the connection is over at the end."""
    served = Served()
    client = served.client()
    before = 0
    for cut in [*sorted(cut % (len(octets) + 1) for cut in cuts), len(octets)]:
        client.send(octets[before:cut])
        served.advance(0)
        before = cut
    statuses = re.findall(rb"HTTP/1\.[01] (\d{3}) ", client.received)
    served.advance(200)
    assert client.is_closed
    assert len(served.factory) == 0
    assert served.disk.names("/state/uploads") == []
    return statuses, len(served.door.asked)


@given(OCTETS, st.lists(st.integers(min_value=0, max_value=2000), max_size=6))
def test_any_octets(octets: bytes, cuts: list[int]) -> None:
    statuses, orders = said(octets, cuts)
    assert set(statuses) <= {b"%d" % status for status in STATUSES}
    assert (statuses, orders) == said(octets, [])
