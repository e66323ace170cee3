"""What waits in memory for one destination, and who is next.

Pure: it does not look into its items.

Rules:
    A higher priority (RFC 6710) overtakes, and of one priority what is fresh overtakes what was tried before.
    Of those, the senders take turns: a sender's ten thousandth message does not keep another's first one waiting.
    One in ``OVERTAKEN_AT_MOST`` + 1 is what came first of all: whoever is overtaken is slow while others keep a
    destination busy, and never stands still.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

OVERTAKEN_AT_MOST = 7


class Line(Generic[T]):
    """A bag of items with an order of its own."""

    __slots__ = ("_count", "_overtaken", "_ranks", "_total")

    def __init__(self) -> None:
        # By rank, and there by sender, in the order of their turns: items with their numbers.  None of them is empty.
        self._ranks: dict[tuple[int, bool], dict[str, deque[tuple[int, T]]]] = {}
        self._count = 0
        self._total = 0
        self._overtaken = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        """In no order; nothing may be added or taken meanwhile."""
        return (item for senders in self._ranks.values() for line in senders.values() for _, item in line)

    def count_of(self, sender: str) -> int:
        """How many of one sender's wait."""
        return sum(len(senders[sender]) for senders in self._ranks.values() if sender in senders)

    def has_fresh(self) -> bool:
        """Whether anything waits that was not tried before."""
        return any(is_fresh for _, is_fresh in self._ranks)

    def next_sender(self) -> str:
        """Whose turn it is in the usual order; "" where nothing waits."""
        return next(iter(self._ranks[max(self._ranks)])) if self._ranks else ""

    def add(self, item: T, priority: int = 0, is_fresh: bool = True, sender: str = "") -> None:
        senders = self._ranks.setdefault((priority, is_fresh), {})
        line = senders.get(sender)
        if line is None:
            line = senders[sender] = deque()
        line.append((self._total, item))
        self._total += 1
        self._count += 1

    def take(self) -> T:
        """The next one; IndexError where nothing waits."""
        if not self._ranks:
            raise IndexError("nothing waits")
        rank = next(iter(self._ranks)) if len(self._ranks) == 1 else max(self._ranks)
        senders = self._ranks[rank]
        sender = next(iter(senders))
        if self._count > 1 and self._is_out_of_turn():
            rank, sender = min(
                ((rank, sender) for rank, senders in self._ranks.items() for sender in senders),
                key=lambda where: self._ranks[where[0]][where[1]][0][0],
            )
            senders = self._ranks[rank]
        line = senders.pop(sender)
        item = line.popleft()[1]
        if line:
            senders[sender] = line  # to the end of its turn
        elif not senders:
            del self._ranks[rank]
        self._count -= 1
        return item

    def take_where(self, is_meant: Callable[[T], bool]) -> list[T]:
        """Those that are meant; the others go on waiting in their order."""
        taken = []
        for rank in sorted(self._ranks, reverse=True):
            senders = self._ranks[rank]
            for sender, line in list(senders.items()):
                found = [entry for entry in line if is_meant(entry[1])]
                if not found:
                    continue
                taken += [item for _, item in found]
                numbers = {number for number, _ in found}
                senders[sender] = deque(entry for entry in line if entry[0] not in numbers)
                if not senders[sender]:
                    del senders[sender]
            if not senders:
                del self._ranks[rank]
        self._count -= len(taken)
        return taken

    def take_all(self) -> list[T]:
        """All of them; nothing waits then."""
        return self.take_where(lambda _: True)

    def _is_out_of_turn(self) -> bool:
        self._overtaken = (self._overtaken + 1) % (OVERTAKEN_AT_MOST + 1)
        return not self._overtaken
