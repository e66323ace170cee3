"""Results on their way to the disk, however long it refuses to take them."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Claim, Notice, Settlement
from mailgw.mail.ports import Spool

log = Logger()

# Results that the disk refuses to take: with so many open, nothing more is attempted.
MAX_UNRECORDED = 20
RECORD_AGAIN_SECONDS = (1.0, 5.0, 15.0, 60.0)


class Records:
    """``is_cut_off``: the gateway stops now, and nothing is tried again.  ``was_late`` is called when something was
    written a while after it was true: what it says is due may have been so for long."""

    def __init__(self, spool: Spool, clock: IReactorTime, was_late: Callable[[], None]) -> None:
        self.is_cut_off = False
        self._spool = spool
        self._clock = clock
        self._was_late = was_late
        self._unrecorded = 0

    @property
    def are_too_many(self) -> bool:
        """Whether so many results wait for the disk that there should be no further ones."""
        return self._unrecorded >= MAX_UNRECORDED

    async def write(
        self, claim: Claim, settlements: Sequence[Settlement], notices: Sequence[Notice]
    ) -> tuple[Claim, ...]:
        """Write it down, however long the disk refuses (but not beyond the limit of a stop): until then the lease
        keeps others away.  The claims of the notices."""
        tries = 0
        try:
            while True:
                try:
                    return await self._spool.record(claim, settlements, notices)
                except TemporaryFault as fault:
                    if self.is_cut_off:
                        log.error(
                            "the result for {queue_id} is lost, since the gateway stops: {why}",
                            queue_id=claim.message.queue_id, why=fault.why,
                        )
                        return ()
                    if not tries:
                        self._unrecorded += 1
                    wait = RECORD_AGAIN_SECONDS[min(tries, len(RECORD_AGAIN_SECONDS) - 1)]
                    tries += 1
                    log.error(
                        "the result for {queue_id} could not be recorded, again in {wait} s: {why}",
                        queue_id=claim.message.queue_id, wait=wait, why=fault.why,
                    )
                    await self._sleep(wait)
        finally:
            if tries:
                self._unrecorded -= 1
                self._was_late()

    async def _sleep(self, seconds: float) -> None:
        done: Deferred[None] = Deferred()
        call = self._clock.callLater(seconds, done.callback, None)
        try:
            await done
        except CancelledError:
            if not self.is_cut_off:
                raise
            # The limit of the stop: one try more, and what fails then is said to be lost.
        finally:
            if call.active():
                call.cancel()
