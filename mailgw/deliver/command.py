"""The command backend: a program a delivery, with the message on its standard input, as pipe(8) of Postfix has it.

Not done: another user or group, chroot, a folder of its own (it runs in the gateway's).

Rules:
    A program is the leader of a session and a process group of its own.  One that takes too long, or is not wanted any
    more, gets TERM with its whole group, and KILL after ``GRACE_SECONDS``, or as soon as it has gone itself.
    What was ended so is not delivered, whatever its exit status says; nor is what was given to a program that did not
    get all of its content, because we could not read it.  A program need not read what it is given.
    When a program has ended, what it left behind may keep its pipes for ``LINGER_SECONDS``; then they are closed.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.error import ConnectionDone, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailgw.deliver.command_words import Ended, Vector, environment, not_started, outcome_of, told
from mailgw.deliver.conversing import Conversing, Said
from mailgw.deliver.reencoding import fitted, unfit_outcome
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Scope, permanent, refused, temporary
from mailgw.mail.reply import Reply
from mailgw.store.maildir import LineFeeds, top_fields
from mailgw.wire.conversation import THEM, content_words, short
from mailgw.wire.reencode import Unfit

log = Logger()

GRACE_SECONDS = 5.0
"""From TERM to KILL."""
LINGER_SECONDS = 1.0
# After KILL: it is gone within milliseconds, but for one that waits for a disk, or that somebody else has reaped.
LOST_SECONDS = 2.0


@attrs.frozen
class CommandSettings:
    """``arguments`` are templates, the first the program's absolute path; ``crlf`` says how lines end on its standard
    input; ``delivery_fields``, whether Return-Path is on top, and Delivered-To in a run for one recipient;
    ``environment`` comes over what there is; ``output_octets`` of its output are kept; ``concurrency`` run at once."""

    arguments: tuple[str, ...]
    null_sender: str
    crlf: bool
    delivery_fields: bool
    environment: Mapping[str, str]
    recipients_per_run: int
    time_seconds: float
    output_octets: int
    concurrency: int


def leader() -> tuple[str, ...]:
    """What, put before a program, makes it the leader of its own session: posix_spawn, which alone starts a program
    quickly and safely beside threads, cannot be told to."""
    found = shutil.which("setsid", path="/usr/bin:/bin")
    if found is not None:
        return (found,)
    return (sys.executable, "-I", "-S", "-c", "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])")


_CUT_OFF = temporary("4.3.0", "The attempt ended before this recipient's turn", Scope.RECIPIENT, "")


@implementer(IDeliveryBackend)
class CommandBackend(Service):
    """``reactor`` starts processes and tells time; ``kill_group`` is ``os.killpg``; ``conversing`` tells what was said,
    None: nobody wants to know."""

    def __init__(
        self,
        settings: CommandSettings,
        reactor: Any,
        first: Sequence[str],
        kill_group: Callable[[int, int], None] = os.killpg,
        conversing: Conversing | None = None,
    ) -> None:
        self._conversing = conversing
        self.concurrency = settings.concurrency
        self._settings = settings
        self._vector = Vector(settings.arguments, settings.null_sender)
        self._program = settings.arguments[0]
        self._reactor = reactor
        self._first = [os.fsencode(word) for word in first]
        self._kill_group = kill_group
        self._runs: set[Run] = set()

    def stopService(self) -> Deferred[None]:
        """End what still runs; the attempts are over by now."""
        super().stopService()  # type: ignore[no-untyped-call] # Twisted has no types there
        for run in list(self._runs):
            run.end("the gateway stops")
        return DeferredList([run.gone for run in self._runs]).addCallback(lambda _: None)

    def lane(self, recipient: Mailbox) -> str:
        return ""

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        why = self._vector.refusal(_NO_MESSAGE, recipient)
        return None if why is None else Reply(550, "5.1.3", (f"The address {why}",))

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        """As the interface says: cut off after the first runs it says what became of those."""
        known: dict[Mailbox, Outcome] = {}
        takers: list[Mailbox] = []
        if (why := self._vector.refusal(message, None)) is not None:
            # RFC 3463 s3.2, x.1.7: bad sender's mailbox address syntax
            return dict.fromkeys(recipients, permanent("5.1.7", f"The sender {why}", Scope.MESSAGE, self._program))
        for recipient in recipients:
            if (why := self._vector.refusal(message, recipient)) is None:
                takers.append(recipient)
            else:
                known[recipient] = permanent("5.1.3", f"The address {why}", Scope.RECIPIENT, self._program)
        try:
            if message.body_type is BodyType.BINARY:
                # Its bare LFs would be line ends to the program.
                fitting = await fitted(message, BodyType.EIGHT_BIT)
                if isinstance(fitting, Unfit):
                    return known | dict.fromkeys(takers, unfit_outcome(fitting, self._program))
                message = fitting
            step = self._settings.recipients_per_run
            for start in range(0, len(takers), step):
                run = takers[start:start + step]
                outcome = await self._run(message, run)
                known |= dict.fromkeys(run, outcome)
                if outcome.scope is Scope.HOST:
                    return dict.fromkeys(takers[start + step:], outcome) | known  # they would meet the same
        except CancelledError:
            if not known:
                raise
            return dict.fromkeys(recipients, _CUT_OFF) | known
        return known

    async def _run(self, message: Message, recipients: Sequence[Mailbox]) -> Outcome:
        arguments = [*self._first, *self._vector.filled(message, recipients)]
        variables = environment(message, recipients, self._settings.environment)
        run = Run(self._reactor, self._settings, self._kill_group)
        if not os.access(self._program, os.X_OK, effective_ids=True):
            # Else it is setsid that says so, in its own words.
            return not_started("it is missing, or this user may not run it", self._program)
        try:
            self._reactor.spawnProcess(run, arguments[0], arguments, variables)
        except (OSError, ValueError) as fault:
            why = (fault.strerror if isinstance(fault, OSError) else str(fault)) or type(fault).__name__
            return not_started(f"it cannot be started: {why}", self._program)
        began = self._reactor.seconds()
        self._runs.add(run)
        _ = run.gone.addCallback(lambda _: self._runs.discard(run))
        top = b""
        if self._settings.delivery_fields:
            top = _fields(message, recipients)
        feeding = Deferred.fromCoroutine(run.feed(message, top)).addErrback(run.starve)
        try:
            ended = await run.ended
        finally:
            feeding.cancel()
        if not run.why:
            outcome = outcome_of(ended, self._program)
        else:
            reply = Reply(451, "4.3.0", told(f"The command was ended: {run.why}", ended.output))
            outcome = refused(reply, Scope.RECIPIENT, self._program, is_ours=True)
        self._tell(message, recipients, ended, run.why, outcome, self._reactor.seconds() - began)
        return outcome

    def _tell(
        self, message: Message, recipients: Sequence[Mailbox], ended: Ended, why: str, outcome: Outcome, seconds: float
    ) -> None:
        if self._conversing is None or not self._conversing.wants([outcome]):
            return
        asked = f"a run for {len(recipients)} recipients, {content_words(message.content.size_octets)}"
        how = f"exit status {ended.status}" if ended.status is not None else f"ended by signal {ended.signal}"
        lines = [("", asked.encode()), *((THEM, line) for line in ended.output.splitlines()), ("", how.encode())]
        if why:
            lines.append(("", why.encode()))
        self._conversing.tell(message.queue_id, "", [Said(self._program, short(*lines), seconds)])


class _NoContent:
    size_octets = 0
    octets = b""

    async def chunks(self) -> Any:
        return
        yield b""


# At RCPT nobody asks what stands for the sender.
_NO_MESSAGE = Message("", None, BodyType.SEVEN_BIT, 0.0, _NoContent())


def _fields(message: Message, recipients: Sequence[Mailbox]) -> bytes:
    fields = top_fields(message.reverse_path, recipients[0])
    if len(recipients) > 1:
        fields = fields.partition(b"\n")[0] + b"\n"
    return fields.replace(b"\n", b"\r\n")


@implementer(IPushProducer)
class Run(ProcessProtocol):
    """One program that runs: ``ended`` is how it did, with what it said; cancelled, it is ended.  ``gone`` comes when
    there is nothing to be waited for any more.  ``why`` we ended it, ``""`` where we did not."""

    def __init__(
        self, clock: IReactorTime, settings: CommandSettings, kill_group: Callable[[int, int], None]
    ) -> None:
        self.why = ""
        self.ended: Deferred[Ended] = Deferred(lambda _: self.end("the attempt was over"))
        self.gone: Deferred[None] = Deferred()
        self._clock = clock
        self._settings = settings
        self._kill_group = kill_group
        self._process: Any = None
        self._pid = 0
        self._output = b""
        self._how: Ended | None = None
        self._is_deaf = False
        self._is_paused = False
        self._wakes: Deferred[None] | None = None
        self._timers: list[IDelayedCall] = []

    # --- its life -------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._process = self.transport
        self._pid = self._process.pid
        self._in(self._settings.time_seconds, self.end, f"it took longer than {self._settings.time_seconds:g} s")

    def end(self, why: str) -> None:
        """Let it and its group end, the hard way if need be."""
        if self.why or self._how is not None:
            return
        self.why = why
        self._signal(signal.SIGTERM)
        self._in(GRACE_SECONDS, self._kill)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._in(LOST_SECONDS, self._lose)

    def _lose(self) -> None:
        log.error("a command, process {pid}, is still there after a KILL: nobody waits for it any more", pid=self._pid)
        self._how = Ended(None, signal.SIGKILL, b"")
        self._settle()

    def _signal(self, number: int) -> None:
        try:
            self._kill_group(self._pid, number)
        except ProcessLookupError:  # it has no group of its own yet
            try:
                self._process.signalProcess(number)
            except ProcessExitedAlready:
                pass
        except PermissionError:  # it has become another user
            pass

    def processExited(self, reason: Failure) -> None:
        if self._how is not None:
            return
        fault: Any = reason.value
        self._how = Ended(None if fault.signal else fault.exitCode or 0, fault.signal or 0, b"")
        self._wind_down()
        if self.why:
            self._signal_rest()
        self._in(LINGER_SECONDS, self._settle)  # its last words may still be in a pipe

    def _signal_rest(self) -> None:
        try:
            self._kill_group(self._pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass

    def processEnded(self, reason: Failure) -> None:
        self.processExited(reason)
        self._settle()

    def _settle(self) -> None:
        self._wind_down()
        self._is_deaf = True
        self._wake()
        self._close()
        assert self._how is not None
        if not self.gone.called:
            self.gone.callback(None)
        if not self.ended.called:
            self.ended.callback(attrs.evolve(self._how, output=self._output))

    def _close(self) -> None:
        """Of all pipes our ends, even where somebody holds the other one and does not read."""
        for pipe in list(getattr(self._process, "pipes", {}).values()):
            pipe.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call] # Twisted's

    def _in(self, seconds: float, what: Callable[..., None], *arguments: object) -> None:
        self._timers.append(self._clock.callLater(seconds, what, *arguments))

    def _wind_down(self) -> None:
        timers, self._timers = self._timers, []
        for timer in timers:
            if timer.active():
                timer.cancel()

    # --- what it says ---------------------------------------------------------------------------------------

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        room = self._settings.output_octets - len(self._output)
        if room > 0:  # the rest is read, too, so that it can go on
            self._output += data[:room]

    # --- what it reads --------------------------------------------------------------------------------------

    async def feed(self, message: Message, top: bytes) -> None:
        """Give it all of the content as fast as it reads; it may hang up at any time."""
        self._process.registerProducer(self, True)
        line_feeds = None if self._settings.crlf else LineFeeds()
        octets = message.content.octets
        if octets is not None:
            self._write(top + octets, line_feeds)
        else:
            self._write(top, line_feeds)
            async for chunk in message.content.chunks():
                self._write(chunk, line_feeds)
                if self._is_paused and not self._is_deaf:
                    self._wakes = Deferred()
                    await self._wakes
                if self._is_deaf:
                    return
        if line_feeds is not None:
            self._process.write(line_feeds.end())
        self._process.unregisterProducer()
        self._process.closeStdin()

    def feed_nothing(self) -> None:
        """Its standard input is empty."""
        self._process.closeStdin()

    def starve(self, failure: Failure) -> None:
        """It will not have all of its content: a part of a message must not be taken for one."""
        if isinstance(failure.value, CancelledError):
            return
        if not isinstance(failure.value, TemporaryFault):
            log.failure("a command was not given its message", failure)
        self.end("the content cannot be read")

    def _write(self, octets: bytes, line_feeds: LineFeeds | None) -> None:
        self._process.write(octets if line_feeds is None else line_feeds.feed(octets))

    def childConnectionLost(self, childFD: int) -> None:
        if childFD == 0:
            self.stopProducing()

    def stopProducing(self) -> None:
        self._is_deaf = True
        self._wake()

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        self._wake()

    def _wake(self) -> None:
        wakes, self._wakes = self._wakes, None
        if wakes is not None:
            wakes.callback(None)
