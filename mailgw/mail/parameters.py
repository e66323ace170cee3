"""What a client asked for with MAIL and RCPT, as the queue keeps it until delivery (RFC 3461, 6531, 8689, 6710, 2852,
4865).

Their text is that of the commands, so that an operator who reads the queue's tables knows it: ``RET=HDRS ENVID=x7``.
Five differences: times are absolute there (seconds since the epoch, UTC), ``RELEASE-REQUEST`` has HOLDFOR or HOLDUNTIL
as it came, for reports, ``TAGS`` come from rules, ``FORWARDED`` is who is elsewhere, and reached by an alias, and what
was not asked for is "".
"""

import enum
import re

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.xtext import to_xtext

# RFC 6533 s3: what may stand for itself in utf-8-addr-xtext, QCHAR = %x21-2a / %x2c-3c / %x3e-5b / %x5d-7e
_NOT_QCHAR = re.compile(r"[^!-*,-<>-\[\]-~]")


class Ret(enum.Enum):
    """RFC 3461 s4.3: how much of the message a failure report returns."""

    FULL = "FULL"
    HDRS = "HDRS"


class Notify(enum.Enum):
    """RFC 3461 s4.1: when the sender wants to hear of a recipient."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class ByMode(enum.Enum):
    """RFC 2852 s4.1.3: what happens to a message that is not delivered in time."""

    RETURN = "R"
    NOTIFY = "N"


@attrs.frozen
class DeliverBy:
    """RFC 2852 s4: ``deadline`` in seconds since the epoch; ``trace`` asks for a report when it is relayed (s4.1.4)."""

    deadline: float
    mode: ByMode
    trace: bool


@attrs.frozen
class MailParameters:
    """Of a whole message.

    ``envid`` is xtext as it came, ``""`` for none.  ``smtputf8``: an address or the header may need SMTPUTF8.
    ``require_tls``: REQUIRETLS.  ``priority`` from -9 to 9 (RFC 6710 s5), 0 the usual one.  ``hold_until`` in
    seconds since the epoch: no attempt before (RFC 4865).  ``release_request`` is how that was asked for, in the words
    of RFC 4865 s5.1.2 (``for;3600``), ``""`` where it was not.  ``tags`` are no wish of the client's: rules gave them
    to the message, and they stay with it.
    """

    ret: Ret | None = None
    envid: str = ""
    smtputf8: bool = False
    require_tls: bool = False
    priority: int = 0
    deliver_by: DeliverBy | None = None
    hold_until: float | None = None
    release_request: str = ""
    tags: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = []
        if self.ret is not None:
            words.append(f"RET={self.ret.value}")
        if self.envid:
            words.append(f"ENVID={self.envid}")
        if self.smtputf8:
            words.append("SMTPUTF8")
        if self.require_tls:
            words.append("REQUIRETLS")
        if self.priority:
            words.append(f"MT-PRIORITY={self.priority}")
        if self.deliver_by is not None:
            by = self.deliver_by
            words.append(f"BY={by.deadline!r};{by.mode.value}{'T' if by.trace else ''}")
        if self.hold_until is not None:
            words.append(f"HOLDUNTIL={self.hold_until!r}")
        if self.release_request:
            words.append(f"RELEASE-REQUEST={self.release_request}")
        if self.tags:
            words.append(f"TAGS={','.join(self.tags)}")
        return " ".join(words)


@attrs.frozen
class RcptParameters:
    """Of one recipient.

    ``notify`` None where the client did not say (then failures and delays are told), empty for NEVER.
    ``orcpt`` is the parameter's value as it came (``rfc822;user+2Btag@example.org``), ``""`` for none.
    ``is_forwarded`` is no wish of the client's: it named an alias, which came to this one, elsewhere; so its sender
    gets another address on the way (SRS).
    """

    notify: frozenset[Notify] | None = None
    orcpt: str = ""
    is_forwarded: bool = False

    def __str__(self) -> str:
        words = []
        if self.notify is not None:
            words.append("NOTIFY=" + (",".join(n.value for n in Notify if n in self.notify) or "NEVER"))
        if self.orcpt:
            words.append(f"ORCPT={self.orcpt}")
        if self.is_forwarded:
            words.append("FORWARDED")
        return " ".join(words)

    def wants(self, notify: Notify) -> bool:
        """Whether the sender is to be told.

        Where it did not say: of failures and of delays (RFC 3461 s4.1 leaves the latter to us), never of success.
        """
        return notify is not Notify.SUCCESS if self.notify is None else notify in self.notify


def original_recipient(recipient: Mailbox) -> str:
    """The ORCPT that names an address, in ASCII (RFC 3461 s4.2, RFC 6533 s3)."""
    if recipient.is_ascii:
        return f"rfc822;{to_xtext(recipient.octets())}"
    # RFC 6533 s3: utf-8-addr-unitext with SMTPUTF8; the form in ASCII says the same to everybody.
    return f"utf-8;{_NOT_QCHAR.sub(embedded, str(recipient))}"


def embedded(match: re.Match[str]) -> str:
    """A character as it stands in such an ORCPT."""
    # RFC 6533 s3: EmbeddedUnicodeChar = %x5C.78 "{" HEXPOINT "}", in upper case, at least two digits
    return f"\\x{{{ord(match[0]):02X}}}"


NO_MAIL_PARAMETERS = MailParameters()
NO_RCPT_PARAMETERS = RcptParameters()


def stored_mail_parameters(text: str) -> MailParameters:
    """The parameters whose ``str`` this is; what a newer version may have added is left out."""
    if not text:
        return NO_MAIL_PARAMETERS
    words = _words(text)
    by = None
    if "BY" in words:
        deadline, _, mode = words["BY"].partition(";")
        by = DeliverBy(float(deadline), ByMode(mode[:1]), mode.endswith("T"))
    return MailParameters(
        ret=Ret(words["RET"]) if "RET" in words else None,
        envid=words.get("ENVID", ""),
        smtputf8="SMTPUTF8" in words,
        require_tls="REQUIRETLS" in words,
        priority=int(words.get("MT-PRIORITY", "0")),
        deliver_by=by,
        hold_until=float(words["HOLDUNTIL"]) if "HOLDUNTIL" in words else None,
        release_request=words.get("RELEASE-REQUEST", ""),
        tags=tuple(words["TAGS"].split(",")) if "TAGS" in words else (),
    )


def stored_rcpt_parameters(text: str) -> RcptParameters:
    """As ``stored_mail_parameters``."""
    if not text:
        return NO_RCPT_PARAMETERS
    words = _words(text)
    notify = None
    if "NOTIFY" in words:
        notify = frozenset(Notify(word) for word in words["NOTIFY"].split(",") if word != "NEVER")
    return RcptParameters(notify, words.get("ORCPT", ""), "FORWARDED" in words)


def _words(text: str) -> dict[str, str]:
    words = {}
    for word in text.split(" "):
        keyword, _, value = word.partition("=")
        words[keyword] = value
    return words
