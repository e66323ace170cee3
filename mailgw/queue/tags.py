"""Sub-addresses: ``user+tag@`` is ``user@``, and what becomes of the tag (RFC 5233; Postfix's recipient_delimiter).

Rules:
    The first delimiter divides, as in delivery; one at the very beginning or end divides nothing.
    A tag goes along to what the address comes to, as Postfix's propagate_unmatched_extensions has it by default, where
    it is kept at all, and where there is room for it in an address.
"""

from collections.abc import Sequence

import attrs

from mailgw.mail.address import Mailbox, folded, parse_mailbox


@attrs.frozen
class TagRules:
    """``delimiter``: one character, ``""``: there are no sub-addresses.  ``are_kept``: tags go along to targets."""

    delimiter: str
    are_kept: bool


NO_TAGS = TagRules("", False)


@attrs.frozen
class Tagged:
    """``user`` is the address without the tag."""

    user: Mailbox
    tag: str


def tagged(address: Mailbox, rules: TagRules) -> Tagged | None:
    """None where the address has no tag."""
    if not rules.delimiter:
        return None
    user, _, tag = address.local_part.partition(rules.delimiter)
    return Tagged(Mailbox(user, address.domain), tag) if user and tag else None


def targets_of(address: Mailbox, tag: str, targets: Sequence[Mailbox], rules: TagRules) -> Sequence[Mailbox] | None:
    """What ``address``, which has ``tag``, comes to where the entry without the tag has ``targets``; None where it is
    one of them itself, and so final."""
    if any(target == address or _same(target, address) for target in targets):
        return None
    return [_with_tag(target, tag, rules.delimiter) for target in targets] if rules.are_kept else targets


def _with_tag(target: Mailbox, tag: str, delimiter: str) -> Mailbox:
    longer = Mailbox(f"{target.local_part}{delimiter}{tag}", target.domain)
    return longer if parse_mailbox(str(longer)) == longer else target


def _same(one: Mailbox, other: Mailbox) -> bool:
    return one.domain == other.domain and folded(one.local_part) == folded(other.local_part)
