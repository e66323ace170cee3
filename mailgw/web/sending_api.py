"""Sending: a message in, what became of each recipient, and calling it off.

A token of scope ``send`` sees and cancels what it sent itself; ``read`` sees all, ``queue`` cancels all.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec

from mailgw.mail.posted import Posted
from mailgw.web.operations import Answered, Asked, Operation, Problem, Scope, Upload, Uploaded
from mailgw.web.problems import PHRASES

KEY: Final = "Idempotency-Key"
RAW: Final = "message/rfc822"
Text = Annotated[str, msgspec.Meta(max_length=1000)]


class Envelope(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """For a message as it is (message/rfc822): what its header does not say, or says otherwise.  ``reverse_path``
    empty: nobody hears of it."""

    reverse_path: Text | None = None
    recipients: list[Text] = []
    send_at: Text | None = None
    tags: list[Text] = []


class Which(msgspec.Struct, forbid_unknown_fields=True):
    """``state`` is that of some recipient; ``token``: who sent it."""

    state: Text | None = None
    tag: Text | None = None
    recipient: Text | None = None
    token: Text | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    after: Text | None = None


class Accepted(msgspec.Struct):
    recipient: str
    state: str


class Sent(msgspec.Struct):
    """``idempotent_replay``: an earlier request of the same key made it; then the states are those of now."""

    id: str
    queue_id: str
    message_id: str
    send_at: float | None
    recipients: list[Accepted]
    idempotent_replay: bool


class Recipient(msgspec.Struct):
    """``state``: scheduled, queued, deferred, held, delivered, bounced, removed, discarded (by a rule), or unknown;
    ``code``, ``status`` and ``text`` of the last answer, ``due`` the next attempt, ``at`` when it came to this."""

    recipient: str
    lane: str
    state: str
    code: int
    status: str
    text: str
    hop: str
    attempts: int
    due: float | None
    at: float


class Message(msgspec.Struct):
    """``at`` is when it was taken."""

    id: str
    queue_id: str
    message_id: str
    token: str
    at: float
    send_at: float | None
    reverse_path: str
    subject: str
    size_octets: int
    tags: list[str]
    metadata: dict[str, str]
    recipients: list[Recipient]


class Messages(msgspec.Struct):
    items: list[Message]
    next: str | None


class Cancelled(msgspec.Struct):
    """``cancelled`` are those who will not get it; whoever is being tried just now is left alone."""

    cancelled: list[str]
    message: Message


async def _send(asked: Asked) -> object:
    upload: Uploaded = asked.body
    options = msgspec.to_builtins(asked.query)
    if options and upload.media_type != RAW:
        name = next(iter(options))
        raise Problem(400, PHRASES[400], f"{name}: stands in the JSON, where it is no {RAW}", {"field": name})
    answer: Any = await asked.door.answer({
        "command": "send", "path": upload.path, "media_type": upload.media_type, "token": asked.who.name,
        "peer": asked.peer, "key": asked.headers.get(KEY), "options": options,
    })
    if "problem" in answer:
        raise _problem(answer["problem"])
    return Answered(answer, headers={"Location": f"/api/v1/messages/{answer['id']}"})


def _problem(told: Mapping[str, Any]) -> Problem:
    more = {name: told[name] for name in ("field", "recipients") if told.get(name)}
    wait = told.get("retry_after")
    return Problem(told["status"], told["title"], told["detail"], more, {"Retry-After": str(wait)} if wait else {})


async def _messages(asked: Asked) -> object:
    query: Which = asked.query
    own = _own(asked, Scope.READ)
    return await asked.door.answer({
        "command": "sent.list", "state": query.state, "tag": query.tag, "recipient": query.recipient,
        "token": own or query.token, "limit": query.limit, "after": query.after,
    })


async def _message(asked: Asked) -> object:
    return await _found(asked, "sent.show", Scope.READ)


async def _cancel(asked: Asked) -> object:
    return await _found(asked, "sent.cancel", Scope.QUEUE)


async def _found(asked: Asked, command: str, scope: Scope) -> object:
    answer = await asked.door.answer({"command": command, "id": asked.path["id"], "token": _own(asked, scope)})
    if answer is None:
        raise Problem(404, PHRASES[404], f"no message {asked.path['id']} was sent here in the last days")
    return answer


def _own(asked: Asked, scope: Scope) -> str | None:
    """Whose messages are meant: None for everybody's."""
    if scope in asked.who.scopes:
        return None
    if Scope.SEND in asked.who.scopes:
        return asked.who.name
    raise Problem(403, PHRASES[403], f"the scope {scope.value}, or {Scope.SEND.value} for one's own, is needed")


def operations() -> Sequence[Operation]:
    unknown = {404: "No such message was sent here in the last days"}
    return (
        Operation(
            "POST", "/messages", Scope.SEND, "Send a message: 202 once it is on disk", Sent, _send, query=Envelope,
            body=(Upload("application/json", shape=Posted), Upload(RAW)), status=202,
            statuses={409: f"The {KEY} came with another message, or its first request has not ended"},
        ),
        Operation("GET", "/messages", None, "What was sent, the newest first", Messages, _messages, query=Which),
        Operation(
            "GET", "/messages/{id}", None, "A message by its id or queue id, and what became of each recipient",
            Message, _message, statuses=unknown,
        ),
        Operation(
            "DELETE", "/messages/{id}", None, "Take it out of the queue, for whoever has not got it", Cancelled,
            _cancel, statuses=unknown,
        ),
    )
