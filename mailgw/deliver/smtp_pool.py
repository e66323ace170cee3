"""Sessions between two messages: kept for a short while, by lane."""

from mailgw.deliver.smtp_session import Session


class SessionPool:
    """Idle sessions by lane; the one that was used last is taken first, so that surplus ones run out of time.

    It is bounded by what it gets: a lane has at most its ``concurrency`` of sessions, each leaves when it
    was idle for its time.
    """

    def __init__(self, messages_per_session: int) -> None:
        self._limit = messages_per_session
        self._idle: dict[str, list[Session]] = {}
        self._closed = False

    def __len__(self) -> int:
        return sum(map(len, self._idle.values()))

    def take(self, lane: str) -> Session | None:
        """A session that stands, now the caller's; None where there is none."""
        sessions = self._idle.get(lane)
        if not sessions:
            return None
        session = sessions.pop()
        session.on_end = None
        return session

    def give(self, lane: str, session: Session) -> None:
        """Keep a session whose transaction is over, or close it where it is of no more use."""
        if self._closed or not session.is_ready or session.is_spent or session.messages >= self._limit:
            session.close()
            return
        sessions = self._idle.setdefault(lane, [])
        sessions.append(session)

        def forget() -> None:
            sessions.remove(session)
            if not sessions and self._idle.get(lane) is sessions:
                del self._idle[lane]

        session.on_end = forget

    def close(self) -> None:
        """Close all; those that come back later are closed, too."""
        self._closed = True
        for sessions in list(self._idle.values()):
            for session in list(sessions):
                session.close()
        self._idle.clear()

    def open(self) -> None:
        """Keep sessions again after ``close``."""
        self._closed = False
