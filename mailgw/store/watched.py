"""A file of the operator's that is read again when it changes, while it is used.

Rules:
    It is looked at most once a second, when something is asked, in the caller's thread; one ``stat`` then.
    A file that is written in place, not replaced, has to rest before it is believed: half a file would be half of what
    it says.
"""

import os
from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime

from mailgw.mail.ports import WallClock

LOOK_SECONDS = 1.0
REST_SECONDS = 1.0


@attrs.frozen
class _State:
    """By what a changed file is known."""

    changed_ns: int
    octets: int
    inode: int


class WatchedFile:
    """``path``, as it was when this was made until ``take`` was called with another."""

    def __init__(self, path: str, clock: IReactorTime, wall_clock: WallClock) -> None:
        """To be made before the file is read: what is written after that is a change."""
        self._path = path
        self._clock = clock
        self._wall_clock = wall_clock
        self._state = _state_of(path)
        self._seen = self._state
        self._next_look = clock.seconds() + LOOK_SECONDS
        self._complaint = ""

    def take(self, read: Callable[[bytes], None], complain: Callable[[str], None], is_urgent: bool = False) -> None:
        """Call ``read`` with the octets, if the file is another one than it was and may be believed.

        One that cannot be read is a change as long as it lasts: ``complain`` is called with why, once.  ``is_urgent``:
        somebody says that it has changed, so look now, and believe it.
        """
        now = self._clock.seconds()
        if now < self._next_look and not is_urgent:
            return
        self._next_look = now + LOOK_SECONDS
        state = _state_of(self._path)
        if state == self._state:
            return
        if not is_urgent and not self._may_believe(state):
            self._seen = state
            return
        try:
            octets = octets_of(self._path)
        except OSError as error:
            why = f"{self._path} cannot be read: {error.strerror}"
            if why != self._complaint:
                self._complaint = why
                complain(why)
            return
        self._complaint = ""
        self._state = state
        read(octets)

    def _may_believe(self, state: "_State | None") -> bool:
        """Whether the file is a new one in the old one's place, or has rested since it was last written."""
        if state is None or self._state is None or state.inode != self._state.inode or state == self._seen:
            return True
        return self._wall_clock() - state.changed_ns / 1e9 >= REST_SECONDS


def octets_of(path: str) -> bytes:
    """OSError where it cannot be read."""
    with open(path, "rb") as file:
        return file.read()


def _state_of(path: str) -> _State | None:
    """None where the file is not to be found."""
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return _State(facts.st_mtime_ns, facts.st_size, facts.st_ino)
