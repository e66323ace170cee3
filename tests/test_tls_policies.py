"""Policies of MTA-STS for who only looks: what the gateway remembers counts, and is left as it was."""

import json
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from mailgw.mail.tls_result import TlsFailure
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from mailgw.tls_policies import KnownPolicies
from mailgw.tls_report import Sts
from mailgw.trust.mtasts import NotFetched

NOW = 1_700_000_000.0
DNS = FakeResolver(
    text_records={"_mta-sts.example.org": [b"v=STSv1; id=2;"]}, failing=frozenset({"_mta-sts.sick.example"})
)
TEXT = b"version: STSv1\nmode: testing\nmx: mx.example.org\nmax_age: 86400\n"


def told(state: Path, domain: str, fetched: bytes | NotFetched | None = None) -> Sts:
    async def fetch(asked: str) -> bytes | NotFetched:
        assert asked == domain
        assert fetched is not None, "nothing is to be fetched"
        return fetched

    known = KnownPolicies(DNS, fetch, str(state), Clock(), lambda: NOW)
    policy = result_of(known.policy(domain))
    found = result_of(known.told(domain))
    assert (policy.mode.value if policy is not None else "") == found.mode
    return found


def remember(state: Path, domain: str, policy_id: str, fetched: float) -> bytes:
    entry = {"mode": "enforce", "mx": ["*.example.org"], "max_age": 86_400, "id": policy_id, "fetched": fetched,
             "used": fetched}
    octets = json.dumps({"version": 1, "policies": {domain: entry}}).encode()
    (state / "mta-sts.json").write_bytes(octets)
    return octets


def test_what_is_remembered_counts_and_is_not_written(tmp_path: Path) -> None:
    octets = remember(tmp_path, "example.org", "2", NOW - 60)
    assert told(tmp_path, "example.org") == Sts("2", "enforce", ("*.example.org",), 60.0, 86_340.0, "")
    remember(tmp_path, "sick.example", "1", NOW - 60)
    found = told(tmp_path, "sick.example")
    assert (found.mode, found.record_id) == ("enforce", "")
    assert "_mta-sts.sick.example" in found.trouble
    remember(tmp_path, "example.org", "1", NOW - 60)
    assert told(tmp_path, "example.org", TEXT) == Sts("2", "testing", ("mx.example.org",), 0.0, 86_400.0, "")
    why = NotFetched(TlsFailure.STS_WEBPKI_INVALID, "another name")
    found = told(tmp_path, "example.org", why)
    assert found == Sts("2", "enforce", ("*.example.org",), 60.0, 86_340.0, "sts-webpki-invalid: another name")
    assert (tmp_path / "mta-sts.json").read_bytes() == octets.replace(b'"2"', b'"1"')
    remember(tmp_path, "example.org", "2", NOW - 86_400)
    assert told(tmp_path, "example.org", why).mode == "", "it has expired"


def test_nothing_is_remembered(tmp_path: Path) -> None:
    assert told(tmp_path, "none.example") == Sts("", "", (), 0.0, 0.0, "")
    assert told(tmp_path / "none", "example.org", TEXT).mode == "testing"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("octets", [b"{", b'{"version": 2, "policies": {}}', None])
def test_what_cannot_be_read_is_said(tmp_path: Path, octets: bytes | None) -> None:
    file = tmp_path / "mta-sts.json"
    if octets is None:
        file.mkdir()
    else:
        file.write_bytes(octets)
    found = told(tmp_path, "none.example")
    assert found.mode == ""
    assert found.trouble.startswith(f"what the gateway remembers cannot be read: {file}: ")
