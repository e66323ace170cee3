"""What the HTTP API is told of messages that it sent: answers, refusals, and what became of each recipient."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from mailgw.mail.message import RowState
from mailgw.spool.rows import record_of
from mailgw.store import sent
from mailgw.store.sent import Recipient, Sent


class Problem(msgspec.Struct, omit_defaults=True):
    """Why nothing was sent, as HTTP has it."""

    status: int
    title: str
    detail: str
    field: str = ""
    recipients: list[dict[str, Any]] = msgspec.field(default_factory=list)
    retry_after: int = 0


def rows_told(rows: Sequence[Any]) -> list[Mapping[str, Any]]:
    return [row if isinstance(row, Mapping) else attrs.asdict(row) for row in rows]


def is_key(key: object) -> bool:
    return isinstance(key, str) and 1 <= len(key) <= sent.LONGEST_KEY and all("!" <= c <= "~" for c in key)


def refused(answer: Mapping[str, Any]) -> Problem:
    reply = answer["reply"]
    replies = [{"recipient": one, **said} for one, said in answer["recipients"].items()]
    detail = f"{reply['code']} {reply['status']} {reply['text']}"
    if reply["code"] >= 500:
        return Problem(422, "Refused", detail, answer["field"], replies)
    is_rate = reply["code"] == 421 and reply["status"] == "4.7.0"
    return Problem(
        429 if is_rate else 503, "Too many" if is_rate else "Not now", detail, answer["field"], replies, 60)


def answered(one: Sent, is_replay: bool) -> Mapping[str, Any]:
    return {
        "id": one.id, "queue_id": one.queue_id, "message_id": one.message_id, "send_at": one.send_at,
        "recipients": [
            {"recipient": to.recipient, "state": to.state} for to in one.recipients
        ],
        "idempotent_replay": is_replay,
    }


def message_told(one: Sent, rows: Sequence[Mapping[str, Any]] | None, now: float) -> Mapping[str, Any]:
    """``rows`` are those in the queue, None where nobody looked."""
    return {
        "id": one.id, "queue_id": one.queue_id, "message_id": one.message_id, "token": one.token, "at": one.at,
        "send_at": one.send_at, "reverse_path": one.reverse_path, "subject": one.subject,
        "size_octets": one.size_octets, "tags": list(one.tags), "metadata": dict(one.metadata),
        "recipients": [attrs.asdict(to) for to in one.recipients] if rows is None else _merged(one, rows, now),
    }


_TOLD: Final = (sent.DELIVERED, sent.BOUNCED, sent.REMOVED, sent.DISCARDED)


def _merged(one: Sent, rows: Sequence[Mapping[str, Any]], now: float) -> list[Mapping[str, Any]]:
    """The queue knows best who waits; the book who waits no more."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    known = {(to.recipient, to.lane): to for to in one.recipients}
    for row in rows:
        key = (row["recipient"], row["lane"])
        before = known.get(key)
        told = attrs.asdict(before or Recipient(*key, sent.QUEUED, 0, "", "", "", 0, None, one.at))
        due, attempts, why = row["due"], row["attempts"], row["reason"]
        if row["state"] == RowState.HELD and record_of(str(why)):  # for a moment, by us
            state, due, why = told["state"], one.send_at, ""
        elif row["state"] == RowState.HELD:
            state = sent.HELD
        elif attempts:
            state = sent.DEFERRED
        else:
            state = sent.SCHEDULED if due is not None and due > now else sent.QUEUED
            why = "" if state == sent.SCHEDULED else why
        found[key] = {**told, "state": state, "due": due, "attempts": attempts, "text": told["text"] or why}
    found |= {key: attrs.asdict(to) for key, to in known.items() if key not in found and to.state in _TOLD}
    elsewhere = {recipient for recipient, _ in found}
    for key, to in known.items():
        if to.recipient not in elsewhere:
            found[key] = {**attrs.asdict(to), "state": sent.UNKNOWN, "due": None}
    return [found[key] for key in sorted(found)]
