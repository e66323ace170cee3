"""A journal that is a list, and what a test reads out of it."""

import attrs

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
    """A recipient of a message was delivered, by a backend, into the hands of ``hop``; ``octets`` of the message as
    they were queued."""

    queue_id: str
    sender: str
    recipient: str
    backend: str
    hop: str
    octets: bytes


@attrs.frozen
class Bounce:
    """A recipient failed for good.  ``report`` is what its sender is told, b"" where he wanted to hear nothing."""

    queue_id: str
    sender: str
    recipient: str
    code: int
    status: str
    text: str
    report: bytes
    report_id: str
