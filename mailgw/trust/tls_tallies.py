"""What TLS sessions came to, counted for each UTC day, policy domain and policy (RFC 8460 s4).

Rules:
    What is kept is bounded as a whole, by ``limit_octets`` of the words in it.  Beyond that a new kind of failure is
    counted among those of its policy without its particulars, a new policy or domain not at all; ``lost`` says how
    many results that were.
    A day is a number: days since 1970-01-01, UTC.
"""

from collections.abc import Iterable, Sequence

import attrs

from mailgw.mail.tls_result import PolicyType, TlsFailure, TlsResult

# Of what others say: their name in EHLO, our TLS library's words for their certificate, one of their TLSA records (a
# whole certificate in one has some 2 KiB, twice that in hexadecimal digits).
WORDS = 200
POLICY_LINE = 8192
# Kinds of failure of one policy, and policies of one domain (with DANE, those of its hosts): enough to see what is
# wrong, however many addresses and words it is wrong with.
DETAILS = 100
POLICIES = 20
# What an entry weighs beside its words: keys, numbers, and what JSON puts around them.
_OVERHEAD = 200
_NO_SESSION = (TlsFailure.STS_POLICY_FETCH_ERROR, TlsFailure.STS_POLICY_INVALID, TlsFailure.STS_WEBPKI_INVALID)


@attrs.frozen
class Detail:
    """Failures of one kind: RFC 8460 s4.4, failure-details.  Fields that are ``""`` are not known."""

    result: TlsFailure
    sending_ip: str
    mx_host: str
    helo: str
    receiving_ip: str
    reason: str


@attrs.frozen
class PolicyTally:
    """One policy's sessions: RFC 8460 s4.4, a member of ``policies``; how often each kind of failure was met."""

    policy_type: PolicyType
    policy_strings: tuple[str, ...]
    mx_patterns: tuple[str, ...]
    successes: int
    failures: int
    details: tuple[tuple[Detail, int], ...]


@attrs.frozen
class DomainTally:
    """One policy domain's day."""

    day: int
    domain: str
    policies: tuple[PolicyTally, ...]

    @property
    def has_sessions(self) -> bool:
        """Whether any was tried: else there are policies alone that could not be learned."""
        return any(
            one.successes or any(detail.result not in _NO_SESSION for detail, _ in one.details)
            for one in self.policies
        )


class Tallies:
    """Counts.  ``tallies`` is what was counted before, perhaps by another process."""

    def __init__(self, limit_octets: int, tallies: Iterable[DomainTally] = ()) -> None:
        self._limit = limit_octets
        self._octets = 0
        self._domains: dict[tuple[int, str], dict[_PolicyKey, _Policy]] = {}
        # What is said of those that nothing was counted for since: they are kept each minute, and few of them change.
        self._told: dict[tuple[int, str], DomainTally] = {}
        self.lost = 0
        kept = tuple(tallies)
        # Policies first: each had its place before the details of others took what was left.
        found = [
            self._policy(tally.day, tally.domain, (one.policy_type, one.policy_strings, one.mx_patterns))
            for tally in kept for one in tally.policies
        ]
        for policy, one in zip(found, (one for tally in kept for one in tally.policies), strict=True):
            if policy is not None:
                policy.successes, policy.failures = one.successes, one.failures
                policy.details = dict(one.details)
                self._octets += sum(map(_detail_octets, policy.details))

    def count(self, result: TlsResult, day: int) -> None:
        """Count one session, or one failure to learn a policy."""
        strings = tuple(line[:POLICY_LINE] for line in result.policy_strings)
        key = (result.policy_type, strings, result.mx_patterns)
        policy = self._policy(day, result.domain, key)
        self._told.pop((day, result.domain), None)
        if policy is None:
            self.lost += 1
        elif result.result is TlsFailure.SUCCESS:
            policy.successes += 1
        else:
            policy.failures += 1
            self._count_detail(policy, _detail(result))

    def closed(self, today: int) -> list[tuple[int, str]]:
        """The days before ``today`` that something was counted in, each with its domain, the oldest first."""
        return sorted(key for key in self._domains if key[0] < today)

    def tally(self, day: int, domain: str) -> DomainTally | None:
        """What was counted for a domain on a day; None where nothing was."""
        policies = self._domains.get((day, domain))
        if policies is None:
            return None
        told = self._told.get((day, domain))
        if told is None:
            found = [
                PolicyTally(*key, policy.successes, policy.failures, tuple(policy.details.items()))
                for key, policy in policies.items()
            ]
            told = self._told[day, domain] = DomainTally(day, domain, tuple(found))
        return told

    def all(self) -> Sequence[DomainTally]:
        """Everything, for who keeps it."""
        return [tally for key in self._domains if (tally := self.tally(*key)) is not None]

    def remove(self, day: int, domain: str) -> None:
        """Forget a domain's day; where there is none nothing happens."""
        self._told.pop((day, domain), None)
        for key, policy in self._domains.pop((day, domain), {}).items():
            self._octets -= _policy_octets(domain, key)
            self._octets -= sum(_detail_octets(detail) for detail in policy.details)

    def _policy(self, day: int, domain: str, key: "_PolicyKey") -> "_Policy | None":
        policies = self._domains.get((day, domain), {})
        policy = policies.get(key)
        if policy is not None:
            return policy
        octets = _policy_octets(domain, key)
        if len(policies) >= POLICIES or self._octets + octets > self._limit:
            return None
        self._octets += octets
        self._domains[day, domain] = policies
        policies[key] = policy = _Policy()
        return policy

    def _count_detail(self, policy: "_Policy", detail: Detail) -> None:
        if detail not in policy.details:
            octets = _detail_octets(detail)
            if len(policy.details) >= DETAILS or self._octets + octets > self._limit:
                # There are as many of these as there are words for failures, so they need no limit.
                detail = Detail(detail.result, "", "", "", "", "")
                octets = 0 if detail in policy.details else _detail_octets(detail)
            self._octets += octets
        policy.details[detail] = policy.details.get(detail, 0) + 1


_PolicyKey = tuple[PolicyType, tuple[str, ...], tuple[str, ...]]


class _Policy:
    def __init__(self) -> None:
        self.successes = self.failures = 0
        self.details: dict[Detail, int] = {}


def _detail(result: TlsResult) -> Detail:
    return Detail(
        result.result, result.sending_ip, result.mx_host, result.receiving_helo[:WORDS], result.receiving_ip,
        result.reason[:WORDS],
    )


def _policy_octets(domain: str, key: _PolicyKey) -> int:
    return _OVERHEAD + len(domain) + sum(map(len, key[1])) + sum(map(len, key[2]))


def _detail_octets(detail: Detail) -> int:
    words = (detail.sending_ip, detail.mx_host, detail.helo, detail.receiving_ip, detail.reason)
    return _OVERHEAD + sum(map(len, words))
