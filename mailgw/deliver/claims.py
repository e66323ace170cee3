"""What a claim says of when it must go."""

import math

from mailgw.mail.message import Claim
from mailgw.mail.parameters import ByMode


def deadline_of(claim: Claim) -> float:
    """When it must not be delivered any more (RFC 2852, mode R), by the wall clock; infinity where its sender did not
    say."""
    by = claim.message.parameters.deliver_by
    return by.deadline if by is not None and by.mode is ByMode.RETURN else math.inf


def is_owed(claim: Claim) -> bool:
    """Whether it was tried before, and so may have come for its last attempt."""
    return any(queued.attempts for queued in claim.recipients)
