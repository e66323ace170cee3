"""The web's place in a gateway: its listener, its tokens, and the tables of all topics put together.

The shapes of a gateway have one each, where there is an ``[api]``: ``bind`` before privileges are dropped, ``open``
once the rest is, ``close`` with it.  Where a gateway is several processes, it is the parent's.
"""

import os
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, IProtocolFactory
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from mailgw.config.api import SHORTEST_TOKEN, TOKEN_OCTETS
from mailgw.config.settings import Config
from mailgw.disk import Disk
from mailgw.mail import event as fact
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Answering, Journal, WallClock
from mailgw.net.server_tls import ServerTls
from mailgw.web.operations import Operation
from mailgw.web.settings import ApiSettings, TokenSettings

log = Logger()

Listen = Callable[[str, IProtocolFactory, tuple[int, int] | None], IListeningPort]

OWN_TOKEN: Final = "owner"  # noqa: S105 - the name of the token that is made here
UPLOADS: Final = "uploads"
LOOK_SECONDS: Final = 60.0  # at certificates, as others are looked at


class Office:
    """Of the gateway that ``config`` describes, whose operators ask ``door``."""

    def __init__(self, config: Config, door: Answering, reactor: Any, wall_clock: WallClock, disk: Disk) -> None:
        self._config = config
        self._api = config.api
        self._door = door
        self._reactor = reactor
        self._wall_clock = wall_clock
        self._disk = disk
        self._port: IListeningPort | None = None
        self.gate = _Gate()
        self._server: Any = None
        self._factory: Any = None
        self._sessions: Any = None
        self._looking: IDelayedCall | None = None
        self.tls: ServerTls | None = None
        self.token = ""  # the one that was made here
        self.is_stopping = False

    def bind(self, listen: Listen, owner: tuple[int, int] | None) -> None:
        """TemporaryFault where it cannot be; nothing is bound then."""
        if self._api is not None and self._port is None:
            self._port = listen(self._api.endpoint, self.gate, owner)

    def open(self, journal: Journal, threads: Callable[[], Any]) -> None:
        """Serve, where it is bound.  ``threads`` makes those that write what is uploaded.  TemporaryFault where a file
        cannot be had."""
        if self._api is None or self._port is None:
            return
        # Twisted's HTTP takes its time to be imported, and not everybody has a page.
        from mailgw.web.channel import WebFactory
        from mailgw.web.server import WebServer
        from mailgw.web.uploads import UploadFolder

        def reserve_octets() -> int:
            return self._config.spool.reserve_octets  # of today's

        folder = f"{self._config.state}/{UPLOADS}"
        uploads = UploadFolder(folder, self._disk, reserve_octets, self._reactor, threads())
        uploads.open()
        self._journal = journal
        self.tls = _tls(self._config, self._api)
        reception = self._reception(self._api, journal)
        self._server = WebServer(reception, self._door, journal, self._reactor, uploads)
        self._factory = WebFactory(self._reactor, self._wall_clock, self._server, self.tls)
        self.gate.inner = self._factory
        self._looking = self._reactor.callLater(LOOK_SECONDS, self._look)

    def renew(self, config: Config) -> None:
        """Another configuration, at the same endpoint: whose tokens there are, and by which names and certificate it is
        asked, holds from now on.  Connections stay, and so do sessions whose token does; who watches by one that is
        gone is told nothing more.  Where a file cannot be had all is as it was, which is logged."""
        before, api = self._config, config.api
        if self._server is None or api is None or before.api is None:
            return
        self._config, self._api = config, api
        try:
            is_same = (api.certificate, config.tls) == (before.api.certificate, before.tls)
            tls = self.tls if is_same else _tls(config, api)
            reception = self._reception(api, self._journal)
        except TemporaryFault as fault:
            self._config, self._api = before, before.api
            log.error("who may ask by HTTP stays as it was: {why}", why=fault.why)
            return
        self._sessions.keep(reception.tokens)
        self.tls, self._factory.tls = tls, tls
        self._server.renew(reception)

    def reload(self) -> None:
        """Certificates that changed."""
        if self.tls is not None:
            self.tls.reload()

    def _look(self) -> None:
        self._looking = self._reactor.callLater(LOOK_SECONDS, self._look)
        self.reload()

    async def unbind(self) -> None:
        self.is_stopping = True
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)

    async def close(self) -> None:
        """Nothing is answered any more."""
        await self.unbind()
        self.gate.inner = None
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        server, self._server = self._server, None
        if server is not None:
            await server.stop()
            self._factory.close()

    def _reception(self, api: ApiSettings, journal: Journal) -> Any:
        """Whom it knows, and all that may be asked."""
        from mailgw import __version__
        from mailgw.web import openapi, openapi_api, ready_api, session_api
        from mailgw.web.judging import Reception
        from mailgw.web.page import asset, packaged
        from mailgw.web.routing import Routes
        from mailgw.web.tokens import Sessions, Tokens, Tries

        def now() -> float:
            return float(self._reactor.seconds())

        found = Tokens(self._tokens(api))
        if self._sessions is None:
            self._sessions = Sessions(now, os.urandom)
        sessions = self._sessions

        def note_failure(peer: str, method: str, path: str) -> None:
            journal.note(fact.TokenRefused(peer, method, path))

        def by_token(secret: str, peer: str, method: str, path: str) -> Any:
            return reception.by_token(secret, peer, method, path)

        operations: list[Operation] = [
            *session_api.operations(sessions, by_token, api.certificate is not None),
            *topics(),
        ]
        operations += openapi_api.operations(operations, __version__)
        reception = Reception(
            routes=Routes(operations),
            others={"/metrics": ready_api.metrics()},
            health={one.path: one for one in ready_api.health(lambda: self.is_stopping)},
            page=packaged().with_asset("/api", asset("text/html; charset=utf-8", openapi.page(operations))),
            tokens=found,
            sessions=sessions,
            tries=Tries(now),
            hosts=api.hosts,
            upload_octets=api.upload_octets,
            note_failure=note_failure,
        )
        return reception

    def _tokens(self, api: ApiSettings) -> Sequence[TokenSettings]:
        from mailgw.web.tokens import ALL_SCOPES, digest

        if api.tokens:
            return api.tokens
        self.token = own_token(api.token_file, self._disk)
        return [TokenSettings(OWN_TOKEN, ALL_SCOPES, digest(self.token))]


def _tls(config: Config, api: ApiSettings) -> ServerTls | None:
    if api.certificate is None:
        return None
    certificates = dict(config.tls.certificates)
    try:
        return ServerTls(certificates.pop(api.certificate), certificates)
    except ValueError as fault:
        raise TemporaryFault(str(fault)) from fault


def topics() -> Sequence[Operation]:
    """What may be asked, but for who asks: each topic's table, in the order of their names."""
    from mailgw.web import (
        health_api,
        hooks_api,
        inbox_api,
        now_api,
        queue_api,
        recordings_api,
        reload_api,
        sending_api,
        trace_api,
    )

    return [
        *health_api.operations(),
        *hooks_api.operations(),
        *inbox_api.operations(),
        *now_api.operations(),
        *queue_api.operations(),
        *reload_api.operations(),
        *recordings_api.operations(),
        *sending_api.operations(),
        *trace_api.operations(),
    ]


def own_token(path: str, disk: Disk) -> str:
    """The token of all scopes, in its file, which is made where it is missing.  TemporaryFault where it cannot be."""
    try:
        try:
            known = disk.read(path, 0, 4096).decode("ascii", "replace").strip()
            if len(known) >= SHORTEST_TOKEN:
                return known
        except FileNotFoundError:
            pass
        made = secrets.token_urlsafe(TOKEN_OCTETS)
        disk.write_atomically(path, f"{made}\n".encode())
    except OSError as fault:
        raise TemporaryFault(f"{path}: {fault.strerror}") from fault
    return made


class _Gate(ServerFactory):
    """Stands at the bound port until the office is open."""

    noisy = False
    inner: Any = None

    def logPrefix(self) -> str:
        return "mailgw api"

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return None if self.inner is None else self.inner.buildProtocol(addr)


