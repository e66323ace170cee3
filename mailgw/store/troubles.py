"""What went wrong of late, for who looks after the gateway: of each part how often, when last, and how.

Bounded, and of this process's life alone: the journal has all of it.
"""

from collections import OrderedDict
from typing import Any, Final

import attrs

from mailgw.mail.event import Trouble

MOST: Final = 100
LONGEST_WORDS: Final = 400


@attrs.define
class _Kind:
    why: str
    count: int
    first: float
    last: float
    queue_id: str


class Troubles:
    """Facts of trouble, by the part that they name."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[str, _Kind] = OrderedDict()

    def note(self, trouble: Trouble, now: float) -> None:
        """``now`` in seconds since the epoch."""
        what, why = trouble.what[:LONGEST_WORDS], trouble.why[:LONGEST_WORDS]
        known = self._kinds.get(what)
        if known is None:
            self._kinds[what] = _Kind(why, 1, now, now, trouble.queue_id)
            if len(self._kinds) > MOST:
                self._kinds.popitem(last=False)
            return
        known.why, known.last, known.queue_id = why, now, trouble.queue_id
        known.count += 1
        self._kinds.move_to_end(what)

    def told(self) -> list[dict[str, Any]]:
        """The latest first."""
        return [{"what": what, **attrs.asdict(kind)} for what, kind in reversed(self._kinds.items())]
