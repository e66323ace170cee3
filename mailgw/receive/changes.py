"""What rules asked for, carried out on a message that is complete and not yet committed.

Rules:
    What they asked for has been checked by then; what cannot be done now all the same is a TemporaryFault, and the
    client keeps the message: nothing is half done.
    Our trace stays on top, and the queue id what the trace says.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.effect import (
    AddHeader,
    AddRecipient,
    ChangeRecipient,
    Discard,
    DropRecipient,
    Effect,
    Hold,
    Junk,
    Quarantine,
    RemoveHeader,
    ReplaceContent,
    Reroute,
    SetHeader,
    Tag,
)
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import JUNK_TAG, Destination
from mailgw.mail.parameters import NO_RCPT_PARAMETERS, RcptParameters
from mailgw.mail.ports import Draft
from mailgw.policy.rewriting import rewritten
from mailgw.receive.recipients import Named, Recipients
from mailgw.wire import smtp_replies

READ_AHEAD_OCTETS = 1 << 20
"""Of a large message that is copied, what the disk may lag behind."""


class Ways(Protocol):
    """``intake.Intake``."""

    async def spread(self, recipient: Mailbox) -> Sequence[Mailbox]: ...

    def is_forwarded(self, recipient: Mailbox) -> bool: ...

    def lane_in(self, backend: str, recipient: Mailbox) -> str: ...


@attrs.frozen
class Keeping:
    """How the message is queued: ``held`` says why nobody is to try it, ``""`` where it is tried."""

    held: str
    tags: tuple[str, ...]


AS_IT_CAME = Keeping("", ())


def keeping(effects: Sequence[Effect], is_filed: Callable[[], bool]) -> Keeping:
    """``is_filed`` says whether junk is filed apart wherever the message goes; it is asked of junk alone.

    What is held gets no tag for junk: who releases it has looked at it, and lets it go to where it was going.
    """
    if not effects:
        return AS_IT_CAME
    tags = dict.fromkeys(effect.word for effect in effects if isinstance(effect, Tag))
    is_junk = any(isinstance(effect, Junk) for effect in effects)
    if is_junk and not is_held(effects) and is_filed():
        return Keeping("", tuple(tags | {JUNK_TAG: None}))
    return Keeping(_held_by(effects), tuple(tags))


def is_held(effects: Sequence[Effect]) -> bool:
    """Whether that is so wherever it goes."""
    return any(isinstance(effect, (Hold, Quarantine)) for effect in effects)


def _held_by(effects: Sequence[Effect]) -> str:
    """Who fears harm is told before who just holds."""
    for kind, words in ((Quarantine, "quarantined by rule"), (Junk, "quarantined by rule"), (Hold, "held by rule")):
        for effect in effects:
            if isinstance(effect, kind):
                return f"{words} {effect.why}"
    return ""


def is_discarded(effects: Sequence[Effect]) -> bool:
    return any(isinstance(effect, Discard) for effect in effects)


def changed_to(recipient: Mailbox, effects: Sequence[Effect]) -> Mailbox | None:
    """To whom mail for the recipient of a RCPT goes by its own effects: the last word; None where it is dropped."""
    target: Mailbox | None = recipient
    for effect in effects:
        match effect:
            case ChangeRecipient(whom, to) if whom == recipient:
                target = to
            case DropRecipient(whom) if whom == recipient:
                target = None
            case _:
                pass
    return target


def effect_words(effect: Effect) -> str:
    """For the journal; never a value or a body."""
    match effect:
        case AddHeader(name) | SetHeader(name) | RemoveHeader(name):
            return f"{_WORDS[type(effect)]} {name}"
        case AddRecipient(recipient) | DropRecipient(recipient):
            return f"{_WORDS[type(effect)]} {recipient}"
        case ChangeRecipient(recipient, to):
            return f"change_recipient {recipient} {to}"
        case Reroute(backend, recipient):
            return f"reroute {backend}" if recipient is None else f"reroute {backend} {recipient}"
        case Tag(word):
            return f"tag {word}"
        case ReplaceContent() | Hold() | Quarantine() | Junk() | Discard():
            return _WORDS[type(effect)]


_WORDS: dict[type[Effect], str] = {
    AddHeader: "add_header",
    SetHeader: "set_header",
    RemoveHeader: "remove_header",
    ReplaceContent: "replace_content",
    AddRecipient: "add_recipient",
    DropRecipient: "drop_recipient",
    Hold: "hold",
    Quarantine: "quarantine",
    Junk: "junk",
    Discard: "discard",
}


async def changed_recipients(recipients: Recipients, effects: Sequence[Effect], ways: Ways) -> Recipients:
    """Others in place of ``recipients``, which stay as they are; those themselves where nothing is asked of them.

    TemporaryFault where aliases cannot be told now, or come to too many.
    """
    if not any(isinstance(effect, (AddRecipient, ChangeRecipient, DropRecipient)) for effect in effects):
        return recipients
    named = {one.recipient: one for one in recipients.taken}
    for effect in effects:
        match effect:
            case AddRecipient(recipient):
                if recipient not in named:
                    to = tuple(await ways.spread(recipient))
                    # Nobody but the rule sends it there: elsewhere it needs another sender, as behind an alias.
                    asked = RcptParameters(is_forwarded=True) if ways.is_forwarded(recipient) else NO_RCPT_PARAMETERS
                    named[recipient] = Named(recipient, to, asked, True, recipient)
            case DropRecipient(recipient):
                named.pop(recipient, None)
            case ChangeRecipient(recipient, to_whom):
                if (known := named.get(recipient)) is not None:
                    to = tuple(await ways.spread(to_whom))
                    named[recipient] = attrs.evolve(known, addressees=to, for_client=True)
            case _:
                pass
    changed = recipients.like()
    for one in named.values():
        if not changed.take(one):
            raise TemporaryFault("the rules' recipients are too many", smtp_replies.TOO_MANY_RECIPIENTS)
    return changed


def rerouted(
    destinations: Sequence[Destination], recipients: Recipients, effects: Sequence[Effect], ways: Ways
) -> Sequence[Destination]:
    """``destinations`` in the lanes of the backends that were asked for; the last word counts.  Reports that a sender
    asked for wait where they did."""
    backend_of: dict[Mailbox, str] = {}
    for effect in effects:
        if not isinstance(effect, Reroute):
            continue
        for one in recipients.taken:
            if effect.recipient is None or effect.recipient == one.recipient:
                backend_of |= dict.fromkeys(one.addressees, effect.backend)
    if not backend_of:
        return destinations
    return [
        one if recipients.is_report(one) or one.recipient not in backend_of
        else attrs.evolve(one, lane=ways.lane_in(backend_of[one.recipient], one.recipient))
        for one in destinations
    ]


async def rewrite(draft: Draft, trace_octets: int, head: bytes, effects: Sequence[Effect]) -> Draft:
    """The message as ``effects`` want it, in a draft that takes the place of ``draft``, which is discarded then.

    ``draft`` holds so many octets of our trace, ``head``, and the body.  TemporaryFault where the disk refuses; then
    ``draft`` is as it was.
    """
    new_head, body = rewritten(head, effects)
    content = await draft.content()
    new = draft.anew()
    try:
        at, body_at = 0, trace_octets + len(head)
        async for chunk in content.chunks():
            end = at + len(chunk)
            if at < trace_octets:
                new.write(chunk[: trace_octets - at])
                if end >= trace_octets:
                    new.write(new_head)
            if body is None and end > body_at:
                new.write(chunk[max(0, body_at - at):])
            at = end
            if new.backlog_octets > READ_AHEAD_OCTETS:
                await new.drained()
        if body:
            new.write(body)
        await new.drained()
    except BaseException:
        new.discard()
        raise
    draft.discard()
    return new
