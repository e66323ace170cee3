"""What the answer of a web hook means for each recipient.  Pure.

RFC 9110 s15 (status codes), s10.2.3 (Retry-After).

Rules:
    2xx is delivered, but for whom a JSON body says something else of.  Where that cannot be understood, it is not known
    who was served, so nobody was: all are offered again, with the same key.
    3xx is never followed, and temporary: someone has to look at the URL.
    4xx that speaks of us or of the URL (a login, a path, a method) is a configuration to be mended, and temporary; the
    others speak of this message, and are permanent.
    Everything else is temporary.
"""

import json
import re
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import attrs

from mailgw.mail.address import Mailbox, folded
from mailgw.mail.outcome import Outcome, Scope, delivered, refused, temporary
from mailgw.mail.reply import Reply
from mailgw.wire.conversation import THEM

# What the server holds against us or against the URL, or cannot do now: another message would meet the same.
# RFC 9110 s15.5: 401, 402, 403, 404, 405, 407, 408, 421, 426; RFC 4918 s11.3: 423; RFC 8470 s5.2: 425;
# RFC 6585 s4: 429, s6: 511 (of 5xx).
NOT_OF_THE_MESSAGE: Final = frozenset({401, 402, 403, 404, 405, 407, 408, 421, 423, 425, 426, 429})
# RFC 3463: x.3.4, too big; x.6.1, media not supported; x.3.0 otherwise
_STATUS: Final = {413: (552, "5.3.4"), 415: (554, "5.6.1")}
_NO_WORDS: Final = "The web hook said so"
LONGEST_WAIT_SECONDS: Final = 3600.0
MAX_TEXT: Final = 200
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
"""RFC 9110 s15.4: those that have a Location to go on at."""
BODY_LINES: Final = 5
"""Of an answer's body, in the journal."""
_HOST = re.compile(r"[\w.:-]{1,253}", re.ASCII)  # a name or an address
_ENHANCED = re.compile(r"([245])\.\d{1,3}\.\d{1,3}\Z", re.ASCII)  # RFC 3463 s2
_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;|\Z)", re.ASCII | re.IGNORECASE)


def judged(
    status: int, media_type: str, body: bytes | None, recipients: Sequence[Mailbox], hop: str,
    again_after_seconds: float | None,
) -> dict[Mailbox, Outcome]:
    """An outcome for each of ``recipients``.  ``body`` None: it is not known, or not whole.  ``again_after_seconds`` is
    for what is temporary, where the server said when."""
    if 200 <= status < 300:
        found = delivered(Reply(250, "2.0.0", (f"HTTP {status}",)), hop)
        if not _JSON.match(media_type):
            return dict.fromkeys(recipients, found)
        return _told(body, recipients, found, hop)
    words = f"The web hook answered with HTTP {status}"
    if 400 <= status < 500 and status not in NOT_OF_THE_MESSAGE:
        code, enhanced = _STATUS.get(status, (554, "5.3.0"))
        reply = Reply(code, enhanced, (words,))
        return dict.fromkeys(recipients, refused(reply, Scope.MESSAGE, hop, is_ours=True))
    if 300 <= status < 400:
        words += ", a redirection, which is not followed"
    return dict.fromkeys(recipients, temporary("4.3.0", words, Scope.HOST, hop, again_after_seconds))


def words(status: int, media_type: str, retry_after: str, body: bytes | None) -> Sequence[tuple[str, bytes]]:
    """The answer as a conversation has it (``wire.conversation.short``)."""
    first = f"HTTP {status} {media_type}".rstrip() + (f", Retry-After: {retry_after}" if retry_after else "")
    lines = [line for line in (body or b"").splitlines() if line.strip()][:BODY_LINES]
    return [(THEM, first.encode()), *((THEM, line) for line in lines)]


def in_words(status: int, location: str) -> str:
    """Why an answer other than 2xx is no good.  Of where it redirects to only the origin: URLs may hold secrets."""
    if status not in REDIRECTS:
        return f"HTTP {status}"
    try:
        where = urlsplit(location)
        port = f":{where.port}" if where.port else ""
    except ValueError:
        origin = ""
    else:
        is_known = where.scheme in ("http", "https") and where.hostname and _HOST.fullmatch(where.hostname)
        host = f"[{where.hostname}]" if ":" in (where.hostname or "") else where.hostname
        origin = f" to {where.scheme}://{host}{port}" if is_known else ""
    return f"HTTP {status}: it redirects{origin}; give the URL itself in the configuration"


def wait_seconds(retry_after: str, now: float) -> float | None:
    """How long the server wants to be left alone, at most an hour; None where it does not, or not that we can read."""
    word = retry_after.strip()
    # RFC 9110 s10.2.3: Retry-After = HTTP-date / delay-seconds
    if word.isascii() and word.isdigit():
        return min(float(word[:9]), LONGEST_WAIT_SECONDS) or None
    try:
        seconds = parsedate_to_datetime(word).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(seconds, LONGEST_WAIT_SECONDS) if seconds > 0 else None


def _told(
    body: bytes | None, recipients: Sequence[Mailbox], by_status: Outcome, hop: str
) -> dict[Mailbox, Outcome]:
    """What a JSON body says, ``by_status`` for whom it does not name."""
    said = _parsed(body)
    if said is None:
        unclear = temporary("4.3.0", "The web hook's JSON cannot be understood", Scope.MESSAGE, hop)
        return dict.fromkeys(recipients, unclear)
    found: dict[Mailbox, Outcome] = {}
    exact = {str(one): one for one in recipients}
    by_fold = {folded(str(one)): one for one in recipients}
    is_clear = True
    for word, value in said.items():
        recipient = exact.get(word) or by_fold.get(folded(word))
        if recipient is None:
            is_clear = False  # it may be another spelling of one that we would take for served
        elif (reply := _reply(value)) is None:
            found[recipient] = temporary("4.3.0", "The web hook's answer has no code", Scope.RECIPIENT, hop)
        elif reply.code < 300:
            found[recipient] = delivered(reply, hop)
        else:
            words = reply.text if reply.is_permanent and reply.lines != (_NO_WORDS,) else ""
            found[recipient] = attrs.evolve(refused(reply, Scope.RECIPIENT, hop), words=words)
    if not is_clear:
        by_status = temporary("4.3.0", "The web hook's answer names somebody else", Scope.MESSAGE, hop)
    return {recipient: found.get(recipient, by_status) for recipient in recipients}


def _parsed(body: bytes | None) -> Mapping[str, object] | None:
    """What is said of recipients, nothing where it is JSON that says nothing of them; None where it is unclear."""
    if body is None:
        return None
    try:
        said = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or "recipients" not in said:
        return {}
    recipients = said["recipients"]
    return recipients if isinstance(recipients, dict) else None


def _reply(value: object) -> Reply | None:
    """``{"code": 550, "status": "5.1.1", "text": "…"}``; None where the code is none."""
    if not isinstance(value, dict):
        return None
    code, status, text = value.get("code"), value.get("status"), value.get("text")
    if not isinstance(code, int) or isinstance(code, bool) or not (200 <= code < 300 or 400 <= code < 600):
        return None
    kind = str(code)[0]
    if not isinstance(status, str) or not (match := _ENHANCED.match(status)) or match[1] != kind:
        status = f"{kind}.0.0"  # RFC 3463 s3.1: nothing else is known
    words = text if isinstance(text, str) else ""
    line = "".join([c if c.isprintable() else "?" for c in words[:MAX_TEXT]]).strip()
    return Reply(code, status, (line or _NO_WORDS,))
