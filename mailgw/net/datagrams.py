"""UDP sockets of one question each, of which Twisted's log says nothing: two lines for every look-up hide the rest."""

from typing import Any, Final

from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import Port
from twisted.python import context
from twisted.python.log import ILogContext

MOST_OCTETS: Final = 8192  # Twisted's own; we let servers send 1232
# ``udp.Port`` heeds no ``noisy``.  An event without a format is not written; the rest is the default context.
_UNSAID: Final = {ILogContext: {"isError": 0, "system": "-", "log_format": ""}}


def listen_quietly(reactor: IReactorFDSet, protocol: DatagramProtocol, interface: str) -> Any:
    """``reactor.listenUDP`` at a port of the kernel's choice.  CannotListenError where there is none."""
    port = _QuietPort(0, protocol, interface, MOST_OCTETS, reactor)  # type: ignore[no-untyped-call] # Twisted's
    port.startListening()
    return port


class _QuietPort(Port):
    def startListening(self) -> None:
        context.call(_UNSAID, super().startListening)  # type: ignore[no-untyped-call] # Twisted's

    def connectionLost(self, reason: Any = None) -> None:
        context.call(_UNSAID, super().connectionLost, reason)  # type: ignore[no-untyped-call] # Twisted's
