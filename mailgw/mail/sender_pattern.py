"""Patterns of senders: ``ann@example.net``, ``*@example.net``, ``*@*.example.net`` (its subdomains), ``<>`` (reports).

They are matched with the envelope's reverse-path, which anybody can make up: they sort mail, and prove nothing.
"""

import attrs

from mailgw.mail.address import Mailbox, folded, parse_domain, parse_mailbox

NULL_PATH = "<>"


@attrs.frozen
class SenderPattern:
    """``text`` in its normal form.  ``rank``: of two patterns that match one sender, the lesser is more specific."""

    text: str
    rank: tuple[int, int]

    def matches(self, reverse_path: Mailbox | None) -> bool:
        if reverse_path is None:
            return self.text == NULL_PATH
        if self.text.startswith("*@*."):
            return reverse_path.domain.endswith(self.text[3:])
        if self.text.startswith("*@"):
            return reverse_path.domain == self.text[2:]
        return folded(str(reverse_path)) == self.text


def parse_sender_pattern(text: str) -> SenderPattern:
    """The pattern; ValueError where it is none."""
    if text == NULL_PATH:
        return SenderPattern(text, (0, 0))
    if isinstance(text, str) and text.startswith("*@"):
        above = text.startswith("*@*.")
        domain = parse_domain(text[4:] if above else text[2:])
        if domain is not None:
            return SenderPattern(f"*@*.{domain}" if above else f"*@{domain}", (2, -len(domain)) if above else (1, 0))
    elif isinstance(text, str) and "*" not in text and (mailbox := parse_mailbox(text)) is not None:
        return SenderPattern(folded(str(mailbox)), (0, 0))
    raise ValueError(
        f'expected a sender such as "ann@example.net", "*@example.net", "*@*.example.net" or "<>", not {text!r}'
    )
