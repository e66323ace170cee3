"""DMARC: whether the domain that a message says it is from stands behind it (RFC 9989).

What comes in are the results of SPF and DKIM, as plain values; records come from DNS.

Rules:
    Where DNS is in trouble the result is ``temperror``, never ``fail``; but what passes without the missing answer
    passes.
    A message with several author domains passes where all of them do; of those that fail the strictest policy holds
    (s11.5), and where that asks for something, no trouble with another author's DNS, which may be the forger's own, is
    in its way.  Without a ``From`` there is nobody to ask, and the result is ``none``.
    With a ``From`` that stands twice or cannot be read (``Unclear``) nobody knows whom to ask: so all are asked whom
    any reader might see in it, and where one of them does not stand behind the message and wants it refused or
    quarantined, that is the result.  Else it is ``permerror``, and never ``pass``: what becomes of such messages is for
    others to say.
Where RFC 7489 differs: it finds the organizational domain in a list of public suffixes, where this walks the tree
(s4.10); it asks at two names, where this asks at eight; ``np`` means for it that there are no addresses and no MX
(RFC 9091 s2.7), for this that the name does not exist; ``pct`` counts for it, and here where a ``draw`` is given.
Where this differs from RFC 9989: no single label is an organizational domain, whatever is published there; a record of
a top-level domain counts as if it had ``psd=y``.  By s4.10.2 one without psd would make all below it each other's:
whoever registers a name there could speak for all others.
Not done: the list of public suffixes; reports, but for where they go.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import Enum

import attrs

from mailgw.mail.address import parse_domain
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.from_field import bodies_of, the_one_field
from mailgw.mail.ports import Resolver
from mailgw.mail.shown_authors import DOMAINS, domains_in, shown_domains
from mailgw.trust.dmarc_record import DmarcRecord, Policy, Psd, record_among, record_name
from mailgw.trust.together import Together

QUERIES = 8
"""Of one walk (s4.10)."""
# s11.5: how many is "large" each receiver says for itself.
AUTHOR_DOMAINS = 4
# Of DKIM, different domains that may need a walk; the author's own needs none.  With SPF's and the authors' (of those
# who are unclear ``DOMAINS``) these are 14 walks; and 9 more where others pass than were asked for before that was
# known (``Authors.learn``).
IDENTIFIERS = 8
MOST_QUESTIONS = QUERIES * (DOMAINS + 2 * (IDENTIFIERS + 1)) + DOMAINS
"""Of one message: those walks, and whether each author exists."""


class DmarcResult(Enum):
    """The words of RFC 9989 s9.2 (the registry of Authentication-Results)."""

    PASS = "pass"  # noqa: S105 (no password)
    FAIL = "fail"
    NONE = "none"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@attrs.frozen
class Identifier:
    """A domain that a method looked at, and the result in that method's own word (``pass``, ``fail``, ``temperror``).

    SPF's is that of MAIL FROM, where that is null of HELO in its place (RFC 7208 s2.4), but never HELO's own (s3.2.3).
    DKIM's is the ``d=`` of one signature.
    """

    domain: str
    result: str


@attrs.frozen
class Dmarc:
    """What DMARC says of one message, and why.

    ``policy``: what the owner asks to be done with it, None where nothing is asked: all but ``fail``.  ``published`` is
    the same without regard to ``t`` and ``pct``.  ``record_domain``: where the record stands, "" for none.
    ``organizational_domain``: "" where nobody had to know.  ``is_spf_aligned``, ``dkim_aligned``: what passed and is
    aligned, the latter by its domains.
    """

    result: DmarcResult
    why: str
    author_domain: str = ""
    policy: Policy | None = None
    published: Policy | None = None
    record: DmarcRecord | None = None
    record_domain: str = ""
    organizational_domain: str = ""
    is_spf_aligned: bool = False
    dkim_aligned: tuple[str, ...] = ()


@attrs.frozen
class Unclear:
    """Why nobody can tell who the author is, in words, and the domains that readers may be shown, ``DOMAINS`` at
    most."""

    why: str
    shown: tuple[str, ...] = ()


def author_domains(header: bytes) -> tuple[str, ...] | Unclear:
    """The different domains of ``From`` (s5.3.1): A-labels, lower case; () where there is none, and nothing that
    readers show in its place.

    What has an "@" in a name before an address counts as that name's domain, too: the address's own, in good mail.
    """
    found = the_one_field(header, b"From")
    if found is None:
        bodies = [body for name in (b"Sender", b"Resent-From") for body in bodies_of(header, name)[0]]
        return Unclear("Sender or Resent-From without From", shown_domains(bodies)) if bodies else ()
    if not found.addresses:
        return Unclear("From stands there twice or cannot be read", shown_domains(bodies_of(header, b"From")[0]))
    return tuple(dict.fromkeys([*(mailbox.domain for mailbox in found.addresses), *domains_in(found.names)]))


async def evaluate(
    authors: tuple[str, ...] | Unclear, spf: Identifier | None, dkim: Sequence[Identifier], resolver: Resolver,
    draw: Callable[[], float] | None = None,
) -> Dmarc:
    """Whether a message passes: the heaviest of what ``Authors`` come to."""
    return heaviest(await Authors(authors, resolver).evaluations(spf, dkim, draw))


class Authors:
    """Those of one message, on the way to what DMARC says of them: ``learn`` what there is to know while the other
    methods are at work, then ``evaluations``.

    ``authors``: what ``author_domains`` found.  Whoever forges mail has a hand in how long the other methods take, and
    in nothing that is asked here of an author who is not he.
    """

    def __init__(self, authors: tuple[str, ...] | Unclear, resolver: Resolver) -> None:
        if not isinstance(authors, Unclear):
            authors = _unclear(authors) or authors
        self._authors = authors
        self._asked = authors.shown if isinstance(authors, Unclear) else authors
        self._names = _Names(resolver)
        self._records: dict[str, DmarcRecord] = {}

    async def learn(self, domains: Iterable[str], together: Together) -> None:
        """Ask for all authors' records at once; then where ``domains`` belong, in whose names the message was sent or
        signed: of the first ``IDENTIFIERS`` + 1 of those that are no author's.  What cannot be learned is in the
        evaluations."""
        await together([self._learn_author(author) for author in self._asked])
        await together([self._learn_place(author) for author in self._records])
        others = [_normal(one) for one in domains if one not in self._asked]
        others = [one for one in others if one and one not in self._asked]
        await together([self._learn_domain(one) for one in list(dict.fromkeys(others))[:IDENTIFIERS + 1]])

    async def evaluations(
        self, spf: Identifier | None, dkim: Sequence[Identifier], draw: Callable[[], float] | None = None
    ) -> tuple[Dmarc, ...]:
        """Whether each author's domain stands behind the message, in their order; where nobody can tell who they are
        ``permerror``, behind those who are shown, do not, and ask for something.

        ``draw``: a number of [0, 1), for ``pct`` as RFC 7489 has it; None: as RFC 9989 has it, it says nothing.
        """
        if not self._authors:
            return (Dmarc(DmarcResult.NONE, "no From"),)
        found = [await _of_author(author, spf, dkim, self._names, draw) for author in self._asked]
        if isinstance(self._authors, Unclear):
            found = [one for one in found if one.policy in (Policy.QUARANTINE, Policy.REJECT)]
            found.append(Dmarc(DmarcResult.PERMERROR, self._authors.why))
        return tuple(found)

    @property
    def is_in_trouble(self) -> bool:
        """Whether anything that was asked here had no answer."""
        return self._names.is_in_trouble

    async def _learn_author(self, author: str) -> None:
        try:
            where, record = await _policy_record(author, self._names)
            if record is not None and not record.fault:
                self._records[author] = record
                await _published(author, where, record, self._names)
        except TemporaryFault:
            pass  # it is remembered

    async def _learn_place(self, author: str) -> None:
        try:
            await self._names.organization(author)
        except TemporaryFault:
            pass

    async def _learn_domain(self, domain: str) -> None:
        for author, record in self._records.items():
            if record.is_spf_strict and record.is_dkim_strict:
                continue
            try:
                await _is_aligned(domain, author, False, self._names)
            except TemporaryFault:
                pass


def heaviest(found: Sequence[Dmarc]) -> Dmarc:
    """Of all authors' the one that counts."""
    return min(found, key=_weight)


def _unclear(authors: tuple[str, ...]) -> Unclear | None:
    """Why they are, though From can be read; None where they are not."""
    shown = tuple(author for author in authors if not author.startswith("["))
    if len(shown) < len(authors):  # it has no record, and nobody stands behind it
        return Unclear("From has an address literal", shown[:DOMAINS])
    if len(authors) > AUTHOR_DOMAINS:
        return Unclear(f"more than {AUTHOR_DOMAINS} author domains", shown[:DOMAINS])
    return None


def _weight(one: Dmarc) -> int:
    """The heaviest comes first.  A failure that nothing is asked for is not the last word where an answer is missing;
    one that something is asked for is: a forger can always put an author with dead DNS beside the other."""
    match one.result:
        case DmarcResult.FAIL:
            return {Policy.REJECT: 0, Policy.QUARANTINE: 1}.get(one.policy or Policy.NONE, 3)
        case DmarcResult.TEMPERROR:
            return 2
        case DmarcResult.PERMERROR:
            return 4
        case DmarcResult.NONE:
            return 5
        case DmarcResult.PASS:
            return 6


async def _of_author(
    author: str, spf: Identifier | None, dkim: Sequence[Identifier], names: "_Names",
    draw: Callable[[], float] | None,
) -> Dmarc:
    try:
        policy_domain, record = await _policy_record(author, names)
    except TemporaryFault as fault:
        return Dmarc(DmarcResult.TEMPERROR, fault.why, author)
    if record is None:
        return Dmarc(DmarcResult.NONE, f"no record for {author}", author)
    found = Dmarc(DmarcResult.PERMERROR, "", author, None, None, record, policy_domain)
    if record.fault:
        return attrs.evolve(found, why=f"record of {policy_domain}: {record.fault}")
    alignment = await _alignment(author, record, spf, dkim, names)
    found = attrs.evolve(
        found, organizational_domain=names.organizational(author), is_spf_aligned=alignment.spf,
        dkim_aligned=tuple(alignment.dkim),
    )
    if alignment.spf or alignment.dkim:
        words = [*(["SPF"] if alignment.spf else []), *(f"DKIM of {domain}" for domain in alignment.dkim[:1])]
        return attrs.evolve(found, result=DmarcResult.PASS, why=f"{' and '.join(words)} aligned with {author}")
    if alignment.trouble:
        return attrs.evolve(found, result=DmarcResult.TEMPERROR, why=alignment.trouble)
    try:
        published = await _published(author, policy_domain, record, names)
    except TemporaryFault as fault:
        return attrs.evolve(found, result=DmarcResult.TEMPERROR, why=fault.why)
    is_spared = record.is_testing or (draw is not None and draw() * 100 >= record.pct)
    return attrs.evolve(
        found, result=DmarcResult.FAIL, why=f"nothing that passes is aligned with {author}", published=published,
        policy=published.lowered() if is_spared else published,
    )


# --- where names belong -------------------------------------------------------------------------------

def walk(domain: str) -> tuple[str, ...]:
    """The names at which records are looked for, at most ``QUERIES``: the domain itself, then shorter and shorter ones.

    s4.10, step 4: from eight labels on the next name has seven.
    """
    labels = domain.split(".")
    first = max(1, len(labels) - (QUERIES - 1))
    return (domain, *(".".join(labels[at:]) for at in range(first, len(labels))))


async def organizational_domain(domain: str, resolver: Resolver) -> str:
    """The domain that a domain, in its normal form, belongs to (s4.10.2).  TemporaryFault where that is not known."""
    return await _Names(resolver).organization(domain)


async def policy_record(domain: str, resolver: Resolver) -> tuple[str, DmarcRecord | None]:
    """The record that holds for mail from a domain, in its normal form, and where it stands (s4.10.1); ``""`` and None
    where there is none.  TemporaryFault where that is not known."""
    return await _policy_record(domain, _Names(resolver))


class _Names:
    """What DNS says of names, for one message: each is asked for once, trouble among it."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._records: dict[str, DmarcRecord | TemporaryFault | None] = {}
        self._organizational: dict[str, str] = {}
        self._existing: dict[str, bool | TemporaryFault] = {}

    async def record(self, domain: str) -> DmarcRecord | None:
        """The one of that name alone; TemporaryFault where that is not known."""
        if domain not in self._records:
            try:
                record = record_among((await self._resolver.text(record_name(domain))).items)
                self._records[domain] = None if record is None else _placed(domain, record)
            except TemporaryFault as fault:
                self._records[domain] = fault
        known = self._records[domain]
        if isinstance(known, TemporaryFault):
            raise TemporaryFault(f"no answer for {record_name(domain)}: {known.why}")
        return known

    @property
    def is_in_trouble(self) -> bool:
        return any(isinstance(one, TemporaryFault) for one in (*self._records.values(), *self._existing.values()))

    async def climb(self, domain: str) -> dict[str, DmarcRecord]:
        """The records on the way up from ``domain``, from the longest name to the shortest (s4.10)."""
        found = {}
        for name in walk(domain):
            record = await self.record(name)
            if record is not None:
                found[name] = record
                if record.psd is not Psd.UNKNOWN:
                    break
        self._organizational[domain] = _top(domain, found)
        return found

    async def organization(self, domain: str) -> str:
        if domain not in self._organizational:
            await self.climb(domain)
        return self._organizational[domain]

    async def exists(self, domain: str) -> bool:
        if domain not in self._existing:
            try:
                self._existing[domain] = await self._resolver.exists(domain)
            except TemporaryFault as fault:
                self._existing[domain] = fault
        known = self._existing[domain]
        if isinstance(known, TemporaryFault):
            raise TemporaryFault(known.why)
        return known

    def organizational(self, domain: str) -> str:
        """The organizational domain as far as somebody had to know it, else ""."""
        return self._organizational.get(domain, "")


def _placed(domain: str, record: DmarcRecord) -> DmarcRecord:
    """What it says, standing there: a single label is a suffix, whatever it says."""
    return record if "." in domain else attrs.evolve(record, psd=Psd.YES)


def _top(domain: str, records: dict[str, DmarcRecord]) -> str:
    """The organizational domain, out of the records on the way up (s4.10.2)."""
    for name, record in records.items():
        if record.psd is Psd.NO:
            return name
        if record.psd is Psd.YES and name != domain:
            return _one_below(name, domain)
    return list(records)[-1] if records else domain


def _one_below(name: str, domain: str) -> str:
    """The name one label below ``name`` on the way to ``domain``."""
    return ".".join(domain.split(".")[-(name.count(".") + 2):])


async def _policy_record(author: str, names: _Names) -> tuple[str, DmarcRecord | None]:
    """The record that holds for an author domain, and where it stands (s4.10.1): its own, or that of its organizational
    domain, or that of the public suffix above."""
    own = await names.record(author)
    if own is not None:
        return author, own
    records = await names.climb(author)
    organization = await names.organization(author)
    for name, record in records.items():
        if name == organization or record.psd is Psd.YES:
            return name, record
    return "", None


async def _published(author: str, policy_domain: str, record: DmarcRecord, names: _Names) -> Policy:
    """What is asked for an author domain (s4.10.1): TemporaryFault where nobody can say whether it exists."""
    if author == policy_domain:
        return record.p
    usual = record.sp if record.sp is not None else record.p
    if record.np is None or record.np is usual:
        return usual
    return usual if await names.exists(author) else record.np


# --- alignment ----------------------------------------------------------------------------------------

@attrs.define
class _Alignment:
    spf: bool
    dkim: list[str]
    trouble: str  # why more might be aligned, and pass; "" for not


async def _alignment(
    author: str, record: DmarcRecord, spf: Identifier | None, dkim: Sequence[Identifier], names: _Names
) -> _Alignment:
    found = _Alignment(False, [], "")
    for one in _of_use([spf] if spf is not None else [], author):
        found.spf = await _counts("SPF", one, author, record.is_spf_strict, names, found) or found.spf
    for one in _of_use(dkim, author):
        if await _counts("DKIM", one, author, record.is_dkim_strict, names, found):
            found.dkim.append(one.domain)
    return found


def _normal(domain: str) -> str:
    """A domain as DNS has it; "" where it is none."""
    return parse_domain(domain.removesuffix(".")) or ""


def _of_use(identifiers: Iterable[Identifier], author: str) -> list[Identifier]:
    """Those that pass, or might at another time: in their normal form, each once, the author's own first, and of the
    others at most ``IDENTIFIERS``."""
    known: dict[Identifier, None] = {}
    for one in identifiers:
        domain = _normal(one.domain)
        if domain and one.result in ("pass", "temperror"):
            known[Identifier(domain, one.result)] = None
    others = [one for one in known if one.domain != author]
    # What passes comes first: trouble must not take its place.
    others.sort(key=lambda one: one.result != "pass")
    return [one for one in known if one.domain == author] + others[:IDENTIFIERS]


async def _counts(
    method: str, one: Identifier, author: str, is_strict: bool, names: _Names, found: _Alignment
) -> bool:
    """Whether it passes and is aligned; of what would, but for some trouble, the words go to ``found``."""
    try:
        if not await _is_aligned(one.domain, author, is_strict, names):
            return False
    except TemporaryFault as fault:
        found.trouble = found.trouble or fault.why
        return False
    if one.result == "pass":
        return True
    found.trouble = found.trouble or f"{method} of {one.domain} has no result for now"
    return False


async def _is_aligned(domain: str, author: str, is_strict: bool, names: _Names) -> bool:
    """s4.4: both the same, or (relaxed) of the same organizational domain.  TemporaryFault where nobody can say."""
    # s4.10.2: what is the same needs no walk
    if domain == author or is_strict:
        return domain == author
    # An organizational domain is its domain's own name or one above: what has no label in common needs no walk either.
    if domain.rpartition(".")[2] != author.rpartition(".")[2]:
        return False
    organization = await names.organization(author)
    if domain != organization and not domain.endswith("." + organization):
        return False
    return await names.organization(domain) == organization
