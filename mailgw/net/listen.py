"""Binding Twisted server endpoints at once, for the moment before privileges are dropped."""

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.python.failure import Failure

from mailgw.mail.errors import TemporaryFault

# Twisted's default of 50 is one burst of a busy neighbour; the kernel caps it at its own limit.
BACKLOG = 1024


def bind(reactor: object, endpoint: str, factory: IProtocolFactory) -> IListeningPort:
    """Listen on an endpoint string whose kind binds without waiting: ``tcp:``, ``unix:``, ``systemd:``.

    TemporaryFault says in one line why what could not be bound, a note of it what may help; nothing is bound then.
    """
    is_short = endpoint.startswith("tcp:") and ":backlog=" not in endpoint
    words = f"{endpoint}:backlog={BACKLOG}" if is_short else endpoint
    outcome: list[IListeningPort | Failure] = []
    server = serverFromString(reactor, words)  # type: ignore[no-untyped-call] # Twisted has no types there
    listening = server.listen(factory)
    listening.addBoth(outcome.append)
    if not outcome:
        listening.cancel()
        raise TemporaryFault(f"{endpoint}: this kind of endpoint cannot be bound at the start")
    bound = outcome[0]
    if isinstance(bound, Failure):
        raise _fault(endpoint, bound.value)
    return bound


def _fault(endpoint: str, trouble: BaseException | None) -> TemporaryFault:
    cause = trouble.socketError if isinstance(trouble, CannotListenError) else trouble
    words = getattr(cause, "strerror", None) or str(cause)
    # The reason first: an endpoint may be long, and twistd cuts what it tells the terminal.
    fault = TemporaryFault(f"{words}: cannot listen on {endpoint}")
    if isinstance(cause, PermissionError):
        fault.add_note("ports below 1024 need root, or CAP_NET_BIND_SERVICE")
    elif "in use" in words:
        fault.add_note("another mail server, or another mailgw, has it")
    return fault
