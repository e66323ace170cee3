"""Which operation is meant by a method and a path, and what a path may be.  Pure.

Paths are compared as they are written, after one decoding: what could be understood in two ways is refused
(RFC 3986 s7; encoded slashes, dots, backslashes and control characters; empty segments).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

import attrs

from mailgw.web.operations import PREFIX, Operation, Problem

# RFC 3986 s3.3: pchar and "/", percent-encodings whole
_PATH: Final = re.compile(r"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*\Z")
_ENCODING: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
# RFC 9112 s3: at least 8000; a query of every filter that there is, each of its longest, has more.
TARGET_OCTETS: Final = 16384
# What no segment of a path has, once it is decoded.
STRANGE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f/\\]")
QUERY_PARAMETERS: Final = 100
ADDRESSES: Final = frozenset({"to", "from", "sender", "recipient", "recipients", "reverse_path", "address"})
"""Parameters that may be one."""


@attrs.frozen
class Target:
    """What a request line asks for: ``segments`` decoded, the ``query`` as it was written; ``host`` where it was said
    there (absolute form), else None."""

    path: str
    segments: tuple[str, ...]
    query: str
    host: str | None = None


def target_of(word: bytes) -> Target:
    """The target of a request line (RFC 9112 s3.2); Problem where it is none that is served."""
    if len(word) > TARGET_OCTETS:
        raise Problem(414, "URI Too Long", f"at most {TARGET_OCTETS} octets")
    if not word.isascii():
        raise _bad("the target has to be encoded")
    text, host = word.decode("ascii"), None
    if found := re.match(r"https?://([^/?#]*)", text, re.IGNORECASE):
        host, text = found[1], text[found.end():] or "/"
        text = f"/{text}" if text.startswith("?") else text
    path, _, query = text.partition("?")
    if "#" in text or not _PATH.match(path):
        raise _bad("not a path that is served here")
    return Target(path, _segments(path), query, host)


def _segments(path: str) -> tuple[str, ...]:
    if path == "/":
        return ()
    found = []
    for segment in path[1:].split("/"):
        try:
            decoded = unquote_to_bytes(segment).decode("utf-8")
        except UnicodeDecodeError:
            raise _bad("a segment of the path is not UTF-8") from None
        if decoded in ("", ".", ".."):
            raise _bad("an empty segment, or one of dots, in the path")
        if STRANGE.search(decoded):
            raise _bad("a slash, backslash or control character in a segment of the path")
        found.append(decoded)
    return tuple(found)


def query_of(words: str) -> Mapping[str, list[str]]:
    """Parameters of a query, in their order; Problem where they cannot be read, or are too many.  A "+" is a space, as
    browsers write it, but in an address, which has none: there it is what it is."""
    found: dict[str, list[str]] = {}
    pairs = [pair for pair in words.split("&") if pair]
    if len(pairs) > QUERY_PARAMETERS:
        raise _bad(f"more than {QUERY_PARAMETERS} query parameters")
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name in ADDRESSES and _is_address(value):
            value = value.replace("+", "%2B")
        found.setdefault(_decoded(name), []).append(_decoded(value))
    return found


def _is_address(value: str) -> bool:
    """Whether it is a whole one, as it stands in a query: neither quoted nor behind a name."""
    if any(mark in value.upper() for mark in ('"', "<", "%22", "%3C", "%20")):
        return False
    local_part, _, domain = value.replace("%40", "@").partition("@")
    return bool(local_part and domain) and "@" not in domain


def _decoded(word: str) -> str:
    if _ENCODING.search(word):
        raise _bad("a percent sign in the query that encodes nothing")
    try:
        decoded = unquote_to_bytes(word.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise _bad("the query is not UTF-8") from None
    if "\0" in decoded:
        raise _bad("a NUL in the query")
    return decoded


@attrs.frozen
class Route:
    """An operation, and the values of its path's parameters."""

    operation: Operation
    parameters: Mapping[str, str]


class Routes:
    """The operations of all topics.  ValueError where two of them are the same."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.operations: Sequence[Operation] = tuple(operations)
        self._by_length: dict[int, list[tuple[tuple[str, ...], Operation]]] = {}
        seen: set[tuple[str, str]] = set()
        for one in self.operations:
            shape = (one.method, re.sub(r"\{[a-z_]+\}", "{}", one.path))
            if shape in seen:
                raise ValueError(f"two operations are {one.method} {one.path}")
            seen.add(shape)
            segments = tuple(one.path[1:].split("/"))
            self._by_length.setdefault(len(segments), []).append((segments, one))
        for found in self._by_length.values():
            # A word goes before a parameter: /queue/lanes before /queue/{verb}.
            found.sort(key=lambda pair: [segment.startswith("{") for segment in pair[0]])

    def route(self, method: str, segments: Sequence[str]) -> Route:
        """``segments`` are those below ``PREFIX``.  HEAD is asked as GET.  Problem 404 or 405."""
        wanted = "GET" if method == "HEAD" else method
        allowed: set[str] = set()
        # The nearest path decides which methods there are: /queue/lanes/suspend is no {verb} of something else.
        nearest: tuple[str, ...] | None = None
        for pattern, operation in self._by_length.get(len(segments), ()):
            parameters = _match(pattern, segments)
            if parameters is None or nearest not in (None, _shape(pattern)):
                continue
            if operation.method == wanted:
                return Route(operation, parameters)
            nearest = _shape(pattern)
            allowed.add(operation.method)
        if not allowed:
            raise Problem(404, "Not Found", "there is no such operation; GET /api/v1/openapi.json has them all")
        raise not_allowed(allowed)


def not_allowed(methods: Iterable[str]) -> Problem:
    allowed = set(methods)
    allowed |= {"HEAD"} if "GET" in allowed else set()
    return Problem(405, "Method Not Allowed", "", headers={"Allow": ", ".join(sorted(allowed))})


def below_prefix(segments: Sequence[str]) -> Sequence[str] | None:
    """What follows ``PREFIX``, None where something else is asked for."""
    prefix = PREFIX[1:].split("/")
    return segments[len(prefix):] if list(segments[:len(prefix)]) == prefix and len(segments) > len(prefix) else None


def _shape(pattern: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("{}" if segment.startswith("{") else segment for segment in pattern)


def _match(pattern: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    parameters = {}
    for word, segment in zip(pattern, segments, strict=True):
        if word.startswith("{"):
            parameters[word[1:-1]] = segment
        elif word != segment:
            return None
    return parameters


def _bad(detail: str) -> Problem:
    return Problem(400, "Bad Request", detail)
