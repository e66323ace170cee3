"""A gateway whose reactor is watched from beside it: a timer of 1 ms, and how late it came.

From the environment: MAILGW_CONFIG, the configuration; STALL_SOCKET, a Unix socket.  Whoever connects there gets a line
of JSON, all stalls since the last who did: [seconds late, of these on a processor, of these waiting for one] each.
"""

import json
import os
import time

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application, Service
from twisted.internet import reactor
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from mailgw.config.load import load
from mailgw.service import MailGateway

TICK_SECONDS = 0.001
TOLD_SECONDS = 0.002  # what is less late is not kept


class Watch(Service):
    def __init__(self):
        self.late = []

    def startService(self):
        super().startService()
        # What the kernel says of this thread, the reactor's: nanoseconds on a processor, and waiting for one.
        self._accounts = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        self._last = time.perf_counter(), *self._used()
        reactor.callLater(TICK_SECONDS, self._tick)

    def _used(self):
        ran, waited, _ = os.pread(self._accounts, 100, 0).split()
        return int(ran) / 1e9, int(waited) / 1e9

    def _tick(self):
        now = time.perf_counter(), *self._used()
        passed, ran, waited = (one - other for one, other in zip(now, self._last, strict=True))
        if passed - TICK_SECONDS > TOLD_SECONDS:
            self.late.append((passed - TICK_SECONDS, ran, waited))
        self._last = now
        reactor.callLater(TICK_SECONDS, self._tick)


class Telling(Protocol):
    def connectionMade(self):
        late, watch.late = watch.late, []
        self.transport.write(json.dumps(late).encode() + b"\n")
        self.transport.loseConnection()


application = Application("a watched gateway")
watch = Watch()
watch.setServiceParent(application)
MailGateway(load(os.environ["MAILGW_CONFIG"])).setServiceParent(application)
StreamServerEndpointService(
    UNIXServerEndpoint(reactor, os.environ["STALL_SOCKET"]), Factory.forProtocol(Telling)
).setServiceParent(application)
