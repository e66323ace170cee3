"""The HTTP API's sending, and web hooks for events, as one process has them: what takes messages into the queue and
hears facts; and where it is alone, or the parent of several, the books."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from twisted.logger import Logger

from mailgw.config.settings import Config
from mailgw.deliver.event_hook_settings import EventHookSettings
from mailgw.following import Following, Told, outcomes
from mailgw.hooks import Hooks, wanted_of
from mailgw.mail.dropped import MOST_HEAD_OCTETS
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Query
from mailgw.mail.ports import Answering, Desk, Spool, WallClock
from mailgw.maildrop import Maildrop
from mailgw.net.tasks import TaskGroup
from mailgw.sending import Sending, SendingLimits, Takes
from mailgw.store import hooks as store_hooks
from mailgw.store import sent
from mailgw.store.database import Schema
from mailgw.store.drops import Drops
from mailgw.store.ledger import Ledger
from mailgw.store.state_file import Workshop
from mailgw.taking import Taking

if TYPE_CHECKING:
    from mailgw.deliver.event_hook import EventHook, Posts
    from mailgw.ground import Ground
    from mailgw.service import MailGateway

log = Logger()

THREADS = ("mailgw letters", "mailgw sent", "mailgw events")
"""For ``Ways.composing``, ``sent`` and ``events``."""

MakeLedger = Callable[[str, Schema, Workshop], Ledger]
MakePoster = Callable[[EventHookSettings], "tuple[Posts, Callable[[], object]]"]
"""Who posts to a web hook, and what closes the connections that are kept."""


@attrs.frozen
class Ways:
    """What an owner needs of its process.  ``follow`` makes the processes that move mail tell of these messages,
    ``complete`` says that these were all of earlier starts; ``composing`` is where messages are put together;
    ``sent`` and ``events`` are where each book is written: none waits for the other."""

    config: Callable[[], Config]  # the one in force
    state: str
    ledger: MakeLedger
    takes: Takes
    door: Answering
    composing: Workshop
    sent: Workshop
    events: Workshop
    tasks: TaskGroup
    wall_clock: WallClock
    chance: Callable[[], float]
    poster: MakePoster
    follow: Callable[[Sequence[str]], None]
    complete: Callable[[], None]
    looks_again: bool = True  # into the maildrop, each second


class Owner:
    """Who keeps the books: of what the HTTP API sends, and of events on their way to web hooks."""

    def __init__(self, ways: Ways) -> None:
        def limits() -> SendingLimits:
            now = ways.config()
            return SendingLimits(
                now.hostname, now.limits.message_octets, now.limits.hold_seconds, now.retry.give_up_after)

        def ledger(name: str, schema: Schema, workshop: Workshop) -> Ledger:
            return ways.ledger(os.path.join(ways.state, name), schema, workshop)

        self._book = ledger(sent.FILE, sent.SCHEMA, ways.sent)
        self._sending = Sending(
            self._book, ways.takes, ways.door, ways.composing, ways.tasks,
            ways.wall_clock, ways.state, limits, ways.follow, ways.complete,
        )
        events = ledger(store_hooks.FILE, store_hooks.SCHEMA, ways.events)

        def has_room() -> bool:
            """Before the reserve is reached, so that nobody keeps mail out by what he makes us tell web hooks."""
            try:
                return ways.events.disk.free_octets(ways.state) >= 2 * ways.config().spool.reserve_octets
            except OSError:
                return False  # as the spool has it

        def made(settings: EventHookSettings) -> "tuple[EventHook, Callable[[], object]]":
            from mailgw.deliver.event_hook import EventHook
            from mailgw.deliver.event_hook_signing import HookSecrets

            poster, close = ways.poster(settings)
            clock = ways.events.reactor
            secrets = HookSecrets(settings, clock, ways.wall_clock)
            return EventHook(
                settings, events, poster, clock, ways.wall_clock, ways.chance, ways.tasks, secrets
            ), close

        self._hooks = Hooks(
            events, self._sending.about, made, ways.events.reactor, ways.tasks, ways.wall_clock,
            lambda: ways.events.do(has_room),
        )

        self.maildrop = Maildrop(
            lambda: ways.config().maildrop, self._sending.take_drop, ways.composing, ways.tasks,
            lambda: ways.config().limits.message_octets + MOST_HEAD_OCTETS, Drops(ways.state, ways.composing.disk),
        )
        self._looks_again = ways.looks_again
        self._wall_clock = ways.wall_clock

    def desk(self) -> Desk:
        return {**self._sending.desk(), **self._hooks.desk()}

    def maildrop_told(self) -> dict[str, Any]:
        return self.maildrop.told(self._wall_clock())

    def hear(self, facts: Sequence[Told]) -> None:
        """In their order."""
        self._sending.hear(outcomes(facts))
        self._hooks.hear(facts)

    def put_in_force(self, config: Config) -> None:
        """TemporaryFault where a web hook cannot be made."""
        self._hooks.put_in_force(config.event_hooks)

    def turn_on(self) -> None:
        """Web hooks that are off."""
        self._hooks.turn_on()

    async def hooks_at_a_glance(self) -> Sequence[Mapping[str, Any]]:
        """``Hooks.at_a_glance``."""
        return await self._hooks.at_a_glance()

    def books_told(self) -> Mapping[str, Any]:
        """``books`` and ``lost_events`` as ``web.lookout.Beside`` has them."""
        return {
            "books": [{"book": "sent", "fault": self._book.fault}, {"book": "hooks", "fault": self._hooks.fault}],
            "lost_events": self._hooks.lost_told(),
        }

    def look_again(self) -> None:
        """A process that moved mail was killed, and some of its facts with it."""
        self._sending.look_again()

    async def start(self) -> None:
        await self._sending.start()
        self.maildrop.start(self._looks_again)

    def stop(self) -> None:
        self._sending.stop()

    async def close(self) -> None:
        self.maildrop.close()
        await self._hooks.close()
        await self._sending.close()


class SendingHere:
    """In a process that moves mail.  ``hand_on`` takes facts to the owner of the book, in another process; None: it is
    this one."""

    def __init__(
        self, gateway: "MailGateway", ground: "Ground", hand_on: Callable[[Sequence[Told]], None] | None
    ) -> None:
        shard = gateway.shards.own
        composing, of_sent, of_events = (
            Workshop(ground.world.disk, ground.reactor, ground.threads(1, name)) for name in THREADS
        )
        release = Release(shard.spool, lambda: shard.dispatcher.poke())
        self._taking = Taking(
            lambda: gateway.generation.posting(), lambda: gateway.generation.notices(), composing, release
        )
        self._tasks = ground.tasks
        self._owner: Owner | None = None
        if hand_on is None:
            world = ground.world
            self._owner = owner = Owner(Ways(
                config=lambda: gateway.generation.config, state=ground.state, ledger=world.ledger, takes=self._taking,
                door=gateway, composing=composing, sent=of_sent, events=of_events, tasks=ground.tasks,
                wall_clock=ground.wall_clock, chance=world.chance, poster=world.event_poster, follow=self.follow,
                complete=self.follows_all, looks_again=world.looks_again,
            ))
            hand_on = owner.hear
        self._following = Following(hand_on, ground.reactor, ground.wall_clock)
        ground.journal.told_to(self._following.hear)

    def desk(self) -> Desk:
        return self._taking.desk() if self._owner is None else self._owner.desk()

    def maildrop_told(self) -> dict[str, Any] | None:
        """As ``Maildrop.told`` has it; None where another process has it."""
        return None if self._owner is None else self._owner.maildrop_told()

    def put_in_force(self, config: Config) -> None:
        """TemporaryFault where a web hook cannot be made."""
        if self._owner is not None:
            self._owner.put_in_force(config)
        self._following.want(wanted_of(config.event_hooks))

    def renew(self, config: Config) -> None:
        """The same, where it is too late to refuse it."""
        try:
            self.put_in_force(config)
        except TemporaryFault as fault:
            log.error("web hooks stay as they were: {why}", why=fault.why)

    def turn_on(self) -> None:
        """Web hooks that are off."""
        if self._owner is not None:
            self._owner.turn_on()

    async def hooks_at_a_glance(self) -> Sequence[Mapping[str, Any]]:
        """``Hooks.at_a_glance``; none in one of several processes."""
        return () if self._owner is None else await self._owner.hooks_at_a_glance()

    def books_told(self) -> Mapping[str, Any]:
        """``Owner.books_told``; of none in one of several processes."""
        return {"books": [], "lost_events": None} if self._owner is None else self._owner.books_told()

    def start(self) -> None:
        if self._owner is not None:
            self._tasks.spawn("reading what was sent", self._owner.start())

    def follow(self, queue_ids: Sequence[str]) -> None:
        self._following.follow(queue_ids)

    def follows_all(self) -> None:
        """Those that there were at the start are known."""
        self._following.is_complete()

    def stop(self) -> None:
        """A stop begins: ``Sending.stop``."""
        if self._owner is not None:
            self._owner.stop()

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
        if await self._spool.unhold(Query(queue_id=queue_id, record=record)):
            self._poke()


def posting_patterns(config: Config) -> Mapping[str, Sequence[str]]:
    """The addresses of those who post mail and may not send as anybody, by their words."""
    tokens = () if config.api is None else config.api.tokens
    return {f"api:{one.name}": one.senders for one in tokens if one.senders}
