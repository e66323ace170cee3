import errno
import os

import pytest
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory

from mailgw.mail.errors import TemporaryFault
from mailgw.net.listen import bind
from tests.tables import each


class Refusing:
    """A reactor whose ports cannot be bound."""

    def __init__(self, number: int) -> None:
        self._number = number

    def listenTCP(self, port: int, factory: Factory, backlog: int, interface: str) -> None:
        cause = OSError(self._number, os.strerror(self._number))
        raise CannotListenError(interface, port, cause)  # type: ignore[no-untyped-call]  # Twisted's


@each(
    ("number", "why", "note"),
    [
        (errno.EADDRINUSE, "Address already in use", "another mailgw"),
        (errno.EACCES, "Permission denied", "CAP_NET_BIND_SERVICE"),
        (errno.EADDRNOTAVAIL, "Cannot assign requested address", ""),
    ],
)
def test_the_reason_comes_first_and_the_hint_apart(number: int, why: str, note: str) -> None:
    with pytest.raises(TemporaryFault) as caught:
        bind(Refusing(number), "tcp:25:interface=127.0.0.1", Factory())
    assert caught.value.why == f"{why}: cannot listen on tcp:25:interface=127.0.0.1"
    assert note in "".join(getattr(caught.value, "__notes__", []))
