"""Both ends of the wire between the parent and a worker: small calls over AMP, those of one turn of the reactor in one
box.

A call is a name and arguments that JSON can hold.  ``tell`` wants no answer; ``ask`` gets one, or a TemporaryFault.

Rules:
    Calls arrive in the order in which they were made.
    A box holds at most ``BOX_OCTETS``, or one call of up to ``CALL_OCTETS``: AMP's values end at 65,535 octets.  What
    is larger goes nowhere: a fault for who asked, or a line in the log; it takes nothing else along.
    Where the wire is cut, whoever waits gets a TemporaryFault, and what is told goes nowhere.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Final, TypeAlias

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from mailgw.mail.errors import TemporaryFault

BOX_OCTETS: Final = 48 * 1024
CALL_OCTETS: Final = 60 * 1024  # its brackets, too, and all answers of a box
# Of so many answers none is long: a box of them stays below AMP's limit, too.
BOX_CALLS: Final = 200

log = Logger()

Answer: TypeAlias = Callable[[str, Sequence[Any]], Any]
"""What a call comes to: a value, or an awaitable of one.  Whatever it raises is logged, and a fault for who asked."""


class Calls(amp.Command):
    arguments: ClassVar = [(b"calls", amp.String())]  # type: ignore[no-untyped-call] # Twisted has no types there
    response: ClassVar = [(b"answers", amp.String())]  # type: ignore[no-untyped-call] # likewise


class Wire(amp.AMP):
    """One end."""

    def __init__(self, clock: IReactorTime, answer: Answer, lost: Callable[[], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Twisted has no types there
        self._clock = clock
        self._answer = answer
        self._lost = lost
        self._calls: list[tuple[bytes, Deferred[Any] | None]] = []
        self._flush_call: IDelayedCall | None = None
        self._is_cut = False

    # AMP's own two add a line to the log, of no use where both ends are ours, and start and end are told.

    def makeConnection(self, transport: ITransport) -> None:
        super(amp.AMP, self).makeConnection(transport)  # type: ignore[no-untyped-call] # Twisted has no types there

    def tell(self, name: str, *arguments: object) -> None:
        if not self._is_cut:
            self._add([False, name, *arguments], None)

    def ask(self, name: str, *arguments: object) -> "Deferred[Any]":
        answer: Deferred[Any] = Deferred()
        if self._is_cut:
            answer.errback(_cut())
        else:
            self._add([True, name, *arguments], answer)
        return answer

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_cut = True
        if self._flush_call is not None:
            self._flush_call.cancel()
            self._flush_call = None
        super(amp.AMP, self).connectionLost(reason)  # type: ignore[no-untyped-call] # Twisted has no types there
        self.transport = None
        calls, self._calls = self._calls, []
        for _, answer in calls:
            if answer is not None:
                answer.errback(_cut())
        self._lost()

    # --- out ----------------------------------------------------------------------------------------

    def _add(self, call: list[object], answer: "Deferred[Any] | None") -> None:
        octets = msgspec.json.encode(call)
        if len(octets) > CALL_OCTETS:
            why = f"{call[1]} has {len(octets)} octets, more than go between parent and worker"
            if answer is None:
                log.error("not told: {why}", why=why)
            else:
                answer.errback(TemporaryFault(why))
            return
        self._calls.append((octets, answer))
        if self._flush_call is None:
            self._flush_call = self._clock.callLater(0, self._flush)

    def _flush(self) -> None:
        self._flush_call = None
        calls, self._calls = self._calls, []
        while calls:
            count, size = 0, 0
            while count < min(len(calls), BOX_CALLS) and (not count or size + len(calls[count][0]) < BOX_OCTETS):
                size += len(calls[count][0]) + 1
                count += 1
            self._send(calls[:count])
            calls = calls[count:]

    def _send(self, calls: Sequence[tuple[bytes, "Deferred[Any] | None"]]) -> None:
        waiting = [answer for _, answer in calls if answer is not None]
        octets = b"[" + b",".join(call for call, _ in calls) + b"]"
        sent: Deferred[Any] = self.callRemote(Calls, calls=octets)  # type: ignore[no-untyped-call] # likewise
        sent.addCallbacks(  # type: ignore[unused-awaitable] # nobody waits for it
            lambda box: _hand_out(waiting, msgspec.json.decode(box["answers"])), lambda trouble: _fail(waiting, trouble)
        )
        sent.addErrback(  # type: ignore[unused-awaitable] # nobody waits for it
            lambda trouble: log.failure("the answers to calls between parent and worker", failure=trouble)
        )

    # --- in -----------------------------------------------------------------------------------------

    @Calls.responder
    def _called(self, calls: bytes) -> "Deferred[dict[str, bytes]]":
        return Deferred.fromCoroutine(self._answered(msgspec.json.decode(calls)))

    async def _answered(self, calls: Sequence[Sequence[Any]]) -> dict[str, bytes]:
        # All of them begin in their order, before any that takes time is waited for.
        begun = [(wants, name, self._begun(name, arguments)) for wants, name, *arguments in calls]
        answers, left = [], CALL_OCTETS
        for wants_answer, name, answer in begun:
            told = msgspec.json.encode(await answer)
            if wants_answer:
                if len(told) > left:
                    log.error("the answer to {name} has {octets} octets, too many", name=name, octets=len(told))
                    told = msgspec.json.encode((False, f"the answer to {name} is too long"))
                left -= len(told)
                answers.append(told)
        return {"answers": b"[" + b",".join(answers) + b"]"}

    def _begun(self, name: str, arguments: Sequence[Any]) -> "Deferred[tuple[bool, Any]]":
        async def call() -> tuple[bool, Any]:
            try:
                answer = self._answer(name, arguments)
                return True, await answer if isinstance(answer, Awaitable) else answer
            except TemporaryFault as fault:
                return False, fault.why
            except Exception:  # noqa: BLE001 - the wire's one catch-all
                log.failure("a call between parent and worker failed: {name}", name=name)
                return False, f"{name} failed; the log has the traceback"

        return Deferred.fromCoroutine(call())


def _hand_out(waiting: Sequence["Deferred[Any]"], answers: Sequence[tuple[bool, Any]]) -> None:
    for one, (is_well, value) in zip(waiting, answers, strict=True):
        if is_well:
            one.callback(value)
        else:
            one.errback(TemporaryFault(value))


def _fail(waiting: Sequence["Deferred[Any]"], trouble: Failure) -> None:
    for one in waiting:
        one.errback(TemporaryFault(f"the other process is gone ({type(trouble.value).__name__})"))


def _cut() -> TemporaryFault:
    return TemporaryFault("the other process is gone")
