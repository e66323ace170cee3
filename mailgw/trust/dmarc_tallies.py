"""What DMARC came to, counted for each UTC day and each domain whose record asks for reports (RFC 9990 s3.1).

``counted`` makes of one judged message what it adds to a report, ``Tallies`` counts: messages that are alike in all
that a report says of them are one row.

Rules:
    What is kept is bounded, by rows of a domain's day, by its octets, by its family's, and by ``limit_octets`` as a
    whole.  A message beyond that is counted as left out of its domain's report, which says so; where the domain itself
    has no place, in ``lost``.
    A record that changes in a day is reported as it was last seen, with the messages of the whole day (s3.3).
    A day is a number: days since 1970-01-01, UTC.
Not done: ``envelope_to``, unless the caller says it; failure reports.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from operator import itemgetter

import attrs

from mailgw.trust.dmarc import Dmarc, DmarcResult
from mailgw.trust.dmarc_record import DmarcRecord, Policy
from mailgw.trust.report_words import family_of

# Of one domain's day.  Some 4 MB, and as XML by gzip less than 1 MB.
ROWS = 10_000
DOMAIN_OCTETS = 4 * 1024 * 1024
# Of all domains of one family on one day (``family_of``), so that names below one domain, each with a record of its
# own, take the place of nobody else.
FAMILY_OCTETS = 4 * 1024 * 1024
FAMILY_DOMAINS = 1000
# Of one message in its row; s3.1.3 asks for no more than 100.
SIGNATURES = 10
REASONS = 4
# Of a name that others say: RFC 1035 s3.1 has 253, and what is longer is no name.
NAME = 255
WORDS = 200
# What an entry weighs beside its words: objects, keys, numbers.
_OVERHEAD = 200
# RFC 9990 s3.1.1.12, s3.1.1.13, out of RFC 8601: other words are of upstreams whose results were taken over.
_DKIM_WORDS = frozenset(("none", "pass", "fail", "policy", "neutral", "temperror", "permerror"))
_SPF_WORDS = _DKIM_WORDS | {"softfail"}
_SPF_WHY = {
    "pass": "the client is one that the record lets send",
    "fail": "the client is none that the record lets send",
    "softfail": "the client is probably none that the record lets send",
    "temperror": "DNS gave no answer",
    "permerror": "the record cannot be used",
}


class Override(Enum):
    """Why the disposition is not what the domain asks for (s3.1.6)."""

    LOCAL_POLICY = "local_policy"
    MAILING_LIST = "mailing_list"
    OTHER = "other"
    POLICY_TEST_MODE = "policy_test_mode"
    TRUSTED_FORWARDER = "trusted_forwarder"


@attrs.frozen
class Reason:
    """``comment``: for people, ``""`` for none; of few different ones, since messages are counted by it."""

    override: Override
    comment: str = ""


@attrs.frozen
class SpfSeen:
    """SPF of MAIL FROM (s3.1.1.13): the domain that was asked, the RFC's word.

    ``why``: for people, ``""`` for nothing; of messages that are alike but for it the first one's is told.
    """

    domain: str
    result: str
    why: str = attrs.field(default="", eq=False)


@attrs.frozen
class DkimSeen:
    """One signature (s3.1.1.12): ``d=``, ``s=``, the RFC's word; ``why`` as of ``SpfSeen``."""

    domain: str
    selector: str
    result: str
    why: str = attrs.field(default="", eq=False)


@attrs.frozen
class Judged:
    """One message that DMARC judged, and what was done with it.

    Once a message, when its reply is known; not for one that is deferred, which comes again.
    ``client_address``: IPv4 or IPv6, as text.  ``envelope_from``: the domain of MAIL FROM, ``""`` for ``<>``.
    ``spf``: of MAIL FROM (for ``<>`` that of HELO in its place), None where it was not asked; a report has words of its
    own for why.  ``dkim``: in any order.
    ``disposition``: what was done with the message for DMARC's sake; that others refused it does not count.
    ``reasons``, of a message that fails: why it was not what ``dmarc.policy`` says; an ARC chain of a sealer that is
    trusted is TRUSTED_FORWARDER.  Where none is given but one is due, LOCAL_POLICY is said; POLICY_TEST_MODE needs not
    be given.
    ``envelope_to``: the recipients' domain, ``""`` where that is not to be told.
    """

    dmarc: Dmarc
    client_address: str
    envelope_from: str
    spf: SpfSeen | None
    dkim: tuple[DkimSeen, ...]
    disposition: Policy
    reasons: tuple[Reason, ...] = ()
    envelope_to: str = ""


@attrs.frozen
class Row:
    """What a report says of messages that are alike.  ``disposition``: ``pass`` beside the words for policies."""

    source_ip: str
    disposition: str
    is_dkim_aligned: bool
    is_spf_aligned: bool
    reasons: tuple[Reason, ...]
    header_from: str
    envelope_from: str
    envelope_to: str
    dkim: tuple[DkimSeen, ...]
    spf: SpfSeen | None


@attrs.frozen
class Counted:
    """What one message adds: to the report on ``domain`` (where the record stands), which publishes ``record``."""

    domain: str
    record: DmarcRecord
    row: Row


@attrs.frozen
class DmarcTally:
    """One domain's day.  ``rows`` with the number of their messages; ``left_out``: messages that found no place."""

    day: int
    domain: str
    record: DmarcRecord
    rows: tuple[tuple[Row, int], ...]
    left_out: int


def counted(judged: Judged) -> Counted | None:
    """What a message adds to a report; None where nobody asks for one."""
    dmarc = judged.dmarc
    if dmarc.record is None or not dmarc.record.aggregate_to:
        return None
    disposition, reasons = _done(judged, dmarc.record)
    spf = judged.spf
    return Counted(dmarc.record_domain, dmarc.record, Row(
        judged.client_address[:NAME], disposition, bool(dmarc.dkim_aligned), dmarc.is_spf_aligned, reasons,
        dmarc.author_domain[:NAME], judged.envelope_from[:NAME], judged.envelope_to[:NAME], _signatures(judged),
        None if spf is None else _spf(spf),
    ))


def _spf(found: SpfSeen) -> SpfSeen:
    """In fixed words: names that the record's macros are expanded to may have the local part of MAIL FROM in them."""
    word = _word(found.result, _SPF_WORDS)
    return SpfSeen(found.domain[:NAME], word, _SPF_WHY.get(word, ""))


def _done(judged: Judged, record: DmarcRecord) -> tuple[str, tuple[Reason, ...]]:
    """The disposition's word, and why it is not what the domain asks for."""
    dmarc = judged.dmarc
    reasons = tuple(attrs.evolve(one, comment=one.comment[:WORDS]) for one in judged.reasons[:REASONS])
    if dmarc.result is DmarcResult.FAIL and dmarc.policy is not None and dmarc.published is not None:
        if dmarc.policy is not dmarc.published:
            # RFC 9990 has no word any more for what RFC 7489's "pct" spares.
            spared = Reason(Override.OTHER, "spared by pct")
            reasons = (Reason(Override.POLICY_TEST_MODE) if record.is_testing else spared, *reasons)
        if judged.disposition is not dmarc.policy and not judged.reasons:
            reasons = (*reasons, Reason(Override.LOCAL_POLICY))
        return judged.disposition.value, reasons
    # Whether the name exists, which "np" is about, nobody had to know: what passes does.
    is_own = dmarc.author_domain == dmarc.record_domain
    usual = record.p if is_own or record.sp is None else record.sp
    if dmarc.result is DmarcResult.PASS:
        asked = usual.lowered() if record.is_testing else usual
        return "none" if asked is Policy.NONE else "pass", ()
    # s3.1.1.9: where nothing is aligned and the policy was not applied there has to be a reason.
    if usual is not Policy.NONE and not reasons:
        reasons = (Reason(Override.OTHER, "no result for the time being, for want of an answer from DNS"),)
    return judged.disposition.value, reasons


def _signatures(judged: Judged) -> tuple[DkimSeen, ...]:
    """Those that name a key, what matters first (s3.1.3); the same ones in another order are the same."""
    author, aligned = judged.dmarc.author_domain, frozenset(judged.dmarc.dkim_aligned)

    def place(one: DkimSeen) -> tuple[bool, bool, bool, str, str]:
        return one.result != "pass", one.domain not in aligned, one.domain != author, one.domain, one.selector

    named = sorted((one for one in judged.dkim if one.domain and one.selector), key=place)
    return tuple(
        DkimSeen(one.domain[:NAME], one.selector[:NAME], _word(one.result, _DKIM_WORDS), one.why[:WORDS])
        for one in named[:SIGNATURES]
    )


def _word(word: str, known: frozenset[str]) -> str:
    return word if word in known else "neutral"


class Tallies:
    """Counts.  ``tallies`` is what was counted before, perhaps by another process."""

    def __init__(self, limit_octets: int, tallies: Iterable[DmarcTally] = ()) -> None:
        self._limit = limit_octets
        self._octets = 0
        self._domains: dict[tuple[int, str], _Domain] = {}
        self._families: dict[tuple[int, str], _Family] = {}
        self.lost = 0
        for tally in tallies:
            for row, messages in tally.rows:
                self.count(Counted(tally.domain, tally.record, row), tally.day, messages)
            if tally.left_out:
                self.leave_out(tally.day, tally.domain, tally.record, tally.left_out)

    def count(self, one: Counted, day: int, messages: int = 1) -> None:
        domain = self._domain(day, one.domain, one.record)
        if domain is None:
            self.lost += messages
        elif one.row in domain.rows:
            domain.rows[one.row] += messages
        else:
            octets = _row_octets(one.row)
            if (
                len(domain.rows) >= ROWS or domain.octets + octets > DOMAIN_OCTETS
                or domain.family.octets + octets > FAMILY_OCTETS or self._octets + octets > self._limit
            ):
                domain.left_out += messages
                return
            domain.rows[one.row] = messages
            domain.octets += octets
            self._add(domain, octets)

    def leave_out(self, day: int, domain: str, record: DmarcRecord, messages: int) -> None:
        """Count messages that found no place before."""
        found = self._domain(day, domain, record)
        if found is None:
            self.lost += messages
        else:
            found.left_out += messages

    def closed(self, today: int) -> list[tuple[int, str]]:
        """The days before ``today`` that something was counted in, each with its domain, the oldest first."""
        return sorted([key for key in self._domains if key[0] < today], key=itemgetter(0))

    def tally(self, day: int, domain: str) -> DmarcTally | None:
        """What was counted for a domain on a day; None where nothing was."""
        found = self._domains.get((day, domain))
        if found is None:
            return None
        return DmarcTally(day, domain, found.record, tuple(found.rows.items()), found.left_out)

    def all(self) -> Sequence[DmarcTally]:
        """Everything, for who keeps it."""
        return [tally for key in self._domains if (tally := self.tally(*key)) is not None]

    def remove(self, day: int, domain: str) -> None:
        """Forget a domain's day; where there is none nothing happens."""
        found = self._domains.pop((day, domain), None)
        if found is not None:
            self._add(found, -found.octets - _record_octets(domain, found.record))
            found.family.domains -= 1
            if not found.family.domains:
                del self._families[day, family_of(domain)]

    def _add(self, domain: "_Domain", octets: int) -> None:
        self._octets += octets
        domain.family.octets += octets

    def _domain(self, day: int, name: str, record: DmarcRecord) -> "_Domain | None":
        """The domain's day, with ``record`` as what it publishes now."""
        found = self._domains.get((day, name))
        if found is not None and found.record == record:
            return found
        octets = _record_octets(name, record)
        if found is None:
            key = day, family_of(name)
            family = self._families.get(key) or _Family()
            if (
                self._octets + octets > self._limit or family.octets + octets > FAMILY_OCTETS
                or family.domains >= FAMILY_DOMAINS
            ):
                return None
            family.domains += 1
            self._families[key] = family
            found = self._domains[day, name] = _Domain(record, family)
            self._add(found, octets)
        else:
            # One record is like another: four addresses each.
            self._add(found, octets - _record_octets(name, found.record))
            found.record = record
        return found


class _Family:
    def __init__(self) -> None:
        self.octets = 0
        self.domains = 0


class _Domain:
    def __init__(self, record: DmarcRecord, family: _Family) -> None:
        self.record = record
        self.family = family
        self.rows: dict[Row, int] = {}
        self.octets = 0
        self.left_out = 0


def _record_octets(domain: str, record: DmarcRecord) -> int:
    addresses = (*record.aggregate_to, *record.failures_to)
    return _OVERHEAD + len(domain) + sum(len(str(one.mailbox)) for one in addresses)


def _row_octets(row: Row) -> int:
    words = [row.source_ip, row.header_from, row.envelope_from, row.envelope_to]
    words += [one.comment for one in row.reasons]
    for one in row.dkim:
        words += [one.domain, one.selector, one.why]
    if row.spf is not None:
        words += [row.spf.domain, row.spf.why]
    return _OVERHEAD * (1 + len(row.dkim)) + sum(map(len, words))
