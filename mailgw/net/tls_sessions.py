"""TLS sessions that may be resumed (RFC 8446 s2.2, s4.6.1, appendix C.4)."""

from collections.abc import Hashable

from OpenSSL import SSL

# Servers, and what is demanded of them: each session has some kilobytes, with the chain that its server showed.
MOST_SESSIONS = 1000
# Then the server has to show its certificate again.  (RFC 8446 s4.6.1 would have tickets for seven days.)
LONGEST_SECONDS = 3600.0


class KeptSessions:
    """One session by key, the one that came last; of all, the ``MOST_SESSIONS`` that came last."""

    def __init__(self) -> None:
        self._sessions: dict[Hashable, tuple[SSL.Session, float]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def take(self, key: Hashable, now: float) -> tuple[SSL.Session, float] | None:
        """The session of ``key``, and when its certificate was shown; None where there is none that is young enough.

        It is nobody else's from then on (RFC 8446 C.4: a ticket is used once).  ``now``: by a monotonic clock.
        """
        session, shown = self._sessions.pop(key, (None, 0.0))
        return (session, shown) if session is not None and now - shown <= LONGEST_SECONDS else None

    def give(self, key: Hashable, session: SSL.Session, shown: float) -> None:
        """``shown``: when a handshake showed the certificate; to resume a session does not."""
        self._sessions.pop(key, None)
        self._sessions[key] = session, shown
        if len(self._sessions) > MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
