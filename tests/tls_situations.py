"""The table of TLS situations as values; ``tls_situations.txt`` says what each word means."""

import hashlib
from pathlib import Path

import attrs

from mailgw.mail.names import TlsaRecord
from mailgw.mail.sts_policy import StsMode, StsPolicy
from mailgw.mail.tls_result import PolicyType, TlsFailure
from mailgw.trust.dane import public_key_info
from mailgw.trust.tls_policy import Level, LocalRule
from tests.trust.certificates import (
    Identity,
    issued,
    issued_by_sha1,
    issued_by_who_may_not,
    issued_for_clients,
    middle_der,
    root_der,
    self_signed,
)

DOMAIN = "example.org"
HOST = "mx.example.org"
OTHER = "other.example.org"
# What is shown where it does not matter; and never what any record or pin of the table names by chance.
ANY = "self"


@attrs.frozen
class Situation:
    rule: str
    mx: str
    host: str
    tlsa: str
    sts: str
    message: str
    offer: str
    shows: str
    outcome: str
    told: str
    why: str
    line: int

    @property
    def mx_is_signed(self) -> bool:
        return self.mx == "signed"

    @property
    def host_is_signed(self) -> bool:
        return self.host == "signed"

    @property
    def identity(self) -> Identity:
        return identity(ANY if self.shows == "-" else self.shows)

    @property
    def level(self) -> Level:
        word = self.rule.removeprefix("= ")
        return Level.VERIFY if word in ("names", "print") else Level(word)

    @property
    def names(self) -> tuple[str, ...]:
        return (OTHER,) if self.rule == "= names" else ()

    @property
    def fingerprints(self) -> tuple[str, ...]:
        key = public_key_info(identity("good").leaf)
        return (f"sha256:{hashlib.sha256(key).hexdigest()}",) if self.rule == "= print" else ()

    @property
    def is_override(self) -> bool:
        return self.rule.startswith("= ")

    @property
    def local_rule(self) -> LocalRule:
        return LocalRule(self.level, self.is_override, self.names, self.fingerprints)

    @property
    def records(self) -> tuple[TlsaRecord, ...] | None:
        """None where DNS does not say."""
        if self.tlsa == "fails":
            return None
        words = () if self.tlsa == "-" else self.tlsa.split("+")
        return tuple(record for word in words for record in _records(word, self.identity.leaf))

    @property
    def policy(self) -> StsPolicy | None:
        if self.sts == "-":
            return None
        mode = StsMode(self.sts.rstrip("!"))
        hosts = () if mode is StsMode.NONE else (OTHER if self.sts.endswith("!") else HOST,)
        return StsPolicy(mode, hosts, 86400, "1")

    @property
    def report(self) -> tuple[PolicyType, TlsFailure] | None:
        if self.told == "-":
            return None
        policy, _, failure = self.told.partition(" ")
        return PolicyType.NONE if policy == "none" else PolicyType(policy), TlsFailure(failure)


def identity(word: str) -> Identity:
    match word:
        case "good":
            return issued(HOST)
        case "other-name":
            return issued(OTHER)
        case "domain":
            return issued(DOMAIN)
        case "expired":
            return issued(HOST, expired=True)
        case "cn":
            return issued(common_name=HOST)
        case "client":
            return issued_for_clients(HOST)
        case "clients-ca":
            return issued_by_who_may_not(HOST)
        case "sha1":
            return issued_by_sha1(HOST)
        case "self":
            return self_signed()
        case "self-old":
            return self_signed(expired=True)
    raise AssertionError(word)


def _records(word: str, leaf: bytes) -> list[TlsaRecord]:
    key = public_key_info(leaf)
    sha256, sha512 = (lambda octets: hashlib.sha256(octets).digest()), (lambda octets: hashlib.sha512(octets).digest())
    records = {
        "ee": [TlsaRecord(3, 1, 1, sha256(key))],
        "ee-full": [TlsaRecord(3, 0, 0, leaf)],
        "not-ee": [TlsaRecord(3, 1, 1, sha256(b"another key"))],
        "ta": [TlsaRecord(2, 1, 1, sha256(public_key_info(middle_der())))],
        "ta-root": [TlsaRecord(2, 0, 0, root_der())],
        "not-ta": [TlsaRecord(2, 1, 1, sha256(b"another authority"))],
        "leaf-ta": [TlsaRecord(2, 1, 1, sha256(key))],
        "pkix": [TlsaRecord(1, 1, 1, sha256(key))],
        "odd": [TlsaRecord(3, 9, 1, sha256(key))],
        "weak": [TlsaRecord(3, 1, 1, sha256(key)), TlsaRecord(3, 1, 2, sha512(b"another key"))],
    }
    return records[word]


def situations() -> list[Situation]:
    found = []
    for number, line in enumerate(Path(__file__).with_suffix(".txt").read_text().splitlines(), 1):
        if line and not line.startswith("#"):
            found.append(Situation(*(word.strip() for word in line.split("|")), line=number))
    return found
