"""One session as an operator may read it: both sides' lines, with all that is secret left out.

It is told by the dialog itself, which alone knows what an octet is: a command, a line of an AUTH exchange, or content.
So it does not matter how a client's octets were split, or what they look like.

Rules:
    What is not known to be harmless is not shown: of a command that is none, of an argument that is not what the
    command takes, of a line that is spoiled, there is only how long it was.  A client that is out of step may send a
    password anywhere.
    Of AUTH there is the mechanism, where it is one; of an exchange nothing but that lines were sent.
    Of content there is how much came.
    One session has at most ``OCTETS``; what is beyond is not kept, and that is said.
"""

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from mailgw.wire.lines import LineFault

OCTETS: Final = 256 * 1024
LINE_OCTETS: Final = 2000
"""Shown of a line; longer ones are cut."""
OVERHEAD_OCTETS: Final = 40
"""Of an entry beside its text."""

CLIENT: Final = "C"
SERVER: Final = "S"
EVENT: Final = ""

Take: TypeAlias = Callable[[str, str], None]
"""Who said it (``CLIENT``, ``SERVER``, ``EVENT`` for what happened), and the line."""

# Those that clients know, as IANA's registry has them; whether we do is another matter.
_MECHANISMS: Final = frozenset({
    b"PLAIN", b"LOGIN", b"CRAM-MD5", b"DIGEST-MD5", b"SCRAM-SHA-1", b"SCRAM-SHA-1-PLUS", b"SCRAM-SHA-256",
    b"SCRAM-SHA-256-PLUS", b"EXTERNAL", b"ANONYMOUS", b"OAUTHBEARER", b"XOAUTH2", b"GSSAPI", b"NTLM",
})
# What a command takes, where that may be shown; the others take nothing that anybody has to see.
_ARGUMENTS: Final = {
    b"EHLO": re.compile(rb"[A-Za-z0-9._-]+\Z|\[[0-9A-Za-z.:-]+\]\Z"),
    b"HELO": re.compile(rb"[A-Za-z0-9._-]+\Z|\[[0-9A-Za-z.:-]+\]\Z"),
    b"LHLO": re.compile(rb"[A-Za-z0-9._-]+\Z|\[[0-9A-Za-z.:-]+\]\Z"),
    b"MAIL": re.compile(rb"FROM: ?<[^<>]*>(?: +[^ ]+)*\Z", re.IGNORECASE),
    b"RCPT": re.compile(rb"TO: ?<[^<>]*>(?: +[^ ]+)*\Z", re.IGNORECASE),
    b"BDAT": re.compile(rb"[0-9]{1,10}(?: +LAST)?\Z", re.IGNORECASE),
}
_VERBS: Final = frozenset({
    *_ARGUMENTS, b"AUTH", b"XCLIENT", b"STARTTLS", b"DATA", b"RSET", b"QUIT", b"NOOP", b"HELP", b"VRFY", b"EXPN",
    b"SEND", b"SOML", b"SAML", b"TURN", b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT",
})
# RFC 4954 s5: MAIL's AUTH= says who wrote it; it is nobody's to read, and what follows other words may be anything.
_PARAMETER: Final = re.compile(
    rb"(?:SIZE=[0-9]{1,20}|BODY=[A-Z0-9]{1,20}|SMTPUTF8|REQUIRETLS|RET=[A-Z]{1,4}|ENVID=[!-~]{1,100}"
    rb"|NOTIFY=[A-Z,]{1,30}|ORCPT=[!-~]{1,500}|MT-PRIORITY=[0-9-]{1,2}|BY=[0-9A-Z;-]{1,20}"
    rb"|HOLDFOR=[0-9]{1,10}|HOLDUNTIL=[0-9A-Z:.+-]{1,40})\Z", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(rb"(?:NAME|ADDR|PORT|PROTO|HELO|DESTADDR|DESTPORT)=[!-~]{1,255}\Z", re.IGNORECASE)
_REPLY: Final = re.compile(rb"([0-9]{3})[ -](?:([245]\.[0-9]{1,3}\.[0-9]{1,3})(?= |\Z))?")

HIDDEN: Final = "(hidden)"


class Transcript:
    """A dialog's witness (``smtp_turns.Witness``).  ``take`` gets each line once it is whole, in order; ``is_full``
    once no more is taken."""

    def __init__(self, take: Take) -> None:
        self.is_full = False
        self._take = take
        self._octets = 0
        self._content = 0
        self._hides_reply = False  # it may repeat what was hidden

    # --- what the dialog tells ------------------------------------------------------------------------------

    def command(self, line: bytes) -> None:
        """The client's line, where one was due."""
        self._settle()
        shown, is_whole = command_shown(line)
        self._hides_reply = not is_whole
        self._add(CLIENT, shown)

    def credentials(self) -> None:
        """A line of an AUTH exchange, whatever was wrong with it."""
        self._settle()
        self._add(CLIENT, HIDDEN)

    def spoiled(self, fault: LineFault) -> None:
        """A line, where a command was due, that is none."""
        self._settle()
        self._hides_reply = True
        self._add(CLIENT, f"(a line that cannot be read: {fault.value})")

    def content(self, octets: int) -> None:
        """So many octets of a message."""
        self._content += octets

    def reply(self, octets: bytes) -> None:
        """Ours, one or more lines."""
        self._settle()
        for line in octets.split(b"\r\n"):
            if line:
                self._add(SERVER, _without_text(line) if self._hides_reply else _printable(line))

    def challenge(self) -> None:
        """Ours, within an AUTH exchange."""
        self._settle()
        self._add(SERVER, f"334 {HIDDEN}")

    def note(self, text: str) -> None:
        """Something happened: TLS, the end."""
        self._settle()
        self._add(EVENT, text)

    # --- below ----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        octets, self._content = self._content, 0
        if octets:
            self._add(CLIENT, f"({octets:,} octets of content)")

    def _add(self, side: str, text: str) -> None:
        if self.is_full:
            return
        if len(text) > LINE_OCTETS:
            text = f"{text[:LINE_OCTETS]}..."
        self._octets += len(text) + OVERHEAD_OCTETS
        if self._octets > OCTETS:
            self.is_full = True
            side, text = EVENT, "more than is kept of one session: what follows is not recorded"
        self._take(side, text)


def command_shown(line: bytes) -> tuple[str, bool]:
    """A line that came where a command was due, as it may be shown, and whether its reply may be, too (what is said to
    AUTH repeats nothing)."""
    verb, _, argument = line.partition(b" ")
    upper = verb.upper()
    if upper not in _VERBS:
        return f"(no command, {len(line)} octets)", False
    shown = _printable(verb)
    argument = argument.strip(b" \t")
    if not argument:
        return shown, True
    if upper == b"AUTH":
        mechanism, _, initial = argument.partition(b" ")
        if mechanism.upper() not in _MECHANISMS:
            return f"{shown} {HIDDEN}", False
        return f"{shown} {_printable(mechanism)}" + (f" {HIDDEN}" if initial else ""), True
    if upper == b"XCLIENT":
        return _words_shown(shown, argument.split(), _ATTRIBUTE)
    known = _ARGUMENTS.get(upper)
    if known is None or not known.match(argument):
        return f"{shown} ({len(argument)} octets more)", False
    if upper in (b"MAIL", b"RCPT"):
        path, _, parameters = argument.partition(b">")
        return _words_shown(f"{shown} {_printable(path)}>", parameters.split(), _PARAMETER)
    return f"{shown} {_printable(argument)}", True


def _words_shown(begun: str, words: list[bytes], known: re.Pattern[bytes]) -> tuple[str, bool]:
    """Those that are known, and where any is not."""
    is_whole = True
    for word in words:
        if known.match(word):
            begun += f" {_printable(word)}"
        else:
            is_whole = False
            begun += f" {HIDDEN}"
    return begun, is_whole


def _without_text(line: bytes) -> str:
    found = _REPLY.match(line)
    return HIDDEN if found is None else f"{_printable(found[0]).rstrip()} {HIDDEN}"


def _printable(octets: bytes) -> str:
    """UTF-8 where it is that, and nothing that a terminal obeys."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        text = octets.decode("latin-1")
    return "".join(c if c.isprintable() else "?" for c in text)
