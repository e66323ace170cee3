"""All the evidence on one message that a stranger brought: SPF, DKIM, ARC and DMARC, and his address's name (iprev).

Rules:
    What DNS does not tell in time is a ``temperror``, of the methods that needed it, and never a ``fail``; but for the
    client's own names, which are then as if they were not there (``trust.spf``).
    Nobody's DNS keeps another's from being heard: who forges a domain's mail has no hand in whether that is found out.
    So the authors are asked for what they want from the start, and apart from what others sent or signed.
    The content is hashed as it comes: ``feed``, so that nothing is read twice.
    Whose word counts is the caller's to say; nothing here decides what becomes of a message.
"""

from collections.abc import Callable, Sequence

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.authentication import Authentication, MethodResult, Property
from mailgw.mail.envelope import ReverseName, path_text
from mailgw.mail.ports import Resolver
from mailgw.trust import dkim as dkim_signatures
from mailgw.trust.arc import ArcResult, ArcWord, vouching
from mailgw.trust.arc_signatures import ArcVerification
from mailgw.trust.authres import AuthResults
from mailgw.trust.dkim import DkimResult, DkimRules, Verification
from mailgw.trust.dkim_canon import BodyHashes, SignedHeader, too_large
from mailgw.trust.dkim_key import LoadedKeys
from mailgw.trust.dmarc import Authors, Dmarc, DmarcResult, Identifier, Unclear, author_domains, heaviest
from mailgw.trust.spf import Spf, SpfQuestion, SpfResult, check_helo, check_mail_from
from mailgw.trust.together import Pause, Together


@attrs.frozen
class EvidenceRules:
    """``trusted_sealers``: domains (A-labels, lower case) whose word in an ARC chain counts, ``.example.org`` stands
    for all names below.  ``heeds_pct``: whether RFC 7489's ``pct`` spares a part of what fails."""

    authserv_id: str
    dkim: DkimRules
    trusted_sealers: frozenset[str]
    heeds_pct: bool

    def trusts(self, domain: str) -> bool:
        if domain in self.trusted_sealers:
            return True
        parts = domain.split(".")
        return any("." + ".".join(parts[at:]) in self.trusted_sealers for at in range(1, len(parts)))


@attrs.frozen
class Bringer:
    """Who brought a message.  ``address``: IPv4 or IPv6; ``reverse``: its name, None where nobody asked."""

    address: str
    helo: str
    reverse_path: Mailbox | None
    reverse: ReverseName | None


@attrs.frozen
class Means:
    """What finding out takes.  ``dns`` is asked for what senders and signers say, ``own`` for the client's own names,
    ``authors`` for what the authors want; each within bounds of its own.  ``chance``: a number of [0, 1)."""

    dns: Resolver
    own: Resolver
    authors: Resolver
    together: Together
    pause: Pause
    chance: Callable[[], float]


@attrs.frozen
class Evidence:
    """``spf`` is of MAIL FROM (of HELO in its place, where that is null), ``helo`` of HELO, None where that is the one.
    ``authentication`` is all of it, in the words of RFC 8601.  ``is_partial``: DMARC does not pass, and might have come
    to something else, had DNS said all that it was asked."""

    spf: Spf
    helo: Spf | None
    dkim: tuple[DkimResult, ...]
    arc: ArcResult
    dmarc: Dmarc
    authentication: Authentication
    is_partial: bool = False


class Gathering:
    """The evidence on one message, on its way: its header at once, then its body in chunks (``feed``), then ``end``,
    and ``evidence``.  ``header`` is as it came, with the empty line; ``now``: when, epoch seconds.  ``keys`` are shared
    by all messages."""

    def __init__(self, header: bytes, rules: EvidenceRules, keys: LoadedKeys, now: float) -> None:
        self._rules = rules
        self._now = now
        self._authors = author_domains(header)
        authors = self._authors.shown if isinstance(self._authors, Unclear) else self._authors
        self._body = BodyHashes()
        # Read once for both, where they read it at all.
        fields = header if too_large(header, rules.dkim.header_octets) else SignedHeader(header)
        self._dkim = Verification(fields, rules.dkim, keys, now, self._body, authors)
        self._arc = ArcVerification(fields, rules.dkim.header_octets, keys, now, self._body)

    def feed(self, octets: bytes) -> None:
        """The next octets of the body."""
        self._body.feed(octets)

    def end(self) -> None:
        """The body is over."""
        self._body.end()

    async def evidence(self, bringer: Bringer, means: Means) -> Evidence:
        """Never raises for what DNS says, or does not."""
        dns, own = means.dns, means.own
        authors = Authors(self._authors, means.authors)
        question = SpfQuestion(
            bringer.address, bringer.helo, bringer.reverse_path, self._rules.authserv_id, self._now
        )
        found = _Found()

        async def mail_from() -> None:
            found.spf = await check_mail_from(dns, question, own)

        async def helo() -> None:
            if bringer.reverse_path is not None:
                found.helo = await check_helo(dns, question, own)

        async def signatures() -> None:
            await self._dkim.ask(dns, means.together)
            found.dkim = await self._dkim.results(means.pause)

        async def chain() -> None:
            found.arc = await self._arc.result(dns, means.pause)

        async def wishes() -> None:
            sender = question.helo if question.reverse_path is None else question.reverse_path.domain
            await authors.learn([sender, *self._dkim.domains], means.together)

        await means.together([wishes(), mail_from(), signatures(), helo(), chain()])
        spf, arc = found.spf, found.arc
        assert spf is not None
        assert arc is not None
        by_author = await authors.evaluations(
            Identifier(spf.domain, spf.result.value),
            [Identifier(one.domain, one.word.value) for one in found.dkim if one.domain],
            means.chance if self._rules.heeds_pct else None,
        )
        dmarc = heaviest(by_author)
        vouched_by = _vouched_by(by_author, arc, self._rules)
        results = [
            *_of_name(bringer), _of_spf(spf, bringer), *([_of_helo(found.helo)] if found.helo is not None else []),
            *map(dkim_signatures.told, found.dkim), of_chain(arc), of_dmarc(dmarc, vouched_by),
        ]
        authentication = Authentication(tuple(results), self._rules.authserv_id, vouched_by)
        is_partial = dmarc.result is DmarcResult.TEMPERROR or (
            dmarc.result is not DmarcResult.PASS and authors.is_in_trouble)
        return Evidence(spf, found.helo, found.dkim, arc, dmarc, authentication, is_partial)


@attrs.define
class _Found:
    spf: Spf | None = None
    helo: Spf | None = None
    dkim: tuple[DkimResult, ...] = ()
    arc: ArcResult | None = None


def _vouched_by(by_author: Sequence[Dmarc], arc: ArcResult, rules: EvidenceRules) -> str:
    """The domain of the sealer that is to be believed when it says that DMARC passed with it (RFC 8617 s7.2.1), for all
    authors that DMARC fails of: whoever may speak for one says nothing of the others."""
    failing = [one.author_domain for one in by_author if one.result is DmarcResult.FAIL]
    if not failing:
        return ""
    vouched = vouching(arc, rules.trusts)
    said = vouched.said() if vouched is not None else None
    if vouched is None or not isinstance(said, AuthResults):
        return ""
    results = [one for one in said.results if one.method == "dmarc"]
    alone = len(by_author) == 1
    return vouched.domain if all(_said_pass(results, author, alone) for author in failing) else ""


def _said_pass(results: Sequence[MethodResult], author: str, alone: bool) -> bool:
    """Whether results of DMARC have it that this author's passed, and nothing else.  One that names nobody is of
    whoever is ``alone`` the author; where there are several nobody knows whose pass it was, but a fail may be each
    one's."""
    words = set()
    for one in results:
        named = one.value("header", "from").lower().removesuffix(".")
        if named == author or (not named and (alone or one.result != "pass")):
            words.add(one.result)
    return words == {"pass"}


# --- in the words of RFC 8601 -------------------------------------------------------------------------

# What strangers say may be made to look like a result of ours, to readers who know no quotes.  So their words have
# neither ";" nor "=", and of an address whose local part needs quotes the domain is told (s2.2: pvalue).
_PLAIN = str.maketrans(";=", ",:")


def _of_name(bringer: Bringer) -> list[MethodResult]:
    """s3: iprev, whose words are those of s2.7.3."""
    if bringer.reverse is None:
        return []
    name = bringer.reverse
    if name.is_confirmed:
        word, why = "pass", ""
    elif not name.is_known:
        word, why = "temperror", "no answer in time"
    elif name.name is None:
        word, why = "permerror", "the address has no name"
    else:
        word, why = "fail", f"{name.name} is not at this address".translate(_PLAIN)
    return [MethodResult("iprev", word, why, (Property("policy", "iprev", bringer.address),))]


def _of_spf(spf: Spf, bringer: Bringer) -> MethodResult:
    """s2.7.2."""
    if bringer.reverse_path is None:
        return _of_helo(spf)
    path = path_text(bringer.reverse_path)
    shown = bringer.reverse_path.domain if path.startswith('"') else path
    return MethodResult("spf", spf.result.value, _reason(spf), (Property("smtp", "mailfrom", shown),))


def _of_helo(spf: Spf) -> MethodResult:
    known = (Property("smtp", "helo", spf.domain),) if spf.domain else ()
    return MethodResult("spf", spf.result.value, _reason(spf), known)


def _reason(spf: Spf) -> str:
    return "" if spf.result is SpfResult.PASS else spf.reason.translate(_PLAIN)


def of_chain(arc: ArcResult) -> MethodResult:
    """RFC 8617 s10.2.  ``temperror`` is no word of its; whoever reads the field takes it for no pass."""
    if arc.word is ArcWord.PASS:
        oldest = () if arc.oldest_pass is None else (Property("header", "oldest-pass", str(arc.oldest_pass)),)
        return MethodResult("arc", "pass", arc.why, oldest)
    return MethodResult("arc", arc.word.value, "" if arc.word is ArcWord.NONE else arc.why)


def of_dmarc(dmarc: Dmarc, vouched_by: str) -> MethodResult:
    """RFC 9989 s9.2: ``policy.dmarc`` is what the domain asks for; ``policy.vouched-by`` is read by ``read_back``."""
    known = [Property("header", "from", dmarc.author_domain)] if dmarc.author_domain else []
    if dmarc.policy is not None:
        known.append(Property("policy", "dmarc", dmarc.policy.value))
    why = "" if dmarc.result is DmarcResult.PASS else dmarc.why
    if vouched_by:
        known.append(Property("policy", "vouched-by", vouched_by))  # of our own; readers pass over what they don't know
        why = f"{why}; {vouched_by} vouches for it (ARC)"
    return MethodResult("dmarc", dmarc.result.value, why, tuple(known))
