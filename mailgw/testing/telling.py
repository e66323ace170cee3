"""Asserts that explain themselves: what was expected, and what there is instead."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from mailgw.mail.event import Event
from mailgw.mail.message import QueueRow, RowState
from mailgw.testing.client import Answer
from mailgw.testing.facts import Bounce, Delivery

FACTS_SHOWN = 20
CHARACTERS_SHOWN = 200


class Telling:
    """What ``Gateway`` tells."""

    @property
    def delivered(self) -> Sequence[Delivery]:
        raise NotImplementedError

    @property
    def bounced(self) -> Sequence[Bounce]:
        raise NotImplementedError

    @property
    def queue(self) -> Sequence[QueueRow]:
        raise NotImplementedError

    @property
    def journal(self) -> Sequence[Event]:
        raise NotImplementedError

    def assert_delivered(
        self,
        *,
        to: str | None = None,
        containing: str | bytes = b"",
        backend: str | None = None,
        count: int | None = None,
    ) -> Delivery:
        """Something was delivered to an address, and with this in it, by this backend; the last such.  ``count``: so
        often, and not more."""
        __tracebackhide__ = True
        wanted = _octets(containing)
        near = [one for one in self.delivered if to is None or one.recipient == to]
        found = [one for one in near if wanted in one.octets and backend in (None, one.backend)]
        what = f"to {to or 'anybody'}" + (f" by {backend}" if backend else "") + _with(containing)
        if count is not None and len(found) != count:
            raise AssertionError(self._told(f"expected {count} delivered {what}, not {len(found)}", near))
        if not found:
            raise AssertionError(self._told(f"expected one delivered {what}", near))
        return found[-1]

    def assert_not_delivered(self, *, to: str | None = None, containing: str | bytes = b"") -> None:
        """Nothing was."""
        __tracebackhide__ = True
        wanted = _octets(containing)
        found = [one for one in self.delivered if to in (None, one.recipient) and wanted in one.octets]
        if found:
            what = f"expected nothing delivered to {to or 'anybody'}{_with(containing)}"
            raise AssertionError(self._told(what, found))

    def assert_bounced(self, *, to: str | None = None, containing: str | bytes = b"") -> Bounce:
        """A recipient failed for good; the last one.  ``containing``: in what its sender is told."""
        __tracebackhide__ = True
        wanted = _octets(containing)
        near = [one for one in self.bounced if to in (None, one.recipient)]
        found = [one for one in near if wanted in one.report]
        if not found:
            reports = [f"the report on {one.recipient}:\n{_shown(one.report)}" for one in near]
            raise AssertionError(self._told(f"expected a bounce of {to or 'anybody'}{_with(containing)}", reports))
        return found[-1]

    def assert_queued(self, *, to: str | None = None, reason: str = "") -> QueueRow:
        """A recipient waits; the last one.  ``reason``: part of why."""
        __tracebackhide__ = True
        return self._row(self.queue, to, reason, "wait in the queue")

    def assert_held(self, *, to: str | None = None, reason: str = "") -> QueueRow:
        """The same of one that is held: by a rule, or because it could not be returned."""
        __tracebackhide__ = True
        return self._row([one for one in self.queue if one.state == RowState.HELD], to, reason, "be held")

    def _row(self, rows: Sequence[QueueRow], to: str | None, reason: str, what: str) -> QueueRow:
        __tracebackhide__ = True
        found = [one for one in rows if to in (None, one.recipient) and reason in one.reason]
        if not found:
            why = f" for {reason!r}" if reason else ""
            raise AssertionError(self._told(f"expected {to or 'somebody'} to {what}{why}", []))
        return found[-1]

    def explain(self) -> str:
        """What there is: deliveries, bounces, the queue, the end of the journal."""
        return "\n".join([
            *_listed("delivered", [f"{one.recipient} by {one.backend} ({one.hop})" for one in self.delivered]),
            *_listed("bounced", [f"{one.recipient}: {one.code} {one.status} {one.text}" for one in self.bounced]),
            *_listed("in the queue", [
                f"{one.recipient} in {one.lane}, {one.state}, {one.attempts} attempts: {one.reason or 'no reason yet'}"
                for one in self.queue
            ]),
            *_listed("last in the journal", [_fact(one) for one in self.journal[-FACTS_SHOWN:]]),
        ])

    def _told(self, what: str, near: Iterable[Any]) -> str:
        shown = [f"{one.recipient}:\n{_shown(one.octets)}" if isinstance(one, Delivery) else one for one in near]
        return "\n".join([what, *shown, self.explain()])


def assert_answered(answer: Answer, code: int, status: str | None = None, containing: str = "") -> None:
    """A message was answered so; ``status`` as "5.1.1", ``containing`` in the text."""
    __tracebackhide__ = True
    is_right = answer.code == code and status in (None, answer.status) and containing in answer.text
    if not is_right:
        wanted = " ".join(filter(None, [str(code), status, containing and f"... {containing} ..."]))
        each = "".join(f"\n  {one}: {reply}" for one, reply in answer.recipients.items())
        raise AssertionError(f"expected {wanted}, not {answer}{each}")


def _listed(what: str, lines: Sequence[str]) -> list[str]:
    return [f"{what}:", *(f"  {line}" for line in lines)] if lines else [f"{what}: nothing"]


def _fact(event: Event) -> str:
    fields = {name: value for name, value in attrs.asdict(event).items() if value not in ("", None, (), 0)}
    return f"{event.name} " + " ".join(f"{name}={value}" for name, value in fields.items())


def _octets(containing: str | bytes) -> bytes:
    """Lines as they are in a message."""
    octets = containing.encode() if isinstance(containing, str) else containing
    return re.sub(rb"\r?\n", b"\r\n", octets)


def _with(containing: str | bytes) -> str:
    return f" with {containing!r}" if containing else ""


def _shown(octets: bytes) -> str:
    """Its end, since our own trace fields come first; from a word's beginning on."""
    text = octets.decode("utf-8", "replace").replace("\r\n", "\n").rstrip()
    if len(text) > CHARACTERS_SHOWN:
        text = "... " + re.split(r"\s", text[-CHARACTERS_SHOWN:], maxsplit=1)[-1]
    return "\n".join(f"    {line}" for line in text.splitlines())
