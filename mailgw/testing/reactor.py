"""A reactor in memory: time that jumps, threads that are none, connections to peers that a test plays.

Rules:
    As long as it runs, the global reactor is one with it: ``deferToThread``, ``reactor.callLater`` and connections of a
    plug-in, which knows no other one, end here.  What other threads ask of the global reactor it still does.
"""

import errno
import sys
import threading
from bisect import insort
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.base import DelayedCall
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as NoAnswer
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from mailgw.testing.power import Power, PowerFailed, keep
from mailgw.testing.wires import join

# Calls at one moment, of which each makes another one; a plug-in that does so would keep a processor busy for ever.
MOST_AT_ONCE = 100_000

STOOD_IN_FOR = (
    "seconds", "callLater", "getDelayedCalls", "callFromThread", "callInThread", "getThreadPool", "connectTCP",
    "connectUNIX", "spawnProcess",
)


class Answering(Protocol):
    """Who is at a place."""

    is_silent: bool
    is_down: bool

    def session(self) -> IProtocol: ...


class MemoryReactor(MemoryReactorClock):
    """``places`` says who answers at ``"192.0.2.1:25"`` or ``"/run/lmtp"``; where nobody does, connections are refused.
    ``began`` is what its clock shows at first."""

    def __init__(self, places: Callable[[str], Answering | None], power: Power, began: float = 0.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Twisted has no types there
        self.rightNow = began
        self._places = places
        self._power = power

    # --- time -----------------------------------------------------------------------------------------------

    def run_until(self, end: float, is_enough: Callable[[], object] = lambda: False) -> None:
        """Jump from call to call up to ``end``, or until it is enough.

        PowerFailed where the power fails; AssertionError where calls at one moment find no end.
        """
        with self.standing_in():
            self._run_until(end, is_enough)
        if self._power.is_off:
            raise PowerFailed

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        """For the global reactor, where there is one."""
        real: Any = sys.modules.get("twisted.internet.reactor")
        if real is None:
            yield
            return
        own = vars(real)
        before = {name: own[name] for name in STOOD_IN_FOR if name in own}
        usual, thread = real.callFromThread, threading.get_ident()

        def call_from_thread(work: Callable[..., Any], *arguments: Any, **named: Any) -> None:
            call = self.callFromThread if threading.get_ident() == thread else usual
            call(work, *arguments, **named)

        own.update({name: getattr(self, name) for name in STOOD_IN_FOR}, callFromThread=call_from_thread)
        try:
            yield
        finally:
            for name in STOOD_IN_FOR:
                del own[name]
            own.update(before)

    def _run_until(self, end: float, is_enough: Callable[[], object]) -> None:
        moment, calls = self.rightNow, 0
        while not self._power.is_off and not is_enough():
            if not self.calls or self.calls[0].time > end:
                self.rightNow = max(self.rightNow, end)
                break
            call = self.calls.pop(0)
            if call.delayed_time:
                call.activate_delay()
                insort(self.calls, call)
                continue
            if call.time > moment:
                moment = self.rightNow = call.time
                calls = 0
            calls += 1
            assert calls < MOST_AT_ONCE, f"no time passes, and there is always something to do, such as {call}"
            call.called = 1
            call.func(*call.args, **call.kw)

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> DelayedCall:
        call = DelayedCall(
            self.rightNow + delay, callable, args, kw, self.calls.remove, lambda _: self._sortCalls(), self.seconds
        )
        insort(self.calls, call)  # Clock sorts all anew
        return call

    # --- threads --------------------------------------------------------------------------------------------

    def callFromThread(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        self.callLater(0, work, *arguments, **named)

    def callInThread(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        self.callInThreadWithCallback(lambda is_good, result: None, work, *arguments, **named)

    def callInThreadWithCallback(
        self, on_result: Callable[[bool, Any], object], work: Callable[..., Any], *arguments: Any, **named: Any
    ) -> None:
        """As a pool of threads does it, in a turn of its own."""

        def do() -> None:
            try:
                result = work(*arguments, **named)
            except PowerFailed:
                keep(on_result)
            except Exception:  # noqa: BLE001 - as a pool does
                on_result(False, Failure())  # type: ignore[no-untyped-call]
            else:
                on_result(True, result)

        self.callLater(0, do)

    def getThreadPool(self) -> "MemoryReactor":
        return self

    def spawnProcess(self, *arguments: Any, **named: Any) -> Any:
        raise OSError(errno.ENOSYS, "a gateway in memory starts no programs")

    # --- connections ----------------------------------------------------------------------------------------

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: tuple[str, int] | None = None
    ) -> Any:
        connector = super().connectTCP(host, port, factory, timeout, bindAddress)  # type: ignore[no-untyped-call]
        kind = IPv6Address if ":" in host else IPv4Address
        here = kind("TCP", bindAddress[0] if bindAddress else ("::1" if ":" in host else "127.0.0.1"), 40000)
        self._connect(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", connector, factory, timeout, here)
        return connector

    def connectUNIX(self, address: str, factory: Any, timeout: float = 30, checkPID: int = 0) -> Any:
        connector = super().connectUNIX(address, factory, timeout, checkPID)  # type: ignore[no-untyped-call]
        self._connect(address, connector, factory, timeout, UNIXAddress(""))
        return connector

    def _connect(self, place: str, connector: Any, factory: Any, timeout: float, here: IAddress) -> None:
        def fail(why: Exception) -> None:
            if not connector.stoppedConnecting:
                factory.clientConnectionFailed(connector, Failure(why))  # type: ignore[no-untyped-call]

        def stand() -> None:
            if connector.stoppedConnecting:
                return
            answering = self._places(place)
            if answering is None or answering.is_down:
                fail(Refused(osError=111))  # type: ignore[no-untyped-call]
            elif answering.is_silent:
                self.callLater(timeout, fail, NoAnswer())  # type: ignore[no-untyped-call]
            else:
                there = connector.getDestination()
                join(self, factory.buildProtocol(there), here, answering.session(), there)

        self.callLater(0, stand)
