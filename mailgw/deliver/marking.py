"""Junk that another server files: a mark on top of it, which that server's filter looks at (``junk = "mark"``).

The fields are those of the two filters that most such servers stand behind: ``X-Spam: Yes`` is Rspamd's,
``X-Spam-Flag: YES`` SpamAssassin's, and what Dovecot's examples of sieve look at.  Both, so that a script for either
does; no score, of which there is none.

A stranger may write them himself.  They stay: he gets nothing by it but the folder for junk.
"""

import attrs

from mailgw.deliver.signing import JUNK_FIELDS, Crown, crowned
from mailgw.deliver.smtp_transfer import Signed
from mailgw.mail.message import Message


def marking(then: Signed | None) -> Signed:
    """What puts the mark on junk, and does ``then`` with what comes of it: it is signed as it leaves."""

    async def marked(message: Message) -> Message:
        if message.is_junk:
            message = attrs.evolve(message, content=crowned(Crown(JUNK_FIELDS), message.content))
        return message if then is None else await then(message)

    return marked
