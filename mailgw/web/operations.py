"""What an operation of the HTTP API is; each topic's table (``*_api``) is a sequence of them.

Pure: neither HTTP nor Twisted is known here.

    def operations() -> Sequence[Operation]:
        return (
            Operation("GET", "/queue/lanes", Scope.READ, "Where mail waits", answer=list[Lane], run=lanes),
        )

    async def lanes(asked: Asked) -> object:
        return await asked.door.answer({"command": "queue.lanes"})

What ``run`` returns is held to ``answer``: an instance of it, or plain data of its shape (what the doors answer; more
keys than the shape has are left out).  It raises ``Problem`` for what it has words for; RefusedRequest becomes 422,
NotThere 404, TemporaryFault 503.  It may be cancelled where the client goes away, if it is a GET.
"""

import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias

import attrs
import msgspec

from mailgw.mail.ports import Answering

PREFIX: Final = "/api/v1"
JSON_OCTETS: Final = 1 << 20
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})

_PATH = re.compile(r"(?:/(?:[a-z0-9_.-]+|\{[a-z_]+\}))+\Z")


class Scope(Enum):
    """What a token may do; none includes another."""

    READ = "read"
    QUEUE = "queue"
    SEND = "send"


@attrs.frozen
class Principal:
    """Who asks: the token's name, scopes and digest.  ``senders``: whom it may send as, () for anybody."""

    name: str
    scopes: frozenset[Scope]
    senders: tuple[str, ...] = ()
    digest: bytes = attrs.field(default=b"", repr=False)


class Problem(Exception):
    """What is wrong, for the caller (RFC 9457).  ``more`` are members of the document beside the usual ones,
    ``headers`` go with the answer."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        more: Mapping[str, object] = NOTHING,
        headers: Mapping[str, str] = NOTHING,
    ) -> None:
        super().__init__(status, title, detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.more = more
        self.headers = headers


class Headers(Protocol):
    """Of a request."""

    def get(self, name: str) -> str | None:
        """The header's value, however the name is written; None where there is none."""

    def all(self, name: str) -> Sequence[str]:
        """Of a header that came several times."""


# --- bodies of requests ---------------------------------------------------------------------------------------


@attrs.frozen
class Upload:
    """A body that is put into a file as it comes.  ``octets`` None: as much as a message may have, and a third
    (Base64).  ``shape``: what JSON in it looks like, for the documentation; the operation decodes it."""

    media_type: str
    octets: int | None = None
    shape: type[msgspec.Struct] | None = None


@attrs.frozen
class Uploaded:
    """An ``Upload``: a file (mode 0600) in a folder of the state; it is removed when ``run`` is through, unless it was
    renamed.  ``media_type`` without parameters, in lower case."""

    path: str
    size_octets: int
    media_type: str


# --- answers ---------------------------------------------------------------------------------------------------


@attrs.frozen
class Raw:
    """An answer that is no JSON; ``run`` returns bytes, or ``Octets``.  ``"*/*"``: of a media type that ``Octets``
    says."""

    media_type: str


@attrs.frozen
class Octets:
    """``content`` whole, or in pieces as they are wanted.  ``name`` of a file to save it as, None to show it.
    ``headers`` stand in place of the usual ones, as of Content-Security-Policy."""

    content: bytes | AsyncIterable[bytes]
    media_type: str | None = None
    name: str | None = None
    headers: Mapping[str, str] = NOTHING


@attrs.frozen
class Live:
    """An answer of server-sent events, without an end; ``run`` returns an async iterator of ``LiveEvent``.

    It is asked for the next one when there is room on the way to the client: what comes meanwhile it has to keep in
    bounds by itself, and say what it left out.  It is closed (``aclose``) when the client is gone; a wait within it is
    cancelled.  Comments keep the line alive.
    """


@attrs.frozen
class LiveEvent:
    """``data`` is what msgspec can encode; ``id`` comes back as the header Last-Event-ID."""

    event: str
    data: object
    id: str | None = None


LiveEvents: TypeAlias = AsyncIterator[LiveEvent]


@attrs.frozen
class Answered:
    """``value`` as ``run`` would return it alone, with another status or headers of its own.  Each of ``cookies`` is a
    Set-Cookie."""

    value: object
    status: int | None = None
    headers: Mapping[str, str] = NOTHING
    cookies: Sequence[str] = ()


# --- the operation ---------------------------------------------------------------------------------------------


@attrs.frozen
class Asked:
    """One request."""

    door: Answering
    who: Principal
    path: Mapping[str, str]
    query: Any  # an instance of Operation.query, None where it has none
    body: Any  # an instance of Operation.body, an Uploaded, or None
    headers: Headers
    peer: str = ""  # the client's address


Run: TypeAlias = Callable[[Asked], Awaitable[object]]


@attrs.frozen
class Operation:
    """``path`` is below ``PREFIX``, its parameters in braces.  ``answer`` is a type that msgspec knows, None (then the
    status is 204), ``Raw`` or ``Live``.  ``query`` and a JSON ``body`` are Structs that forbid unknown fields; a
    ``body`` may be several things, told apart by their media types.  ``statuses`` are further ones that it answers;
    those of ``EVERYWHERE`` need not be named.  ``is_safe``: it changes nothing, whatever its method.  ``scope`` None:
    any token will do; ``is_open``: none is needed."""

    method: str
    path: str
    scope: Scope | None
    summary: str
    answer: Any
    run: Run
    query: type[msgspec.Struct] | None = None
    body: Any = None
    status: int = 200
    statuses: Mapping[int, str] = NOTHING
    body_octets: int = JSON_OCTETS  # of JSON; an Upload has its own limit
    is_open: bool = False
    is_safe: bool = attrs.field(default=attrs.Factory(lambda one: one.method == "GET", takes_self=True))

    def __attrs_post_init__(self) -> None:
        where = f"{self.method} {self.path}"
        if self.method not in METHODS or not _PATH.match(self.path):
            raise ValueError(f"{where}: no method or path of an operation")
        shapes: list[Any] = [self.query, *self.bodies]
        for shape in shapes:
            if shape is None or isinstance(shape, Upload):
                continue
            if not shape.__struct_config__.forbid_unknown_fields:
                raise ValueError(f"{where}: {shape.__name__} has to forbid unknown fields")
        if self.answer is None and self.status == 200:
            object.__setattr__(self, "status", 204)

    @property
    def bodies(self) -> Sequence[Any]:
        """What it takes, each with a media type of its own."""
        if self.body is None:
            return ()
        return tuple(self.body) if isinstance(self.body, tuple | list) else (self.body,)

    @property
    def topic(self) -> str:
        return self.path.split("/")[1]

    @property
    def operation_id(self) -> str:
        words = re.findall(r"[a-z0-9]+", self.path)
        return "_".join([self.method.lower(), *words])


# Any operation may answer these, and they mean the same everywhere.
EVERYWHERE: Final[Mapping[int, str]] = {
    400: "The request makes no sense: its path, a parameter, its body, or a header",
    401: "No token, or one that is unknown",
    403: "The token's scopes do not reach so far; or a browser's session without its header",
    414: "The path and its query are too long",
    421: "Asked for by a name that [api] hosts does not have",
    422: "Understood, and refused: the detail says why",
    429: "Too many wrong tokens from this address; or too many uploads of this token under way",
    431: "The header is too large, or has too many fields",
    500: "A fault of the gateway; its log says more",
    503: "The gateway, or who it has to ask, is unwell, stopping, or has no room; try again",
}
WITH_BODY: Final[Mapping[int, str]] = {
    408: "The body came too slowly",
    413: "The body is too large",
    415: "A body of this media type is not taken here",
}


def body_media_type(body: Any) -> str:
    """Of one of ``Operation.bodies``."""
    return body.media_type if isinstance(body, Upload) else "application/json"
