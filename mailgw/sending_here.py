"""The HTTP API's sending as one process has it: what takes its messages into the queue, and where it is alone, or the
parent of several, the book of them."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from mailgw.config.settings import Config
from mailgw.following import Following, Told, outcomes
from mailgw.mail.message import Query, RowState
from mailgw.mail.ports import Answering, Desk, Spool, WallClock
from mailgw.net.tasks import TaskGroup
from mailgw.sending import Sending, SendingLimits, Takes, Taking
from mailgw.spool.rows import UNRECORDED
from mailgw.store import sent
from mailgw.store.ledger import Ledger, Schema
from mailgw.store.state_file import Workshop

if TYPE_CHECKING:
    from mailgw.ground import Ground
    from mailgw.service import MailGateway

WANTED: Final[frozenset[str]] = frozenset()
"""Facts that are wanted of whatever message."""

MakeLedger = Callable[[str, Schema, Workshop], Ledger]


class Owner:
    """The book, and who keeps it.  ``config`` is the one in force.  ``follow`` makes the processes that move mail tell
    of these messages, ``complete`` says that these were all of earlier starts; ``workshop`` composes them, ``writing``
    writes the book."""

    def __init__(
        self, config: Callable[[], Config], state: str, make_ledger: MakeLedger, takes: Takes, door: Answering,
        workshop: Workshop, writing: Workshop, tasks: TaskGroup, wall_clock: WallClock,
        follow: Callable[[Sequence[str]], None], complete: Callable[[], None],
    ) -> None:
        def limits() -> SendingLimits:
            now = config()
            return SendingLimits(now.hostname, now.limits.message_octets, now.limits.hold_seconds)

        ledger = make_ledger(os.path.join(state, sent.FILE), sent.SCHEMA, writing)
        self._sending = Sending(ledger, takes, door, workshop, tasks, wall_clock, state, limits, follow, complete)

    def desk(self) -> Desk:
        return self._sending.desk()

    def hear(self, facts: Sequence[Told]) -> None:
        """In their order."""
        self._sending.hear(outcomes(facts))

    async def start(self) -> None:
        await self._sending.start()

    async def close(self) -> None:
        await self._sending.close()


class SendingHere:
    """In a process that moves mail.  ``hand_on`` takes facts to the owner of the book, in another process; None: it is
    this one."""

    def __init__(
        self, gateway: "MailGateway", ground: "Ground", hand_on: Callable[[Sequence[Told]], None] | None
    ) -> None:
        shard = gateway.shards.own
        composing, writing = (
            Workshop(ground.world.disk, ground.reactor, ground.threads(1, name))
            for name in ("mailgw letters", "mailgw books")
        )
        release = Release(shard.spool, lambda: shard.dispatcher.poke())
        self._taking = Taking(lambda: gateway.generation.posting(), composing, release)
        self._tasks = ground.tasks
        self._owner: Owner | None = None
        if hand_on is None:
            self._owner = owner = Owner(
                lambda: gateway.generation.config, ground.state, ground.world.ledger, self._taking, gateway, composing,
                writing, ground.tasks, ground.wall_clock, self.follow, self.follows_all,
            )
            hand_on = owner.hear
        self._following = Following(WANTED, hand_on, ground.reactor, ground.wall_clock)
        ground.journal.told_to(self._following.hear)

    def desk(self) -> Desk:
        return self._taking.desk() if self._owner is None else self._owner.desk()

    def start(self) -> None:
        if self._owner is not None:
            self._tasks.spawn("reading what was sent", self._owner.start())

    def follow(self, queue_ids: Sequence[str]) -> None:
        self._following.follow(queue_ids)

    def follows_all(self) -> None:
        """Those that there were at the start are known."""
        self._following.is_complete()

    async def close(self) -> None:
        self._following.flush()
        if self._owner is not None:
            await self._owner.close()


class Release:
    """Lets go, in the process's own shard, what waits for its record."""

    def __init__(self, spool: Spool, poke: Callable[[], None]) -> None:
        self._spool = spool
        self._poke = poke

    async def __call__(self, queue_id: str, record: str) -> None:
        """TemporaryFault where the queue is unwell."""
        query = Query(queue_id=queue_id, state=RowState.HELD, reason=f"{UNRECORDED}{record}")
        if await self._spool.unhold(query):
            self._poke()


def posting_patterns(config: Config) -> Mapping[str, Sequence[str]]:
    """The addresses of those who post mail and may not send as anybody, by their words."""
    api: Any = getattr(config, "api", None)
    tokens = () if api is None else api.tokens
    return {f"api:{one.name}": one.senders for one in tokens if one.senders}
