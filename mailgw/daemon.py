"""The gateway as ``twistd`` runs it: a start that fails is one line and exit status 1, SIGHUP reloads.

Inside an application of your own use ``mailgw.service.MailGateway``: it raises instead, and leaves signals alone.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar, cast

from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads, IReactorTime
from twisted.logger import Logger

from mailgw.config.doubts import doubts
from mailgw.config.files import Owner
from mailgw.config.settings import Config
from mailgw.config.where import config_faults
from mailgw.herald import Herald
from mailgw.mail.errors import ConfigError, TemporaryFault
from mailgw.net import garbage
from mailgw.net.stopping import stop_at_the_first
from mailgw.net.systemd import Manager, forget_sockets
from mailgw.service import MailGateway
from mailgw.workers.parent import Parent

log = Logger()
T = TypeVar("T")


class Daemon(Service):
    """A ``MailGateway`` that owns its process, or several processes and their ``Parent``."""

    def __init__(self, config: Config, owner: Owner | None = None) -> None:
        """``owner`` is whom twistd will run as, where it is told."""
        self.gateway = MailGateway(config, reactor) if config.workers == 1 else Parent(config, reactor)
        self.gateway.socket_owner = self._owner = owner
        self._herald = Herald(Manager.of(os.environ, os.getpid()), self.gateway, cast(IReactorTime, reactor))
        # Until there is something to read again it asks for nothing; the default would end us.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def privilegedStartService(self) -> None:
        _or_exit(self.gateway.privilegedStartService, self.gateway.config.port_hint)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call] # Twisted has no types there
        raise_file_limit()
        _or_exit(self.gateway.startService)
        forget_sockets(os.environ)
        self.gateway.reloader.told = self._herald.reloading
        for doubt in doubts(self.gateway.config, is_start=True):
            log.warn("{doubt}", doubt=doubt)
        if why := root_doubt(os.geteuid(), self._owner):
            log.warn("{doubt}", doubt=why)
        garbage.settle()
        # A handler runs between two steps of the interpreter, so it only asks the reactor to do the work.
        from_signal = cast(IReactorFromThreads, reactor).callFromThread
        signal.signal(signal.SIGHUP, lambda number, frame: from_signal(self.gateway.reload))
        cast(IReactorCore, reactor).callWhenRunning(stop_at_the_first, reactor)
        cast(IReactorCore, reactor).callWhenRunning(self._herald.ready)  # from there on connections are accepted

    def stopService(self) -> "Deferred[None]":
        super().stopService()  # type: ignore[no-untyped-call] # likewise
        self._herald.stopping()
        return self.gateway.stopService().addBoth(self._ended)

    def _ended(self, result: T) -> T:
        self._herald.stopped()
        return result


def root_doubt(uid: int, owner: Owner | None) -> str | None:
    """What to say of the user that the gateway runs as; None where it is not root, or was told to be."""
    if uid != 0 or owner is not None:
        return None
    return (
        "mailgw runs as root, and has no need to: root's rights are for binding ports below 1024. Make a user (useradd "
        "--system mailgw), give it the state and the Maildirs (chown -R mailgw), and start as root: twistd --uid "
        "mailgw --gid mailgw mailgw ...; before that, mailgw check --user mailgw says what that user cannot read or "
        "write"
    )


def raise_file_limit() -> None:
    """Open as many files as we are allowed to: each session, attempt and large body is one, and shells give 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class CannotStart(Exception):
    """Ends twistd's start.  Its text is all that people need, its ``hints`` are what may help them.

    Where twistd goes into the background, the terminal gets the exception's last line, module, class and text, in
    98 octets.  So the text begins with the reason, the hints stay in the log, and the module is left out.
    """

    __module__ = "builtins"  # the one whose name is not written (traceback.format_exception_only)

    def __init__(self, text: str, hints: str) -> None:
        super().__init__(text)
        self.hints = hints


def _or_exit(start: Callable[[], None], hint: str = "") -> None:
    """Run one step of the start.  A fault that people can mend ends the process before it serves anybody; ``hint``
    is what else may help then.

    It has to be an ``Exception``: twistd removes its pid file then, and tells the terminal from which it went
    into the background; at a ``SystemExit`` that one would wait for ever.
    """
    try:
        start()
    except (ConfigError, TemporaryFault, ExceptionGroup) as fault:
        lines = [fault.why] if isinstance(fault, TemporaryFault) else [str(one) for one in config_faults(fault)]
        if not lines:
            raise
        notes = [*getattr(fault, "__notes__", ()), *filter(None, [hint])]
        hints = f" ({'; '.join(notes)})" if notes else ""
        for line in lines:
            log.critical("mailgw cannot start: {line}{hints}", line=line, hints=hints)
        sys.excepthook = _say_no_more_than_needed
        raise CannotStart("; ".join(lines), hints) from None


def _say_no_more_than_needed(
    kind: type[BaseException], fault: BaseException, traceback: TracebackType | None
) -> None:
    if isinstance(fault, CannotStart):
        print(f"mailgw cannot start: {fault}{fault.hints}", file=sys.__stderr__)
    else:
        sys.__excepthook__(kind, fault, traceback)
