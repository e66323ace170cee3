"""What an inbox is told, and what of a configuration is captured."""

import enum
from collections.abc import Mapping

import attrs


@attrs.frozen
class InboxSettings:
    """A backend of type inbox.  ``stands_for``: the type of the one in whose place it is, ``""`` where it was written
    so; ``delimiter`` of sub-addresses as that one had it."""

    stands_for: str = ""
    delimiter: str = ""


class Capture(enum.Enum):
    """ALL: nothing leaves, but by backends that are let out.  DELIVERED: what backends deliver on this machine stands
    in the inbox, too."""

    ALL = "all"
    DELIVERED = "delivered"


@attrs.frozen
class StagingSettings:
    """``held_back``: backends in whose place the inbox is, and their types; ``let_out`` those that work as they are.
    ``scripted``: failures are to be had by recipients' addresses (``mail.scripted``)."""

    capture: Capture
    let_out: tuple[str, ...]
    scripted: bool
    held_back: Mapping[str, str]

    @property
    def is_closed(self) -> bool:
        """Whether nothing leaves."""
        return self.capture is Capture.ALL

    @property
    def words(self) -> str:
        """What an operator has to know, in one line."""
        if not self.is_closed:
            return "what is delivered on this machine stands in the inbox, too"
        held = ", ".join(f"{name} ({kind})" for name, kind in self.held_back.items()) or "no backend"
        but = f"; let out: {', '.join(self.let_out)}" if self.let_out else ""
        return f"STAGING: nothing leaves; all mail is kept in the inbox, in place of {held}{but}"
