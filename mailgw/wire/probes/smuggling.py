"""SMTP smuggling: ends of data that are none (RFC 5321 s4.1.1.4: only CRLF.CRLF), and what is sent behind them.

Whoever takes another end of data than the server before it sees two messages where that one saw one, and the
envelope of the second was never checked by anybody.
"""

from functools import partial
from typing import Final

from mailgw.wire.probes.script import (
    ALL,
    GOOD_BYE,
    Finding,
    Heard,
    Probe,
    Say,
    Script,
    Server,
    Target,
    all_is_well,
    nobody_knows,
    say,
    weakness,
)

HEADER: Final = (
    b"From: <>\r\nSubject: mailgw doctor\r\n\r\n"
    b"A probe by this server's own operator, to be thrown away.\r\n"
)
# What tells a server that took the end before it: a command that gets an answer of its own.
BEHIND: Final = b"NOOP\r\n"

FALSE_ENDS: Final[dict[str, bytes]] = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CR.CR": b"\r.\r",
    "CR.CRLF": b"\r.\r\n",
    "CRLF.CR": b"\r\n.\r",
    "CR.LF": b"\r.\n",
    "LF.CR": b"\n.\r",
    "CRLF.CRCRLF": b"\r\n.\r\r\n",
    "CRLF.NUL-CRLF": b"\r\n.\0\r\n",
    "CRLF-NUL.CRLF": b"\r\n\0.\r\n",
    "NUL.NUL": b"\0.\0",
}

NOT_LET_IN: Final = "the message was not let in, so its content could not be probed"
KEPT_HOW: Final = "taken as content, not as an end; look whether it reached the recipient with that octet in it"
TWO_MESSAGES: Final = (
    "what stands behind a false end is taken for commands: a sender can smuggle in a second message with a forged"
    " envelope"
)
OUT_OF_STEP: Final = "content is taken for commands: a sender can smuggle in a message with a forged envelope"


def _data(octets: bytes, target: Target, server: Server) -> Script:
    """The content ``octets``, the true end, QUIT: one answer to each."""
    for command in ("MAIL FROM:<>", f"RCPT TO:<{target.recipient}>", "DATA"):
        heard = yield say(command)
        if not heard.is_yes:
            return nobody_knows(heard, NOT_LET_IN)
    answer = yield Say(octets + b"\r\n.\r\n")
    return judged(answer, (yield GOOD_BYE))


def judged(answer: Heard, rest: Heard) -> Finding:
    """``answer`` to the content, ``rest`` to QUIT: whatever else was answered was content."""
    heard = Heard(answer.replies + rest.replies, rest.ended)
    if answer.codes and any(code != 221 for code in rest.codes):
        return weakness(heard)
    if answer.is_yes:
        return nobody_knows(heard, KEPT_HOW)
    if not heard.codes:
        return nobody_knows(heard, "no answer to the content")
    return all_is_well(heard)


def _bdat_with_an_end(target: Target, server: Server) -> Script:
    """A chunk with CRLF.CRLF in it; RSET before the last chunk leaves no mail behind."""
    for command in ("MAIL FROM:<>", f"RCPT TO:<{target.recipient}>"):
        heard = yield say(command)
        if not heard.is_yes:
            return nobody_knows(heard, NOT_LET_IN)
    chunk = HEADER + b".\r\n" + BEHIND
    heard = yield Say(b"BDAT %d\r\n" % len(chunk) + chunk + b"RSET\r\nQUIT\r\n", ALL)
    return all_is_well(heard) if len(heard.codes) <= 3 else weakness(heard)


def _bdat_refused(target: Target, server: Server) -> Script:
    """RFC 3030 s4.2: the octets of a chunk that is refused are still the chunk's."""
    heard = yield Say(b"BDAT %d LAST\r\n" % len(BEHIND) + BEHIND + b"QUIT\r\n", ALL)
    return all_is_well(heard) if len(heard.codes) <= 2 else weakness(heard)


def _bare_command(line: bytes, target: Target, server: Server) -> Script:
    """A line with something like a line end in it, then QUIT."""
    heard = yield Say(line + b"\r\n")
    rest = yield GOOD_BYE
    whole = Heard(heard.replies + rest.replies, rest.ended)
    # Said together, since a server that splits the line may be slower with the second half.
    return weakness(whole) if len([code for code in whole.codes if code != 221]) > 1 else all_is_well(whole)


def _in_words(name: str) -> str:
    return name.replace("-", " ")


PROBES: Final = (
    *(
        Probe(
            f"smuggling {name}",
            f'a message with "{_in_words(name)}" in it, and a command behind that',
            TWO_MESSAGES,
            partial(_data, HEADER + b"text" + end + BEHIND),
            needs_recipient=True,
            leaves_mail=True,
        )
        for name, end in FALSE_ENDS.items()
    ),
    Probe(
        "smuggling first-LF",
        'a message that begins with ".LF", and a command behind that',
        TWO_MESSAGES,
        partial(_data, b".\n" + BEHIND),
        needs_recipient=True,
        leaves_mail=True,
    ),
    Probe(
        "smuggling BDAT-dot",
        "a BDAT chunk with CRLF.CRLF in it, and a command behind that; then RSET",
        OUT_OF_STEP,
        _bdat_with_an_end,
        needs_recipient=True,
        extension="CHUNKING",
    ),
    Probe(
        "smuggling BDAT-refused",
        "BDAT without a sender, its chunk a command",
        OUT_OF_STEP,
        _bdat_refused,
        extension="CHUNKING",
    ),
    Probe(
        "smuggling command-LF",
        "two commands with a bare LF between them",
        "a bare LF ends a command line: what another server passed on as one line becomes two commands",
        partial(_bare_command, b"NOOP\nNOOP"),
    ),
    Probe(
        "smuggling command-CR",
        "two commands with a bare CR between them",
        "a bare CR ends a command line: what another server passed on as one line becomes two commands",
        partial(_bare_command, b"NOOP\rNOOP"),
    ),
)
