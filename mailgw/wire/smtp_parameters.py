"""The parameters of MAIL and RCPT, and the words of EHLO that offer them (RFC 1870, 6152, 3030, 6531, 3461, 6533, 8689,
6710, 2852, 4865; RFC 4954 s5).

Rules:
    A parameter is known only where its extension is offered: an unknown one is 555, a malformed or repeated one 501
    (RFC 5321 s4.1.1.11).
    Times are taken as they were said.  ``mail_parameters`` turns them into moments, by a clock that is handed in.
"""

import datetime
import functools
import re
from collections.abc import Mapping, Set
from typing import Final

import attrs

from mailgw.mail.address import is_shapely
from mailgw.mail.envelope import BodyType
from mailgw.mail.parameters import (
    NO_MAIL_PARAMETERS,
    ByMode,
    DeliverBy,
    MailParameters,
    Notify,
    RcptParameters,
    Ret,
)
from mailgw.mail.reply import Reply
from mailgw.mail.xtext import from_xtext, is_xtext

BAD_PARAMETER: Final = Reply(501, "5.5.4", ("Malformed parameter",))
REPEATED_PARAMETER: Final = Reply(501, "5.5.4", ("A parameter is given twice",))
UNKNOWN_PARAMETER: Final = Reply(555, "5.5.4", ("Parameter not recognized",))
BAD_SIZE: Final = Reply(501, "5.5.4", ("Syntax: SIZE=octets",))
BAD_BODY: Final = Reply(501, "5.5.4", ("Syntax: BODY=7BIT or BODY=8BITMIME",))
BAD_BODY_OR_BINARY: Final = Reply(501, "5.5.4", ("Syntax: BODY=7BIT, BODY=8BITMIME or BODY=BINARYMIME",))
BAD_AUTH: Final = Reply(501, "5.5.4", ("Syntax: AUTH=mailbox in xtext",))
BAD_RET: Final = Reply(501, "5.5.4", ("Syntax: RET=FULL or RET=HDRS",))
BAD_ENVID: Final = Reply(501, "5.5.4", ("Syntax: ENVID=printable ASCII in xtext, at most 100 characters",))
BAD_PRIORITY: Final = Reply(501, "5.5.4", ("Syntax: MT-PRIORITY=number from -9 to 9",))
BAD_BY: Final = Reply(501, "5.5.4", ("Syntax: BY=seconds;N or BY=seconds;R, with R more than 0 seconds",))
BAD_HOLD_FOR: Final = Reply(501, "5.5.4", ("Syntax: HOLDFOR=seconds, from 1 to 999999999",))
BAD_HOLD_UNTIL: Final = Reply(501, "5.5.4", ("Syntax: HOLDUNTIL=date and time of RFC 3339",))
TWO_HOLDS: Final = Reply(501, "5.5.4", ("HOLDFOR or HOLDUNTIL, not both",))
HOLD_TOO_LONG: Final = Reply(501, "5.5.4", ("The message would be held for longer than this server holds any",))
HOLD_BEYOND_BY: Final = Reply(501, "5.5.4", ("The message would be released when its time to be delivered is over",))
TAKES_NO_VALUE: Final = Reply(501, "5.5.4", ("This parameter takes no value",))
BAD_NOTIFY: Final = Reply(501, "5.5.4", ("Syntax: NOTIFY=NEVER, or each of SUCCESS,FAILURE,DELAY at most once",))
BAD_ORCPT: Final = Reply(501, "5.5.4", ("Syntax: ORCPT=address type;address in xtext, at most 500 characters",))

MAX_ENVID_OCTETS: Final = 100  # RFC 3461 s4.4
MAX_ORCPT_OCTETS: Final = 500  # RFC 3461 s4.2

# esmtp-param = esmtp-keyword ["=" esmtp-value]; esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
# esmtp-value = 1*(%d33-60 / %d62-126); RFC 6531 s3.3: esmtp-value =/ UTF8-non-ascii
_PARAMETER: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\U0010ffff]+))?\Z")
# RFC 1870 s4: size-value ::= 1*20DIGIT
_SIZE: Final = re.compile(r"[0-9]{1,20}\Z")
# RFC 6710 s7: priority-value = (["-"] NZDIGIT) / "0"
_PRIORITY: Final = re.compile(r"(?:-?[1-9]|0)\Z")
# RFC 2852 s4: by-value = by-time ";" by-mode [by-trace]; by-time = ["-" / "+"] 1*9digit; by-mode = "N" / "R";
# by-trace = "T"
_BY: Final = re.compile(r"([+-]?[0-9]{1,9});([NRnr])([Tt]?)\Z")
# RFC 4865 s3: future-release-integer = %x31-39 *8DIGIT
_HOLD_FOR: Final = re.compile(r"[1-9][0-9]{0,8}\Z")
# RFC 3339 s5.6: full-date "T" full-time; time-offset = "Z" / time-numoffset
_DATE_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):(\d\d))\Z", re.ASCII | re.IGNORECASE
)
# RFC 3461 s4.2: original-recipient-address = addr-type ";" xtext; addr-type = atom
_ORCPT: Final = re.compile(r"([A-Za-z0-9!#$%&'*+\-/?^_`{|}~]+);(.+)\Z")
# RFC 6533 s3: utf-8-enc-addr = 1*(QUCHAR / EmbeddedUnicodeChar); QUCHAR = %x21-2a / %x2c-3c / %x3e-5b / %x5d-7e /
# UTF8-non-ascii; EmbeddedUnicodeChar = %x5C.78 "{" HEXPOINT "}"
_UTF_8_ADDRESS: Final = re.compile(r"(?:[!-*,-<>-\[\]-~\x80-\U0010ffff]|\\x\{[0-9A-Fa-f]{1,6}\})+\Z")
_EMBEDDED: Final = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_UNPRINTABLE: Final = re.compile(rb"[^ -~]")


@attrs.frozen
class By:
    """RFC 2852: ``seconds`` from now, which ``NOTIFY`` mode lets be negative; ``trace`` as in ``DeliverBy``."""

    seconds: int
    mode: ByMode
    trace: bool


@attrs.frozen
class Asked:
    """What MAIL asked for beside SIZE and BODY: ``MailParameters`` with times as they were said.

    ``hold_seconds`` from now, or ``hold_until`` in seconds since the epoch, or neither; ``release_request`` as in
    ``MailParameters``.
    """

    ret: Ret | None = None
    envid: str = ""
    smtputf8: bool = False
    require_tls: bool = False
    priority: int = 0
    by: By | None = None
    hold_seconds: int | None = None
    hold_until: float | None = None
    release_request: str = ""

    def __str__(self) -> str:
        by = self.by
        words = (
            f"RET={self.ret.value}" if self.ret else "",
            f"ENVID={self.envid}" if self.envid else "",
            "SMTPUTF8" if self.smtputf8 else "",
            "REQUIRETLS" if self.require_tls else "",
            f"MT-PRIORITY={self.priority}" if self.priority else "",
            f"BY={by.seconds};{by.mode.value}{'T' if by.trace else ''}" if by else "",
            f"HOLDFOR={self.hold_seconds}" if self.hold_seconds is not None else "",
            f"HOLDUNTIL={self.hold_until!r}" if self.hold_until is not None else "",
        )
        return " ".join(filter(None, words))


NOTHING_ASKED: Final = Asked()


@attrs.frozen
class MailWords:
    """All parameters of one MAIL; ``size`` None where the client did not say."""

    body_type: BodyType
    size: int | None
    asked: Asked


_KEYWORDS: Final[Mapping[str, frozenset[str]]] = {
    "BINARYMIME": frozenset({"BODY=BINARYMIME"}),
    "SMTPUTF8": frozenset({"SMTPUTF8"}),
    "DSN": frozenset({"RET", "ENVID"}),
    "REQUIRETLS": frozenset({"REQUIRETLS"}),
    "MT-PRIORITY": frozenset({"MT-PRIORITY"}),
    "DELIVERBY": frozenset({"BY"}),
    "FUTURERELEASE": frozenset({"HOLDFOR", "HOLDUNTIL"}),
}
_OF_RCPT: Final = frozenset({"NOTIFY", "ORCPT"})


@functools.cache  # few listeners, many sessions
def mail_keywords(extensions: frozenset[str], takes_auth: bool) -> frozenset[str]:
    """The parameters that MAIL knows where ``extensions`` are offered; ``BODY=BINARYMIME`` stands for that value."""
    known = {"SIZE", "BODY", *(["AUTH"] if takes_auth else [])}
    return frozenset(known.union(*map(_keywords, extensions)))


@functools.cache
def rcpt_keywords(extensions: frozenset[str]) -> frozenset[str]:
    """The parameters that RCPT knows."""
    return _OF_RCPT if "DSN" in extensions else frozenset()


def offers(extensions: Set[str], tls: bool, now: float, hold_seconds: int) -> list[str]:
    """EHLO's lines for those of ``extensions`` that have parameters here.

    ``hold_seconds`` is the longest that a message may be held; ``now`` makes a date of it (RFC 4865 s3).
    """
    words = [word for word in ("SMTPUTF8", "DSN", "MT-PRIORITY", "DELIVERBY") if word in extensions]
    if "REQUIRETLS" in extensions and tls:  # RFC 8689 s2: offered under TLS alone
        words.append("REQUIRETLS")
    if "FUTURERELEASE" in extensions:
        latest = datetime.datetime.fromtimestamp(int(now) + hold_seconds, datetime.UTC)
        words.append(f"FUTURERELEASE {hold_seconds} {latest:%Y-%m-%dT%H:%M:%SZ}")
    return words


def parse_mail_words(text: str, known: Set[str]) -> MailWords | Reply:
    """The parameters behind a reverse-path, divided by spaces."""
    if not text.isascii():
        return BAD_PARAMETER
    values = _values(text, known)
    if isinstance(values, Reply):
        return values
    size: int | None = None
    body_type: BodyType | None = None
    if "SIZE" in values:
        if not _SIZE.match(values["SIZE"]):
            return BAD_SIZE
        size = int(values["SIZE"])
    if "BODY" in values:
        body_type = _BODY_TYPES.get(values["BODY"].upper())
        takes_binary = "BODY=BINARYMIME" in known
        if body_type is None or (body_type is BodyType.BINARY and not takes_binary):
            return BAD_BODY_OR_BINARY if takes_binary else BAD_BODY
    body_type = body_type or BodyType.SEVEN_BIT
    if values.keys() <= _PLAIN:
        return MailWords(body_type, size, NOTHING_ASKED)
    asked = _asked(values)
    return asked if isinstance(asked, Reply) else MailWords(body_type, size, asked)


def parse_rcpt_words(text: str, known: Set[str], smtputf8: bool) -> RcptParameters | Reply:
    """The parameters behind a forward-path; ``smtputf8``: the transaction's MAIL had SMTPUTF8."""
    values = _values(text, known)
    if isinstance(values, Reply):
        return values
    if not smtputf8 and not text.isascii():
        return BAD_PARAMETER
    notify = None
    if "NOTIFY" in values:
        notify = _notify(values["NOTIFY"])
        if notify is None:
            return BAD_NOTIFY
    orcpt = values.get("ORCPT", "")
    if "ORCPT" in values and not _is_original_recipient(orcpt):
        return BAD_ORCPT
    return RcptParameters(notify, orcpt)


def mail_parameters(asked: Asked, now: float, hold_seconds: int) -> MailParameters | Reply:
    """What was asked for, with moments in place of durations; or why this server will not do it.

    ``hold_seconds`` is the longest that a message is held.  A release that is past is none; RFC 4865 does not say.
    """
    if asked is NOTHING_ASKED:
        return NO_MAIL_PARAMETERS
    hold_until = asked.hold_until if asked.hold_seconds is None else now + asked.hold_seconds
    if hold_until is not None:
        if hold_until > now + hold_seconds:
            return HOLD_TOO_LONG
        if hold_until <= now:
            hold_until = None
    by = asked.by
    deliver_by = DeliverBy(now + by.seconds, by.mode, by.trace) if by is not None else None
    # RFC 4865 s5.2: the time to be delivered must be farther than the release, whatever happens when it is over.
    if deliver_by is not None and hold_until is not None and hold_until >= deliver_by.deadline:
        return HOLD_BEYOND_BY
    return MailParameters(
        asked.ret, asked.envid, asked.smtputf8, asked.require_tls, asked.priority, deliver_by, hold_until,
        asked.release_request,
    )


# --- words ------------------------------------------------------------------------------------------------

_PLAIN: Final = frozenset({"SIZE", "BODY"})
_BODY_TYPES: Final = {body_type.value: body_type for body_type in BodyType if body_type is not BodyType.UNLABELLED}


def _keywords(extension: str) -> frozenset[str]:
    return _KEYWORDS.get(extension, frozenset())


def _values(text: str, known: Set[str]) -> dict[str, str] | Reply:
    """Each keyword in upper case with its value, "" where it has none."""
    values: dict[str, str] = {}
    for word in text.split(" "):
        if not word:
            continue
        match = _PARAMETER.match(word)
        if match is None:
            return BAD_PARAMETER
        keyword = match[1].upper()
        if keyword in values:
            return REPEATED_PARAMETER
        if keyword not in known:
            return UNKNOWN_PARAMETER
        values[keyword] = match[2] or ""
    return values


def _asked(values: Mapping[str, str]) -> Asked | Reply:
    """What the words beside SIZE and BODY ask for; the first fault that is found."""
    if values.get("SMTPUTF8") or values.get("REQUIRETLS"):
        return TAKES_NO_VALUE
    # RFC 4954 s5: who first submitted it.  Nothing here trusts that, so it is only checked.
    if "AUTH" in values and not (values["AUTH"] and is_xtext(values["AUTH"])):
        return BAD_AUTH
    ret = by = hold_seconds = hold_until = None
    release_request = ""
    if "RET" in values:
        ret = _RETS.get(values["RET"].upper())
        if ret is None:
            return BAD_RET
    envid = values.get("ENVID", "")
    if "ENVID" in values and not (0 < len(envid) <= MAX_ENVID_OCTETS and _is_printable_xtext(envid)):
        return BAD_ENVID
    priority = values.get("MT-PRIORITY", "0")
    if not _PRIORITY.match(priority):
        return BAD_PRIORITY
    if "BY" in values:
        by = _by(values["BY"])
        if by is None:
            return BAD_BY
    if "HOLDFOR" in values:
        if not _HOLD_FOR.match(values["HOLDFOR"]):
            return BAD_HOLD_FOR
        hold_seconds = int(values["HOLDFOR"])
        release_request = f"for;{values['HOLDFOR']}"
    if "HOLDUNTIL" in values:
        hold_until = _moment(values["HOLDUNTIL"])
        if hold_until is None:
            return BAD_HOLD_UNTIL
        if hold_seconds is not None:
            return TWO_HOLDS
        release_request = f"until;{values['HOLDUNTIL']}"
    return Asked(
        ret, envid, "SMTPUTF8" in values, "REQUIRETLS" in values, int(priority), by, hold_seconds, hold_until,
        release_request,
    )


_RETS: Final = {ret.value: ret for ret in Ret}
_NOTIFIES: Final = {notify.value: notify for notify in Notify}


def _notify(value: str) -> frozenset[Notify] | None:
    # RFC 3461 s4.1: notify-list-element = "NEVER" / 1#( "SUCCESS" / "FAILURE" / "DELAY" )
    words = value.upper().split(",") if value.isascii() else []
    if words == ["NEVER"]:
        return frozenset()
    notify = frozenset(_NOTIFIES[word] for word in words if word in _NOTIFIES)
    return notify if notify and len(notify) == len(words) else None


def _by(value: str) -> By | None:
    match = _BY.match(value)
    if match is None:
        return None
    by = By(int(match[1]), ByMode(match[2].upper()), bool(match[3]))
    # RFC 2852 s4: to be returned at once is nothing that can be asked for.
    return None if by.mode is ByMode.RETURN and by.seconds <= 0 else by


def _moment(text: str) -> float | None:
    """Seconds since the epoch of a date and time of RFC 3339, or None where it is none."""
    match = _DATE_TIME.match(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    zone_hours, zone_minutes = int(match[9] or 0), int(match[10] or 0)
    if second > 60 or zone_hours > 23 or zone_minutes > 59:  # RFC 3339 s5.7: 60 is a leap second
        return None
    try:
        moment = datetime.datetime(year, month, day, hour, minute, tzinfo=datetime.UTC).timestamp()
    except ValueError:
        return None
    zone = (zone_hours * 60 + zone_minutes) * 60
    return moment + second + float(f"0.{match[7] or 0}") + (zone if match[8] == "-" else -zone)


def _is_printable_xtext(text: str) -> bool:
    # RFC 3461 s4.2, s4.4: reports quote it, so what it stands for is printable ASCII.
    return text.isascii() and is_xtext(text) and not _UNPRINTABLE.search(from_xtext(text))


def _is_original_recipient(value: str) -> bool:
    match = _ORCPT.match(value)
    if match is None or len(value.encode()) > MAX_ORCPT_OCTETS:
        return False
    kind, address = match.groups()
    if kind.lower() != "utf-8":
        return _is_printable_xtext(address)
    if not _UTF_8_ADDRESS.match(address):
        return False
    points = [int(point, 16) for point in _EMBEDDED.findall(address)]
    return all(point <= 0x10FFFF for point in points) and is_shapely(address + "".join(map(chr, points)))
