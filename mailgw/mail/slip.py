"""What goes along with a message that did not come by SMTP: who sends it to whom, and what he wants done.

A slip is one line of JSON; in a file the message follows it, with CRLF line ends, to the end of the file.  So a web
server, a worker and ``mailgw sendmail`` hand messages to each other, of whatever size and with however many
recipients.

RFC 3461 (DSN), RFC 4865 (release in future).
"""

import datetime
from typing import Final

import msgspec

from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.parameters import Notify, Ret
from mailgw.mail.xtext import to_xtext

MOST_OCTETS: Final = 4 << 20
"""Of a slip: some 10,000 recipients with the longest addresses."""
ENVID_OCTETS: Final = 100  # RFC 3461 s4.4

NOTIFIES: Final = {"never": None, **{one.value.lower(): one for one in Notify}}
RETURNS: Final = {"full": Ret.FULL, "headers": Ret.HDRS}


class Slip(msgspec.Struct, frozen=True, omit_defaults=True):
    """``by`` is who sends it, a word as ``"api:shop"`` or ``"local:www-data"``; ``peer`` where he is, as ``Client`` has
    addresses; ``way`` stands behind ``with`` in our trace.  Addresses are text, ``""`` the null reverse-path.

    ``send_at`` in seconds since the epoch; ``notify`` () where nothing was said; ``record`` is the name under which its
    sender writes down what became of it: it waits until he has (``""``: it does not).  ``tells_refusals``: who is
    refused is told of by a bounce, and the others get it; else nobody does.  These go with it: ``since`` when it is
    tried (epoch seconds, 0.0: just now); ``gives_up``: what is refused for now is refused for good; ``too_large`` (not
    0): it has so many octets, which are too many, and here stands its beginning, for the bounce.
    """

    by: str
    peer: str
    way: str
    reverse_path: str
    recipients: tuple[str, ...]
    send_at: float | None = None
    notify: tuple[str, ...] = ()
    returns: str = ""
    envid: str = ""
    smtputf8: bool = False
    record: str = ""
    tells_refusals: bool = False
    since: float = 0.0
    gives_up: bool = False
    too_large: int = 0


class BadSlip(ValueError):
    """What was handed over is no slip with a message."""


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Slip)


def head_of(slip: Slip) -> bytes:
    """What stands in front of the message."""
    return _ENCODER.encode(slip) + b"\n"


def read_slip(octets: bytes) -> tuple[Slip, int]:
    """The slip at the beginning of a file, and where its message begins.  BadSlip where there is none."""
    end = octets.find(b"\n", 0, MOST_OCTETS + 1)
    if end < 0:
        raise BadSlip(f"expected a line of JSON, of at most {MOST_OCTETS} octets")
    try:
        return _DECODER.decode(octets[:end]), end + 1
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise BadSlip(f"its first line is no slip: {fault}") from None


def path_of(text: str) -> Mailbox | None:
    """The reverse-path; BadSlip where that is no address."""
    return None if text == "" else address_of(text)


def address_of(text: str) -> Mailbox:
    found = parse_mailbox(text)
    if found is None:
        raise BadSlip(f"{text!r:.300} is no address")
    return found


def notify_of(words: tuple[str, ...]) -> frozenset[Notify] | None:
    """As ``RcptParameters`` has it; BadSlip for what RFC 3461 s4.1 does not have."""
    if not words:
        return None
    if unknown := [word for word in words if word not in NOTIFIES]:
        raise BadSlip(f"{unknown[0]!r:.100} is none of {', '.join(NOTIFIES)}")
    if "never" in words and len(words) > 1:
        raise BadSlip("never stands alone")
    return frozenset(one for one in (NOTIFIES[word] for word in words) if one is not None)


def returns_of(word: str) -> Ret | None:
    if word and word not in RETURNS:
        raise BadSlip(f"{word!r:.100} is none of {', '.join(RETURNS)}")
    return RETURNS.get(word)


def envid_of(text: str) -> str:
    """As MAIL's parameter has it.  BadSlip where it is too long, or not printable ASCII (RFC 3461 s4.4)."""
    if any(not " " <= c <= "~" for c in text):
        raise BadSlip("expected printable ASCII")
    word = to_xtext(text.encode("ascii"))
    if len(word) > ENVID_OCTETS:
        raise BadSlip(f"has {len(word)} octets in xtext: {ENVID_OCTETS} are taken")
    return word


def date_time(at: float) -> str:
    """Epoch seconds as RFC 4865 s3 writes a date, in whole seconds."""
    return datetime.datetime.fromtimestamp(int(at), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(value: float | str) -> float:
    """Epoch seconds, of themselves or of a date and time of RFC 3339 with its offset.  ValueError for anything else."""
    if isinstance(value, str):
        try:
            found = datetime.datetime.fromisoformat(value)
        except ValueError:
            found = None
        if found is None or found.tzinfo is None or "T" not in value.upper():
            raise ValueError(f'expected seconds since 1970 or a time as "2026-11-28T09:30:00Z", not {value!r:.60}')
        value = found.timestamp()
    if not 0 <= value < 1e11:
        raise ValueError(f"{value!r:.60} is no time in seconds since 1970")
    return float(value)
