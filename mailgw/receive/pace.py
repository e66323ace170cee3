"""How long one transaction may take in all, however busy its client looks (RFC 5321 s4.5.3.2 has limits a step only).

From the greeting, or from the last message that was taken, to the end of the next: a fixed time, and more for
content at the slowest rate that is worth waiting for.  So one octet a second, or a command every four minutes, comes
to nothing, and 40 MB over a slow line go through.
"""

from mailgw.receive.settings import TimeLimits


class Pace:
    """One session's; ``deadline`` is when it has taken too long.  What we took ourselves does not count."""

    def __init__(self, limits: TimeLimits, now: float) -> None:
        self._seconds = limits.transaction
        self._seconds_per_octet = 1.0 / limits.octets_per_second
        self.deadline = now + limits.transaction
        self._earned = 0.0

    def left(self, now: float) -> float:
        """Seconds until the transaction has taken too long."""
        return self.deadline - now

    def behind(self, started: float, now: float) -> float:
        """Seconds that content, whose MAIL came at ``started``, is behind the slowest rate."""
        return now - started - self._earned

    def begin(self, now: float) -> None:
        """A message was taken: the time of the next one begins."""
        self.deadline = now + self._seconds
        self._earned = 0.0

    def content(self, octets: int) -> None:
        earned = octets * self._seconds_per_octet
        self._earned += earned
        self.deadline += earned

    def waited(self, seconds: float) -> None:
        """The client waited for us."""
        self.deadline += seconds
