"""What was found out of who sent a message, read back from our own Authentication-Results on top of it (RFC 8601).

Rules:
    Only the field with which a message begins counts: our Received stands above all that came, and our results above
    that.  What others wrote in our name was taken away when the message came.
    Of a message that is ours (``Message.is_ours``) none counts: whoever brings that writes what he likes.
"""

import re

from mailgw.mail.authentication import NOT_TRIED, Authentication, MethodResult, Property
from mailgw.mail.beginning import first_octets
from mailgw.mail.message import Message
from mailgw.trust.authres import NAME, AuthResults, read_field

MOST_OCTETS = 1024 * 1024
"""Of a field: an upstream's results, each of which may be some hundred octets, come to 160 KiB at the most."""

# As ``authres.written`` has it: a line, folded, and behind it, of a whole message, at least an empty line.
_OURS = re.compile(rb"%b: ([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n(?=[^ \t])" % NAME)


def field_on_top(octets: bytes) -> bytes:
    """The body of the Authentication-Results with which a message begins; ``b""`` where it does not, or the field is
    not there as a whole."""
    found = _OURS.match(octets)
    return b"" if found is None else found[1]


def read_back(message: Message, body: bytes, authserv_id: str) -> Authentication:
    """``body`` is the ``field_on_top`` of its content; ``authserv_id`` our name (``IGateway``'s).  Empty where nobody
    was asked; of somebody who logged in there is ``auth`` (s2.7.4)."""
    if message.login:
        found = MethodResult("auth", "pass", "", (Property("smtp", "auth", message.login),))
        return Authentication((found,), authserv_id)
    if message.is_ours or not body:
        return NOT_TRIED
    field = read_field(body, is_ours=True)
    if not isinstance(field, AuthResults) or field.authserv_id.lower() != authserv_id.lower():
        return NOT_TRIED
    found_by_dmarc = next((one for one in field.results if one.method == "dmarc"), None)
    vouched_by = "" if found_by_dmarc is None else found_by_dmarc.value("policy", "vouched-by")
    return Authentication(field.results, authserv_id, vouched_by)


async def authentication_of(message: Message, authserv_id: str) -> Authentication:
    """``read_back`` of a message that is to be delivered, for backends: the beginning of its content is read.
    TemporaryFault where the disk fails."""
    def is_enough(read: bytes) -> bool:
        return not NAME.startswith(read[:len(NAME)]) or bool(field_on_top(read))

    return read_back(message, field_on_top(await first_octets(message.content, MOST_OCTETS, is_enough)), authserv_id)
