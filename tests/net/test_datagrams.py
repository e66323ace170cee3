"""Sockets that the log does not hear of."""

from io import StringIO

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import globalLogPublisher, textFileLogObserver

from mailgw.net.datagrams import listen_quietly


@pytest_twisted.ensureDeferred
async def test_a_socket_leaves_no_trace_in_the_log() -> None:
    written = StringIO()
    observer = textFileLogObserver(written)
    globalLogPublisher.addObserver(observer)
    try:
        port = listen_quietly(reactor, DatagramProtocol(), "127.0.0.1")  # type: ignore[arg-type] # a module, says mypy
        assert port.getHost().port
        await port.stopListening()
        loud = reactor.listenUDP(0, DatagramProtocol(), "127.0.0.1")  # type: ignore[attr-defined]
        await loud.stopListening()
    finally:
        globalLogPublisher.removeObserver(observer)
    assert written.getvalue().count("\n") == 2, "Twisted's own are heard, or this test hears nothing"
