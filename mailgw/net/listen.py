"""Binding Twisted server endpoints at once, for the moment before privileges are dropped."""

import re
import socket
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.tcp import Port as TcpPort
from twisted.internet.unix import Port
from twisted.python.failure import Failure

from mailgw.mail.errors import TemporaryFault
from mailgw.net.socket_file import DEFAULT_MODE, keep_file, listen_unix

# Twisted's default of 50 is one burst of a busy neighbour; the kernel caps it at its own limit.
BACKLOG = 1024


def bind(
    reactor: object, endpoint: str, factory: IProtocolFactory, owner: tuple[int, int] | None = None
) -> IListeningPort:
    """Listen on an endpoint string whose kind binds without waiting: ``tcp:``, ``unix:``, ``systemd:``.

    A Unix socket that root makes is given to ``owner``, a user and a group.

    TemporaryFault says in one line why what could not be bound, a note of it what may help; nothing is bound then.
    """
    if endpoint.startswith("unix:"):
        return _bind_unix(reactor, endpoint, factory, owner)
    is_short = endpoint.startswith("tcp:") and ":backlog=" not in endpoint
    words = f"{endpoint}:backlog={BACKLOG}" if is_short else endpoint
    outcome: list[IListeningPort | Failure] = []
    try:
        server = serverFromString(reactor, words)  # type: ignore[no-untyped-call] # Twisted has no types there
    except LookupError:
        # Of values that were checked before, this is left: an index or a name that is not there.
        raise TemporaryFault(f"no such socket was handed down by systemd: cannot listen on {endpoint}") from None
    listening = server.listen(factory)
    listening.addBoth(outcome.append)
    if not outcome:
        listening.cancel()
        raise TemporaryFault(f"{endpoint}: this kind of endpoint cannot be bound at the start")
    bound = outcome[0]
    if isinstance(bound, Failure):
        raise _fault(endpoint, bound.value)
    if isinstance(bound, Port):
        keep_file(bound)
    return bound


def adopt(reactor: object, descriptor: int, family: int, factory: IProtocolFactory) -> IListeningPort:
    """Listen on a socket that another process has bound, and others listen on as well; the descriptor is duplicated.

    One connection is accepted in a turn of the reactor: who is woken first shall not take all that wait, while others
    have nothing to do.
    """
    port: Any
    # As IReactorSocket.adoptStreamPort does it, which knows no other kinds of ports.
    if family == socket.AF_UNIX:
        port = _SharedUnixPort._fromListeningDescriptor(reactor, descriptor, factory)  # type: ignore[no-untyped-call]
        keep_file(port)  # before it listens: Twisted would let everybody connect (its mode is 0666)
    else:
        port = _SharedPort._fromListeningDescriptor(  # type: ignore[no-untyped-call] # Twisted has no types there
            reactor, descriptor, family, factory
        )
    port.backlog = BACKLOG  # Twisted sets its own 50 anew
    port.startListening()
    adopted: IListeningPort = port
    return adopted


def endpoint_parts(word: str) -> tuple[str, list[str], dict[str, str]]:
    """An endpoint string's kind, its arguments without a name in their order, and those with one."""
    # Twisted's own words: ":" separates, "\" takes the next character as it is, "name=" names an argument.
    pieces = [re.sub(r"\\(.)", r"\1", p) for p in re.findall(r"(?:^|:)((?:\\.|[^:\\])*)", word)]
    named = [p.partition("=") for p in pieces[1:] if "=" in p]
    return pieces[0], [p for p in pieces[1:] if "=" not in p], {n: v for n, _, v in named}


class _OneAtATime:
    numberAccepts: int

    def doRead(self) -> None:
        self.numberAccepts = 1  # Twisted's own number grows with what it meets
        super().doRead()  # type: ignore[misc] # a port's


class _SharedPort(_OneAtATime, TcpPort):
    pass


class _SharedUnixPort(_OneAtATime, Port):
    pass


def _bind_unix(
    reactor: object, endpoint: str, factory: IProtocolFactory, owner: tuple[int, int] | None
) -> IListeningPort:
    _, plain, named = endpoint_parts(endpoint)
    arguments = dict(zip(("address", "mode", "backlog"), plain, strict=False)) | named
    mode = int(arguments["mode"], 8) if "mode" in arguments else DEFAULT_MODE
    backlog = int(arguments.get("backlog", BACKLOG))
    try:
        return listen_unix(reactor, arguments["address"], factory, backlog, mode, owner)
    except (CannotListenError, OSError) as trouble:
        raise _fault(endpoint, trouble) from None


def _fault(endpoint: str, trouble: BaseException | None) -> TemporaryFault:
    cause = trouble.socketError if isinstance(trouble, CannotListenError) else trouble
    words = getattr(cause, "strerror", None) or str(cause)
    # The reason first: an endpoint may be long, and twistd cuts what it tells the terminal.
    fault = TemporaryFault(f"{words}: cannot listen on {endpoint}")
    if isinstance(cause, PermissionError) and endpoint.startswith("unix:"):
        fault.add_note("its folder must be writable by the user that mailgw starts as")
    elif isinstance(cause, PermissionError):
        fault.add_note("ports below 1024 need root, or CAP_NET_BIND_SERVICE")
    elif "in use" in words:
        fault.add_note("another mail server, or another mailgw, has it")
    return fault
