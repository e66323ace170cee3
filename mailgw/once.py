"""For commands that do what a gateway does, once: its configuration, and the reactor.

Cheap to import: what is heavy is imported by the functions.
"""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from mailgw.config.where import config_faults
from mailgw.terminal import Fault

if TYPE_CHECKING:
    from mailgw.config.settings import Config

T = TypeVar("T")


def loaded(file: str, with_keys: bool = True) -> "Config":
    """The configuration of ``file``, with all that it names; Fault with every fault of it, one a line.

    ``with_keys`` as ``config.load`` has it."""
    from mailgw.config.load import load

    try:
        return load(file, with_keys)
    except ExceptionGroup as group:
        faults = config_faults(group)
        if not faults:
            raise
        raise Fault("\n".join(map(str, faults))) from None


def run_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Its result, on the reactor, which runs this once in a process."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    results: list[T | Failure] = []
    loop: Any = reactor

    def ended(result: T | Failure) -> None:
        results.append(result)
        loop.stop()

    def begin() -> None:
        done = Deferred.fromCoroutine(coroutine)
        done.addBoth(ended)  # type: ignore[unused-awaitable] # its result is in the list

    loop.callWhenRunning(begin)
    loop.run()
    if not results:
        raise KeyboardInterrupt  # the reactor's own handler stopped it
    result = results[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result
