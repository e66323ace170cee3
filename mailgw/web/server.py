"""A request, from its head to its answer.

Rules:
    A request's head is judged before its body is read, and its body decoded before anything is done.
    Each request is done in a turn of the reactor of its own, whoever sends how many at once.
    Where the client goes away what only reads is cancelled; what changes something goes on to its end.
    What is told as it happens is told no longer than its client's token, or session, is there.
    A failure of ours is logged with its traceback, and the client told that it was one.
"""

import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.iweb import INonQueuedRequestFactory
from zope.interface import implementer

from mailgw.mail import event as fact
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.json_fault import json_fault
from mailgw.mail.ports import Answering, Journal
from mailgw.net.tasks import TaskGroup
from mailgw.web.answers import headers_of, octets_headers, problem_headers
from mailgw.web.channel import Channel
from mailgw.web.judging import Admitted, Head, Reception
from mailgw.web.operations import Answered, Asked, Live, Octets, Operation, Problem, Raw, Upload
from mailgw.web.page import Asset, is_known, takes_gzip
from mailgw.web.problems import PHRASES, RETRY_SECONDS, document, problem_of
from mailgw.web.routing import query_of
from mailgw.web.sending import PIECE_OCTETS, Way, live, pieces
from mailgw.web.uploads import Body, InFile, InMemory, UploadFolder

log = Logger()

LIVE_AT_ONCE: Final = 50
STOP_SECONDS: Final = 5.0
# The page's files may be kept, but are asked for each time whether they are the same still.
PAGE_CACHE: Final = "no-cache"


class FieldsOf:
    """``judging.RequestHeaders``."""

    def __init__(self, headers: Any) -> None:
        self._headers = headers

    def get(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: str) -> Sequence[str]:
        return [value.decode("latin-1") for value in self._headers.getRawHeaders(name.encode(), [])]


@implementer(INonQueuedRequestFactory)
class WebServer:
    """Does what is asked.  ``door`` answers control commands, ``uploads`` is where bodies wait that are large."""

    def __init__(
        self, reception: Reception, door: Answering, journal: Journal, reactor: Any, uploads: UploadFolder
    ) -> None:
        self.reception = reception
        self.door = door
        self.uploads = uploads
        self.reactor = reactor
        self.is_stopping = False
        self.live: set[WebRequest] = set()  # those who watch
        self.reading: set[Callable[[], None]] = set()  # what cancels those that only read
        self._journal = journal
        self.tasks = TaskGroup(_log_failure)

    def __call__(self, channel: Channel) -> "WebRequest":
        """``INonQueuedRequestFactory``."""
        return WebRequest(channel, self)

    def note(self, admitted: Admitted, method: str, peer: str, status: int) -> None:
        """What was asked for, where that is more than to look."""
        if admitted.operation is not None and not admitted.operation.is_safe:
            self._journal.note(fact.Operated(admitted.who.name, peer, method, admitted.path, status))

    def renew(self, reception: Reception) -> None:
        """Another one from now on, for those who watch, too."""
        self.reception = reception
        for one in list(self.live):
            one.end_unless_welcome()

    async def stop(self) -> None:
        """Nothing new begins; what only reads is cancelled, what changes something may end within ``STOP_SECONDS``."""
        self.is_stopping = True
        for cancel in list(self.reading):
            cancel()
        end = self.reactor.callLater(STOP_SECONDS, self.tasks.cancel)
        await self.tasks.settled()
        if end.active():
            end.cancel()


class WebRequest(Request):
    """One of a channel's requests."""

    channel: Channel
    _disconnected: bool

    def __init__(self, channel: Channel, server: WebServer) -> None:
        super().__init__(channel)
        self._server = server
        self._fields = FieldsOf(self.requestHeaders)
        self._peer = channel.peer
        self._admitted: Admitted | None = None
        self._problem: Problem | None = None
        self._body: Body | None = None
        self._cancel: Callable[[], None] | None = None  # where it only reads
        self._is_running = False
        self._is_secure = channel.is_secure

    # --- its head and its body ------------------------------------------------------------------------------

    def begin(self, method: bytes, target: bytes, version: bytes, length: int | None) -> Problem | None:
        """The head is there; what is wrong with it."""
        self.method, self.clientproto = method, version
        head = Head(
            method.decode("ascii"), target, version.decode("ascii"), self._fields, self._peer, self._is_secure, length
        )
        try:
            if self._server.is_stopping:
                raise Problem(503, PHRASES[503], "stopping", headers={"Retry-After": str(RETRY_SECONDS)})
            self._admitted = self._server.reception.admit(head)
            if self._admitted.who.name:
                self.channel.factory.know(self.channel)
            if self._admitted.problem is not None:
                raise self._admitted.problem
            self._body = self._body_of(self._admitted, length)
        except Problem as problem:
            self._refuse(problem)
            return problem
        return None

    def _body_of(self, admitted: Admitted, length: int | None) -> Body | None:
        """Where its body goes as it comes.  Problem where there is no room for it."""
        if isinstance(admitted.body, Upload):
            most = admitted.body_octets if length is None else length
            return self._server.uploads.begin(admitted.who.name, most, admitted.body.media_type, self.channel)
        return None if admitted.body is None else InMemory()

    def gotLength(self, length: int | None) -> None:
        """``begin`` has it."""

    def handleContentChunk(self, data: bytes) -> None:
        self.channel.body_came(len(data))
        if self._body is None or self._admitted is None:
            return
        self._body.write(data)
        if self._body.size_octets > self._admitted.body_octets:
            why = f"at most {self._admitted.body_octets} octets"
            self.channel.refuse(Problem(413, PHRASES[413], why))

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """All of it is there.  In a turn of its own, whoever sends many at once."""
        self.uri = path
        self._server.reactor.callLater(0, self._do)

    def abandon(self, problem: Problem) -> None:
        """The channel has answered with that: what came of it is thrown away."""
        if not self._is_running:
            self._refuse(problem)
        if self._body is not None:
            self._body.discard()

    def _refuse(self, problem: Problem) -> None:
        """It is not done, which is a fact where somebody whom we know would have changed something."""
        if self._problem is not None:
            return
        self._problem = problem
        # What strangers would have is no fact for each: the journal is not theirs to fill.
        if self._admitted is not None and self._admitted.who.name:
            self._server.note(self._admitted, self.method.decode("ascii"), self._peer, problem.status)

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self._cancel_own()
        if not self._is_running and self._body is not None:
            self._body.discard()

    # --- what is done ---------------------------------------------------------------------------------------

    def _do(self) -> None:
        if self._disconnected:
            return
        if self._problem is not None or self._admitted is None:
            self._answer_problem(self._problem or Problem(400, PHRASES[400]))
        elif self._admitted.asset is not None:
            self._run_task("showing the page", self._show(self._admitted.asset), is_safe=True)
        else:
            operation = self._admitted.operation
            is_safe = operation is not None and operation.is_safe
            self._run_task("answering a request", self._operate(self._admitted), is_safe)

    def _run_task(self, what: str, work: Coroutine[Deferred[Any], Any, None], is_safe: bool) -> None:
        tasks, reading = self._server.tasks, self._server.reading

        async def run() -> None:
            try:
                await work
            finally:
                reading.discard(cancel)

        cancelled: list[Callable[[], None]] = []

        def cancel() -> None:
            for one in cancelled:
                one()

        if is_safe:
            reading.add(cancel)
            self._cancel = cancel
        self._is_running = True
        cancelled.append(tasks.spawn(what, run()))

    async def _operate(self, admitted: Admitted) -> None:
        operation = admitted.operation
        assert operation is not None
        status = 500
        try:
            found = await self._run(admitted, operation)
            status = found.status or operation.status
            await self._answer(operation, found, status)
        except CancelledError:
            status = 503
            self._break_off()
            raise
        except Exception as trouble:  # noqa: BLE001 - whatever it is, the client is answered
            problem = problem_of(trouble)
            if isinstance(trouble, TemporaryFault) and problem is not None and problem.detail != trouble.why:
                log.warn("{method} {path}: {why}", method=operation.method, path=operation.path, why=trouble.why)
            if problem is None:
                log.failure("{method} {path} failed", method=operation.method, path=operation.path)
                problem = Problem(500, PHRASES[500], "the gateway's log says more")
            status = problem.status
            self._answer_problem(problem)
        finally:
            if self._body is not None:
                self._body.discard()
            self._server.note(admitted, self.method.decode("ascii"), self._peer, status)

    async def _run(self, admitted: Admitted, operation: Operation) -> Answered:
        asked = Asked(
            door=self._server.door,
            who=admitted.who,
            path=admitted.parameters,
            query=typed_query(operation, admitted.target.query),
            body=None if self._body is None else await self._decoded(admitted),
            headers=self._fields,
            peer=self._peer,
        )
        found = await operation.run(asked)
        return found if isinstance(found, Answered) else Answered(found)

    async def _decoded(self, admitted: Admitted) -> object:
        assert self._body is not None
        await self._body.ended()
        if isinstance(self._body, InFile):
            return self._body.uploaded()
        return typed_body(admitted.body, self._body.octets())

    # --- what is answered -----------------------------------------------------------------------------------

    async def _answer(self, operation: Operation, found: Answered, status: int) -> None:
        self.cookies = [one.encode("ascii") for one in found.cookies]
        if isinstance(operation.answer, Live):
            await self._answer_live(found.value)
            return
        if operation.answer is None:
            self._begin_answer(status, found.headers, None)
            self._end_answer()
            return
        if isinstance(operation.answer, Raw):
            octets = found.value if isinstance(found.value, Octets) else Octets(_bytes(found.value))
            headers = {**octets_headers(octets, operation.answer.media_type), **found.headers}
            await self._answer_octets(status, headers, octets.content)
            return
        body = msgspec.json.encode(held_to(operation.answer, found.value))
        await self._answer_octets(status, {"Content-Type": "application/json", **found.headers}, body)

    async def _answer_octets(self, status: int, headers: Mapping[str, str], content: Any) -> None:
        size = len(content) if isinstance(content, bytes) else None
        self._begin_answer(status, headers, size)
        if self.method == b"HEAD":
            self._end_answer()
            return
        if self._disconnected:
            return
        if size is not None and size <= PIECE_OCTETS:
            self._write(content)
        else:
            way = Way(self)
            try:
                async for piece in pieces(content):
                    self._write(piece)
                    await way.room()
                    if way.is_gone:
                        return
            finally:
                way.close()
        self._end_answer()

    async def _answer_live(self, events: Any) -> None:
        server = self._server
        if len(server.live) >= LIVE_AT_ONCE:
            why = f"{LIVE_AT_ONCE} already watch"
            raise Problem(503, PHRASES[503], why, headers={"Retry-After": str(RETRY_SECONDS)})
        if self._disconnected:
            return
        self._begin_answer(200, {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}, None)
        if self.method == b"HEAD":
            self._end_answer()
            return
        server.live.add(self)
        way = Way(self)
        try:
            await live(events, self._write, way, server.reactor, self._is_welcome, self._cancel_own)
        finally:
            server.live.discard(self)
            way.close()
        self._end_answer()

    def end_unless_welcome(self) -> None:
        if not self._is_welcome():
            self._cancel_own()

    def _is_welcome(self) -> bool:
        return self._admitted is not None and self._server.reception.is_welcome(self._admitted)

    def _cancel_own(self) -> None:
        if self._cancel is not None:
            self._cancel()

    async def _show(self, asset: Asset) -> None:
        headers = {"ETag": asset.etag, "Cache-Control": PAGE_CACHE, "Vary": "Accept-Encoding"}
        if is_known(asset.etag, self._fields.get("If-None-Match")):
            self._begin_answer(304, headers, None)
            self._end_answer()
            return
        octets = asset.octets
        if asset.compressed is not None and takes_gzip(self._fields.get("Accept-Encoding")):
            octets = asset.compressed
            headers["Content-Encoding"] = "gzip"
        await self._answer_octets(200, {**headers, "Content-Type": asset.media_type}, octets)

    def _answer_problem(self, problem: Problem) -> None:
        if self._disconnected or self.finished:
            return
        if self.startedWriting:
            self._break_off()
            return
        self.cookies = []
        body = document(problem)
        self._begin_answer(problem.status, problem_headers(problem), len(body))
        self._write(body)
        self._end_answer()

    def _begin_answer(self, status: int, headers: Mapping[str, str], size: int | None) -> None:
        if self._disconnected:
            return
        self.setResponseCode(status, PHRASES[status].encode() if status in PHRASES else None)
        fields = headers_of(headers, self._is_secure, self.channel.factory.wall_clock())
        if size is not None:
            fields["Content-Length"] = str(size)
        if not self.channel.persistent:
            fields["Connection"] = "close"
        for name, value in fields.items():
            self.responseHeaders.setRawHeaders(name.encode(), [value.encode("utf-8")])

    def _write(self, octets: bytes) -> None:
        if octets and not self._disconnected:
            self.write(octets)  # type: ignore[no-untyped-call]

    def _end_answer(self) -> None:
        if not self._disconnected and not self.finished:
            self.finish()  # type: ignore[no-untyped-call]

    def _break_off(self) -> None:
        """No more can be said than that there is no more."""
        if not self._disconnected and not self.finished:
            self.channel.transport.abortConnection()


def typed_query(operation: Operation, words: str) -> Any:
    """The query as the operation has it; Problem 400 where it is another one."""
    given = query_of(words)
    if operation.query is None:
        if given:
            raise Problem(400, PHRASES[400], f"no query parameter is known here: {', '.join(sorted(given))}"[:300])
        return None
    lists = {field.encode_name for field in msgspec.structs.fields(operation.query) if _is_list(field.type)}
    values: dict[str, object] = {}
    for name, found in given.items():
        if name in lists:
            values[name] = found
        elif len(found) > 1:
            raise Problem(400, PHRASES[400], f"the query parameter {name[:100]} is given more than once")
        else:
            values[name] = found[0]
    try:
        query = msgspec.convert(values, operation.query, strict=False)
    except msgspec.ValidationError as fault:
        raise Problem(400, PHRASES[400], f"the query: {fault}") from None
    for field in msgspec.structs.fields(operation.query):
        value = getattr(query, field.name)
        # What is left out is null: "null", which msgspec would take for it, is another thing.
        if field.encode_name in values and (value is None or (isinstance(value, float) and not math.isfinite(value))):
            raise Problem(400, PHRASES[400], f"the query: {field.encode_name} is no number")
    return query


def typed_body(shape: Any, octets: bytes) -> object:
    """JSON as the operation has it; Problem 400 where it is none, or another one."""
    try:
        return msgspec.json.decode(octets, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise Problem(400, PHRASES[400], f"the body: {json_fault(fault, octets)}") from None
    except RecursionError:
        raise Problem(400, PHRASES[400], "the body is nested too deeply") from None


def held_to(shape: Any, value: object) -> object:
    """``value`` as an instance of what the operation says it answers.  ValidationError where it is another thing: a
    bug of ours."""
    if isinstance(shape, type) and isinstance(value, shape):
        return value
    return msgspec.convert(value, shape, from_attributes=True)


def _is_list(kind: Any) -> bool:
    return getattr(kind, "__origin__", kind) in (list, tuple, set, frozenset)


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    raise TypeError(f"an answer that is no JSON has to be octets, not {type(value).__name__}")


def _log_failure(what: str, failure: Failure) -> None:
    log.failure("{what} failed", failure=failure, what=what)
