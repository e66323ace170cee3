"""Listening on a Unix socket: whose it is, who may connect, and what a dead process left at its place.

Twisted's own lock files are not used: one that root made cannot be removed by the user that mailgw then runs as, nor
can the socket, and the stop would end in that error.

Rules:
    A socket that nobody listens on is removed; one that answers stays, and the bind fails.
    At the stop the socket is removed where it is still ours and may be; else the next start does it.
"""

import os
import socket
import stat
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger()

# Twisted's default is everybody.  Whoever may connect may hand in mail for all that is routed here.
DEFAULT_MODE = 0o660


class SocketFilePort(unix.Port):
    """A bound Unix socket."""

    def startListening(self) -> None:
        path = os.fsdecode(self._bindPath)
        remove_stale(path)
        super().startListening()  # type: ignore[no-untyped-call] # Twisted has no types there
        self._identity = _identity(path)

    def give(self, owner: tuple[int, int]) -> None:
        """Root makes it the user's and the group's that it will run as."""
        os.chown(self._bindPath, *owner)

    def connectionLost(self, reason: Failure) -> None:
        path = os.fsdecode(self._bindPath)
        try:
            if _identity(path) == self._identity:
                os.unlink(path)
        except OSError as fault:
            log.info("{path} stays, until the next start: {why}", path=path, why=fault.strerror)
        tcp.Port.connectionLost(self, reason)  # type: ignore[no-untyped-call] # what unix.Port does besides is done


def listen_unix(
    reactor: Any, path: str, factory: IProtocolFactory, backlog: int, mode: int, owner: tuple[int, int] | None
) -> SocketFilePort:
    """A listening socket.  ``owner`` is user and group, for root to give it to.  CannotListenError, OSError."""
    port = SocketFilePort(os.fsencode(path), factory, backlog, mode, reactor, False)
    port.startListening()
    if owner is not None and os.geteuid() == 0:
        port.give(owner)
    return port


def keep_file(port: unix.Port) -> None:
    """A socket that somebody else made, as systemd does, stays where it is, and listens, when we close ours."""
    port._shouldShutdown = False  # as Twisted has it for TCP: it would end for systemd, too
    # Twisted removes the file of every port but an abstract one, whose name begins with a NUL; no other use is left.
    port._bindPath = b"\0" + port._bindPath


def remove_stale(path: str) -> None:
    """Remove a socket at ``path`` that nobody listens on; CannotListenError where somebody does."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return  # the bind says that it is in the way
    except OSError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # somebody's backlog is full
        except OSError:
            return  # nobody can tell; the bind will fail
    raise CannotListenError(None, path, OSError(98, "Address already in use"))  # type: ignore[no-untyped-call] # Twisted


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
