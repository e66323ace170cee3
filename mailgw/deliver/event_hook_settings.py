"""What one web hook for events is told: where to post, which facts, how they are signed, how long to try."""

from typing import Final

import attrs

# Facts of messages that a hook may ask for; the first ones are those that it gets where it does not say.
USUAL: Final = ("queued", "delivered", "deferred", "bounced", "held", "removed", "rejected")
EVENTS: Final = (
    *USUAL, "handed_over", "discarded", "changed", "expanded", "authenticated", "delay_warning", "expired", "reported",
)
MOST_CONCURRENCY: Final = 16
"""``store.hooks.LANES``, which has no place in what a command loads."""


@attrs.frozen
class EventHookSettings:
    """``url`` shows in no log but for its origin.  ``secrets`` are those of ``secret_file`` when it was read, the first
    line's and the second's, with which each post is signed; () where there is no file.  ``lanes`` and ``tags`` narrow
    what is told: () for no such bound.  ``schedule``: how long after each failure in a row it is tried again, the last
    one for ever, until an event is ``give_up_seconds`` old."""

    name: str
    url: str = attrs.field(repr=False)
    secret_file: str | None
    secrets: tuple[bytes, ...] = attrs.field(repr=False)
    events: frozenset[str]
    lanes: tuple[str, ...]
    tags: tuple[str, ...]
    concurrency: int
    events_per_post: int
    ca_file: str | None
    connect_seconds: float
    answer_seconds: float
    schedule: tuple[float, ...]
    give_up_seconds: float
    keep_dead_seconds: float

    @property
    def origin(self) -> str:
        """The URL without its path."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"
