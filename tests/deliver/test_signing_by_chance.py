"""Whatever a message is made of: signing it raises nothing, and what is made verifies."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailgw.deliver.signing import mended_header
from mailgw.mail.header import header_end
from mailgw.trust.arc import ArcWord
from mailgw.trust.dkim import DkimWord
from tests.deliver.smtp_net import LargeContent
from tests.deliver.test_signing import DOMAIN, FOUND, Signer, message, octets_of
from tests.trust import test_arc_signatures as arc
from tests.trust.dkim_mail import verified

PIECES = [
    b"From: ", b"joe@" + DOMAIN.encode(), b"Subject: x", b"\r\n", b"\r\n", b"\r\n ", b"\r\n\r\n", b" ", b"\t", b":",
    b";", b",", b"<", b">", b"(", b")", b'"', b"\\", b"=", b"i=1; ", b"cv=none", b"\r", b"\n", b"\0", b"\xff",
    "é".encode(), b"ARC-Seal: i=1; cv=pass; d=a.example", b"ARC-Message-Signature: i=1; h=from",
    b"ARC-Authentication-Results: i=1; a;", b"DKIM-Signature: v=1", FOUND,
    b"Authentication-Results: mx.example.net; arc=fail\r\n", b"arc=pass", b"[192.0.2.1]",
]
OCTETS = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)
LETTERS = st.tuples(st.sampled_from([b"", f"From: <a@{DOMAIN}>\r\n".encode(), FOUND]), OCTETS).map(b"".join)


@example(f"From: <a@{DOMAIN}>\r\njoe@{DOMAIN} :".encode(), True, 1)
@given(LETTERS, st.booleans(), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_what_is_made_verifies(octets: bytes, is_ours: bool, step: int) -> None:
    what = message(octets, is_ours)
    whole = octets_of(Signer().signed(what).content)
    pieces = [octets[start:start + step] for start in range(0, len(octets), step)]
    assert octets_of(Signer().signed(message(is_ours=is_ours, content=LargeContent(pieces))).content) == whole
    # A header of ours is mended where readers differ, and is as it was else.
    end = header_end(octets)
    mended = mended_header(octets if end < 0 else octets[:end]) + (b"" if end < 0 else octets[end:])
    before = mended if is_ours and whole != octets else octets
    assert whole.endswith(before)
    crown = whole.removesuffix(before)
    if crown and b"\r\n\r\n" in whole and b"\r\n\r\n" not in crown and is_ours:
        words = [one.word for one in verified(whole) if one.domain == DOMAIN]
        assert words[:2] == [DkimWord.PASS] * 2
    elif crown and b"\r\n\r\n" in whole and b"cv=fail" not in crown:
        assert arc.verified(whole).word is ArcWord.PASS
    assert crown.endswith(b"\r\n") or not crown
