"""The journal's answers: which messages there were, and why one of them is where it is.

What ``mailgw trace`` says is said here, in the words of ``tracing``: times are seconds since the epoch.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from mailgw.web.operations import Asked, Operation, Problem, Scope

MOST_ITEMS: Final = 1000
MOST_CHARACTERS: Final = 1000
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_CHARACTERS)]


class Sought(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is meant, one of: ``word``, whatever a person types; ``queue_id``; ``message_id``; ``address`` (sender,
    recipient or login; "@example.org" for all there); ``peer`` (a client's address or network).  ``since`` in seconds
    since the epoch."""

    word: Text | None = None
    queue_id: Text | None = None
    message_id: Text | None = None
    address: Text | None = None
    peer: Text | None = None
    since: Annotated[float, msgspec.Meta(ge=0, le=1e10)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_ITEMS)] = 100
    after: Text | None = None


class Row(msgspec.Struct, omit_defaults=True):
    """A message, a session, a refusal, or another fact (``kind``), as far as the facts tell that were found: ``first``
    is the oldest one's time, ``facts`` their number.  ``last`` is the message's own last fact that says how it stands,
    also where that does not name what was sought, or the newest one that was found of anything else, as
    docs/journal.rst has it, with its ``time`` in seconds and at most 20 of each list; ``event``, ``time`` and what was
    said are of it.  Where the journal was too long to look for a message's last fact it is null, and ``event`` and
    ``time`` are the newest one's that was found: what became of the message is at /trace/{queue_id}."""

    kind: str
    queue_id: str
    event: str
    time: float
    first: float
    facts: int
    recipients: list[str]
    recipient_count: int
    last: dict[str, Any] | None
    session_id: str = ""
    role: str = ""
    peer: str = ""
    login: str = ""
    reverse_path: str = ""
    message_id: str = ""
    size_octets: int = 0
    lane: str = ""
    hop: str = ""
    stage: str = ""
    rule: str = ""
    code: int = 0
    status: str = ""
    text: str = ""
    why: str = ""
    attempts: int = 0


class Rows(msgspec.Struct):
    """``next`` is where the next page begins, null at the end: there may be one behind a page without items, where the
    search ended at its bounds (``is_cut``).  ``searched_back_to`` is how far back it came."""

    items: list[Row]
    next: str | None
    searched_back_to: float | None
    is_cut: bool
    octets: int
    unreadable: int
    files: list[str]


class Said(msgspec.Struct):
    """What was said with ``hop``: "C: " is ours, "S: " the server's; in parentheses what happened besides."""

    time: float
    lines: list[str]
    hop: str = ""
    seconds: float = 0.0


class Result(msgspec.Struct, omit_defaults=True):
    """What an attempt came to for one recipient, as the journal has it."""

    recipient: str
    event: str
    hop: str = ""
    code: int = 0
    status: str = ""
    text: str = ""
    attempts: int = 0
    retry_seconds: float | None = None
    reply_class: str = ""
    notice_id: str = ""
    tls: str = ""
    cipher: str = ""
    verified: str = ""
    source: str = ""
    seconds: float | None = None


class Attempt(msgspec.Struct):
    time: float
    lane: str
    results: list[Result]
    conversations: list[Said]


class Notice(msgspec.Struct):
    """``kind``: bounce, warning, or report."""

    queue_id: str
    kind: str
    recipient: str


class Caused(msgspec.Struct):
    queue_id: str
    recipients: list[str]


class Story(msgspec.Struct):
    """All that the journal tells: ``message`` as it arrived, ``facts`` in their order, each as docs/journal.rst has it
    with its ``time`` in seconds, ``attempts``, ``notices`` that it led to, whose notice it is (``notice_of``), and what
    an application sent because of it (``caused``).  ``is_whole``: its arrival was found."""

    queue_id: str
    message: dict[str, Any]
    facts: list[dict[str, Any]]
    attempts: list[Attempt]
    notices: list[Notice]
    notice_of: str | None
    caused: list[Caused]
    is_whole: bool
    left_out: int
    searched_back_to: float | None
    is_cut: bool
    files: list[str]


async def _trace(asked: Asked) -> object:
    sought: Sought = asked.query
    given = {name: value for name, value in msgspec.to_builtins(sought).items() if name not in ("after", "limit")}
    return await asked.door.answer(
        {"command": "trace", **given, "limit": sought.limit, "cursor": sought.after}
    )


async def _story(asked: Asked) -> object:
    queue_id = asked.path["queue_id"]
    found: Any = await asked.door.answer({"command": "trace.story", "queue_id": queue_id})
    if not found["facts"] and not found["is_cut"]:
        raise Problem(404, "Not Found", f"the journal tells nothing of a message {queue_id}")
    return found


def operations() -> Sequence[Operation]:
    read = Scope.READ
    return (
        Operation("GET", "/trace", read, "Messages, sessions and refusals in the journal", Rows, _trace, query=Sought),
        Operation(
            "GET", "/trace/{queue_id}", read, "One message, from its connection to its last attempt", Story, _story,
            statuses={404: "The journal tells nothing of such a message"},
        ),
    )
