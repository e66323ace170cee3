"""A few threads for blocking file work, whose results come back in the reactor's thread."""

from collections.abc import Callable
from threading import Thread
from typing import Any, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.threadpool import ThreadPool

from mailgw.mail.errors import TemporaryFault

P = ParamSpec("P")
T = TypeVar("T")


class Reactor(Protocol):
    """What the spool needs of Twisted's reactor: IReactorTime and IReactorFromThreads."""

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> Any: ...

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> IDelayedCall: ...

    def seconds(self) -> float: ...


class Threads:
    """At most ``count`` threads, started when there is work."""

    def __init__(self, reactor: Reactor, count: int, name: str) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=count, name=name)
        # Daemons: a process that ends without close() must not hang.
        self._pool.threadFactory = _Daemon
        self._pool.start()
        self._closed = False

    def start(
        self, succeeded: Callable[[T], object], failed: Callable[[BaseException], object],
        function: Callable[P, T], *args: P.args, **kwargs: P.kwargs,
    ) -> None:
        """Call ``function`` in a thread, then one of the other two in the reactor's thread.

        After ``refuse``, ``failed`` is called at once, with a TemporaryFault.
        """
        if self._closed:
            failed(TemporaryFault("the spool is closed"))
            return

        def work() -> None:
            try:
                result = function(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  # it is the caller's
                self._reactor.callFromThread(failed, error)
            else:
                self._reactor.callFromThread(succeeded, result)

        self._pool.callInThread(work)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """As ``start``, as a Deferred."""
        deferred: Deferred[T] = Deferred()
        self.start(deferred.callback, deferred.errback, function, *args, **kwargs)
        return deferred

    def refuse(self) -> None:
        """Take no more work; in the reactor's thread."""
        self._closed = True

    def join(self) -> None:
        """Wait for all work; blocks, so not in the reactor's thread, and after ``refuse``."""
        self._pool.stop()


class _Daemon(Thread):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, daemon=True)
