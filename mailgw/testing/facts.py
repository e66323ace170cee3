"""A journal that is a list, and what a test reads out of it."""

import attrs

from mailgw.deliver.names import backend_of
from mailgw.mail.event import Event


class KeptJournal:
    """A ``mail.ports.Journal``; ``events`` has what was noted, in its order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def note(self, event: Event) -> None:
        self.events.append(event)

    def names(self) -> list[str]:
        """The words of all facts."""
        return [event.name for event in self.events]


@attrs.frozen
class Delivery:
    """A recipient of a message was delivered, by a backend, in its ``lane``, into the hands of ``hop``; ``octets`` of
    the message as they were queued."""

    queue_id: str
    sender: str
    recipient: str
    lane: str
    hop: str
    octets: bytes


    @property
    def backend(self) -> str:
        return backend_of(self.lane)


@attrs.frozen
class Bounce:
    """A recipient failed for good, in a ``lane``.  ``report`` is what its sender is told, b"" where he wanted to hear
    nothing."""

    queue_id: str
    sender: str
    recipient: str
    lane: str
    code: int
    status: str
    text: str
    report: bytes
    report_id: str
