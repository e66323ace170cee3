"""Under which sender mail leaves for other servers that came to an alias of ours (SRS)."""

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.message import Message
from mailgw.mail.ports import WallClock
from mailgw.mail.srs import Srs


@attrs.frozen
class Forwarding:
    srs: Srs
    wall_clock: WallClock

    def reverse_path(self, message: Message, recipient: Mailbox) -> Mailbox | None:
        """For MAIL FROM.  The message's own, unless it is forwarded to elsewhere: by an alias, for somebody who did not
        log in here (a login sends as itself, from where it may).  Our own reports go by the message, and so to its true
        sender."""
        sender, asked = message.reverse_path, message.recipient_parameters.get(recipient)
        if sender is None or asked is None or not asked.is_forwarded or message.login:
            return sender
        return self.srs.sent_on(sender, self.wall_clock()) or sender
