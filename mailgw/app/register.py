"""Which handler a message comes to: by its recipient, then by its sender.

Rules:
    Of the patterns that match the recipient the most specific counts, whatever the order in which they were written;
    two of which neither is within the other are a fault where the second is written.
    Within a pattern the handler with the most specific sender that matches; without one, that without a sender; else
    the next pattern, and in the end the default.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.address_pattern import AddressPattern
from mailgw.mail.sender_pattern import SenderPattern


@attrs.frozen
class Handler:
    """``pattern`` None: the default; ``sender`` None: whoever it is.  ``in_transaction``: before the 250, where
    that can be."""

    name: str
    call: Callable[..., Any]
    pattern: AddressPattern | None
    sender: SenderPattern | None
    in_transaction: bool = False


@attrs.define
class _Place:
    """A pattern and its handlers, those with the most specific senders first."""

    pattern: AddressPattern | None
    handlers: list[Handler] = attrs.Factory(list)


class Register:
    """Grows while the application is written."""

    def __init__(self) -> None:
        self._places: list[_Place] = []  # what is within another comes before it
        self._default = _Place(None)

    def add(self, handler: Handler) -> None:
        """ValueError, with words for its author, where it cannot stand beside the others; nothing is changed then."""
        if why := _call_fault(handler):
            raise ValueError(why)
        for other in self.handlers():
            if other.name == handler.name and other.call != handler.call:
                raise ValueError(f"there are two handlers {handler.name}: their names are those of lanes and addresses")
        place = self._default if handler.pattern is None else self._place(handler)
        for other in place.handlers:
            if other.sender == handler.sender:
                what = "the default" if handler.pattern is None else handler.pattern.text
                raise ValueError(f"{handler.name}: {other.name} has {what} already")
        if not place.handlers and handler.pattern is not None:
            at = next((n for n, one in enumerate(self._places) if _is_within(handler.pattern, one)), len(self._places))
            self._places.insert(at, place)
        place.handlers.append(handler)
        place.handlers.sort(key=lambda one: (9, 0) if one.sender is None else one.sender.rank)

    def handlers(self) -> Iterator[Handler]:
        for place in [*self._places, self._default]:
            yield from place.handlers

    def at(self, recipient: Mailbox) -> Handler | None:
        """The one whose pattern it is, whoever the sender: None where nobody takes the address."""
        for place, _ in self._matching(recipient):
            return place.handlers[0]
        return None

    def find(self, recipient: Mailbox, reverse_path: Mailbox | None) -> tuple[Handler, Mapping[str, object]] | None:
        """The handler, and the fields of its pattern; None where there is none for this sender."""
        for place, fields in self._matching(recipient):
            for handler in place.handlers:
                if handler.sender is None or handler.sender.matches(reverse_path):
                    return handler, fields
        return None

    def _matching(self, recipient: Mailbox) -> Iterator[tuple[_Place, Mapping[str, object]]]:
        for place in self._places:
            assert place.pattern is not None
            fields = place.pattern.match(recipient)
            if fields is not None:
                yield place, fields
        if self._default.handlers:
            yield self._default, {}

    def _place(self, handler: Handler) -> _Place:
        """That of a pattern equal to the handler's, or a new one.  ValueError where it is ambiguous."""
        pattern = handler.pattern
        assert pattern is not None
        for place in self._places:
            other = place.pattern
            assert other is not None
            common = pattern.common(other)
            if common is None:
                continue
            here, there = pattern.is_within(other), other.is_within(pattern)
            if here and there:
                if other.names != pattern.names:
                    is_told_apart = all(one.sender != handler.sender for one in place.handlers)
                    advice = "give" if is_told_apart else "one of them is superfluous, or narrow it by sender= and give"
                    both = f"{pattern.text} and {other.text} match the same addresses"
                    raise ValueError(f"{both}: {advice} their fields equal names")
                return place
            if not here and not there:
                both = f"{pattern.text} and {other.text} both match {common}"
                raise ValueError(f"{both}, and neither is within the other")
        return _Place(pattern)


def _is_within(pattern: AddressPattern, place: _Place) -> bool:
    assert place.pattern is not None
    return pattern.common(place.pattern) is not None and pattern.is_within(place.pattern)


def _call_fault(handler: Handler) -> str | None:
    """Why it cannot be called with what it will get."""
    if not callable(handler.call):
        return f"a handler is a function, not a {type(handler.call).__name__}"
    if inspect.isgeneratorfunction(handler.call) or inspect.isasyncgenfunction(handler.call):
        return f'{handler.name} has a "yield", so that nothing of it would run: expected a function or "async def"'
    names = () if handler.pattern is None else handler.pattern.names
    try:
        signature = inspect.signature(handler.call)
    except (ValueError, TypeError):
        return None
    try:
        signature.bind(None, **dict.fromkeys(names))
    except TypeError as fault:
        given = ", ".join(["message", *names])
        return f"{handler.name} takes {signature}, and would be called with ({given}): {fault}"
    return None
