"""What is no fault of ``[trust]``, and will be regretted."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

from mailgw.config.lines import Path
from mailgw.config.public_suffixes import public_suffixes
from mailgw.config.settings import Config, Network
from mailgw.mail.envelope import Role
from mailgw.policy.rules.authentic import Action

ANSWER_SECONDS = 240.0  # as receive.protocol has it

_AS_NONE = "a signature that fails is worth as much as none (RFC 6376 s6.1)"

# What is wrong with a refusal, by method and result.
_REFUSED = {
    ("spf", "fail"): "mail that is forwarded fails SPF, and is refused with it; DMARC refuses what nobody stands"
                     ' behind: expected "tag" or "quarantine"',
    ("spf", "softfail"): "the domain itself is not sure, and mail that is forwarded softfails",
    ("spf", "neutral"): "the domain says nothing, on purpose",
    ("spf", "permerror"): "one typing error in a domain's record, or one include too many, and all its mail is refused",
    ("spf", "none"): "many domains, and all reports of hosts without SPF, have no record",
    ("dkim", "fail"): f"{_AS_NONE}, and lists break them",
    ("dkim", "policy"): _AS_NONE,
    ("dkim", "neutral"): _AS_NONE,
    ("dkim", "permerror"): f"{_AS_NONE}; a key that is gone is enough",
    ("dkim", "none"): "much of all good mail is not signed",
    ("dmarc", "permerror"): "one typing error in a domain's record, and all its mail is refused",
    ("dmarc", "none"): "many domains have no record, and ask for nothing",
    ("dmarc", "fail_none"): "the domain asks that nothing is done: it may not know yet who sends for it",
    ("dmarc", "vouched"): "it refuses what trusted_sealers let pass",
    ("arc", "fail"): "a chain that is broken is worth as much as none (RFC 8617 s5.2), and hosts break them",
    ("iprev", "fail"): "good hosts have names that do not lead back to them",
    ("iprev", "permerror"): "good hosts have no name, and whoever asks their network for one waits for weeks",
    ("arc", "none"): "most good mail was never passed on by who seals",
}


# Bits of the prefix, by version of IP: the largest networks that anybody was given are 8 of IPv4, some 19 of IPv6.
_WIDE = {4: 8, 6: 16}


def trust_doubts(config: Config) -> Iterator[tuple[Path, str]]:
    """Those that hold at each start."""
    upstreams = config.trust.judging.upstreams
    for at, one in enumerate(upstreams):
        for place, network in enumerate(one.networks):
            if network.prefixlen < _WIDE[network.version]:
                who = f"a large part of all addresses (less than /{_WIDE[network.version]})"
                why = f"is {who if network.prefixlen else 'everybody'}, whose own word of who he is is then believed"
                yield ("trust", "upstream", at, "address", place), why
                continue
            for number, earlier in enumerate(upstreams[:at]):
                if any(_is_within(network, other) for other in earlier.networks):
                    why = f"is in that of upstream {number + 1}, whose authserv_id alone counts: put this one first"
                    yield ("trust", "upstream", at, "address", place), why
                    break
            for number, listener in enumerate(config.listeners):
                own = [one for one in listener.relay_from if one.version == network.version]
                if listener.role is Role.MX and any(map(network.overlaps, own)):
                    why = f"is in relay_from of listener {number + 1}, too: who may relay is not judged at all"
                    yield ("trust", "upstream", at, "address", place), why


def careful_trust_doubts(config: Config) -> Iterator[tuple[Path, str]]:
    """Those that may well be meant."""
    judging = config.trust.judging
    if not judging.judges:
        if any(listener.role is Role.MX for listener in config.listeners):
            yield ("trust", "verify"), "nobody looks at who sent what strangers bring: mail in the name of your own" \
                " domains comes in like any other, and the rest of [trust] says nothing"
        return
    yield from _actions(config)
    for sealer in sorted(judging.trusted_sealers):
        what = _below_which_anybody_is(sealer.removeprefix("."))
        if what:
            why = f"{sealer!r} is {what}: whoever has a name there vouches for what he likes"
            yield ("trust", "trusted_sealers"), why
    for at, one in enumerate(judging.upstreams):
        for place, name in enumerate(one.authserv_ids):
            if name.startswith("."):
                why = "takes the word of all these names: the host in front has to take away forged fields of each"
                yield ("trust", "upstream", at, "authserv_id", place), why
    rules = sum(rule.deadline_seconds for rule in config.rules)
    if rules <= ANSWER_SECONDS < rules + judging.seconds:
        why = f"with the deadlines of all rules these are {rules + judging.seconds:.0f} s, and a client is kept waiting"
        yield ("trust", "dns_timeout"), f"{why} {ANSWER_SECONDS:.0f} s; then it is told 451"


def _is_within(network: Network, other: Network) -> bool:
    match network, other:
        case (IPv4Network(), IPv4Network()) | (IPv6Network(), IPv6Network()):
            return network.subnet_of(other)  # type: ignore[arg-type]  # both are of one version
        case _:
            return False


def _below_which_anybody_is(domain: str) -> str:
    """What a domain is that gives names to anybody; ``""`` where it is none, as far as that is known."""
    if "." not in domain:
        return "a top-level domain"
    suffixes = public_suffixes()
    return "a public suffix" if suffixes is not None and suffixes.is_public(domain) else ""


def _actions(config: Config) -> Iterator[tuple[Path, str]]:
    for method, actions in config.trust.actions.items():
        for word, action in actions.items():
            path = ("trust", method, word)
            if word == "pass" and action > Action.TAG:
                yield path, f"is what good mail comes to: {action.name.lower()} is for other results"
            elif action is Action.DEFER and word != "temperror":
                why = "is the same at the next try: the client comes again for days, and his sender waits so long"
                yield path, f'{why}: expected "reject" or "quarantine"'
            elif action is Action.REJECT and (method, word) in _REFUSED:
                yield path, _REFUSED[method, word]
