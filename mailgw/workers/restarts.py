"""When a worker that ended is started again.

Pure: seconds of some monotonic clock.
"""

from typing import Final

import attrs

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 60.0
# Who ran for so long, and was heard of at the end of it, has recovered: the next end is a first one.
STEADY_SECONDS: Final = 60.0
# Ends in a row after which its shards are not left to wait for it: that is some three seconds.
LOST_AFTER: Final = 4


@attrs.define
class Restarts:
    """Of one worker.  ``ends`` counts those without a steady run between them."""

    ends: int = 0
    began_at: float = 0.0
    heard_at: float = 0.0

    def began(self, now: float) -> None:
        self.began_at = self.heard_at = now

    def heard(self, now: float) -> None:
        """It is open, or answers: who hangs for an hour before he is ended has not run well for an hour."""
        self.heard_at = now

    def ended(self) -> float:
        """It ended; after how many seconds it is to be started again."""
        if self.heard_at - self.began_at >= STEADY_SECONDS:
            self.ends = 0
        self.ends += 1
        pause: float = FIRST_PAUSE_SECONDS * 2 ** min(self.ends - 1, 30)
        return min(pause, LONGEST_PAUSE_SECONDS)

    @property
    def is_lost(self) -> bool:
        return self.ends >= LOST_AFTER
