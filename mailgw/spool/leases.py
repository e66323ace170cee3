"""The claims of a message that has just been committed: one a lane, rows counted from 1 in each message; and which
messages of a lane are claimed together."""

from collections.abc import Callable, Sequence

from mailgw.mail.message import Claim, Destination, Message, QueuedRecipient


def fresh_claims(
    message: Message, destinations: Sequence[Destination], next_token: Callable[[], int]
) -> tuple[Claim, ...]:
    """Claims on all ``destinations``, whose rows are numbered in their order; lanes in order of their first one."""
    if len(destinations) == 1:  # most messages, and the hot path
        only = destinations[0]
        queued = QueuedRecipient(1, only.recipient, 0, False, only.parameters, message.arrived)
        return (Claim(next_token(), only.lane, message, (queued,)),)
    lanes: dict[str, list[QueuedRecipient]] = {}
    for row, destination in enumerate(destinations, 1):
        queued = QueuedRecipient(row, destination.recipient, 0, False, destination.parameters, message.arrived)
        lanes.setdefault(destination.lane, []).append(queued)
    return tuple(Claim(next_token(), lane, message, tuple(recipients)) for lane, recipients in lanes.items())


def with_turns(longest_due: list[str], in_turn: list[str]) -> list[str]:
    """As many as are longest due, with all of those whose turn it is; the others in their order."""
    more = [queue_id for queue_id in in_turn if queue_id not in longest_due]
    kept = list(longest_due)
    for queue_id in reversed(longest_due):
        if len(kept) + len(more) <= len(longest_due):
            break
        if queue_id not in in_turn:
            kept.remove(queue_id)
    return kept + more
