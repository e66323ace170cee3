"""Whether a web hook is astray: refuses all events as if it were not the one, since its URL or a secret is wrong.

Then no event is to blame, and none should die of it; but a hook may also be for some messages alone, and say of the
others that it knows nothing of them.  So what it refuses is counted by messages, each at its first attempt:

*  ``STRAYS`` in a row make a hook astray that took nothing lately (``LATELY_SECONDS``), and ``STRAYS_LATELY`` any.
   From the one to the other it is doubted: tried with messages from here and there, without a pause.
*  One that is astray is tried with ``PROBES`` messages at each turn: the oldest, the newest, and any.  However many it
   refuses, it is found to take the others; and what it takes ends it.

Knows neither clock nor disk: times are seconds, by a clock that goes on evenly.
"""

import math
from collections.abc import Callable
from typing import Final

from mailgw.deliver.webhook_answer import NOT_OF_THE_MESSAGE

UNWELL: Final = frozenset({408, 425, 429})
"""Later, it says; it holds nothing against anybody."""
ASTRAY: Final = frozenset(range(300, 400)) | NOT_OF_THE_MESSAGE - UNWELL
"""What servers say of a URL or a secret that is wrong, rather than of an event: some of it may be of an event all the
same, as 404 is of a tenant that is not known, so all of it is counted."""
STRAYS: Final = 5
"""Fewer may be messages that the server does not know."""
LATELY_SECONDS: Final = 600.0
"""A hook that took something since then is the one, as far as we know.  Not for longer: a URL may become wrong, and
where few messages come ``STRAYS_LATELY`` take days, and the first ones would be dead by then."""
STRAYS_LATELY: Final = 200
"""Where one of 50 is for it, it takes one of them in time nearly always."""
PROBES: Final = 5


class Straying:
    """Of one hook, whose posts go in so many ``lines``; ``chance()`` is from 0 to 1.

    ``is_astray`` is the book's to remember, over a restart too; whoever asks it says what it said."""

    def __init__(self, lines: int, chance: Callable[[], float]) -> None:
        self.is_astray = False
        self.in_a_row = 0
        self._chance = chance
        self._taken_at = -math.inf
        self._probes = [0] * lines  # of this turn

    def is_new(self) -> None:
        """As if it had refused nothing yet."""
        self.in_a_row = 0
        self._probes = [0] * len(self._probes)

    def took(self, now: float) -> None:
        """It is the one."""
        self.is_new()
        self.is_astray, self._taken_at = False, now

    def refused_as_itself(self) -> None:
        """Not in the words of ``ASTRAY``: it knows what it was sent."""
        self.in_a_row = 0

    def refused(self, is_first: bool, now: float) -> bool:
        """In the words of ``ASTRAY``, a single event: whether that makes it astray.  One that is not its message's
        ``is_first`` attempt is no other message, but may show that it is too long ago that something was taken."""
        self.in_a_row += is_first
        was_lately = now - self._taken_at < LATELY_SECONDS
        return self.in_a_row >= (STRAYS_LATELY if was_lately else STRAYS)

    @property
    def is_doubted(self) -> bool:
        return self.in_a_row >= STRAYS

    def where(self, line: int) -> float:
        """Which message is the next to try it with, if it is astray or doubted: from 0, the oldest, to 1."""
        probe = self._probes[line] if self.is_astray else self.in_a_row % PROBES
        return float(probe) if probe < 2 else self._chance()

    def may_probe(self, line: int) -> bool:
        """After one in vain: whether this turn has another one, which is counted."""
        if self._probes[line] + 1 >= PROBES:
            return False
        self._probes[line] += 1
        return True

    def has_probed(self, line: int) -> bool:
        return self.is_astray and self._probes[line] > 0

    def turn_is_over(self, line: int) -> None:
        self._probes[line] = 0
