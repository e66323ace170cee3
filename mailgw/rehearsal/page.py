"""A story for people: lines, aligned, with colours where a terminal shows them."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from mailgw.mail.envelope import path_text
from mailgw.mail.header import header_end
from mailgw.mail.message import JUNK_TAG
from mailgw.mail.reply import Reply
from mailgw.queue.schedule import RetrySettings, attempts_ahead
from mailgw.rehearsal.story import Kind, Outcome, Sender, Step, Story, Turn
from mailgw.rehearsal.ways import Way
from mailgw.terminal import harmless
from mailgw.tls_report import Report
from mailgw.tls_report import lines as lines_of_report

COLUMN: Final = 40
WHO: Final = 22
DIFF_LINES: Final = 60
SHOWN_ATTEMPTS: Final = 12

Paint: TypeAlias = Callable[[str, Outcome], str]

_COLOURS: Final = {Outcome.ACCEPTED: "32", Outcome.DEFERRED: "33", Outcome.REFUSED: "31"}


def lines(story: Story, found: Sequence[Way], reports: Sequence[Report], in_colour: bool) -> Iterator[str]:
    """What was said, what would be queued, where it would go, and what came of it."""
    paint = _paint if in_colour else _plain
    for turn in story.turns:
        yield from _turn(turn, paint)
    if story.sender is not None:
        yield ""
        yield from map(harmless, _sender(story.sender))
    if story.withheld is not None:
        yield ""
        yield from map(harmless, _queued(story))
    for way in found:
        yield ""
        yield from map(harmless, _way(way))
    for report in reports:
        yield ""
        yield from lines_of_report(report)
    yield ""
    yield from _end(story, paint)


def _plain(text: str, outcome: Outcome) -> str:
    return text


def _paint(text: str, outcome: Outcome) -> str:
    return f"\x1b[{_COLOURS[outcome]}m{text}\x1b[0m"


# --- what was said -------------------------------------------------------------------------------------------

def _turn(turn: Turn, paint: Paint) -> Iterator[str]:
    reply = turn.reply
    said = "(the connection is closed without a word)" if reply is None else _first_line(reply)
    yield f"{harmless(turn.command):<{COLUMN}} {paint(harmless(said), Outcome.of(reply))}"
    before: dict[str, object] = {}
    for step in turn.steps:
        if step.kind is Kind.RULE and step.saw != before:
            before = step.saw
            yield f"    {step.stage} sees: {harmless(_seen(before))}"
        yield from map(harmless, _step(step))


def _first_line(reply: Reply) -> str:
    more = f" (and {len(reply.lines) - 1} lines)" if len(reply.lines) > 1 else ""
    return " ".join(filter(None, (str(reply.code), reply.status, reply.lines[0]))) + more


def _seen(saw: dict[str, object]) -> str:
    return ", ".join(f"{key} {_value(value)}" for key, value in saw.items())


def _value(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "yes" if value is True else str(value) or "<>"


def _step(step: Step) -> Iterator[str]:
    is_rule = step.kind is Kind.RULE or (step.kind is Kind.NOT_ASKED and step.stage)
    who = f"rule {step.who}" if is_rule else step.who
    if step.kind is Kind.NOT_ASKED:
        yield f"    {who:<{WHO}} is not asked: {step.said}"
        return
    about = "" if step.kind is Kind.RULE or not step.about else f"{step.about} "
    yield f"    {who:<{WHO}} {about}{step.said}"
    if step.why and step.why not in step.said:
        yield f"    {'':<{WHO}} because: {step.why}"
    for effect in step.effects:
        yield f"    {'':<{WHO}} asks for: {effect}"


# --- who sent it ---------------------------------------------------------------------------------------------

def _sender(sender: Sender) -> Iterator[str]:
    if sender.why_not:
        yield f"who sent it is asked by nobody: {sender.why_not}"
        return
    found = sender.found
    by = "" if found is None else f", as {found.found_by} finds it"
    yield f"who sent it{by}{', by the envelope alone' if sender.needed else ''}"
    for one in () if found is None else found:
        known = "".join(f" {own.ptype}.{own.name}={own.value}" for own in one.properties)
        yield f"  {one.method:<10} {one.result}{known}{f': {one.reason}' if one.reason else ''}"
    for method in sender.needed:
        more = f"; {sender.wishes}" if method == "dmarc" and sender.wishes else ""
        yield f"  {method:<10} would need the message{more}"
    if found is not None and found.vouched_by:
        yield f"  vouched    by {found.vouched_by}, whose seals are trusted"


# --- what would be queued --------------------------------------------------------------------------------------

def _queued(story: Story) -> Iterator[str]:
    kept = story.withheld
    assert kept is not None
    sent = story.envelope.content
    size = "with the octets of its content" if sent is None else f"{len(kept.octets)} octets"
    yield f"would be queued: {size}, from <{path_text(kept.arrival.reverse_path)}>"
    if kept.arrival.held:
        yield f"  held       {kept.arrival.held}: tried by nobody until it is released"
    if kept.arrival.parameters.tags:
        yield f"  tags       {' '.join(kept.arrival.parameters.tags)}"
    for effect in story.effects:
        yield f"  done to it {effect}"
    old, new = _parted(sent or b""), _parted(kept.octets)
    for line in changes(old[0], new[0]):
        yield f"  header     {line}"
    if old[1] != new[1]:
        yield f"  body       {len(new[1])} octets in place of {len(old[1])}"


def _parted(content: bytes) -> tuple[bytes, bytes]:
    end = header_end(content)
    return (content, b"") if end < 0 else (content[:end], content[end:])


def changes(old: bytes, new: bytes) -> Sequence[str]:
    """The lines of a header that went and came, as ``diff`` marks them; at most ``DIFF_LINES``."""
    one, other = (part.decode("utf-8", "replace").split("\r\n") for part in (old, new))
    found = [
        line for line in difflib.ndiff([line for line in one if line], [line for line in other if line])
        if line[:1] in "+-"
    ]
    more = len(found) - DIFF_LINES
    return [*found[:DIFF_LINES], f"and {more} lines more"] if more > 0 else found


# --- where it would go -----------------------------------------------------------------------------------------

def _way(way: Way) -> Iterator[str]:
    yield f"{way.recipient}"
    by = f"route {way.route}" if way.route is not None else "a rule's word"
    yield f"  goes to    backend {way.backend} ({way.kind}), lane {way.lane}, by {by}"
    if way.folder:
        yield f"  filed in   {way.folder}, as junk"
    if way.sent_as:
        yield f"  leaves as  <{way.sent_as}> (SRS), since it came to an alias of ours"
    if way.is_marked:
        yield "  marked     as junk, for who files it there"
    if way.signature is not None:
        yield f"  signature  {way.signature}"
    yield from (f"  {line}" for line in attempts(way.retry))


def attempts(retry: RetrySettings) -> Iterator[str]:
    """When, where it is never of use: the ages of the message."""
    ages = attempts_ahead(retry, SHOWN_ATTEMPTS + 1)
    shown = ", ".join(map(span, ages[:SHOWN_ATTEMPTS]))
    if len(ages) > SHOWN_ATTEMPTS:
        shown += f" ... every {span(retry.schedule[-1])}, the last at {span(retry.give_up_after)}"
    jitter = f"; each wait up to {retry.jitter:.0%} longer or shorter" if retry.jitter else ""
    yield f"tried at   {shown}{jitter}"
    if retry.warn_after < retry.give_up_after:
        yield f"delay      its sender is told at {span(retry.warn_after)}"
    yield f"given up   after {span(retry.give_up_after)}: its sender has it back"


def span(seconds: float) -> str:
    """``2h30m``, ``45s``; ``0`` for at once."""
    left = round(seconds)
    words = ""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size:
            words += f"{left // size}{unit}"
            left %= size
    return words or "0"


# --- what came of it -------------------------------------------------------------------------------------------

def _end(story: Story, paint: Paint) -> Iterator[str]:
    if story.discarded:
        yield f"it would be forgotten, by a rule's word: {harmless(story.discarded)}"
    for recipient, reply, outcome in zip(story.envelope.recipients, story.replies, story.outcomes, strict=True):
        said = "" if reply is None or reply.is_positive else f": {harmless(_first_line(reply))}"
        kept = story.withheld
        word = outcome.value
        if outcome is Outcome.ACCEPTED and kept is not None:
            word += ", held" if kept.arrival.held else ", junk" if JUNK_TAG in kept.arrival.parameters.tags else ""
        yield f"{harmless(str(recipient)):<{COLUMN}} {paint(word, outcome)}{said}"
