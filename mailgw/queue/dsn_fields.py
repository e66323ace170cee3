"""The part of a notice that programs read: message/delivery-status (RFC 3464 s2, RFC 3461 s6.3, RFC 2852 s5,
RFC 4865 s5.1, RFC 6533)."""

import re
import textwrap
from collections.abc import Sequence

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.header import date_text
from mailgw.mail.parameters import ByMode, MailParameters
from mailgw.mail.reply import Reply
from mailgw.mail.xtext import from_xtext

_WIDTH = 76
# A peer's words are quoted up to here: the reply reader takes more, people do not.
MAX_WORDS = 1000

# "mx1.example.org [192.0.2.1]:25": a hop that speaks SMTP, its name where one is known
HOP = re.compile(r"(?:([A-Za-z0-9_.\-]*[A-Za-z][A-Za-z0-9_.\-]*) )?\[([0-9A-Za-z.:%]+)\]:\d+\Z")
# RFC 3463 s2: status-code = class "." subject "." detail
_STATUS = re.compile(r"[245](\.\d{1,3}\.\d{1,3})\Z")
_UNPRINTABLE = re.compile(r"[^ -~]")
_LONG_WORD = re.compile(r"\S{400}(?=\S)")
# RFC 6533 s3: EmbeddedUnicodeChar = "\x{" HEXPOINT "}"
_EMBEDDED = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
# RFC 3461 s4.2: orcpt-parameter = "ORCPT=" original-recipient-address;
# original-recipient-address = addr-type ";" xtext; addr-type = atom
_ORCPT = re.compile(r"([!#-'*+\-/-9=?A-Z^-~]{1,60});(.*)\Z", re.DOTALL)


@attrs.frozen
class Report:
    """What became of one recipient.

    ``hop`` as in ``Outcome``; ``attempts`` counts the last one, which was at ``last_attempt`` (None where it is not
    known; with 0 attempts another message's); ``will_retry_until`` is when we will give up, None where we gave up.
    Times are epoch seconds.  ``orcpt`` as in ``RcptParameters``.  Of a success: ``is_relayed`` says that the hop hands
    it on, ``is_expanded`` that it went to the addresses of an alias (RFC 3464 s2.3.3); else it was delivered.

    ``said`` is the answer that ``reply`` is a verdict on, None where that is the answer itself; ``is_ours``: the answer
    was no server's; ``reply_class`` its class, as ``queue.replies`` names it, "" for none.  ``is_by_relay``: it goes by
    a server that the operator chose (``interfaces.IRelay``), which says nothing of the recipient's domain.
    ``words`` as in ``Outcome``.
    """

    recipient: Mailbox
    reply: Reply
    hop: str
    attempts: int
    will_retry_until: float | None
    last_attempt: float | None
    orcpt: str = ""
    is_relayed: bool = False
    is_expanded: bool = False
    said: Reply | None = None
    is_ours: bool = False
    reply_class: str = ""
    is_by_relay: bool = False
    words: str = ""

    @property
    def answer(self) -> Reply:
        """What was said the last time, by a server or by us."""
        return self.reply if self.said is None else self.said

    @property
    def action(self) -> str:
        """RFC 3464 s2.3.3, of a success."""
        return "expanded" if self.is_expanded else "relayed" if self.is_relayed else "delivered"


def delivery_status(
    action: str,
    status_class: str,
    hostname: str,
    received_from: str,
    queue_id: str,
    arrived: float,
    parameters: MailParameters,
    reports: Sequence[Report],
) -> tuple[bytes, str]:
    """A group of fields for the message, then one for each recipient, empty lines between; and their media type.

    ``action`` "" stands for a success, whose word each report has.  ``received_from`` is the value of
    Received-From-MTA, "" for none.  Where an address is beyond ASCII they are UTF-8, and the type is that of RFC 6533.
    """
    lines = [f"Reporting-MTA: dns; {hostname}"]
    if parameters.envid:
        lines.insert(0, f"Original-Envelope-Id: {_decoded(parameters.envid)}")
    if received_from:
        lines.append(f"Received-From-MTA: {received_from}")
    lines += [f"Arrival-Date: {date_text(int(arrived))}", f"X-Queue-ID: {queue_id}"]
    by = parameters.deliver_by
    if by is not None:  # RFC 2852 s5 adds it to those of RFC 3464 s2.2
        lines.append(f"Deliver-By-Date: {date_text(int(by.deadline))}")
    if parameters.release_request:  # RFC 4865 s5.1.2
        lines.append(f"Future-Release-Request: {_ascii(parameters.release_request)}")
    is_timed = action == "delayed" and by is not None and by.mode is ByMode.NOTIFY
    is_global = not all(r.recipient.local_part.isascii() and r.recipient.domain.isascii() for r in reports)
    for report in reports:
        # RFC 2852 s4.1.3: of a time that is over the status speaks; what the hop said is the diagnostic code.
        status = "4.4.7" if is_timed else _status(report.reply, status_class)
        lines += ["", *_of_recipient(action, status, queue_id, report, is_global)]
    text = "\r\n".join([*lines, ""])
    if text.isascii():
        return text.encode(), "message/delivery-status"
    return text.encode(), "message/global-delivery-status"


def _of_recipient(action: str, status: str, queue_id: str, report: Report, is_global: bool) -> list[str]:
    hop = HOP.match(report.hop)
    address = str(report.recipient)
    lines = [_original_recipient(report.orcpt, is_global)] if report.orcpt else []
    lines += [
        f"Final-Recipient: {'rfc822' if address.isascii() else 'utf-8'}; {printable(address)}",
        f"Action: {action or report.action}",
        f"Status: {status}",
    ]
    if hop is not None:
        # RFC 3461 s6.3 (h) and s9.3: its name, or an address literal
        literal = f"[IPv6:{hop[2]}]" if ":" in hop[2] else f"[{hop[2]}]"
        lines.append(f"Remote-MTA: dns; {hop[1] or literal}")
    # RFC 3464 s2.3.6: "smtp" is for the words of an SMTP or LMTP server, ours have a type of our own.
    is_smtp = not report.is_ours and (hop is not None or report.hop.startswith("unix:"))
    if action or is_smtp:
        lines += wrapped(f"Diagnostic-Code: {'smtp' if is_smtp else 'x-mailgw'}; {words_of(report.answer)}", "", "    ")
    if report.last_attempt is not None:
        lines.append(f"Last-Attempt-Date: {date_text(int(report.last_attempt))}")
    lines.append(f"Final-Log-ID: {queue_id}")  # RFC 3464 s2.3.8: under which our journal tells of the attempts
    if action == "delayed" and report.will_retry_until is not None:  # RFC 3464 s2.3.9
        lines.append(f"Will-Retry-Until: {date_text(int(report.will_retry_until))}")
    return lines


def _original_recipient(orcpt: str, is_global: bool) -> str:
    """RFC 3461 s6.3 (a): as the sender gave it, decoded."""
    found = _ORCPT.match(orcpt)
    if found is None:
        return f"Original-Recipient: unknown; {_ascii(orcpt)}"
    kind, address = found[1], _decoded(found[2])
    if kind.lower() != "utf-8":
        address = _ascii(address)
    elif is_global:
        # RFC 6533 s3: in the report of UTF-8 an address stands as it is, and unaltered where it is none that can be
        # read; elsewhere in its ASCII form.
        plain = _EMBEDDED.sub(_embedded, address)
        address = plain if plain.isprintable() else address
    elif not address.isascii():
        address = "".join(c if c.isascii() else f"\\x{{{ord(c):X}}}" for c in address)
    return f"Original-Recipient: {kind}; {address}"


def original_address(orcpt: str) -> str:
    """The address that the sender wrote to, as people read it; "" where none was given, or one of another kind."""
    found = _ORCPT.match(orcpt)
    if found is None or found[1].lower() not in ("rfc822", "utf-8"):
        return ""
    return printable(_EMBEDDED.sub(_embedded, _decoded(found[2])))


def _embedded(match: re.Match[str]) -> str:
    point = int(match[1], 16)
    return chr(point) if point < 0x110000 else "\0"


def _status(reply: Reply, status_class: str) -> str:
    """RFC 3464 s2.3.4, RFC 3463 s3.1: what the reply says in detail; the class is what came of it."""
    found = _STATUS.match(reply.status)
    return status_class + (found[1] if found else ".0.0")


# --- octets of others ---------------------------------------------------------------------------------

def words_of(reply: Reply) -> str:
    """A reply as one line of printable ASCII that can be folded anywhere 400 characters allow."""
    text = " ".join(_ascii(str(reply)).split())
    if len(text) > MAX_WORDS:
        text = text[:MAX_WORDS] + " ..."
    return _LONG_WORD.sub(r"\g<0> ", text)


def printable(text: str) -> str:
    """``text`` without what is no character, or none that can be seen."""
    return "".join([c if c.isprintable() else "?" for c in text])


def wrapped(text: str, indent: str, indent_rest: str | None = None) -> list[str]:
    """Lines of 76 characters where the words allow it; none is empty."""
    rest = indent if indent_rest is None else indent_rest
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _decoded(xtext: str) -> str:
    """What stands in xtext, as far as it can be printed; what is no xtext stands as it is."""
    return printable(from_xtext(xtext).decode("utf-8", "replace") if xtext.isascii() else xtext)


def _ascii(text: str) -> str:
    return _UNPRINTABLE.sub("?", text)
