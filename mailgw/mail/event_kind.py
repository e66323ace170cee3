"""What every fact is."""

from typing import ClassVar

import attrs


@attrs.frozen
class Event:
    """A fact; ``name`` is the word the journal prints for it."""

    name: ClassVar[str] = "event"
