"""Nouns to rows and back."""

import re
import time
from collections.abc import Sequence

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType, path_text
from mailgw.mail.message import Arrival, Claim, Destination
from mailgw.mail.parameters import NO_MAIL_PARAMETERS, NO_RCPT_PARAMETERS, RcptParameters
from mailgw.queue.reasons import HELD_BY_OPERATOR, HELD_BY_SENDER, OF_ANOTHER_LANE
from mailgw.spool.batch import Insertion, Value

UNRECORDED = "not yet written down by who sent it: "
"""Begins the reason of what is held until its sender, the HTTP API, has the record that is named behind it; why a rule
holds it besides, stands behind that.

No words of others begin the reason of what is held: a mark of ours, or of which rule they are, stands before them."""
# A reply that an operator wants to read is shorter.
_MOST_REASON = 2000
_BODY_TYPES = {body_type.value: body_type for body_type in BodyType}


def leased_insertion(
    queue_id: str, arrival: Arrival, arrived: float, size_octets: int, octets: bytes | None, place: str | None,
    claims: Sequence[Claim], lease_end: float, late_seconds: float,
) -> Insertion:
    """A new message that ``claims`` hold."""
    late = first_late(arrival, arrived, late_seconds)
    sender = path_text(arrival.reverse_path)
    priority = arrival.parameters.priority
    return Insertion(
        _message_values(queue_id, arrival, sender, arrived, size_octets, octets, place),
        [
            (
                queue_id, r.row, sender, str(r.recipient), r.recipient.domain, claim.lane, lease_end, "", claim.token,
                _text_of(r.parameters), priority, late,
            )
            for claim in claims for r in claim.recipients
        ],
    )


def waiting_insertion(
    queue_id: str, arrival: Arrival, arrived: float, size_octets: int, octets: bytes | None, place: str | None,
    destinations: Sequence[Destination], late_seconds: float,
) -> Insertion:
    """A new message that nobody holds: due at once, or when it is to be released (RFC 4865).

    Its rows are numbered as ``spool.leases`` numbers them.
    """
    sender = path_text(arrival.reverse_path)
    due, reason = first_due(arrival, arrived)
    late = first_late(arrival, arrived if due is None else due, late_seconds)
    priority = arrival.parameters.priority
    return Insertion(
        _message_values(queue_id, arrival, sender, arrived, size_octets, octets, place),
        [
            (
                queue_id, row, sender, str(d.recipient), d.recipient.domain, d.lane, due, reason, None,
                _text_of(d.parameters), priority, late,
            )
            for row, d in enumerate(destinations, 1)
        ],
    )


def first_due(arrival: Arrival, arrived: float) -> tuple[float | None, str]:
    """When a new message is due (None: it is held), and why it waits until then ("" where it does not)."""
    if arrival.held:
        return None, storable_reason(arrival.held)
    until = arrival.parameters.hold_until
    if until is None or until <= arrived:
        return arrived, ""
    return until, held_until(until)


def held_until(until: float) -> str:
    """Why somebody waits whom the sender wants sent then."""
    return f"{HELD_BY_SENDER}{time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime(until))} (FUTURERELEASE)"


def is_due(arrival: Arrival, arrived: float) -> bool:
    """Whether a new message may be attempted at once."""
    due, _ = first_due(arrival, arrived)
    return due is not None and due <= arrived


def first_late(arrival: Arrival, due: float, late_seconds: float) -> float:
    """When there may be something to be said of a new message; those who know its route find out."""
    by = arrival.parameters.deliver_by
    return due + late_seconds if by is None else min(due + late_seconds, by.deadline)


def rerouted(reason: str) -> str:
    """The reason of what goes into another lane: an answer stays, and is said to be of the old one."""
    mark = ""
    if reason == HELD_BY_OPERATOR or reason.startswith(f"{HELD_BY_OPERATOR}: "):
        mark, reason = HELD_BY_OPERATOR, reason[len(HELD_BY_OPERATOR) + 2:]
    if reason and not reason.startswith((OF_ANOTHER_LANE, HELD_BY_SENDER)):
        reason = f"{OF_ANOTHER_LANE}: {reason}"
    return ": ".join(filter(None, (mark, reason)))


def tells_of_lane(reason: str) -> bool:
    """Whether a reason tells what was said in its lane: not before a reroute, and not by who sent it or holds it."""
    reason = reason.removeprefix(HELD_BY_OPERATOR).removeprefix(": ")
    return bool(reason) and not reason.startswith((OF_ANOTHER_LANE, HELD_BY_SENDER))


def record_of(reason: str) -> str:
    """The record that who is held for this reason waits for; "" for any other."""
    return reason[len(UNRECORDED):].partition("; ")[0] if reason.startswith(UNRECORDED) else ""


def unrecorded(record: str, held: str) -> str:
    """The reason of what waits for ``record``, and is held besides, "" if not."""
    return "; ".join(filter(None, (f"{UNRECORDED}{record}", held)))


def recorded(reason: str) -> str:
    """Why it is held once the record is there; "" for what is let go then."""
    return reason.partition("; ")[2] if reason.startswith(UNRECORDED) else reason


def storable(text: str) -> str:
    """``text`` as UTF-8 can hold it: lone surrogates, which stand for octets of no encoding, are spelt out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def storable_reason(text: str) -> str:
    return storable(text[:_MOST_REASON])


def stored_mailbox(text: str) -> Mailbox:
    """The mailbox whose ``str`` this is; no check, and so no address that was once accepted is lost."""
    if text.startswith('"'):
        local, _, domain = text.rpartition('"')
        return Mailbox(re.sub(r"\\(.)", r"\1", local[1:], flags=re.DOTALL), domain[1:])
    local, at, domain = text.rpartition("@")
    return Mailbox(local, domain) if at else Mailbox(text, "")


def stored_path(text: str) -> Mailbox | None:
    return stored_mailbox(text) if text else None


def stored_body_type(text: str) -> BodyType:
    return _BODY_TYPES[text]


def _message_values(
    queue_id: str, arrival: Arrival, sender: str, arrived: float, size_octets: int, octets: bytes | None,
    place: str | None,
) -> tuple[Value, ...]:
    return (
        queue_id, arrived, sender, arrival.body_type.value, size_octets, arrival.peer, storable(arrival.helo),
        storable(arrival.login), arrival.protocol, arrival.session_id, place, octets,
        "" if arrival.parameters is NO_MAIL_PARAMETERS else storable(str(arrival.parameters)), arrival.is_ours,
    )


def _text_of(parameters: RcptParameters) -> str:
    return "" if parameters is NO_RCPT_PARAMETERS else storable(str(parameters))
