"""A plug-in's rule among our own: supervised, its verdict checked before anybody believes it."""

from collections.abc import Callable, Collection

import attrs

from mailgw.interfaces import IPolicyRule
from mailgw.mail.address import Mailbox
from mailgw.mail.effect import (
    MAX_EFFECTS,
    MAX_TAGS,
    AddRecipient,
    ChangeRecipient,
    DropRecipient,
    ReplaceContent,
    Reroute,
    Tag,
    effect_fault,
)
from mailgw.mail.envelope import Role
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.reply import in_one_class, refusal_fault
from mailgw.mail.verdict import Facts, Stage, Verdict
from mailgw.net.supervised import CalledFor, PluginFault, Supervisor
from mailgw.policy.failing import OnFailure, verdict_of_failure
from mailgw.policy.limits import places
from mailgw.wire.content import is_lines


@attrs.frozen
class Surroundings:
    """What a rule may name: the ``backends`` there are, and addresses that are ``routed`` for mail of our own;
    ``content_octets`` is as much as a message may have."""

    backends: Collection[str]
    routed: Callable[[Mailbox], bool]
    content_octets: int


class PluginRule:
    """A ``policy.chain.Rule``, for listeners of its ``roles``."""

    def __init__(
        self,
        name: str,
        rule: IPolicyRule,
        roles: Collection[Role],
        on_failure: OnFailure,
        supervisor: Supervisor,
        around: Surroundings,
    ) -> None:
        self.name = name
        self.stages = frozenset(rule.stages)
        self._rule = rule
        self.roles = frozenset(roles)
        self._on_failure = on_failure
        self._supervisor = supervisor
        self._around = around

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        client = facts.client
        about = CalledFor(stage.value, client.session_id, facts.queue_id, places(client.address)[1])
        try:
            said = await self._supervisor.call(about, lambda: self._rule.judge(stage, facts))
            if (why := verdict_fault(said, facts, self._around)) is not None:
                raise self._supervisor.lied(about, why)
        except TemporaryFault as fault:  # it says so itself, and how
            return Verdict(self.name, fault.why, fault.reply)
        except PluginFault as fault:
            return verdict_of_failure(self._on_failure, self.name, fault.why)
        self._supervisor.good(about)
        if said is None:
            return None
        assert isinstance(said, Verdict)
        return attrs.evolve(said, rule=self.name, reply=said.reply and in_one_class(said.reply))


def verdict_fault(said: object, facts: Facts, around: Surroundings) -> str | None:
    """What is wrong with a rule's answer; None where it can be carried out."""
    if said is None:
        return None
    if not isinstance(said, Verdict):
        return f"a {type(said).__name__} is no Verdict"
    if not isinstance(said.why, str):
        return "why is no text"
    if said.reply is not None and (why := refusal_fault(said.reply)) is not None:
        return why
    if not isinstance(said.effects, tuple):
        return "effects are no tuple"
    if len(said.effects) > MAX_EFFECTS:
        return f"more than {MAX_EFFECTS} effects"
    faults = (_effect_fault(one, facts, around) for one in said.effects)
    return next(filter(None, faults), None) or _tags_fault(said, facts)


def _tags_fault(said: Verdict, facts: Facts) -> str | None:
    count = sum(isinstance(effect, Tag) for effect in (*facts.effects, *said.effects))
    return f"more than {MAX_TAGS} tags" if count > MAX_TAGS else None


def _effect_fault(effect: object, facts: Facts, around: Surroundings) -> str | None:
    if (why := effect_fault(effect)) is not None:
        return why
    match effect:
        case ReplaceContent(octets):
            if len(octets) > around.content_octets:
                return f"the new content has more than {around.content_octets} octets"
            return None if is_lines(octets) else "the new content has bare CR, LF or NUL in it"
        case AddRecipient(recipient):
            return _route_fault(recipient, around)
        case ChangeRecipient(recipient, to):
            return _named_fault(recipient, facts) or _route_fault(to, around)
        case DropRecipient(recipient):
            return _named_fault(recipient, facts)
        case Reroute(backend, recipient):
            if backend not in around.backends:
                return f"there is no backend {backend!r:.80}"
            return None if recipient is None else _named_fault(recipient, facts)
        case _:
            return None


def _route_fault(recipient: Mailbox, around: Surroundings) -> str | None:
    return None if around.routed(recipient) else f"no route serves {recipient}"


def _named_fault(recipient: Mailbox, facts: Facts) -> str | None:
    is_known = recipient == facts.recipient or recipient in facts.recipients
    return None if is_known else f"{recipient} is no recipient of this message"
