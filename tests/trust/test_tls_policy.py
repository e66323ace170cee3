"""What holds of every demand, whatever is configured and published: nothing that is asked for gets lost."""

import hashlib
from itertools import product

from mailgw.mail.names import TlsaRecord
from mailgw.mail.sts_policy import StsMode
from mailgw.mail.tls_result import PolicyType, TlsFailure
from mailgw.net.client_tls import CertificatePaths
from mailgw.trust.tls_policy import (
    DaneFacts,
    Demand,
    Judgement,
    Level,
    LocalRule,
    Refused,
    StsFacts,
    Verified,
    demand,
    has_fingerprint,
    judge,
)
from tests.trust.certificates import issued

HOST = "mx.example.org"
EE, TA, ODD = TlsaRecord(3, 1, 1, bytes(32)), TlsaRecord(2, 1, 1, bytes(32)), TlsaRecord(1, 1, 1, bytes(32))
RECORDS = [None, (EE,), (TA,), (EE, ODD), (ODD,)]
POLICIES = [None, *(StsFacts(mode, listed) for mode in StsMode for listed in (True, False))]
STRICTER = [Level.CLEAR, Level.MAY, Level.ENCRYPT, Level.VERIFY, Level.DANE]
EVERY = list(product(Level, (False, True), (False, True), RECORDS, POLICIES, (False, True)))


def test_of_every_demand() -> None:
    for level, is_override, is_authentic, records, sts, require_tls in EVERY:
        told = f"{level} {is_override=} {is_authentic=} {records} {sts} {require_tls=}"
        facts = None if records is None else DaneFacts(records, HOST, (HOST, "example.org"))
        found = demand(HOST, LocalRule(level, is_override), is_authentic, facts, sts, require_tls)
        exact = level is Level.CLEAR or (is_override and level is not Level.DANE)
        is_usable = records is not None and records != (ODD,)
        enforces = sts is not None and sts.mode is StsMode.ENFORCE and not exact
        if isinstance(found, Refused):
            assert found.fault.failure is not TlsFailure.SUCCESS, told
            assert found.by_message <= require_tls, told
            # Somebody asked for more than "if it can be had".
            assert require_tls or enforces or level is Level.DANE, told
            continue
        assert found.level is not Level.DANE or found.records, told
        is_loose = found.level in (Level.CLEAR, Level.MAY) or (found.is_advice and level is Level.MAY)
        assert found.may_fall_back is is_loose, told
        assert STRICTER.index(found.level) >= STRICTER.index(level), f"less than configured: {told}"
        if level is Level.DANE:
            assert is_usable and is_authentic, told  # noqa: PT018 - one claim
        if is_usable and not exact:
            assert found.level is Level.DANE, told
            assert found.policy is PolicyType.TLSA, told
        if enforces:
            assert found.verifies, told
            assert sts is not None, told
            assert sts.lists_host or (found.level is Level.DANE and is_authentic), told
        if records == (ODD,) and not exact:
            assert not found.may_fall_back, told
        if require_tls:
            assert found.verifies, told
            assert found.is_authentic, told
            assert not found.may_fall_back, told
        if exact and not require_tls:
            assert (found.level, found.policy, found.flaw) == (level, PolicyType.NONE, None), told
        if found.is_advice:
            assert sts is not None, told
            assert sts.mode is StsMode.TESTING, told
            assert not require_tls, told


def test_a_server_without_a_certificate_is_nobody() -> None:
    paths = CertificatePaths(None)
    for wanted in (Demand(Level.VERIFY, HOST, False, (HOST,)), Demand(Level.DANE, HOST, False, (), (EE,))):
        assert judge(wanted, (), paths) == Judgement(
            Verified.NONE, TlsFailure.VALIDATION_FAILURE, "The server showed no certificate", False
        )
    for octets in (b"", b"no certificate"):
        assert not judge(Demand(Level.VERIFY, HOST, False, (HOST,)), (octets,), paths).may_go_on
    assert judge(Demand(Level.MAY, HOST, True), (), paths).may_go_on


def test_fingerprints_are_written_in_many_ways() -> None:
    leaf = issued(HOST).leaf
    found, other = hashlib.sha256(leaf), hashlib.sha256(b"x")
    for digits in (found.hexdigest(), found.hexdigest().upper(), found.digest().hex(":")):
        assert has_fingerprint(leaf, [f"sha256:{other.hexdigest()}", f"sha256:{digits}"])
    assert not has_fingerprint(leaf, [f"sha256:{other.hexdigest()}"])
    assert not has_fingerprint(b"no certificate", [])
