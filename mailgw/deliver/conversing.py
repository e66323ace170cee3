"""What was said in attempts, noted in the journal (``[journal] conversations``)."""

import enum
from collections.abc import Callable, Iterable, Sequence

import attrs

from mailgw.deliver.names import lane_key
from mailgw.mail.event import Conversation as ConversationNoted
from mailgw.mail.event import Event
from mailgw.mail.outcome import Outcome


class Conversations(enum.Enum):
    """Of which attempts it is noted."""

    FAILED = "failed"  # in which somebody was not served
    ALL = "all"
    NONE = "none"


@attrs.frozen
class Said:
    """Over one connection, or to one program: with whom, in which lines, how long it took."""

    hop: str
    lines: tuple[str, ...]
    seconds: float


@attrs.frozen
class Conversing:
    """One backend's, which is called ``name``; ``which`` is not NONE."""

    name: str
    which: Conversations
    note: Callable[[Event], None]

    def wants(self, outcomes: Iterable[Outcome]) -> bool:
        """Whether an attempt that came to these is told of."""
        return self.which is Conversations.ALL or not all(outcome.is_delivered for outcome in outcomes)

    def tell(self, queue_id: str, lane: str, said: Sequence[Said]) -> None:
        """Before what came of it is told; ``lane`` as the backend has it."""
        key = lane_key(self.name, lane)
        for one in said:
            self.note(ConversationNoted(queue_id, key, one.hop, one.lines, round(one.seconds, 3)))
