"""What another server shows, fuzzed: its certificate, by every way of judging it."""

import hashlib

from mailgw.mail.names import TlsaRecord
from mailgw.net.client_tls import CertificatePaths
from mailgw.trust import dane
from mailgw.trust.tls_policy import Demand, Level, judge

HOST = "mx.example.org"
PATHS = CertificatePaths(None)


def certificate(octets: bytes) -> None:
    """The octets are a certificate, in DER, and what stands in a TLSA record."""
    records = [
        TlsaRecord(usage, selector, matching, octets)
        for usage in (0, 2, 3) for selector in (0, 1, 2) for matching in (0, 1)
    ]
    good = dane.usable(records)
    assert {record.usage for record in good} <= {2, 3}
    own = TlsaRecord(3, 0, 1, hashlib.sha256(octets).digest())
    assert dane.matches_end([own], octets)
    demands = [
        Demand(Level.DANE, HOST, False, (HOST,), good),
        Demand(Level.DANE, HOST, False, (HOST,), (TlsaRecord(2, 0, 0, octets),)),
        Demand(Level.VERIFY, HOST, False, (HOST, "192.0.2.1", ".example.org")),
        Demand(Level.VERIFY, HOST, False, (HOST,), (), ("sha256:" + "00" * 32,)),
    ]
    for wanted in demands:
        for chain in ((octets,), (octets, octets)):
            found = judge(wanted, chain, PATHS)
            if found.verified == "dane":
                # Its own octets are in the record; no authority signed it.
                assert wanted.level is Level.DANE
            assert found.verified in ("dane", "none")
            assert found.may_go_on is (found.verified == "dane")
