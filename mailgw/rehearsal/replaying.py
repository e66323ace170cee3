"""Past envelopes under another configuration: for which of them another answer would be given.

Rules:
    Each envelope is run once, however often it came.
    What the journal cannot tell is not compared with what it tells: effects, and the lane of what no attempt was made
    for, or which a rule moved.  Two configurations, both run, are compared in all.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
from twisted.internet.task import deferLater

from mailgw.config.settings import Config
from mailgw.mail.envelope import path_text
from mailgw.mail.reply import Reply
from mailgw.queue.aliases import EXPANDED
from mailgw.rehearsal.conversation import rehearse
from mailgw.rehearsal.gateway import MakeWorld, Rehearsal, listener_for
from mailgw.rehearsal.past import Seen, Told
from mailgw.rehearsal.story import Envelope, Outcome, Story
from mailgw.rehearsal.world import RehearsalWorld

AT_ONCE: Final = 20  # envelopes between two turns of the reactor, whose timers have to be cleared away
SHOWN: Final = 3     # recipients of an envelope, and lanes of an outcome, in a line


@attrs.frozen
class Changed:
    """An envelope, what became of it, and what would; ``what`` differs: outcome, reply, lane, effects."""

    envelope: Envelope
    count: int
    last: str
    was: Told
    now: Told
    what: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        one = self.envelope
        return {
            "count": self.count, "last": self.last, "role": one.role.value, "client": one.address, "login": one.login,
            "tls": one.with_tls, "reverse_path": path_text(one.reverse_path),
            "recipients": [str(recipient) for recipient in one.recipients], "differs_in": list(self.what),
            "was": _json_of(self.was), "is": _json_of(self.now),
        }


def _json_of(told: Told) -> dict[str, Any]:
    return {
        "outcome": told.outcome.value, "reply": told.words,
        "refusals": [{"recipient": recipient, "code": code, "status": status}
                     for recipient, code, status in told.refusals],
        "lanes": [{"recipient": recipient, "lane": lane} for recipient, lane in told.lanes],
        "effects": list(told.marks),
    }


async def run(
    config: Config, envelopes: Iterable[Envelope], reactor: Any, make_world: MakeWorld = RehearsalWorld
) -> Mapping[Envelope, Told]:
    """What would become of each.  ConfigError, or TemporaryFault, where the gateway of ``config`` could not start."""
    if not config.rules:  # nobody wants the name of an address, and there are many addresses
        config = attrs.evolve(config, limits=attrs.evolve(config.limits, reverse_name_seconds=0.0))
    gateway = Rehearsal(config, reactor, make_world=make_world)
    gateway.startService()
    found: dict[Envelope, Told] = {}
    try:
        for place, envelope in enumerate(envelopes):
            number = listener_for(config, envelope.role, None)
            if number is None:
                words = f"there is no listener of the role {envelope.role.value}"
                found[envelope] = Told(Outcome.REFUSED, (("", 0, ""),), words)
                continue
            found[envelope] = told_of(await rehearse(gateway, number, envelope))
            if place % AT_ONCE == AT_ONCE - 1:
                await deferLater(reactor, 0)
    finally:
        await gateway.stopService()
    return found


def told_of(story: Story) -> Told:
    # Where nobody was named, the word on the sender counts.
    replies: Sequence[Reply | None] = story.replies or (story.turns[-1].reply,)
    outcomes = [Outcome.of(reply) for reply in replies]
    worst = next((one for one in (Outcome.REFUSED, Outcome.DEFERRED) if one in outcomes), Outcome.ACCEPTED)
    reply = replies[outcomes.index(worst)]
    words = ""
    if worst is not Outcome.ACCEPTED:
        words = "the connection is closed without a word" if reply is None else str(reply)
    whose = [str(recipient) for recipient in story.envelope.recipients] or [""]
    refusals = tuple(
        (recipient, 0, "") if one is None else (recipient, one.code, one.status)
        for recipient, one in zip(whose, replies, strict=True) if one is None or not one.is_positive
    )
    kept = story.withheld
    lanes = () if kept is None else tuple(
        sorted((str(one.recipient), one.lane) for one in kept.destinations if one.lane != EXPANDED))
    marks = [*(["discarded"] if story.discarded else []), *story.effects]
    if kept is not None and kept.arrival.held:
        marks.append("held")
    return Told(worst, refusals, words, lanes, tuple(dict.fromkeys(marks)))


def changes_to_the_past(seen: Sequence[Seen], now: Mapping[Envelope, Told]) -> Sequence[Changed]:
    """Against what the journal tells, the most frequent first."""
    found = []
    for one in seen:
        is_now = now[one.envelope]
        what = [*_in_words(one.told, is_now)]
        if one.told.outcome is is_now.outcome is Outcome.ACCEPTED and not set(one.told.lanes) <= set(is_now.lanes):
            what.append("lane")
        if what:
            found.append(Changed(one.envelope, one.count, one.last, one.told, is_now, tuple(what)))
    return _in_order(found)


def changes_between(
    seen: Sequence[Seen], was: Mapping[Envelope, Told], now: Mapping[Envelope, Told]
) -> Sequence[Changed]:
    """Between two configurations, whatever the journal tells."""
    counts: dict[Envelope, tuple[int, str]] = {}
    for one in seen:
        count, last = counts.get(one.envelope, (0, ""))
        counts[one.envelope] = (count + one.count, max(last, one.last))
    found = []
    for envelope, (count, last) in counts.items():
        before, after = was[envelope], now[envelope]
        what = [*_in_words(before, after)]
        if before.lanes != after.lanes:
            what.append("lane")
        if before.marks != after.marks:
            what.append("effects")
        if what:
            found.append(Changed(envelope, count, last, before, after, tuple(what)))
    return _in_order(found)


def _in_words(one: Told, other: Told) -> Iterator[str]:
    if one.outcome is not other.outcome:
        yield "outcome"
    elif one.refusals != other.refusals:
        yield "reply"


def _in_order(found: list[Changed]) -> Sequence[Changed]:
    return sorted(found, key=lambda one: -one.count)


def lines(changed: Changed) -> Iterator[str]:
    """One of them, for people."""
    one = changed.envelope
    login = f", {one.login}" if one.login else ""
    whom = _few([f"<{recipient}>" for recipient in one.recipients]) or "nobody yet"
    yield f"{changed.count:>5} x  <{path_text(one.reverse_path)}> to {whom}  ({one.role.value}, {one.address}{login})"
    yield f"         was  {_told(changed.was, changed.what)}"
    yield f"         is   {_told(changed.now, changed.what)}"


def _told(told: Told, what: Sequence[str]) -> str:
    words = told.outcome.value + (f": {told.words}" if told.words else "")
    if told.lanes and "lane" in what:
        words += f"; {_few([f'{recipient} in {lane}' for recipient, lane in told.lanes])}"
    if "effects" in what:
        words += f"; {', '.join(told.marks) or 'no effects'}"
    return words


def _few(words: Sequence[str]) -> str:
    more = len(words) - SHOWN
    return ", ".join(words[:SHOWN]) + (f" and {more} more" if more > 0 else "")
