"""Who waits is found as if all of them were looked through each time."""

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox, folded
from mailgw.mail.envelope import BodyType, path_text
from mailgw.mail.message import Destination, Message
from mailgw.mail.parameters import MailParameters
from mailgw.spool.content import MemoryContent
from mailgw.spool.leases import with_turns
from mailgw.spool.waiting import Late, Row, Waiting

SENDERS = (None, *(Mailbox(local, "example.org") for local in ("ann", "Bob", "bob", "cat")))
LANES = ("home", "out/a.example", "out/b.example")

rows = st.builds(
    lambda sender, priority, lane, due, late: (sender, priority, lane, float(due), late and float(late)),
    st.sampled_from(SENDERS), st.integers(-1, 1), st.sampled_from(LANES), st.integers(1, 9),
    st.none() | st.integers(1, 9),
)
# Rows by their number, the lane and limit of a question, and now; some are to go again.
steps = st.lists(
    st.tuples(st.just("add"), rows) | st.tuples(st.sampled_from(("remove", "lease")), st.integers(0, 99))
    | st.tuples(st.just("claim"), st.tuples(
        st.sampled_from(LANES), st.integers(1, 6), st.sampled_from(SENDERS), st.integers(0, 9))),
    min_size=5, max_size=40,
)


def made(number: int, values: Any) -> Row:
    sender, priority, lane, due, late = values
    message = Message(
        f"q{number // 2:03}", sender, BodyType.SEVEN_BIT, 0.0, MemoryContent(b""), MailParameters(priority=priority))
    return Row(message, number % 2, Destination(Mailbox("a", "example.net"), lane), due, late)


def whom_to_claim(rows: list[Row], lane: str, limit: int, after: str, now: float) -> list[str]:
    """As ``mail.ports.Spool.claim`` says."""
    due = sorted(
        (row for row in rows if row.destination.lane == lane and row.token is None and (row.due or 0.0) <= now),
        key=lambda row: (-row.message.parameters.priority, row.due, row.message.queue_id, row.number))
    found: list[str] = []
    for priority in (1, 0, -1):
        mine = [row.message for row in due if row.message.parameters.priority == priority]
        ids = list(dict.fromkeys(message.queue_id for message in mine))
        places = limit - len(found)
        if len(ids) > places > 1:
            first: dict[str, str] = {}
            for message in mine:
                first.setdefault(folded(path_text(message.reverse_path)), message.queue_id)
            turns = sorted(first, key=lambda sender: (sender <= folded(after), sender))
            ids = with_turns(ids[:places], [first[sender] for sender in turns][:places // 2])
        found += ids[:places]
    if due and limit > 1:
        longest = min((row.due, row.message.queue_id) for row in due)[1]
        if longest not in found:
            found[-1] = longest
    return found


@given(steps)
def test_what_is_due_is_found_in_each_order(acts: list[tuple[str, Any]]) -> None:
    there: list[Row] = []
    waiting, all_late = Waiting(), Late()
    for number, (what, values) in enumerate(acts):
        match what:
            case "add":
                row = made(number, values)
                if number % 2 and there and there[-1].message.queue_id == row.message.queue_id:
                    row.message = there[-1].message  # another recipient of one message
                there.append(row)
                waiting.add(row)
                all_late.add(row)
            case "remove" if there:
                row = there.pop(values % len(there))
                waiting.remove(row)
                all_late.remove(row)
            case "lease" if there:
                row = there[values % len(there)]
                row.token = None if row.token else 1
                waiting.changed(row)
            case "claim":
                lane, limit, after, now = values
                assert waiting.due_messages(lane, limit, path_text(after), now) == whom_to_claim(
                    there, lane, limit, path_text(after), now)
        for now in (0.0, 4.0, 9.0):
            lanes: dict[str, float] = {}
            for row in there:
                if row.token is None:
                    lanes[row.destination.lane] = min(row.due or 0.0, lanes.get(row.destination.lane, math.inf))
            assert list(waiting.due_lanes(now)) == sorted((due, lane) for lane, due in lanes.items() if due <= now)
            assert list(waiting.due_after(now)) == sorted(
                (row.due, row.message.queue_id, row.number, row)
                for row in there if row.due is not None and row.due > now)
        assert list(all_late.waiting()) == [(late, row) for late, _, _, row in sorted(
            (row.late, row.message.queue_id, row.number, row)
            for row in there if row.late is not None and row.token is None)]
