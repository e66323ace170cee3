"""Answers that say what is wrong: application/problem+json (RFC 9457).

Not done: types of problems by URI; each is "about:blank", whose title is the status's own phrase.
"""

import re
from typing import Any, Final

import msgspec

from mailgw.mail.errors import NotThere, RefusedRequest, TemporaryFault
from mailgw.web.operations import Problem

MEDIA_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 5
PHRASES: Final = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    406: "Not Acceptable", 408: "Request Timeout", 409: "Conflict", 411: "Length Required", 413: "Content Too Large",
    414: "URI Too Long", 415: "Unsupported Media Type", 421: "Misdirected Request", 422: "Unprocessable Content",
    425: "Too Early", 429: "Too Many Requests", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable",
}
LONGEST_DETAIL: Final = 1000


# From a slash at the start of a word, blanks in a folder's name included: better too much than a half.
_FOLDERS: Final = re.compile(r"""(?<![\w/:.~-])/(?:[^/:'"\n]+/)*""")


def told(why: str) -> str:
    """What a fault's words are to a client: a path of ours is its last name alone (the log has all of it)."""
    return _FOLDERS.sub("", why)


def problem_of(trouble: BaseException) -> Problem | None:
    """What a caller is told of it; None where it is a fault of ours, of which he is told nothing."""
    match trouble:
        case Problem():
            return trouble
        case NotThere():
            return Problem(404, PHRASES[404], str(trouble))
        case RefusedRequest():
            return Problem(422, PHRASES[422], str(trouble))
        case TemporaryFault():
            return Problem(503, PHRASES[503], told(trouble.why), headers={"Retry-After": str(RETRY_SECONDS)})
        case _:
            return None


def document(problem: Problem) -> bytes:
    """``status`` and the rest, as JSON."""
    members: dict[str, Any] = {
        "type": "about:blank", "title": problem.title or PHRASES.get(problem.status, ""), "status": problem.status,
    }
    if problem.detail:
        members["detail"] = problem.detail[:LONGEST_DETAIL]
    return msgspec.json.encode({**problem.more, **members})
