"""Fuzzed: what a domain says of TLS, by DNS and HTTPS (MTA-STS, TLSRPT)."""

from mailgw.mail.sts_policy import StsPolicy
from mailgw.trust import mtasts, tlsrpt


def policy(octets: bytes) -> None:
    """A policy's text, which is none, or what its own lines read as."""
    found = mtasts.read_policy(octets, "1")
    if not isinstance(found, StsPolicy):
        assert found.why.isprintable(), found.why
        return
    assert mtasts.read_policy("\n".join(mtasts.policy_lines(found)).encode("ascii"), "1") == found
    assert 0 <= found.max_age_seconds <= mtasts.LONGEST_MAX_AGE
    for pattern in found.mx_patterns:
        assert mtasts.covers(found, pattern.replace("*", "a"))


def records(octets: bytes) -> None:
    """TXT records, one a line, as those of either kind."""
    lines = octets.split(b"\n")
    policy_id = mtasts.record_id(lines)
    assert policy_id is None or (policy_id.isascii() and policy_id.isalnum() and len(policy_id) <= 32), policy_id
    found = tlsrpt.destinations(lines)
    assert len(found.mailboxes) + len(found.urls) <= tlsrpt.DESTINATIONS
    for word in (*map(str, found.mailboxes), *found.urls):
        assert word.isascii(), word
        assert word.isprintable(), word
