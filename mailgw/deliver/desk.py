"""Where notices are written: the built-in words, and those of a file."""

import functools
import os
from importlib import resources

from mailgw.mail.address import Mailbox
from mailgw.queue.dsn import Desk
from mailgw.queue.report_words import MAX_TEMPLATE_OCTETS, Words, WordsFault, read_words


@functools.cache
def built_in_words() -> Words:
    """The template that comes with mailgw."""
    words = read_words(resources.files("mailgw.queue").joinpath("report_words.txt").read_text(encoding="utf-8"))
    assert isinstance(words, Words), words
    return words


def words_of_file(path: str) -> Words | tuple[WordsFault, ...]:
    """The template in the file ``path``, or what is wrong with it, that it cannot be read among that."""
    try:
        with open(path, "rb") as opened:
            octets = opened.read(MAX_TEMPLATE_OCTETS + 1)  # a device would never end
    except OSError as fault:
        return (WordsFault(0, f"cannot be read: {os.strerror(fault.errno or 0)}"),)
    if len(octets) > MAX_TEMPLATE_OCTETS:
        return (WordsFault(0, f"expected at most {MAX_TEMPLATE_OCTETS} octets"),)
    try:
        return read_words(octets.decode("utf-8-sig"))
    except UnicodeDecodeError as fault:
        return (WordsFault(octets.count(b"\n", 0, fault.start) + 1, "expected UTF-8"),)


def daemon_address(hostname: str) -> Mailbox:
    """Whom notices come from where nobody else is named."""
    return Mailbox("MAILER-DAEMON", hostname)


def plain_desk(hostname: str) -> Desk:
    """Where nothing else is configured."""
    return Desk(hostname, daemon_address(hostname), Mailbox("postmaster", hostname), built_in_words())
