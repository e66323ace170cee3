"""The header of a message, as far as a gateway reads and writes it (RFC 5322 s2.2, RFC 5321 s4.4, RFC 3848, RFC 8314
s4.3).

Not done: unfolding and parsing of field bodies; a gateway keeps content as it came and only counts,
looks for, and adds whole fields.
"""

import functools
import re

from mailgw.mail.address import Mailbox
from mailgw.mail.cipher_suites import registered_name
from mailgw.mail.envelope import Client, Role, TlsFacts

# RFC 5322 s2.2: field-name = 1*ftext, ftext = %d33-57 / %d59-126; s4.5 lets white space stand before the colon
_FIELD_START = re.compile(rb"[!-9;-~]+[ \t]*:")
_RECEIVED = re.compile(rb"\nreceived[ \t]*:")
# A field with its continuation lines.
_PRIVATE = re.compile(
    rb"(?:\A|(?<=\n))(?:bcc|resent-bcc|return-path)[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)", re.IGNORECASE
)
# RFC 5322 s3.6.4; the field's name is given up to its last letter.  Some write the id on a line of its own.
_MESSAGE_ID = re.compile(rb"[ \t]*:[ \t]*(?:\r\n[ \t]+)?([^ \t\r\n]+)")
_UNSHOWN = re.compile(rb"[^!-~]")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# What may stand in a name that a client gave of itself, so that it cannot end a comment or a field.
_UNSAFE_IN_NAME = re.compile(r"[^A-Za-z0-9.\-_:\[\]]")
# RFC 8314 s4.3: dh-group = ALPHA *(ALPHA / DIGIT / "_" / "-")
_GROUP = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")

MESSAGE_ID_OCTETS = 250
"""Of a Message-ID no more is shown: longer ones there are, and none that is needed to tell two apart."""


def header_end(content: bytes | bytearray, start: int = 0) -> int:
    """The index behind the empty line that ends the header, or -1 where ``content`` holds no such line.

    ``start`` is where an earlier look ended; it may point into the middle of a line end.
    """
    if content.startswith(b"\r\n"):
        return 2
    found = content.find(b"\r\n\r\n", max(0, start - 3))
    return found + 4 if found >= 0 else -1


def starts_with_field(content: bytes) -> bool:
    """Whether the first line is a header field, not the body of a message that has no header."""
    return _FIELD_START.match(content) is not None


def count_received(header: bytes) -> int:
    """How many ``Received`` fields there are: how many hops a message has come (RFC 5321 s6.3)."""
    lines = b"\n" + header.lower()  # counting octets is 20 times faster than a pattern without regard to case
    if b"\nreceived " in lines or b"\nreceived\t" in lines:
        return len(_RECEIVED.findall(lines))
    return lines.count(b"\nreceived:")


def has_field(header: bytes, name: bytes) -> bool:
    """Whether a field of that name (no colon) stands in ``header``."""
    return re.search(rb"(?:\A|\n)" + re.escape(name) + rb"[ \t]*:", header, re.IGNORECASE) is not None


def message_id(header: bytes) -> str:
    """The first Message-ID, with its angle brackets, to be found again and to be shown: its first
    ``MESSAGE_ID_OCTETS`` octets, "?" for each that is not printable ASCII; ``""`` where there is none."""
    words = b"\n" + header.lower()  # as above: many times faster than a pattern without regard to case
    start = 0
    while (at := words.find(b"\nmessage-id", start)) >= 0:
        start = at + len(b"\nmessage-id")
        found = _MESSAGE_ID.match(header, start - 1)
        if found is not None:
            return _UNSHOWN.sub(b"?", found[1][:MESSAGE_ID_OCTETS]).decode()
    return ""


def without_private_fields(header: bytes) -> bytes:
    """``header`` without the fields that are its author's own, and none of any recipient's: ``Bcc`` (RFC 5322 s3.6.3),
    ``Resent-Bcc``, and a ``Return-Path``, which only a final delivery may write (RFC 5321 s4.4)."""
    words = header.lower()
    if b"bcc" not in words and b"return-path" not in words:
        return header
    return _PRIVATE.sub(b"", header)


def protocol_word(client: Client, smtputf8: bool) -> str:
    """RFC 3848 and RFC 5321 s4.4: SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA, LMTP, LMTPS ...; UTF8SMTPS and the like where
    MAIL said SMTPUTF8 (RFC 6531 s4.3); the client's ``way`` where it has one."""
    if client.way:
        return client.way
    if smtputf8:
        word = "UTF8LMTP" if client.role is Role.LMTP else "UTF8SMTP"
    elif not client.extended:
        return "SMTP"
    else:
        word = "LMTP" if client.role is Role.LMTP else "ESMTP"
    return word + ("S" if client.tls else "") + ("A" if client.login else "")


def received_field(
    client: Client, hostname: str, queue_id: str, recipients: tuple[Mailbox, ...], smtputf8: bool, now: float,
    priority: int = 0,
) -> bytes:
    """The ``Received`` field that this host puts on top, with its line end (RFC 5321 s4.4).

    ``FOR`` names the recipient only where there is just one, so that no copy tells of the others
    (RFC 5321 s7.2), and beyond ASCII only in a message that came with SMTPUTF8 (RFC 6531 s3.7.3).  A ``priority`` that
    is not the usual one is shown (RFC 6710 s4.1).  The login is not, nor who the client's certificate says it is: the
    journal has them.

    TLS stands there twice: as a comment in the form that people and their programs know from Postfix, and as the
    clause that is registered, without a version.

    What came by another way than SMTP says no "from": there was no host that said a name of its own.
    """
    by = f"by {hostname} with {protocol_word(client, smtputf8)} id {queue_id}"
    if client.way:
        lines = [f"Received: {by}"]
    else:
        lines = [
            f"Received: from {_UNSAFE_IN_NAME.sub('?', client.helo) or 'unknown'} ({_tcp_info(client)})",
            *(_tls_comments(client.tls) if client.tls else []),
            f"\t{by}",
        ]
    if len(recipients) == 1 and (smtputf8 or recipients[0].is_ascii):
        lines.append(f"\tfor <{recipients[0]}>")
    if priority:
        # RFC 6710 s7: Pri = CFWS "PRIORITY" FWS priority-value, one of RFC 5321's Additional-Registered-Clauses
        lines.append(f"\tpriority {priority}")
    if client.tls and (suite := registered_name(client.tls.cipher)):
        # RFC 8314 s4.3: tls-cipher-clause = CFWS "tls" FWS tls-cipher [ CFWS tls-dh-group-clause ]
        group = f" group {client.tls.group}" if _GROUP.match(client.tls.group) else ""
        lines.append(f"\ttls {suite}{group}")
    return ("\r\n".join(lines) + f";\r\n\t{date_text(int(now))}\r\n").encode()


@functools.lru_cache(maxsize=4)
def date_text(now: int) -> str:
    """RFC 5322 s3.3 date-time in UTC for epoch seconds; the same second is asked for many times."""
    days, second_of_day = divmod(now, 86400)
    year, month, day = civil_date(days)
    hour, rest = divmod(second_of_day, 3600)
    weekday = _DAYS[(days + 3) % 7]  # 1970-01-01 was a Thursday
    return f"{weekday}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{rest // 60:02}:{rest % 60:02} +0000"


def asctime_text(now: int) -> str:
    """C's asctime, in UTC, for epoch seconds, as RFC 4155 has it: ``Sun Jan  2 03:04:05 2000``."""
    days, second_of_day = divmod(now, 86400)
    year, month, day = civil_date(days)
    hour, rest = divmod(second_of_day, 3600)
    clock = f"{hour:02}:{rest // 60:02}:{rest % 60:02}"
    return f"{_DAYS[(days + 3) % 7]} {_MONTHS[month - 1]} {day:2} {clock} {year:04}"


def civil_date(days: int) -> tuple[int, int, int]:
    """Year, month, day of a count of days since 1970-01-01, without a time module in a pure room."""
    # Years that begin on 1 March put the leap day last, so that months have a fixed length.
    days += 719468
    era, day_of_era = divmod(days, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    return year, month, day_of_year - (153 * shifted + 2) // 5 + 1


def _tcp_info(client: Client) -> str:
    """RFC 5321 s4.4 TCP-info: the name of the address, where it was looked up and leads back to it."""
    address = client.address
    is_v6 = ":" in address
    literal = f"[IPv6:{address}]" if is_v6 else f"[{address}]" if address[:1].isdigit() else address
    if client.reverse is None:
        return literal
    return f"{client.reverse.name if client.reverse.is_confirmed else 'unknown'} {literal}"


def _tls_comments(tls: TlsFacts) -> list[str]:
    using = f"\t(using {tls.version} with cipher {tls.cipher} ({tls.bits} bits))"
    return [using, "\t(client certificate verified)"] if tls.is_client_verified else [using]
