"""SPF: whether a domain lets a client send mail in its name (RFC 7208; RFC 8616 s4 for what is not ASCII).

Not done: a limit of time for a whole check (s4.6.4 wants at least 20 seconds), which whoever awaits it sets; the field
Received-SPF (s9.1), since Authentication-Results says it; the local policies of s8.

Rules:
    Trouble with DNS is a temperror, and never a fail.  But for one place: a client's own names (``ptr``, ``%{p}``) are
    not there when DNS does not tell them (s5.5), else every client could have a temperror for a fail.  They are asked
    for at a resolver of their own (``own``), which gives up in time for what the domain says to be heard out.
    A record with a fault in it is a permerror before any of its terms is looked at (s4.6).
    Addresses are asked for by the client's own kind, so that trouble with the other one changes nothing, and none of
    this one stays unseen.  Terms are gone through in their order, one question at a time.
"""

import enum
import functools
import ipaddress
from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeVar

import attrs

from mailgw.mail.address import Mailbox, parse_domain
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Resolver
from mailgw.trust.spf_macros import MacroText, expanded, is_name, macro_text, name_of
from mailgw.trust.spf_record import Directive, Faulty, Kind, record_among, shown

# s4.6.4, of one check with all that it includes.  A check is at most 11 TXT questions, 10 for MX or names, and 100 for
# the addresses of these; one for an explanation; and where "%{p}" stands in a term or in the explanation, one for the
# client's names and 10 for their addresses.
TERMS = 10  # include, a, mx, ptr, exists and redirect; one more is a permerror
VOID_TERMS = 2  # those of them that find nothing at all to compare with; one more is a permerror
MX_HOSTS = 10  # of one mx; more are a permerror
PTR_NAMES = 10  # more are not looked at
# Of one name, of which the RFC says nothing: who publishes thousands only wants to see what that costs.
ADDRESSES = 500  # more are not looked at
# s6.2 has no limit.  A refusal takes some lines of 512 octets; a longer explanation is none.
EXPLANATION_OCTETS = 1024
REASON_CHARACTERS = 400

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
T = TypeVar("T")


class SpfResult(enum.Enum):
    """s2.6."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class Identity(enum.Enum):
    """Whose word it was; as RFC 8601 s2.7.2 names the property of ``smtp``."""

    HELO = "helo"
    MAIL_FROM = "mailfrom"


_RESULTS = {
    "+": SpfResult.PASS, "-": SpfResult.FAIL, "~": SpfResult.SOFTFAIL, "?": SpfResult.NEUTRAL,
}


@attrs.frozen
class SpfQuestion:
    """``client``: its IPv4 or IPv6 address; ``helo`` as it said it; ``reverse_path`` None for ``<>``; ``receiver``:
    this host's name, which explanations may have; ``now``: seconds since the epoch."""

    client: str
    helo: str
    reverse_path: Mailbox | None
    receiver: str
    now: float


@attrs.frozen
class Spf:
    """What a check came to.

    ``domain`` is the one that was asked, ``""`` where the identity has none.  ``mechanism``: the term of its record (or
    of the one that it redirects to) that decided, the first 80 characters of it; ``"default"`` where none did, ``""``
    where it did not come to that.  ``reason`` in a few words.  ``explanation``: what a domain wants said of its fail,
    ``""`` for nothing.  All of these are visible ASCII and spaces; the words are others', so who shows an explanation
    says whose it is (s6.2).
    """

    result: SpfResult
    identity: Identity
    domain: str
    mechanism: str
    reason: str
    explanation: str = ""


async def check_helo(dns: Resolver, question: SpfQuestion, own: Resolver | None = None) -> Spf:
    """What the domain that the client calls itself says of it (s2.3).  Never raises for what DNS says, or does not.

    None where it has called itself by no domain: an address, or one word.
    """
    domain = _domain_of(question.helo)
    return await check_host(dns, question, Identity.HELO, Mailbox("postmaster", domain), own)


async def check_mail_from(dns: Resolver, question: SpfQuestion, own: Resolver | None = None) -> Spf:
    """What the reverse-path's domain says of the client (s2.4); for ``<>`` that is ``postmaster`` at the HELO name."""
    sender = question.reverse_path or Mailbox("postmaster", _domain_of(question.helo))
    return await check_host(dns, question, Identity.MAIL_FROM, sender, own)


async def check_host(
    dns: Resolver, question: SpfQuestion, identity: Identity, sender: Mailbox, own: Resolver | None = None
) -> Spf:
    """``check_host()`` of s4, with the domain of ``sender``.  ``own``: asked for the client's own names and their
    addresses, None for ``dns``.  ValueError where the client has no address: our bug."""
    check = _Check(dns, question, sender, own or dns)
    try:
        verdict = await check.host(sender.domain)
        explanation = ""
        if verdict.result is SpfResult.FAIL and verdict.explanation is not None:
            explanation = await check.explained(verdict.explanation, verdict.domain)
    except _Trouble as trouble:
        return Spf(trouble.result, identity, sender.domain, "", shown(trouble.why, REASON_CHARACTERS))
    mechanism = next((term for term in verdict.path if not term.lower().startswith("redirect=")), "")
    reason = shown(verdict.reason or f"{check.client} matches {', '.join(verdict.path)}", REASON_CHARACTERS)
    return Spf(verdict.result, identity, sender.domain, mechanism, reason, explanation)


def _domain_of(helo: str) -> str:
    """In A-labels (s4.3); "" where it is none, or an address literal, of which nobody is asked (s2.3)."""
    domain = parse_domain(helo.removesuffix("."))
    return "" if domain is None or domain.startswith("[") else domain


@attrs.frozen
class _Verdict:
    """``path``: the terms that led there, the outermost first; ``domain``: in whose record the last one stands;
    ``reason`` where it is no term."""

    result: SpfResult
    path: tuple[str, ...]
    domain: str
    reason: str = ""
    explanation: MacroText | None = None


class _Trouble(Exception):
    """It ends here, with all that it is included in (s5.2): a temperror or a permerror."""

    def __init__(self, result: SpfResult, why: str) -> None:
        super().__init__(why)
        self.result = result
        self.why = why


@functools.lru_cache(100)
def _client(text: str) -> Address:
    """Of MAIL FROM and HELO it is the same."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address  # s5: a mapped address is the IPv4 one


class _Check:
    """One check, with what it has counted so far."""

    def __init__(self, dns: Resolver, question: SpfQuestion, sender: Mailbox, own: Resolver) -> None:
        self.client = _client(question.client)
        self._dns = dns
        self._own = own
        self._question = question
        self._local_part = sender.local_part or "postmaster"  # s4.3
        self._domain = sender.domain
        self._terms = 0
        self._void_terms = 0
        self._validated: tuple[str, ...] | None = None

    async def host(self, domain: str) -> _Verdict:
        """What one domain's record says, with all that it includes.  _Trouble where that is not known."""
        if "." not in domain or domain.startswith("[") or not is_name(domain):
            why = f"{domain} is no domain that can have a record" if domain else "no domain"
            return _Verdict(SpfResult.NONE, (), domain, why)
        record = record_among((await _asked(self._dns.text(domain))).items)
        if record is None:
            return _Verdict(SpfResult.NONE, (), domain, f"{domain} has no SPF record")
        if isinstance(record, Faulty):
            raise _permanent(f"{domain} has {record.why}")
        for directive in record.directives:
            inner = await self._match(directive, domain)
            if inner is not None:
                path = (shown(directive.written), *inner)
                return _Verdict(_RESULTS[directive.qualifier], path, domain, "", record.explanation)
        if record.redirect is None:
            return _Verdict(SpfResult.NEUTRAL, ("default",), domain, f"{self.client} matches no term of {domain}")
        # s6.1: not where there is an "all", which has matched by now.
        term = shown(f"redirect={record.redirect.written}")
        self._count(term, domain)
        verdict = await self.host(await self._name(record.redirect, domain) or "")
        if verdict.result is SpfResult.NONE:
            raise _permanent(f"{term} of {domain}: {verdict.reason}")
        return attrs.evolve(verdict, path=(term, *verdict.path))

    async def explained(self, text: MacroText, domain: str) -> str:
        """s6.2: whatever is wrong with an explanation, it is as if there was none."""
        try:
            name = await self._name(text, domain)
            found = (await self._dns.text(name)).items if name else ()
        except TemporaryFault:
            return ""
        if len(found) != 1 or len(found[0]) > EXPLANATION_OCTETS or not found[0].isascii():
            return ""
        words = macro_text(found[0].decode("ascii"))
        if words is None:
            return ""
        said = expanded(words, await self._values(words, domain))
        # What a client called itself may be in it, too.
        return said if len(said) <= EXPLANATION_OCTETS and said == shown(said, len(said)) else ""

    # --- mechanisms (s5) ------------------------------------------------------------------------------

    async def _match(self, directive: Directive, domain: str) -> tuple[str, ...] | None:
        """None where it does not match, else the terms below it that led there."""
        if directive.kind is Kind.ALL:
            return ()
        if directive.network is not None:
            return () if self.client in directive.network else None
        self._count(directive.written, domain)
        name = domain if directive.target is None else await self._name(directive.target, domain)
        if directive.kind is Kind.INCLUDE:
            return await self._included(directive, domain, name or "")
        # s4.8: what makes no name matches nothing.
        if name is not None and await self._matches(directive, domain, name):
            return ()
        return None

    async def _matches(self, directive: Directive, domain: str, name: str) -> bool:
        match directive.kind:
            case Kind.A:
                addresses = await _asked(self._addresses(name, self._dns))
                self._note(addresses, directive, domain)
                return self._is_near(addresses, directive)
            case Kind.MX:
                return await self._is_mx(directive, domain, name)
            case Kind.EXISTS:
                # s5.7: the A record, for IPv6 clients, too.
                found = (await _asked(self._dns.a(name))).items
                self._note(found, directive, domain)
                return bool(found)
            case Kind.PTR:
                names = await self._validated_names(directive, domain)
                return any(_is_within(found, name) for found in names)
            case Kind.ALL | Kind.INCLUDE | Kind.IP4 | Kind.IP6:
                raise AssertionError(f"{directive.kind} asks for nothing here")

    async def _included(self, directive: Directive, domain: str, name: str) -> tuple[str, ...] | None:
        # s5.2, the table
        verdict = await self.host(name)
        if verdict.result is SpfResult.NONE:
            raise _permanent(f"{shown(directive.written)} of {domain}: {verdict.reason}")
        return verdict.path if verdict.result is SpfResult.PASS else None

    async def _is_mx(self, directive: Directive, domain: str, name: str) -> bool:
        hosts = [record.host for record in (await _asked(self._dns.mx(name))).items]
        if len(hosts) > MX_HOSTS:
            raise _permanent(f"{name} has more than {MX_HOSTS} MX hosts, for {shown(directive.written)} of {domain}")
        some: tuple[str, ...] = ()
        for host in filter(is_name, hosts):  # a null MX (RFC 7505) names none
            addresses = await _asked(self._addresses(host, self._dns))
            if self._is_near(addresses, directive):
                return True
            some += addresses
        self._note(some, directive, domain)
        return False

    def _is_near(self, addresses: Iterable[str], directive: Directive) -> bool:
        length = directive.length_of_four if self.client.version == 4 else directive.length_of_six
        near = ipaddress.ip_network((self.client, length), strict=False)
        return any(ipaddress.ip_address(address) in near for address in addresses)

    async def _addresses(self, host: str, dns: Resolver) -> tuple[str, ...]:
        records = await (dns.a(host) if self.client.version == 4 else dns.aaaa(host))
        return records.items[:ADDRESSES]

    async def _validated_names(self, directive: Directive | None, domain: str) -> tuple[str, ...]:
        """The client's names whose addresses the client is among (s5.5).  ``directive``: for which a client without any
        name counts as void."""
        if self._validated is None:
            try:
                names = await self._own.names(str(self.client))
            except TemporaryFault:
                names = ()
            else:
                if directive is not None:
                    self._note(names, directive, domain)
            found = []
            for name in names[:PTR_NAMES]:
                try:
                    addresses = await self._addresses(name, self._own)
                except TemporaryFault:
                    continue
                if any(ipaddress.ip_address(address) == self.client for address in addresses):
                    found.append(name)
            self._validated = tuple(found)
        return self._validated

    # --- limits ---------------------------------------------------------------------------------------

    def _count(self, term: str, domain: str) -> None:
        self._terms += 1
        if self._terms > TERMS:
            raise _permanent(f"more than {TERMS} terms that ask DNS, with {shown(term)} of {domain}")

    def _note(self, found: Sequence[object], directive: Directive, domain: str) -> None:
        """A term has found this to compare with.

        s4.6.4 limits "the number of "terms" for which DNS queries return" nothing, so that a term counts once, however
        many MX hosts have no address: a client with IPv6 meets many that have none of its kind.
        """
        if found:
            return
        self._void_terms += 1
        if self._void_terms > VOID_TERMS:
            raise _permanent(
                f"more than {VOID_TERMS} terms of which there is nothing in DNS, with {shown(directive.written)}"
                f" of {domain}"
            )

    # --- macros (s7) ----------------------------------------------------------------------------------

    async def _name(self, text: MacroText, domain: str) -> str | None:
        return name_of(text, await self._values(text, domain))

    async def _values(self, text: MacroText, domain: str) -> dict[str, str]:
        """s7.2."""
        four = self.client.version == 4
        values = {
            "s": f"{self._local_part}@{self._domain}",
            "l": self._local_part,
            "o": self._domain,
            "d": domain,
            "i": str(self.client) if four else ".".join(self.client.exploded.replace(":", "")),
            "v": "in-addr" if four else "ip6",
            "h": self._question.helo,
            "c": str(self.client),
            "r": self._question.receiver or "unknown",
            "t": str(int(self._question.now)),
        }
        if "p" in text.letters:
            names = await self._validated_names(None, domain)
            # The domain itself, else a name below it, else any.
            ranked = sorted(names, key=lambda name: (name != domain.lower(), not _is_within(name, domain)))
            values["p"] = ranked[0] if ranked else "unknown"
        return values


async def _asked(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except TemporaryFault as fault:
        raise _Trouble(SpfResult.TEMPERROR, fault.why) from fault


def _permanent(why: str) -> _Trouble:
    return _Trouble(SpfResult.PERMERROR, why)


def _is_within(name: str, domain: str) -> bool:
    return f".{name}".lower().endswith(f".{domain}".lower())
