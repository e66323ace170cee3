"""The process of a worker: ``python -m mailgw.workers.process REACTOR``, started by the parent alone.

The reactor is installed before anything is imported that would install another.
"""

import ctypes
import importlib
import os
import signal
import sys
from typing import Any

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, eventAsText, globalLogBeginner
from zope.interface import provider

log = Logger()

# prctl(2): which signal comes when the parent ends, should the wire not tell.
PR_SET_PDEATHSIG = 1


def main() -> None:
    importlib.import_module(sys.argv[1]).install()
    from twisted.internet import reactor

    from mailgw.net.stopping import stop_at_the_first
    from mailgw.workers import handed

    globalLogBeginner.beginLoggingTo([_to_parent], redirectStandardIO=False, discardBuffer=True)
    with open(handed.READY, "wb") as ready:
        try:
            value = handed.read(handed.VALUE)
            _end_with(value.parent)
            _start(value, reactor)
        except BaseException as fault:  # noqa: BLE001 - said to the parent, which is waiting
            ready.write(_words(fault).encode("utf-8", "replace"))
            raise SystemExit(1) from None
        from mailgw.workers.launching import READY

        ready.write(READY)
    reactor.callWhenRunning(stop_at_the_first, reactor)
    reactor.run()


def _start(value: Any, reactor: Any) -> None:
    from mailgw.workers.worker import started

    started(value, reactor)


def _words(fault: BaseException) -> str:
    """Of a start that failed, logged as what it is."""
    from mailgw.config.where import config_faults
    from mailgw.mail.errors import ConfigError, TemporaryFault

    lines: list[str] = []
    if isinstance(fault, TemporaryFault):
        lines = [fault.why]
    elif isinstance(fault, ConfigError | ExceptionGroup):
        lines = [str(one) for one in config_faults(fault)]
    if not lines:
        log.failure("a worker cannot start")
        return f"a worker cannot start: {type(fault).__name__}: {fault}"
    for line in lines:
        log.critical("a worker cannot start: {line}", line=line)
    return "; ".join(lines)


def _end_with(parent: int) -> None:
    """A belt, beside the wire."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    except (OSError, AttributeError):
        return  # no Linux
    if os.getppid() != parent:
        raise SystemExit(1)  # it ended before that


@provider(ILogObserver)
def _to_parent(event: LogEvent) -> None:
    """A line on the standard error, which the parent logs as an event of its own."""
    from mailgw.workers.launching import log_line

    level: Any = event.get("log_level") or LogLevel.info
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    if not text:
        return
    try:
        os.write(2, log_line(level.name, text).encode("utf-8", "replace"))
    except OSError:
        pass  # nobody is there to read it


if __name__ == "__main__":
    main()
