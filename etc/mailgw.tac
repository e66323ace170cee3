"""A mail gateway beside a web site, in one Twisted application.

    twistd -ny mailgw.tac          in the foreground; without the n as a daemon, with twistd.pid and twistd.log
    MAILGW_CONFIG=/etc/mailgw/mailgw.toml WEB_ENDPOINT=tcp:8081:interface=127.0.0.1 twistd -ny mailgw.tac

The web site (http://127.0.0.1:8080/) says how many messages wait.  From the environment:

    MAILGW_CONFIG   the gateway's configuration; default: ``mailgw.toml`` beside this file
    WEB_ENDPOINT    where the web site listens, a Twisted server endpoint; default: tcp:8080:interface=127.0.0.1

A configuration with faults ends the start; all of them stand below "Failed to load application".  ``mailgw check
--config FILE`` tells them beforehand.  Whatever else your application does stands under the same ``application``
and starts and stops with it.
"""

import os
from pathlib import Path

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from mailgw.config.load import load
from mailgw.mail.message import Query
from mailgw.service import MailGateway


class Waiting(Resource):
    """How many recipients are in the queue, at most 1000."""

    isLeaf = True

    def __init__(self, gateway: MailGateway) -> None:
        super().__init__()
        self.gateway = gateway

    def render_GET(self, request: Request) -> int:
        async def answer() -> None:
            rows = await self.gateway.spool.search(Query(), limit=1000)
            request.setHeader(b"content-type", b"text/plain; charset=utf-8")
            request.write(f"{len(rows)} waiting\n".encode())
            request.finish()

        Deferred.fromCoroutine(answer()).addErrback(request.processingFailed)
        return NOT_DONE_YET


configuration = os.environ.get("MAILGW_CONFIG") or str(Path(__file__).with_name("mailgw.toml"))
web_endpoint = os.environ.get("WEB_ENDPOINT") or "tcp:8080:interface=127.0.0.1"

application = Application("mail and web")
gateway = MailGateway(load(configuration))
gateway.setServiceParent(application)
StreamServerEndpointService(serverFromString(reactor, web_endpoint), Site(Waiting(gateway))).setServiceParent(
    application
)
