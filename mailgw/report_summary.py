"""What the reports that came in come to: who sends as us, and what failed.  Counted, and put into lines.

All of it is what reporters say.  Their words are strangers': whoever prints the lines makes them harmless.  What nobody
vouches for is told beside the sums, and is in them only where that is asked for: else anybody could spoil them by mail.
"""

import ipaddress
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final, TypeVar

import attrs

from mailgw.mail.header import civil_date
from mailgw.store.report_reading import DmarcLine, Report, TlsLine
from mailgw.trust.report_words import family_of

DAY_SECONDS: Final = 86_400
NETWORKS: Final = 20
"""Shown of a domain, and ``ADDRESSES`` of each of them, ``WORDS`` of each of those; JSON has them all."""
DOMAINS: Final = 50
"""Shown, those with the most messages; JSON has ``JSON_DOMAINS``.  Anybody may report on whatever names he likes."""
JSON_DOMAINS: Final = 1000
ADDRESSES: Final = 5
WORDS: Final = 5
BAR: Final = 40
DAYS: Final = 62
"""With a bar of their own, the last ones; those before them are told together."""


@attrs.define
class Tally:
    """Messages, or sessions."""

    good: int = 0
    bad: int = 0

    @property
    def all(self) -> int:
        return self.good + self.bad

    def add(self, count: int, is_good: bool) -> None:
        if is_good:
            self.good += count
        else:
            self.bad += count


@attrs.define
class Unsure:
    """What reports say that nobody vouches for, where the sums leave it out; of messages, or of sessions."""

    reports: int = 0
    told: Tally = attrs.Factory(Tally)


@attrs.define
class Reporter:
    """``sender``: whose mail brought its reports."""

    organization: str
    sender: str
    trusted: bool
    reports: int = 0
    count: int = 0

    @property
    def words(self) -> str:
        by = f" by {self.sender}" if self.sender and self.sender != self.organization.lower() else ""
        return f"{self.organization}{by}{'' if self.trusted else ' (unauthenticated)'}"


@attrs.define
class Source:
    """One address that sends as a domain; ``failed``: what failed there, in words, with the messages it was so of."""

    address: str
    messages: Tally = attrs.Factory(Tally)
    dkim: int = 0
    spf: int = 0
    failed: Counter[str] = attrs.Factory(Counter)


@attrs.define
class Domain:
    """What is said of DMARC of one domain.  ``policy``: as the last report that counts has it."""

    name: str
    policy: dict[str, str] = attrs.Factory(dict)
    messages: Tally = attrs.Factory(Tally)
    dispositions: Counter[str] = attrs.Factory(Counter)
    reporters: dict[tuple[str, str, bool], Reporter] = attrs.Factory(dict)
    days: dict[int, Tally] = attrs.Factory(dict)
    sources: dict[str, Source] = attrs.Factory(dict)
    unsure: Unsure = attrs.Factory(Unsure)

    def networks(self) -> list[tuple[str, list[Source]]]:
        """The sources by their networks, those with the most failures first, then with the most messages."""
        found: dict[str, list[Source]] = {}
        for source in sorted(self.sources.values(), key=_weight):
            found.setdefault(network_of(source.address), []).append(source)
        return sorted(found.items(), key=lambda one: min(map(_weight, one[1])))


@attrs.define
class TlsPolicy:
    """What is said of sessions under one kind of policy.  ``failed``: kinds of failure in words, with their sessions.
    """

    kind: str
    sessions: Tally = attrs.Factory(Tally)
    failed: Counter[str] = attrs.Factory(Counter)


@attrs.define
class TlsDomain:
    name: str
    reporters: dict[tuple[str, str, bool], Reporter] = attrs.Factory(dict)
    days: dict[int, Tally] = attrs.Factory(dict)
    policies: dict[str, TlsPolicy] = attrs.Factory(dict)
    unsure: Unsure = attrs.Factory(Unsure)


class Summary:
    """Counts reports as they are told.  ``counts_all``: those, too, that nobody vouches for.

    ``reports``: how many are in the sums; ``untrusted``: how many nobody vouches for, counted or not.
    ``families``: whose domains are ours (``report_words.family_of``), all where there is none; of the others' domains
    ``foreign`` has the names alone.
    """

    def __init__(self, counts_all: bool = False, families: Collection[str] = ()) -> None:
        self.counts_all = counts_all
        self._families = families
        self.foreign: set[str] = set()
        self.domains: dict[str, Domain] = {}
        self.tls: dict[str, TlsDomain] = {}
        self.reports = 0
        self.untrusted = 0

    @property
    def has_failures(self) -> bool:
        return any(one.messages.bad for one in self.domains.values()) or any(
            policy.sessions.bad for one in self.tls.values() for policy in one.policies.values()
        )

    def dmarc(self, report: Report, lines: Iterable[DmarcLine]) -> None:
        is_counted = self._count(report)
        if self._is_foreign(report.domain):
            return
        domain = self.domains.setdefault(report.domain, Domain(report.domain))
        if not is_counted:
            domain.unsure.reports += 1
            for line in lines:
                domain.unsure.told.add(line.count, line.passes)
            return
        domain.policy = report.policy
        reporter = _reporter(domain.reporters, report)
        day = domain.days.setdefault(day_of(report), Tally())
        for line in lines:
            reporter.count += line.count
            domain.messages.add(line.count, line.passes)
            day.add(line.count, line.passes)
            domain.dispositions[line.disposition] += line.count
            source = domain.sources.setdefault(line.source, Source(line.source))
            source.messages.add(line.count, line.passes)
            source.dkim += line.count if line.dkim == "pass" else 0
            source.spf += line.count if line.spf == "pass" else 0
            for words in failed(line):
                source.failed[words] += line.count

    def tls_report(self, report: Report, lines: Iterable[TlsLine], wanted: str = "") -> None:
        """``wanted``: the domain that is asked for, "" for all: a report may be about several."""
        is_counted = self._count(report)
        seen: set[str] = set()
        for line in lines:
            if wanted and line.domain != wanted and not line.domain.endswith(f".{wanted}"):
                continue
            if self._is_foreign(line.domain):
                continue
            domain = self.tls.setdefault(line.domain, TlsDomain(line.domain))
            if not is_counted:
                domain.unsure.reports += line.domain not in seen
                seen.add(line.domain)
                domain.unsure.told.add(line.successes, True)
                domain.unsure.told.add(line.failures, False)
                continue
            reporter = _reporter(domain.reporters, report, is_again=line.domain in seen)
            seen.add(line.domain)
            reporter.count += line.successes + line.failures
            day = domain.days.setdefault(day_of(report), Tally())
            policy = domain.policies.setdefault(line.policy, TlsPolicy(line.policy))
            for tally in (day, policy.sessions):
                tally.add(line.successes, True)
                tally.add(line.failures, False)
            for detail in line.details:
                policy.failed[tls_words(detail)] += detail[5]

    def _is_foreign(self, domain: str) -> bool:
        if not self._families or family_of(domain) in self._families:
            return False
        self.foreign.add(domain)
        return True

    def _count(self, report: Report) -> bool:
        """Whether it goes into the sums."""
        is_counted = report.trusted or self.counts_all
        self.reports += is_counted
        self.untrusted += not report.trusted
        return is_counted


def day_of(report: Report) -> int:
    """In the middle of its time, and not after it came: days since 1970, UTC."""
    return int(min((report.begin + report.end) // 2, report.received)) // DAY_SECONDS


def date_of(day: int) -> str:
    year, month, date = civil_date(day)
    return f"{year:04}-{month:02}-{date:02}"


def network_of(address: str) -> str:
    """A /24 or a /48: whose it is, as a rule; an address that is none as it is."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 24 if found.version == 4 else 48), strict=False))


def failed(line: DmarcLine) -> Iterator[str]:
    """What of a row failed, SPF and DKIM each, in words, whatever DMARC came to."""
    for method, is_good in (("spf", line.spf == "pass"), ("dkim", line.dkim == "pass")):
        if is_good:
            continue
        results = [one for one in line.auth if one[0] == method]
        if not results:
            yield f"no {method.upper()} result"
        for _, domain, name, result in results:
            selector = f" (selector {name})" if method == "dkim" and name else ""
            aligned = f", which is not aligned with {line.header_from}" if result == "pass" else ""
            yield f"{method.upper()} {result or 'without a result'} for {domain or 'no domain'}{selector}{aligned}"


def tls_words(detail: list[Any]) -> str:
    result, sending, mx, helo, receiving, _, reason = detail
    words = result or "failure"
    if mx or receiving:
        words += f" at {mx or helo or 'a host'}" + (f" [{receiving}]" if receiving else "")
    if sending:
        words += f" from {sending}"
    return f"{words}: {reason}" if reason else words


def _reporter(
    known: dict[tuple[str, str, bool], Reporter], report: Report, is_again: bool = False
) -> Reporter:
    key = (report.organization, report.sender, report.trusted)
    found = known.setdefault(key, Reporter(*key))
    found.reports += not is_again
    return found


def _weight(source: Source) -> tuple[int, int, str]:
    return -source.messages.bad, -source.messages.all, source.address


# --- in lines ---------------------------------------------------------------------------------------------

def lines(summary: Summary, days: str) -> Iterator[str]:
    """``days``: of which time it is, in words."""
    yield f"{_reports(summary.reports)}, {days}" + (
        f", {summary.untrusted} of them unauthenticated" if summary.untrusted and summary.counts_all else "")
    if summary.untrusted and not summary.counts_all:
        yield f"{_reports(summary.untrusted, 'unauthenticated ')} beside them, in no sum: --all counts them, too"
    if summary.foreign:
        count = len(summary.foreign)
        yield f"about {count:,} domain{'' if count == 1 else 's'} that no route and no key here is for: --domain NAME"
    shown = _largest(summary.domains.values(), DOMAINS)
    for domain in shown:
        yield ""
        yield from _domain_lines(domain)
    yield from _more(len(summary.domains) - len(shown), "DMARC of")
    about_tls = _largest(summary.tls.values(), DOMAINS)
    for about in about_tls:
        yield ""
        yield from _tls_lines(about)
    yield from _more(len(summary.tls) - len(about_tls), "TLS with")


D = TypeVar("D", Domain, TlsDomain)


def _largest(domains: Iterable[D], most: int) -> list[D]:
    """Those of which most is told, first of all by who is vouched for; by name."""
    def weight(one: D) -> tuple[int, int, str]:
        return -sum(tally.all for tally in one.days.values()), -one.unsure.told.all, one.name

    return sorted(sorted(domains, key=weight)[:most], key=lambda one: one.name)


def _more(count: int, what: str) -> Iterator[str]:
    if count:
        yield ""
        yield f"{what} {count:,} more domain{'' if count == 1 else 's'}, with fewer messages: --domain NAME"


def _reports(count: int, kind: str = "") -> str:
    return f"{count or 'no'} {kind}report{'' if count == 1 else 's'}"


def _domain_lines(domain: Domain) -> Iterator[str]:
    policy = f" (p={domain.policy['p']})" if "p" in domain.policy else ""
    yield f"DMARC of {domain.name}{policy}: {_told(domain.messages, 'messages', 'pass', 'fail')}"
    nothing = ("none", "pass", "")
    done = [f"{count:,} {word}" for word, count in sorted(domain.dispositions.items()) if word not in nothing]
    if done:
        yield f"  done with them: {', '.join(done)}"
    yield from _reporter_lines(domain.reporters.values(), "messages")
    yield from _unsure_line(domain.unsure, "messages", "pass", "fail")
    yield from _bars(domain.days)
    networks = domain.networks()
    for network, sources in networks[:NETWORKS]:
        if len(sources) > 1:
            tally = Tally(sum(one.messages.good for one in sources), sum(one.messages.bad for one in sources))
            yield f"  {network}  {_told(tally, 'messages', 'pass', 'fail')}"
        indent = "    " if len(sources) > 1 else "  "
        for source in sources[:ADDRESSES]:
            yield from _source_lines(source, indent)
        if len(sources) > ADDRESSES:
            yield f"{indent}and {len(sources) - ADDRESSES} more addresses"
    if len(networks) > NETWORKS:
        rest = sum(one.messages.all for _, sources in networks[NETWORKS:] for one in sources)
        yield f"  and {len(networks) - NETWORKS} more networks, with {rest:,} messages"


def _source_lines(source: Source, indent: str) -> Iterator[str]:
    told = _told(source.messages, "messages", "pass", "fail")
    yield f"{indent}{source.address or 'unknown addresses'}  {told}; DKIM {source.dkim:,}, SPF {source.spf:,}"
    for words, count in source.failed.most_common(WORDS):
        yield f"{indent}  {count:,}: {words}"
    if len(source.failed) > WORDS:
        yield f"{indent}  and {len(source.failed) - WORDS} more kinds"


def _tls_lines(domain: TlsDomain) -> Iterator[str]:
    tally = Tally(
        sum(one.sessions.good for one in domain.policies.values()),
        sum(one.sessions.bad for one in domain.policies.values()),
    )
    yield f"TLS with {domain.name}: {_told(tally, 'sessions', 'good', 'failed')}"
    yield from _reporter_lines(domain.reporters.values(), "sessions")
    yield from _unsure_line(domain.unsure, "sessions", "good", "failed")
    yield from _bars(domain.days)
    for policy in sorted(domain.policies.values(), key=lambda one: one.kind):
        yield f"  {policy.kind or 'unknown policy'}  {_told(policy.sessions, 'sessions', 'good', 'failed')}"
        for words, count in policy.failed.most_common(WORDS):
            yield f"    {count:,}: {words}"
        if len(policy.failed) > WORDS:
            yield f"    and {len(policy.failed) - WORDS} more kinds"


def _told(tally: Tally, what: str, good: str, bad: str) -> str:
    if not tally.all:
        return f"no {what}"
    named = what if tally.all != 1 else what.removesuffix("s")
    if not tally.bad:
        return f"{tally.all:,} {named}, all {good}"
    return f"{tally.all:,} {named}, {tally.good:,} {good}, {tally.bad:,} {bad} ({100 * tally.bad / tally.all:.1f} %)"


def _unsure_line(unsure: Unsure, what: str, good: str, bad: str) -> Iterator[str]:
    if unsure.reports:
        yield f"  not counted: {_reports(unsure.reports, 'unauthenticated ')}, {_told(unsure.told, what, good, bad)}"


def _reporter_lines(reporters: Iterable[Reporter], what: str) -> Iterator[str]:
    ordered = sorted(reporters, key=lambda one: (-one.count, one.words))
    for one in ordered[:NETWORKS]:
        yield f"  told by {one.words}: {one.reports} report{'' if one.reports == 1 else 's'}, {one.count:,} {what}"
    if len(ordered) > NETWORKS:
        yield f"  and {len(ordered) - NETWORKS} more reporters"


def _bars(days: dict[int, Tally]) -> Iterator[str]:
    """A line for each day of which there is anything: "#" for what is good, "!" for what is not."""
    ordered = sorted(days.items())
    earlier, shown = ordered[:-DAYS], ordered[-DAYS:]
    if earlier:
        good, bad = (sum(getattr(tally, word) for _, tally in earlier) for word in ("good", "bad"))
        days_before = f"{len(earlier)} earlier day{'' if len(earlier) == 1 else 's'}"
        yield f"  {days_before}: {good:,}" + (f" and {bad:,}!" if bad else "")
    most = max((tally.all for _, tally in shown), default=0)
    for day, tally in shown:
        bad = -(-BAR * tally.bad // most) if most else 0  # rounded up: one failure shows
        good = round(BAR * tally.good / most) if most else 0
        bar = ("#" * max(0, min(good, BAR - bad)) + "!" * bad).ljust(BAR)
        yield f"  {date_of(day)}  {bar}  {tally.good:,}" + (f" and {tally.bad:,}!" if tally.bad else "")


# --- for programs -----------------------------------------------------------------------------------------

def as_json(summary: Summary) -> dict[str, Any]:
    return {
        "reports": summary.reports,
        "unauthenticated": summary.untrusted,
        "foreign_domains": len(summary.foreign),
        "domains_left_out": sum(max(0, len(found) - JSON_DOMAINS) for found in (summary.domains, summary.tls)),
        "dmarc": [
            {
                "domain": one.name, "policy": one.policy, "messages": one.messages.all, "pass": one.messages.good,
                "fail": one.messages.bad, "dispositions": dict(one.dispositions), **_common(one),
                "sources": [
                    {
                        "address": source.address, "network": network, "messages": source.messages.all,
                        "pass": source.messages.good, "fail": source.messages.bad, "dkim_pass": source.dkim,
                        "spf_pass": source.spf, "failed": dict(source.failed.most_common()),
                    }
                    for network, sources in one.networks() for source in sources
                ],
            }
            for one in _largest(summary.domains.values(), JSON_DOMAINS)
        ],
        "tls": [
            {
                "domain": one.name, **_common(one),
                "policies": [
                    {
                        "policy": policy.kind, "successes": policy.sessions.good, "failures": policy.sessions.bad,
                        "failed": dict(policy.failed.most_common()),
                    }
                    for policy in one.policies.values()
                ],
            }
            for one in _largest(summary.tls.values(), JSON_DOMAINS)
        ],
    }


def _common(one: Domain | TlsDomain) -> dict[str, Any]:
    return {
        "reporters": [attrs.asdict(reporter) for reporter in one.reporters.values()],
        "days": {date_of(day): attrs.asdict(tally) for day, tally in sorted(one.days.items())},
        "not_counted": {"reports": one.unsure.reports, **attrs.asdict(one.unsure.told)},
    }
