"""What is said to the head of a request, before any of its body is read: who asks, for what, and whether he may.

Pure, but for what ``tokens`` remembers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from mailgw.web import problems
from mailgw.web.operations import NOTHING, Operation, Principal, Problem, Upload, body_media_type
from mailgw.web.page import Asset, Page
from mailgw.web.routing import Routes, Target, below_prefix, not_allowed, target_of
from mailgw.web.tokens import (
    COOKIE,
    COOKIE_OF_TLS,
    CUSTOM_HEADER,
    Sessions,
    Tokens,
    Tries,
    check_page,
    cookie_of,
    digest,
    host_of,
    is_ours,
)

NOBODY: Final = Principal("", frozenset())
CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="mailgw"'}
# Of a stranger's words in the journal.
NOTED_OCTETS: Final = 256


class RequestHeaders(Protocol):
    """``operations.Headers``, and all values of a header."""

    def get(self, name: str) -> str | None: ...

    def all(self, name: str) -> Sequence[str]: ...


@attrs.frozen
class Head:
    """``length`` of the body in octets, None where it comes in chunks and only its end will tell."""

    method: str
    target: bytes
    version: str
    headers: RequestHeaders
    peer: str
    is_secure: bool
    length: int | None


@attrs.frozen
class Admitted:
    """What is to be done: an operation, by ``who``, or an ``asset`` shown.  ``body`` is that of ``operation.bodies``
    which comes, None where none does, and ``body_octets`` what it may have.  ``path`` is what the journal calls it.
    ``session``: the digest of the name of a browser's session, b"" where a token says who asks.  ``problem`` not None:
    it goes no further, though it is known who asks for what."""

    target: Target
    who: Principal = NOBODY
    operation: Operation | None = None
    parameters: Mapping[str, str] = NOTHING
    asset: Asset | None = None
    body: Any = None
    body_octets: int = 0
    session: bytes = attrs.field(default=b"", repr=False)
    problem: Problem | None = None

    @property
    def path(self) -> str:
        return self.target.path[:NOTED_OCTETS]


@attrs.frozen
class Reception:
    """Whom it knows, and what there is.  ``others`` are operations outside of the prefix, by their whole path;
    ``health`` those that anybody may ask for, by whatever name.  ``note_failure`` hears of wrong tokens: the peer, the
    method, the path."""

    routes: Routes
    others: Mapping[str, Operation]
    health: Mapping[str, Operation]
    page: Page
    tokens: Tokens
    sessions: Sessions
    tries: Tries
    hosts: frozenset[str]
    upload_octets: int
    note_failure: Callable[[str, str, str], None]

    def admit(self, head: Head) -> Admitted:
        """Problem where it goes no further, and it is not known who asks, or for what."""
        target = target_of(head.target)
        if (health := self.health.get(target.path)) is not None:
            return self._bodyless(head, Admitted(target, operation=health), [health.method])
        own = _own_host(head, target)
        if own is not None and not is_ours(own[0], self.hosts):
            why = "this gateway is not asked by that name; [api] hosts lists those that it is, beside localhost"
            raise Problem(421, problems.PHRASES[421], why)
        segments = below_prefix(target.segments)
        if segments is None and target.path not in self.others:
            asset = self.page.find(target.path)
            if asset is None:
                raise Problem(404, problems.PHRASES[404], "there is no such page")
            return self._bodyless(head, Admitted(target, asset=asset), ["GET"])
        return self._operation(head, target, segments, "" if own is None else own[1])

    def _operation(self, head: Head, target: Target, segments: Sequence[str] | None, own: str) -> Admitted:
        route = None
        if segments is not None and self._is_open(head.method, segments):
            who, session = NOBODY, b""
        else:
            who, session = self.who(head, target.path)
        if segments is None:
            operation, parameters = self.others[target.path], NOTHING
            if head.method not in (operation.method, "HEAD"):
                raise not_allowed([operation.method])
        else:
            route = self.routes.route(head.method, segments)
            operation, parameters = route.operation, route.parameters
        admitted = Admitted(target, who, operation, parameters, session=session)
        try:
            self._check(head, admitted, operation, own)
            body, octets = self._body(head, operation)
        except Problem as problem:
            return attrs.evolve(admitted, problem=problem)
        return attrs.evolve(admitted, body=body, body_octets=octets)

    def _check(self, head: Head, admitted: Admitted, operation: Operation, own: str) -> None:
        """Problem 403 where it is not for him, or nothing of his that makes a browser ask."""
        if not operation.is_open and operation.scope is not None and operation.scope not in admitted.who.scopes:
            raise Problem(403, problems.PHRASES[403], f"the scope {operation.scope.value} is needed")
        if admitted.session or operation.is_open:
            check_page(
                operation.is_safe,
                head.headers.get("Origin"),
                head.headers.get("Sec-Fetch-Site"),
                operation.is_open or head.headers.get(CUSTOM_HEADER) is not None,
                own,
                head.is_secure,
            )

    def is_welcome(self, admitted: Admitted) -> bool:
        """Whether he who was admitted still would be: his token, or his session, is there yet, with the same scopes."""
        if admitted.who == NOBODY:
            return True
        if admitted.session:
            return self.sessions.whose(admitted.session) == admitted.who
        return self.tokens.has(admitted.who)

    def _is_open(self, method: str, segments: Sequence[str]) -> bool:
        try:
            return self.routes.route(method, segments).operation.is_open
        except Problem:
            return False  # strangers are not told what there is

    def who(self, head: Head, path: str) -> tuple[Principal, bytes]:
        """Who asks, and ``Admitted.session``.  Problem 401 or 429."""
        given = head.headers.all("Authorization")
        if not given:
            cookies = head.headers.all("Cookie")
            name = cookie_of(cookies, COOKIE_OF_TLS)
            if name is None and not head.is_secure:
                name = cookie_of(cookies, COOKIE)
            who = None if name is None else self.sessions.find(name)
            if name is None or who is None:
                raise Problem(401, problems.PHRASES[401], "a token is needed", headers=CHALLENGE)
            return who, digest(name)
        scheme, _, secret = given[0].partition(" ")
        if len(given) > 1 or scheme.lower() != "bearer":
            raise Problem(401, problems.PHRASES[401], "expected Authorization: Bearer TOKEN", headers=CHALLENGE)
        return self.by_token(secret.strip(), head.peer, head.method, path), b""

    def by_token(self, secret: str, peer: str, method: str, path: str) -> Principal:
        """Problem 401, or 429 where too many were wrong."""
        who = self.tokens.find(secret)
        if who is not None:
            return who
        if self.tries.failed(peer):
            wait = int(self.tries.wait_seconds(peer)) + 1
            why = "too many wrong tokens from this address"
            raise Problem(429, problems.PHRASES[429], why, headers={"Retry-After": str(wait)})
        self.note_failure(peer, method[:NOTED_OCTETS], path[:NOTED_OCTETS])
        raise Problem(401, problems.PHRASES[401], "no such token", headers=CHALLENGE)

    def _body(self, head: Head, operation: Operation) -> tuple[Any, int]:
        """The body that comes, and the most octets of it."""
        if not operation.bodies:
            if head.length != 0:
                raise Problem(413, problems.PHRASES[413], "no body is expected here")
            return None, 0
        if head.length == 0:
            raise Problem(400, problems.PHRASES[400], "a body is needed")
        word = (head.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        body = next((one for one in operation.bodies if word == body_media_type(one)), None)
        if body is None or head.headers.get("Content-Encoding") not in (None, "identity"):
            taken = ", ".join(map(body_media_type, operation.bodies))
            raise Problem(415, problems.PHRASES[415], f"expected {taken}", headers={"Accept": taken})
        octets = operation.body_octets
        if isinstance(body, Upload):
            octets = self.upload_octets if body.octets is None else body.octets
        if head.length is not None and head.length > octets:
            raise Problem(413, problems.PHRASES[413], f"at most {octets} octets")
        return body, octets

    def _bodyless(self, head: Head, admitted: Admitted, methods: Sequence[str]) -> Admitted:
        if head.method not in (*methods, "HEAD"):
            raise not_allowed(methods)
        if head.length != 0:
            raise Problem(413, problems.PHRASES[413], "no body is expected here")
        return admitted


def _own_host(head: Head, target: Target) -> tuple[str, str] | None:
    """The name that we are asked by, without and with its port; None where HTTP/1.0 has none.

    RFC 9112 s3.2: one Host field, and no more; s3.2.2: the target's own goes before it (here: they are the same).
    """
    given = head.headers.all("Host")
    if not given and head.version == "HTTP/1.0" and target.host is None:
        return None
    word = given[0] if len(given) == 1 else ""
    if target.host is not None and target.host.lower() != word.lower():
        word = ""
    host = host_of(word)
    if host is None:
        raise Problem(400, problems.PHRASES[400], "one Host header is needed")
    return host, word
