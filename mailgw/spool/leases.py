"""The claims of a message that has just been committed: one a lane, rows counted from 1 in each message."""

from collections.abc import Callable, Sequence

from mailgw.mail.message import Claim, Destination, Message, QueuedRecipient


def fresh_claims(
    message: Message, destinations: Sequence[Destination], next_token: Callable[[], int]
) -> tuple[Claim, ...]:
    """Claims on all ``destinations``, whose rows are numbered in their order; lanes in order of their first one."""
    if len(destinations) == 1:  # most messages, and the hot path
        only = destinations[0]
        queued = QueuedRecipient(1, only.recipient, 0, False, only.parameters)
        return (Claim(next_token(), only.lane, message, (queued,)),)
    lanes: dict[str, list[QueuedRecipient]] = {}
    for row, destination in enumerate(destinations, 1):
        queued = QueuedRecipient(row, destination.recipient, 0, False, destination.parameters)
        lanes.setdefault(destination.lane, []).append(queued)
    return tuple(Claim(next_token(), lane, message, tuple(recipients)) for lane, recipients in lanes.items())
