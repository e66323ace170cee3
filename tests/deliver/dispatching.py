"""A dispatcher on fakes: a spool in memory, a clock by hand, a backend that is a script."""

import math
from collections.abc import Callable

from twisted.internet.task import Clock

from mailgw.deliver.dispatcher import Dispatcher, DispatcherSettings, lane_key
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.event import Event
from mailgw.mail.message import Arrival, Destination, Query, QueueRow
from mailgw.mail.outcome import Scope, permanent, temporary
from mailgw.mail.parameters import NO_MAIL_PARAMETERS, MailParameters, Notify, RcptParameters
from mailgw.queue.replies import NO_CLASSES, ReplyClasses
from mailgw.queue.schedule import RetrySettings
from mailgw.spool.memory import MemorySpool
from mailgw.testing.backends import OK, ScriptedBackend
from mailgw.testing.driving import result_of

__all__ = ["OK", "ScriptedBackend"]

ALICE = Mailbox("alice", "example.org")
BOB = Mailbox("bob", "example.net")
EVE = Mailbox("eve", "example.net")
ADMIN = Mailbox("admin", "example.org")
LATER = temporary("4.2.1", "not now", Scope.RECIPIENT, "mx.example.net [192.0.2.9]:25")
DEAD = temporary("4.4.1", "no answer", Scope.HOST, "")
NEVER = permanent("5.1.1", "no such user", Scope.RECIPIENT, "mx.example.net [192.0.2.9]:25")
CONTENT = b"Subject: hi\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"
RETRY = RetrySettings(schedule=(300.0, 900.0, 3600.0), warn_after=4 * 3600.0, give_up_after=86400.0, jitter=0.0)
START = 1_700_000_000.0


class House:
    """The dispatcher and all it stands on."""

    def __init__(
        self, backend: object, postmaster: Mailbox | None = None, spool: MemorySpool | None = None,
        classes: ReplyClasses = NO_CLASSES, retry: RetrySettings = RETRY, chance: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self.clock = Clock()
        self.step = 0.0  # of the wall clock
        self.events: list[Event] = []
        self.spool = spool or MemorySpool(self.now)
        self.backend = backend
        self.lanes: dict[str, str | None] = {}
        self.settings = DispatcherSettings("mx.example.org", retry, 600.0, postmaster, classes=classes)
        self.chance = chance
        self.dispatcher = self.another_dispatcher()

    def another_dispatcher(self) -> Dispatcher:
        """As that of another start, on the same spool."""
        return Dispatcher(
            self.settings,
            self.spool,
            {"out": self.backend},  # type: ignore[dict-item]
            self.lane_for,
            self,
            self.clock,
            self.now,
            self.chance,
        )

    def now(self) -> float:
        return START + self.step + self.clock.seconds()

    def note(self, event: Event) -> None:
        self.events.append(event)

    def lane_for(self, recipient: Mailbox) -> str | None:
        return self.lanes.get(str(recipient), lane_key("out", recipient.domain))

    def put(
        self,
        *recipients: Mailbox,
        sender: Mailbox | None = ALICE,
        claim: bool = True,
        lane: str | None = None,
        asked: MailParameters = NO_MAIL_PARAMETERS,
        notify: frozenset[Notify] | None = None,
    ) -> str:
        """Commit a message and hand its claims on; its queue id."""
        draft = self.spool.draft()
        draft.write(CONTENT)
        arrival = Arrival(sender, BodyType.SEVEN_BIT, "192.0.2.1", "x", "", "ESMTP", "s1", asked)
        of_each = RcptParameters(notify)
        destinations = [Destination(r, lane or f"out/{r.domain}", of_each) for r in recipients]
        self.dispatcher.accept(result_of(draft.commit(arrival, destinations, claim)))
        return draft.queue_id

    def rows(self) -> list[QueueRow]:
        return list(result_of(self.spool.search(Query(), 1000)))

    def pass_time(self, seconds: float, step: float = 30.0) -> None:
        """In steps, so that what is due is called up to one late; where nothing is due several are one."""
        while seconds > 0:
            due = min((call.getTime() for call in self.clock.getDelayedCalls()), default=math.inf)
            due -= self.clock.seconds()
            idle = math.ceil(min(due, seconds) / step) - 1
            if idle > 0:
                self.clock.advance(idle * step)
                seconds -= idle * step
            self.clock.advance(min(step, seconds))
            seconds -= step

    def names(self) -> list[str]:
        return [event.name for event in self.events]
