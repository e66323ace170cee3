"""Queue ids: letters and digits, unique over restarts and jumps of the clock, sorted by time.

    660a1b2c3d4e5 01f a        13 hexadecimal digits: microseconds since the epoch (they last until 2112)
                               3 base-32 digits: how often this spool was opened
                               the node, at most 8 letters and digits

Within one start the time part only grows, by one at least; between starts the second part differs.  An id
is a safe file name, and a notice's id (the id, a letter, a row) stays within 32 characters.
"""

from mailgw.mail.ports import WallClock

TIME_DIGITS = 13
START_DIGITS = 3
MAX_NODE = 8
_DIGITS = "0123456789abcdefghijklmnopqrstuv"


class QueueIds:
    """``start`` counts the openings of this spool; ``node`` as in ``SpoolSettings``."""

    def __init__(self, wall_clock: WallClock, start: int, node: str) -> None:
        if len(node) > MAX_NODE or not (node.isascii() and node.isalnum()):
            raise ValueError(f"node must be 1 to {MAX_NODE} letters and digits, not {node!r}")
        self._wall_clock = wall_clock
        self._last = 0
        self.tail = _start_digits(start) + node

    def next_id(self) -> str:
        """A new queue id."""
        self._last = max(self._last + 1, int(self._wall_clock() * 1_000_000))
        return f"{self._last:013x}{self.tail}"


def start_of(queue_id: str) -> str:
    """The part of a queue id that says in which start it was made."""
    return queue_id[TIME_DIGITS:TIME_DIGITS + START_DIGITS]


def _start_digits(start: int) -> str:
    # It wraps after 32,768 starts; by then the time part differs by more than any clock is wrong.
    return _DIGITS[start >> 10 & 31] + _DIGITS[start >> 5 & 31] + _DIGITS[start & 31]
