"""The web door alone, in memory: with operations of a test's own, and time that is the test's."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred

from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.mail.event import Event
from mailgw.mail.ports import Request
from mailgw.testing.disk import MemoryDisk
from mailgw.testing.driving import result_of
from mailgw.testing.power import Power
from mailgw.testing.reactor import MemoryReactor
from mailgw.testing.web import HttpAnswer, HttpClient
from mailgw.testing.wires import join
from mailgw.web import session_api
from mailgw.web.channel import WebFactory
from mailgw.web.judging import Reception
from mailgw.web.operations import Asked, Live, LiveEvent, Octets, Operation, Problem, Raw, Scope, Upload, Uploaded
from mailgw.web.page import Page, asset
from mailgw.web.routing import Routes
from mailgw.web.server import WebServer
from mailgw.web.settings import TokenSettings
from mailgw.web.tokens import Sessions, Tokens, Tries, digest
from mailgw.web.uploads import UploadFolder

NOW = 1_700_000_000.0
ALL = "all-" + "a" * 40
READER = "reader-" + "r" * 40
PAGE = Page({
    "/index.html": asset("text/html; charset=utf-8", b"<!doctype html><title>t</title>" + b"x" * 2000),
    "/app.js": asset("text/javascript; charset=utf-8", b"// small"),
})


class Shown(msgspec.Struct):
    name: str
    count: int = 0


class Filter(msgspec.Struct, forbid_unknown_fields=True):
    limit: int = 100
    word: str | None = None
    one_of: list[str] = []
    weight: float = 1.0


class Order(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    count: int = 1


async def ok(asked: Asked) -> object:
    return {"name": asked.path.get("name", "x"), "count": asked.query.limit if asked.query else 0}


async def order(asked: Asked) -> object:
    return await asked.door.answer({"command": "order", "name": asked.body.name, "count": asked.body.count})


async def uploaded(asked: Asked) -> object:
    body: Uploaded = asked.body
    return Shown(os.path.basename(body.path), body.size_octets)


async def refuse(asked: Asked) -> object:
    match asked.path["how"]:
        case "problem":
            raise Problem(409, "Conflict", "another one", more={"other": 5})
        case "refused":
            raise RefusedRequest("makes no sense")
        case "unwell":
            raise TemporaryFault("disk is full")
        case "wrong":
            return {"count": "many"}
    raise KeyError("the-secret-inside")


async def large(asked: Asked) -> object:
    return b"x" * 1_000_000


async def streamed(asked: Asked) -> object:
    async def all_of_it() -> AsyncIterator[bytes]:
        for number in range(20):
            yield bytes([number]) * 50_000

    return Octets(all_of_it(), name='ä"b/../c.txt')


async def live(asked: Asked) -> object:
    async def events() -> AsyncIterator[LiveEvent]:
        feed: Feed = asked.door.feed  # type: ignore[attr-defined] # the test's own
        feed.watching += 1
        try:
            while True:
                yield await feed.next()
        finally:
            feed.watching -= 1

    return events()


class Feed:
    """Events of a test's own."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []
        self.ready: list[LiveEvent] = []
        self.watching = 0

    async def next(self) -> LiveEvent:
        while not self.ready:
            one: Deferred[None] = Deferred()
            self.waiting.append(one)
            await one
        return self.ready.pop(0)

    def tell(self, *events: LiveEvent) -> None:
        self.ready += events
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            if not one.called:
                one.callback(None)


OPERATIONS = (
    Operation("GET", "/things/{name}", Scope.READ, "One", Shown, ok, query=Filter),
    Operation("POST", "/orders", Scope.QUEUE, "An order", Shown, order, body=Order),
    Operation("POST", "/files", Scope.SEND, "A file", Shown, uploaded, body=Upload("message/rfc822", 200_000)),
    Operation("GET", "/refusals/{how}", Scope.READ, "Nothing good", Shown, refuse, statuses={409: "Always"}),
    Operation("GET", "/large", Scope.READ, "Much", Raw("application/octet-stream"), large),
    Operation("GET", "/streamed", Scope.READ, "Much", Raw("application/octet-stream"), streamed),
    Operation("GET", "/live", Scope.READ, "Events", Live(), live),
)


class Door:
    """Answers orders at once, unless it is told to wait."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.feed = Feed()
        self.wait: Any = None

    async def answer(self, request: Request) -> object:
        self.asked.append(request)
        if self.wait is not None:
            await self.wait
        return {"name": request.get("name", ""), "count": request.get("count", 0)}


class Served:
    """``tokens`` are secrets by the names of their scopes."""

    def __init__(
        self, operations: Sequence[Operation] = OPERATIONS, hosts: Sequence[str] = ("mail.example.org",),
        tls: Any = None,
    ) -> None:
        self.reactor = MemoryReactor(lambda place: None, Power())
        self.disk = MemoryDisk()
        self.door = Door()
        self.facts: list[Event] = []
        self.refused: list[tuple[str, str, str]] = []
        tokens = Tokens([
            TokenSettings("all", frozenset(Scope), digest(ALL)),
            TokenSettings("reader", frozenset({Scope.READ}), digest(READER)),
        ])
        self.sessions = Sessions(self.reactor.seconds, os.urandom)
        self.tries = Tries(self.reactor.seconds)

        def by_token(*words: str) -> Any:
            return self.reception.by_token(*words)

        self.reception = Reception(
            routes=Routes([*operations, *session_api.operations(self.sessions, by_token, tls is not None)]),
            others={"/metrics": Operation("GET", "/metrics", Scope.READ, "Numbers", Raw("text/plain"), large)},
            health={},
            page=PAGE,
            tokens=tokens,
            sessions=self.sessions,
            tries=self.tries,
            hosts=frozenset(hosts),
            upload_octets=300_000,
            note_failure=lambda *words: self.refused.append(words),
        )
        self.reserve_octets = 0
        folder = UploadFolder(
            "/state/uploads", self.disk, lambda: self.reserve_octets, self.reactor, self.reactor
        )
        folder.open()
        self.server = WebServer(self.reception, self.door, self, self.reactor, folder)
        self.factory = WebFactory(self.reactor, lambda: NOW + self.reactor.seconds(), self.server, tls)

    def note(self, event: Event) -> None:
        """``ports.Journal``."""
        self.facts.append(event)

    def advance(self, seconds: float) -> None:
        self.reactor.run_until(self.reactor.seconds() + seconds)

    def client(self, address: str = "127.0.0.1") -> HttpClient:
        client = HttpClient(lambda is_enough: self.reactor.run_until(self.reactor.seconds() + 600, is_enough))
        there = (IPv6Address if ":" in address else IPv4Address)("TCP", address, 40000)
        protocol = self.factory.buildProtocol(there)
        if protocol is None:
            client.is_closed = True
        else:
            join(self.reactor, client, there, protocol, IPv4Address("TCP", "127.0.0.1", 8025))
            self.advance(0)
        return client

    def ask(
        self, method: str, path: str, body: object = None, *, token: str | None = ALL,
        headers: Mapping[str, str] | None = None, address: str = "127.0.0.1",
    ) -> HttpAnswer:
        """On a connection of its own."""
        given = {"Connection": "close"}
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        octets = b""
        if isinstance(body, bytes):
            octets = body
        elif body is not None:
            octets = msgspec.json.encode(body)
            given["Content-Type"] = "application/json"
        client = self.client(address)
        answer = client.ask(method, path, given | dict(headers or {}), octets)
        client.close()
        self.advance(0)
        return answer

    def raw(self, octets: bytes, seconds: float = 0, address: str = "127.0.0.1") -> HttpClient:
        """What comes of octets that no client writes."""
        client = self.client(address)
        client.send(octets)
        self.advance(seconds)
        return client

    def stop(self) -> None:
        result_of(self.server.stop())
        self.factory.close()
        self.advance(0)
