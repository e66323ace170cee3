"""What is no fault of ``[trust]``, and will be regretted."""

from collections.abc import Iterator

from mailgw.config.lines import Path
from mailgw.config.settings import Config
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
    ("spf", "none"): "many domains, and all reports of hosts without SPF, have no record",
    ("dkim", "fail"): f"{_AS_NONE}, and lists break them",
    ("dkim", "policy"): _AS_NONE,
    ("dkim", "neutral"): _AS_NONE,
    ("dkim", "permerror"): f"{_AS_NONE}; a key that is gone is enough",
    ("dkim", "none"): "much of all good mail is not signed",
    ("dmarc", "none"): "many domains have no record, and ask for nothing",
    ("dmarc", "fail_none"): "the domain asks that nothing is done: it may not know yet who sends for it",
    ("dmarc", "vouched"): "it refuses what trusted_sealers let pass",
    ("arc", "fail"): "a chain that is broken is worth as much as none (RFC 8617 s5.2), and hosts break them",
    ("arc", "none"): "most good mail was never passed on by who seals",
}


def trust_doubts(config: Config) -> Iterator[tuple[Path, str]]:
    """Those that hold at each start."""
    for at, one in enumerate(config.trust.judging.upstreams):
        for place, network in enumerate(one.networks):
            if network.prefixlen == 0:
                why = "is everybody, whose own word of who he is is then believed"
                yield ("trust", "upstream", at, "address", place), why
                continue
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
        if "." not in sealer.removeprefix("."):
            why = f"{sealer!r} is a top-level domain: whoever has a name there vouches for what he likes"
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
