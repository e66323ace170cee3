"""What ``mailgw dkim`` found out about the keys of a domain: values, and their words for people and for programs.

Pure; ``dkim_desk`` makes it, ``dkim_command`` prints it.  What others wrote (in DNS) is shown without what a terminal
would obey.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from mailgw.terminal import harmless
from mailgw.trust.dkim_rotation import KeyType, Shown, State, zone_line


@attrs.frozen
class KeyReport:
    """One key.  ``state`` ``"configured"`` where the configuration names its file, and nobody rotates it.  ``shown``:
    what DNS says, with why in words; ``alias``: where a CNAME leads.  ``fault`` of its file, ``""`` for none.
    ``next``: what is going to happen.  Times are seconds since the epoch, None where there is none."""

    selector: str
    type: str
    state: str
    name: str
    record: str
    file: str
    fault: str
    shown: Shown
    why: str
    alias: str
    next: str
    made: float | None = None
    since: float | None = None
    seen: float | None = None

    @property
    def is_wanted_in_dns(self) -> bool:
        return self.state != State.GONE

    @property
    def is_ready(self) -> bool:
        """Whether a key that is wanted may be the first one to sign."""
        return not self.fault and not self.is_to_publish

    @property
    def is_to_publish(self) -> bool:
        """Whether its record is not in DNS, as far as anybody knows."""
        is_missing = self.shown in (Shown.MISSING, Shown.DIFFERS)
        is_new = self.shown is Shown.UNKNOWN and self.state == State.WANTED and self.seen is None
        return self.is_wanted_in_dns and (is_missing or is_new)

    @property
    def is_wrong(self) -> bool:
        """Whether the operator has to do something."""
        return bool(self.fault and self.is_wanted_in_dns) or (
            self.shown in (Shown.MISSING, Shown.DIFFERS) and self.is_wanted_in_dns)


@attrs.frozen
class Policies:
    """What else the domain says of its mail: in words.  ``public_suffix``: the organizational domain by the list of
    public suffixes, ``walked`` by the walk of RFC 9989; ``""`` where nobody knows."""

    spf: str
    dmarc: str
    walked: str
    public_suffix: str
    suffix_fault: str
    is_good: bool


@attrs.frozen
class DomainReport:
    """``is_configured``: whether the gateway signs for it; ``signs``: whether it has a key that does, which need not be
    among ``keys``."""

    domain: str
    is_configured: bool
    keys: tuple[KeyReport, ...]
    signs: bool
    policies: Policies | None = None

    def only(self, keys: Sequence[KeyReport]) -> "DomainReport":
        return attrs.evolve(self, keys=tuple(keys))

    @property
    def status(self) -> int:
        """The exit status."""
        if any(key.is_wrong for key in self.keys) or not self.keys:
            return 1
        if any(key.shown is Shown.UNKNOWN and key.is_wanted_in_dns for key in self.keys):
            return 2
        return 0 if self.signs and self.is_configured else 1


def as_json(report: DomainReport) -> dict[str, Any]:
    found = attrs.asdict(report)
    for key, one in zip(found["keys"], report.keys, strict=True):
        key["zone"] = zone_line(one.selector, report.domain, one.record) if one.record else ""
        key["value"] = key.pop("record")
    return {**found, "status": report.status}


def lines(report: DomainReport, records: bool) -> Iterator[str]:
    """For people; with ``records``, all that is to be published."""
    yield from map(harmless, _lines(report, records))


def _lines(report: DomainReport, records: bool) -> Iterator[str]:
    yield report.domain + ("" if report.signs else ": nothing signs")
    if not report.keys:
        yield f"  no keys: make some with mailgw dkim make {report.domain}"
    for key in report.keys:
        yield f"  {key.selector}  {_kind(key)}, {key.state}"
        yield f"    DNS   {_dns(key)}"
        if key.next:
            yield f"    next  {key.next}"
        if key.fault:
            yield f"    file  {key.fault}"
    if report.policies is not None:
        yield from _policies(report.policies)
    if records:
        yield from _records(report)


def _kind(key: KeyReport) -> str:
    return {KeyType.RSA: "RSA", KeyType.ED25519: "Ed25519"}.get(key.type, key.type or "a key that nobody can read")  # type: ignore[call-overload, no-any-return] # a word is a KeyType's, or none


def _dns(key: KeyReport) -> str:
    words: dict[Shown, str] = {
        Shown.MATCHES: "shows the record", Shown.MISSING: "does not show it", Shown.DIFFERS: "shows something else",
        Shown.UNKNOWN: "was not asked" if not key.why else "gives no answer",
    }
    said = words[key.shown] + (f": {key.why}" if key.why else "")
    return said + (f" (by a CNAME to {key.alias})" if key.alias else "")


def _policies(found: Policies) -> Iterator[str]:
    yield f"  SPF     {found.spf}"
    yield f"  DMARC   {found.dmarc}"
    if found.suffix_fault:
        yield f"          {found.suffix_fault}"
    elif found.walked and found.public_suffix != found.walked:
        yield (f"          its organizational domain is {found.walked} by the walk of RFC 9989, and "
               f"{found.public_suffix or 'none'} for readers of RFC 7489, who use the list of public suffixes: they "
               "look for its record, and align, there")


def _records(report: DomainReport) -> Iterator[str]:
    known = [key for key in report.keys if key.is_wanted_in_dns and key.record]
    wanted = [key for key in known if key.is_to_publish]
    kept = [key for key in known if not key.is_to_publish]
    gone = [key for key in report.keys if not key.is_wanted_in_dns]
    if wanted:
        yield ""
        yield "TO PUBLISH NOW, as lines of a zone file:"
        yield ""
        for key in wanted:
            yield zone_line(key.selector, report.domain, key.record)
        yield ""
        yield "or, for a form of your DNS provider, type TXT, each with its name and its value in one line:"
        for key in wanted:
            yield ""
            yield key.name
            yield key.record
    if kept:
        yield ""
        yield "PUBLISHED; keep these in DNS, as they are:"
        yield ""
        for key in kept:
            yield zone_line(key.selector, report.domain, key.record)
    if gone:
        yield ""
        yield "MAY BE REMOVED: nothing needs these any more; remove them from DNS, if they are there:"
        for key in gone:
            yield key.name

