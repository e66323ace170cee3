"""One web hook for events: what waits for it is posted, in the order of each message, until it is taken, or dead.

RFC 9110 by Twisted's Agent (``net.posting``), signed (``event_hook_signing``).

Rules:
    A post is a JSON array of events.  2xx takes all of them; 410 turns the hook off, until somebody resumes it, or
    the configuration is read again; with everything else, and without an answer, they are posted again.
    Of one message nothing is posted before what came before it was taken, or is dead: posts of one lane go one after
    the other, and a message belongs to a lane.
    What is refused (3xx, 4xx) is narrowed down, by half each time, to a single event: then that one's message waits by
    itself, and the others go on.  Where the server is not there, or unwell (5xx, 408, 429), all of them wait.
    Of a hook that is astray (``straying``) all events wait, until it takes one, and until then none dies.
    An event that is too old when an attempt fails is dead, and the next one of its message has its turn; where that one
    dies, too, those that are as old do with it.  But for these, none dies of age without an attempt.
    What was posted and not written down, since we were killed, is posted again, with the same ids.
    The URL's path and the secrets are in no log.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import attrs
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailgw.deliver.event_hook_settings import EventHookSettings
from mailgw.deliver.event_hook_signing import signed
from mailgw.deliver.straying import ASTRAY, UNWELL, Straying
from mailgw.deliver.webhook_answer import in_words, wait_seconds
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Content
from mailgw.mail.ports import WallClock
from mailgw.net.tasks import TaskGroup
from mailgw.spool.content import MemoryContent
from mailgw.store import hooks
from mailgw.store.hooks import LANES, Batch
from mailgw.store.ledger import Ledger

if TYPE_CHECKING:
    from mailgw.net.posting import PostAnswer  # Twisted's HTTP takes its time to be imported

POST_OCTETS: Final = 1 << 20
"""Of one post, but for a single event."""
JITTER: Final = 0.1
DISK_SECONDS: Final = 5.0
"""After the book could not be read or written."""
ASTRAY_SECONDS: Final = 300.0
"""At most, between two turns: what refuses at once has no load of it, and good events may wait."""

log = Logger()


class Posts(Protocol):
    """``net.posting.Poster``."""

    async def post(self, url: str, headers: Mapping[str, str], content: Content) -> "PostAnswer": ...


@attrs.define
class State:
    """How it is.  ``failures`` in a row; ``why`` of the last one, ``at`` when; ``again`` when all of it is tried again
    (by the wall clock), 0: at once."""

    is_off: bool = False
    failures: int = 0
    why: str = ""
    at: float = 0.0
    again: float = 0.0
    posts: int = 0
    events: int = 0
    dead: int = 0


class EventHook:
    """``secrets`` says what to sign with, now; ``close`` is called at the end, to close kept connections."""

    def __init__(
        self, settings: EventHookSettings, ledger: Ledger, poster: Posts, clock: IReactorTime, wall_clock: WallClock,
        chance: Callable[[], float], tasks: TaskGroup, secrets: Callable[[], Sequence[bytes]],
    ) -> None:
        self.settings = settings
        self.state = State()
        self._ledger = ledger
        self._poster = poster
        self._clock = clock
        self._wall_clock = wall_clock
        self._chance = chance
        self._tasks = tasks
        self._secrets = secrets
        self._closed_until = 0.0  # by the reactor's clock
        self._straying = Straying(settings.concurrency, chance)
        self._sizes = [settings.events_per_post] * settings.concurrency
        self._skips = [False] * settings.concurrency
        self._running = [False] * settings.concurrency
        self._is_poked = [False] * settings.concurrency
        self._timers: list[IDelayedCall | None] = [None] * settings.concurrency
        self._cancels: set[Callable[[], None]] = set()
        self._is_closed = False

    def wake(self) -> None:
        """There may be something to post."""
        for one in range(self.settings.concurrency):
            self._wake(one)

    def resume(self) -> None:
        """On again where it was off; nobody waits for a later time, as if nothing had failed before.  Messages that
        wait by themselves are the book's (``hooks.due_now``)."""
        if self.state.is_off:
            log.info("web hook {name} is on again", name=self.settings.name)
        self._is_new()
        self.wake()

    def _is_new(self, is_off: bool = False) -> None:
        self.state.is_off, self.state.failures, self.state.again = is_off, 0, 0.0
        self._closed_until = 0.0
        self._straying.is_new()

    def close(self) -> None:
        """Post no more; what was begun is cut off, and posted again later."""
        self._is_closed = True
        for at, timer in enumerate(self._timers):
            if timer is not None and timer.active():
                timer.cancel()
            self._timers[at] = None
        for cancel in list(self._cancels):
            cancel()

    # --- one line of posts, of several lanes ----------------------------------------------------------------

    def _wake(self, line: int) -> None:
        if self._is_closed or self.state.is_off:
            return
        if self._running[line]:
            self._is_poked[line] = True
            return
        timer = self._timers[line]
        if timer is not None and timer.active():
            if self._closed_until > self._clock.seconds():
                return
            timer.cancel()
        self._timers[line] = None
        self._running[line] = True
        self._cancels.add(cancel := self._tasks.spawn(f"web hook {self.settings.name}", self._run(line)))
        if not self._running[line]:
            self._cancels.discard(cancel)

    async def _run(self, line: int) -> None:
        wait: float | None = None
        try:
            while not self._is_closed and not self.state.is_off:
                self._is_poked[line] = False
                wait = await self._step(line)
                if wait is not None and not (wait < 0 and self._is_poked[line]):
                    break
        except CancelledError:
            pass
        except TemporaryFault as fault:
            log.warn("web hook {name}: {why}", name=self.settings.name, why=fault.why)
            wait = DISK_SECONDS
        finally:
            self._running[line] = False
        if wait is not None and wait >= 0 and not self._is_closed and not self.state.is_off:
            self._timers[line] = self._clock.callLater(wait, self._come_back, line)

    def _come_back(self, line: int) -> None:
        self._timers[line] = None
        self._wake(line)

    async def _step(self, line: int) -> float | None:
        """One post.  None: go on; seconds to wait for; -1: until something comes."""
        if (left := self._closed_until - self._clock.seconds()) > 0:
            return left
        settings, now = self.settings, self._wall_clock()
        lanes = range(line, LANES, settings.concurrency)
        skips, self._skips[line] = self._skips[line], False
        straying = self._straying
        batch = await self._ledger.look(hooks.next_batch(
            settings.name, lanes, now, self._sizes[line], POST_OCTETS, not skips, straying.where(line),
            straying.is_doubted))
        straying.is_astray = batch.is_astray
        if not batch.numbers:
            if straying.has_probed(line):
                return self._shut(line, self._pause(self.state.failures, True))
            least = self._pause(0) if skips else 0.0
            return -1.0 if batch.next_due is None else max(least, batch.next_due - now)
        status, why, asked = await self._posted(batch)
        self.state.posts += 1
        if 200 <= status < 300:
            await self._ledger.do(hooks.taken(settings.name, batch.numbers, batch.message))
            self._is_well(line, len(batch.numbers), bool(batch.message))
            return None
        self.state.why, self.state.at = why, self._wall_clock()
        if status == 410:
            self._is_new(is_off=True)
            log.error("web hook {name} says 410, Gone: it is turned off, until mailgw webhooks resume, or until the "
                      "configuration is read again", name=settings.name)
            return -1.0
        if status >= 500 and batch.message:
            # It may fall over this event; how it is with others they will show, before another one like this is tried.
            self._skips[line] = True
            await self._refused(batch, why)
            return None
        is_stray = status in ASTRAY and await self._strayed(batch, why)
        if is_stray and batch.is_astray and straying.may_probe(line):
            await self._refused(batch, why)
            return None
        if is_stray or status == 0 or status >= 500 or status in UNWELL:
            return await self._all_wait(line, batch, status, why, asked)
        if len(batch.numbers) > 1:
            self._sizes[line] = len(batch.numbers) // 2
            return None
        if status not in ASTRAY:
            straying.refused_as_itself()
        # The first ones of a hook that is astray are not told from others yet: none of them dies at once.
        await self._refused(batch, why, may_die=bool(batch.message) or status not in ASTRAY)
        return None

    async def _posted(self, batch: Batch) -> tuple[int, str, float | None]:
        """The status, 0 for no answer; why it is no good, in words; how long the server wants to be left alone."""
        body = b"[" + b",".join(batch.bodies) + b"]"
        now = self._wall_clock()
        headers = {"Content-Type": "application/json", **signed(body, batch.numbers, int(now), self._secrets())}
        try:
            answer = await self._poster.post(self.settings.url, headers, MemoryContent(body))
        except TemporaryFault as fault:
            return 0, fault.why, None
        return answer.status, in_words(answer.status, answer.location), wait_seconds(answer.retry_after, now)

    def _is_well(self, line: int, events: int, was_blocked: bool) -> None:
        if self.state.failures:
            log.info("web hook {name} takes events again", name=self.settings.name)
        self.state.failures, self.state.again = 0, 0.0
        self._straying.took(self._clock.seconds())
        self.state.events += events
        if not was_blocked:
            self._sizes[line] = min(self.settings.events_per_post, 2 * self._sizes[line])

    async def _strayed(self, batch: Batch, why: str) -> bool:
        """Whether it is astray, now that it refused these like that.  Not before they are narrowed down to one, which
        waits by itself then: so each attempt is with another message, and one that is taken is found."""
        straying = self._straying
        if len(batch.numbers) > 1:
            return False
        if straying.is_astray:
            return True
        if not straying.refused(not batch.message, self._clock.seconds()):
            return False
        await self._ledger.do(hooks.strayed(self.settings.name))
        straying.is_astray = True
        log.error("web hook {name} took none of {count} messages: all events wait, until its URL, or what it wants to "
                  "know of us, is mended: {why}", name=self.settings.name, why=why, count=straying.in_a_row)
        return True

    async def _refused(self, batch: Batch, why: str, may_die: bool = True) -> None:
        settings, now = self.settings, self._wall_clock()
        is_astray = self._straying.is_astray
        due = now + self._pause(batch.attempts, is_astray)
        give_up_seconds = settings.give_up_seconds if may_die and not is_astray else math.inf
        number, count = batch.numbers[0], 1
        if not await self._ledger.do(hooks.refused(settings.name, number, now, due, give_up_seconds, why)):
            return
        try:
            # The second one in a row: the first one's successor had its turn.
            while batch.message and not batch.attempts and (more := await self._ledger.do(
                    hooks.died_with(settings.name, number, now, give_up_seconds, why))):
                count += more
        finally:
            self._died(count, why)

    async def _all_wait(self, line: int, batch: Batch, status: int, why: str, asked: float | None) -> float:
        settings = self.settings
        pause = self._shut(line, max(self._pause(self.state.failures, status in ASTRAY), asked or 0.0))
        # It may be one event that it falls over.
        self._sizes[line] = max(1, len(batch.numbers) // 2)
        if (status >= 500 or status in ASTRAY) and len(batch.numbers) == 1:
            await self._refused(batch, why)
        if self._straying.is_astray:
            return pause
        now = self._wall_clock()
        while count := await self._ledger.do(hooks.given_up(settings.name, now - settings.give_up_seconds, now, why)):
            self._died(count, why)
        return pause

    def _shut(self, line: int, pause: float) -> float:
        """All events wait so long."""
        state = self.state
        if not state.failures:
            log.warn("web hook {name} does not take events: {why}", name=self.settings.name, why=state.why)
        state.failures += 1
        self._closed_until = self._clock.seconds() + pause
        state.again = self._wall_clock() + pause
        self._straying.turn_is_over(line)
        return pause

    def _died(self, count: int, why: str) -> None:
        self.state.dead += count
        are = "event is" if count == 1 else "events are"
        log.error("web hook {name}: {count} {are} dead: {why}", name=self.settings.name, count=count, are=are, why=why)

    def _pause(self, failures: int, is_astray: bool = False) -> float:
        schedule = self.settings.schedule
        seconds = schedule[min(failures, len(schedule) - 1)] * (1.0 - JITTER + 2 * JITTER * self._chance())
        return min(seconds, ASTRAY_SECONDS) if is_astray else seconds
