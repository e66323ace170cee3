"""Sessions between two messages: kept for a short while, by what makes them equal.

Rules:
    A session serves again whoever asks for the same: the same place under the same name, from the same source address,
    under the same demand on its security.  So domains whose mail one host takes share its sessions, but none gets one
    that was not judged by what it demands itself.
    What a lane asks for is looked up again once a minute: until then it takes what it had.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

from mailgw.deliver.smtp_session import Session

# Long enough that a busy lane seldom asks DNS, short enough that what DNS and policies say is soon followed.
WAY_SECONDS = 60.0

Key = TypeVar("Key", bound=Hashable)


class SessionPool(Generic[Key]):
    """Idle sessions by key; the one that was used last is taken first, so that surplus ones run out of time.

    ``most``, from 1, are idle and in somebody's hands (``active``) together: for one more, the one that is idle for
    longest is closed.  ``now`` is monotonic.
    """

    def __init__(self, messages_per_session: int, most: int) -> None:
        self.active = 0  # attempts under way, each with one session at most
        self._limit = messages_per_session
        self._most = most
        self._idle: dict[Key, list[Session]] = {}
        self._keys: dict[Session, Key] = {}  # the longest idle first
        self._ways: dict[str, tuple[Key, float]] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._keys)

    def take(self, key: Key) -> Session | None:
        """A session that stands, now the caller's; None where there is none."""
        sessions = self._idle.get(key)
        if not sessions:
            return None
        session = sessions[-1]
        session.on_end = None
        self._forget(session)
        return session

    def way(self, lane: str, now: float) -> Key | None:
        """By which key the lane was served in the last minute, where such a session is there."""
        found = self._ways.get(lane)
        if found is None:
            return None
        key, until = found
        if until <= now:
            del self._ways[lane]
            return None
        return key if key in self._idle else None

    def remember(self, lane: str, key: Key, now: float) -> None:
        """The lane was led to what ``key`` stands for just now."""
        self._ways.pop(lane, None)
        if len(self._ways) >= 2 * self._most:
            del self._ways[next(iter(self._ways))]  # the one that was led longest ago
        self._ways[lane] = (key, now + WAY_SECONDS)

    def make_room(self) -> None:
        """Before a session is opened by one of those that are ``active``."""
        while self._keys and len(self._keys) + self.active > self._most:
            next(iter(self._keys)).close()

    def give(self, key: Key, session: Session) -> None:
        """Keep a session whose transaction is over, or close it where it is of no more use."""
        if self._closed or not session.is_ready or session.is_spent or session.messages >= self._limit:
            session.close()
            return
        # Whoever gives it has none after that.
        while self._keys and len(self._keys) + max(1, self.active) > self._most:
            next(iter(self._keys)).close()
        self._idle.setdefault(key, []).append(session)
        self._keys[session] = key
        session.on_end = lambda: self._forget(session)

    def part(self, lane: str, count: int) -> None:
        """Close at most ``count`` of those that the lane was served by, the longest idle first."""
        found = self._ways.get(lane)
        sessions = self._idle.get(found[0], []) if found is not None else []
        for session in sessions[:count]:
            session.close()

    def _forget(self, session: Session) -> None:
        key = self._keys.pop(session)
        sessions = self._idle[key]
        sessions.remove(session)
        if not sessions:
            del self._idle[key]

    def close(self) -> None:
        """Close all; those that come back later are closed, too."""
        self._closed = True
        for session in list(self._keys):
            session.close()
        self._ways.clear()

    def open(self) -> None:
        """Keep sessions again after ``close``."""
        self._closed = False
