"""Fuzzed: messages of strangers, all that is found out of who sent them, and what we put on top of them."""

from mailgw.mail.address import Mailbox
from mailgw.mail.authentication import MethodResult
from mailgw.mail.envelope import ReverseName
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from mailgw.trust import authres
from mailgw.trust.arc import ArcWord
from mailgw.trust.arc_seal import ARC_RULES, arc_set
from mailgw.trust.arc_signatures import ArcVerification
from mailgw.trust.authres import AuthResults
from mailgw.trust.dkim import DkimRules, DkimWord, Verification
from mailgw.trust.dkim_canon import body_hash
from mailgw.trust.dkim_key import LoadedKeys
from mailgw.trust.dkim_sign import SigningRules, signature_fields
from mailgw.trust.evidence import Bringer, EvidenceRules, Gathering, Means
from mailgw.trust.together import go_on, one_by_one
from tests.trust.dkim_mail import ED25519_RECORD, NOW, ed25519_key
from tests.trust.hostile_dns import NAMES, HostileResolver

DKIM = DkimRules(signatures=200, header_octets=1 << 20, takes_partial_body=False, heeds_testing=True)
RULES = EvidenceRules("mx.here.test", DKIM, frozenset({"a.test", ".b.test"}), heeds_pct=True)
MOST_QUESTIONS = 1000
KEY = "brisbane._domainkey.football.example.com"


def evidence(octets: bytes) -> None:
    """Two octets say what DNS says and who brings it, the rest is the message: the results can be written and read."""
    seed, (header, body) = octets[:2], _parts(octets[2:])
    dns = HostileResolver(int.from_bytes(seed, "big"))
    name = NAMES[seed[0] % len(NAMES)] if seed else ""
    sender = None if seed[1:] < b"\x40" else Mailbox("ann", "a.test")
    bringer = Bringer("192.0.2.1", name, sender, ReverseName(name or None, is_confirmed=False, is_known=bool(name)))
    gathering = Gathering(header, RULES, LoadedKeys(2), NOW)
    gathering.feed(body)
    gathering.end()
    found = result_of(gathering.evidence(bringer, Means(dns, dns, dns, one_by_one, go_on, lambda: 0.5)))
    assert len(dns.names_asked) <= MOST_QUESTIONS
    assert found.authentication.vouched_by in ("", "a.test") or found.authentication.vouched_by.endswith(".b.test")
    for smtputf8 in (False, True):
        field = authres.written(AuthResults(RULES.authserv_id, found.authentication.results), smtputf8)
        assert max(map(len, field.split(b"\r\n"))) <= 998
        said = authres.read_field(field.partition(b":")[2])
        assert isinstance(said, AuthResults), (field, said)
        assert [(one.method, one.result) for one in said.results] == [
            (one.method, one.result) for one in found.authentication.results
        ]


def signed(octets: bytes) -> None:
    """A message under our Received is signed and sealed by us, and we verify both, whatever stands in its header."""
    header, body = _parts(octets)
    header = b"Received: from a.test by mx.here.test; Tue, 14 Nov 2023 22:13:20 +0000\r\n" + header
    rules = SigningRules()
    fields = signature_fields(header, body_hash(body, rules.body_canon), [ed25519_key()], rules, NOW)
    verification = Verification(fields + header, DKIM, LoadedKeys(2), NOW)
    verification.feed(body)
    verification.end()
    dns = FakeResolver(text_records={KEY: [ED25519_RECORD]})
    result_of(verification.ask(dns))
    (first, *_) = result_of(verification.results())
    assert first.word is DkimWord.PASS, first
    before = _chain(fields + header, body)
    said = AuthResults("mx.here.test", (MethodResult("arc", before.value),))
    seal = arc_set(fields + header, body_hash(body, ARC_RULES.body_canon), said, ed25519_key(), NOW)
    if isinstance(seal, bytes):
        assert not seal.replace(b"\r\n", b"").count(b"\n")
        after = _chain(seal + fields + header, body)
        assert after is (ArcWord.FAIL if before is ArcWord.FAIL else ArcWord.PASS), (before, after)


def _chain(header: bytes, body: bytes) -> ArcWord:
    verification = ArcVerification(header, 1 << 20, LoadedKeys(2), NOW)
    verification.feed(body)
    verification.end()
    return result_of(verification.result(FakeResolver(text_records={KEY: [ED25519_RECORD]}))).word


def _parts(octets: bytes) -> tuple[bytes, bytes]:
    header, _, body = (b"\r\n" + octets).partition(b"\r\n\r\n")
    return header[2:] + b"\r\n" * bool(header[2:]) + b"\r\n", body
