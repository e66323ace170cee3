"""What is too long, too many or too large (RFC 5321 s4.5.3.1, RFC 1870 s6.1, RFC 3030, RFC 4954 s4)."""

from functools import partial
from typing import Final

from mailgw.wire.probes.script import (
    GOOD_BYE,
    Ended,
    Finding,
    Heard,
    Probe,
    Say,
    Script,
    Server,
    Target,
    all_is_well,
    lines,
    nobody_knows,
    refused_or_weak,
    say,
    weakness,
)

LONG_LINE_OCTETS: Final = 70_000
"""Far over every limit that is in use; what extensions add (RFC 4954: 12,288) included."""
ENDLESS_OCTETS: Final = 4 * 1024 * 1024
LEAST_RECIPIENTS: Final = 100  # RFC 5321 s4.5.3.1.8
MOST_RECIPIENTS: Final = 10_000
RECIPIENTS_AT_ONCE: Final = 100
MOST_ERRORS: Final = 200
WRAPPED: Final = (1 << 64) + 6
"""A chunk's size that is 6 to whoever counts with 64 bits."""


def _line_of(octets: int, target: Target, server: Server) -> Script:
    """A NOOP of that many octets with its CRLF, which has to be obeyed."""
    heard = yield Say(b"NOOP ".ljust(octets - 2, b"x") + b"\r\n")
    # RFC 5321 s4.1.1.9: an argument of NOOP may be refused (501); a line too long is 500.
    if heard.is_yes or heard.code == 501:
        return all_is_well(heard)
    return weakness(heard) if heard.code >= 500 else nobody_knows(heard, "neither yes nor no")


def _line_2048(target: Target, server: Server) -> Script:
    """Between the RFC's 512 and what is too long either answer will do, but it must be one."""
    heard = yield Say(b"NOOP ".ljust(2046, b"x") + b"\r\n")
    return _one_answer(heard, (yield GOOD_BYE))


def _long_line(target: Target, server: Server) -> Script:
    """One line, of words that are commands wherever it is cut: one answer, or the end."""
    heard = yield Say((b"NOOP " * (LONG_LINE_OCTETS // 5)) + b"\r\n")
    if heard.is_yes:
        return weakness(heard, "a line far over any limit is obeyed, whole or cut off")
    return _one_answer(heard, (yield GOOD_BYE))


def _one_answer(heard: Heard, rest: Heard) -> Finding:
    whole = Heard(heard.replies + rest.replies, rest.ended)
    if len([code for code in whole.codes if code not in (221, 421)]) > 1:
        return weakness(whole)
    if not whole.codes and whole.ended is not Ended.CLOSED:
        return nobody_knows(whole, "no answer")
    return all_is_well(whole)


def _endless(target: Target, server: Server) -> Script:
    """A line that never ends: the server has to end it."""
    piece = b"x" * 65_536
    for sent in range(0, ENDLESS_OCTETS, len(piece)):
        heard = yield Say(piece, 0)
        if heard.ended is Ended.CLOSED:
            return all_is_well(f"it hung up after {sent // 1024} KiB at most")
        if heard.ended is not Ended.NOT:
            return nobody_knows(heard, "it reads no more and says nothing")
    heard = yield Say(b"")
    if heard.ended is Ended.CLOSED or heard.code == 421:
        return all_is_well(heard)
    return weakness(heard)


def _recipients(target: Target, server: Server) -> Script:
    heard = yield say("MAIL FROM:<>")
    if not heard.is_yes:
        return nobody_knows(f"{heard} to MAIL", "so no recipient was given")
    taken = 0
    at_once = RECIPIENTS_AT_ONCE if server.pipelines else 1
    while taken < MOST_RECIPIENTS:
        heard = yield say(*[f"RCPT TO:<{target.recipient}>"] * at_once)
        good = sum(code == 250 for code in heard.codes)
        taken += good
        if good < at_once:
            break
    else:
        yield say("RSET")
        return weakness(f"{taken} recipients taken")
    last = next((code for code in heard.codes if code != 250), 0)
    answer = f"{taken} recipients, then {last or heard.ended.value}"
    if not taken:
        return nobody_knows(heard, "the recipient was not taken")
    if last < 400 and heard.ended is not Ended.CLOSED:
        return nobody_knows(answer, "no answer")
    if taken < LEAST_RECIPIENTS:
        return weakness(answer, "RFC 5321 s4.5.3.1.8: at least 100 have to be taken")
    return all_is_well(answer)


def _errors(target: Target, server: Server) -> Script:
    for number in range(1, MOST_ERRORS + 1):
        heard = yield say("XMAILGWDOCTOR")
        if heard.code == 421 or heard.ended is Ended.CLOSED:
            return all_is_well(f"{heard} at error {number}")
        if heard.ended is not Ended.NOT:
            return nobody_knows(f"{heard} at error {number}", "neither an answer nor the end")
    return weakness(f"{MOST_ERRORS} errors answered")


def _announced(target: Target, server: Server) -> Script:
    words = server.extensions["SIZE"].split()
    limit = int(words[0]) if words and words[0].isdecimal() and len(words[0]) <= 20 else 0
    if not limit:
        return nobody_knows("no limit is announced", "RFC 1870 s3: without a number, or with 0, there is none to break")
    return refused_or_weak((yield say(f"MAIL FROM:<> SIZE={limit + 1}")))


def _parameter(words: str, target: Target, server: Server) -> Script:
    return refused_or_weak((yield say(f"MAIL FROM:<> {words}")))


def _chunk(size: str, target: Target, server: Server) -> Script:
    """A size that is none; a server that takes it waits for a chunk, or says that it has it."""
    for command in ("MAIL FROM:<>", f"RCPT TO:<{target.recipient}>"):
        heard = yield say(command)
        if not heard.is_yes:
            return nobody_knows(heard, "the message was not let in")
    heard = yield Say(f"BDAT {size}\r\n".encode() + lines("NOOP", "QUIT"))
    if heard.is_yes:
        return weakness(heard)
    return all_is_well(heard)  # refused, or waiting for all the octets, or hung up


def _auth_offered(target: Target, server: Server) -> Script:
    heard = yield Say(server.hello)
    words = [line.decode("ascii", "replace").upper() for _, texts in heard.replies for line in texts]
    offered = [word for word in words if word.startswith(("AUTH ", "AUTH="))]
    if not offered:
        return all_is_well("no AUTH in clear")
    if any(plain in word.replace("=", " ").split() for word in offered for plain in ("PLAIN", "LOGIN")):
        return weakness(offered[0])
    return all_is_well(offered[0])  # mechanisms that do not show the password


def _auth_taken(target: Target, server: Server) -> Script:
    """Whether it goes on to ask for a password; "*" takes it back."""
    told = []
    for command in ("AUTH PLAIN", "AUTH LOGIN"):
        heard = yield say(command)
        told.append(str(heard))
        if heard.is_yes:
            yield say("*")
            return weakness(f"{heard} to {command}")
        if not heard.is_no:
            return nobody_knows(heard, "neither yes nor no")
    return all_is_well(", ".join(told))


PASSWORDS: Final = "passwords pass in clear, for everybody on the way to read"

PROBES: Final = (
    Probe(
        "limits line-512",
        "a command line of 512 octets",
        "RFC 5321 s4.5.3.1.4: lines up to 512 octets have to be taken",
        partial(_line_of, 512),
    ),
    Probe(
        "limits line-2048",
        "a command line of 2048 octets",
        "the line's end is taken for a command of its own",
        _line_2048,
    ),
    Probe(
        "limits line-over",
        f"a command line of {LONG_LINE_OCTETS} octets",
        "what is behind the limit is taken for commands: a sender can smuggle commands in a long line",
        _long_line,
    ),
    Probe(
        "limits line-endless",
        f"{ENDLESS_OCTETS // 1024 // 1024} MiB without a line end",
        "a client can go on for ever, and costs traffic, if not memory",
        _endless,
    ),
    Probe(
        "limits recipients",
        f"the same recipient up to {MOST_RECIPIENTS} times; then RSET",
        "one message may have any number of recipients, and each costs memory",
        _recipients,
        needs_recipient=True,
    ),
    Probe(
        "limits errors",
        f"up to {MOST_ERRORS} commands that do not exist",
        "a client that does nothing but err is never shown the door",
        _errors,
    ),
    Probe(
        "limits size-announced",
        "MAIL with a SIZE one octet over the limit",
        "RFC 1870 s6.1: refused only after all of it was sent",
        _announced,
        extension="SIZE",
    ),
    Probe(
        "limits size-malformed",
        "MAIL with SIZE=1e9",
        "a size that is no number is believed",
        partial(_parameter, "SIZE=1e9"),
        extension="SIZE",
    ),
    Probe(
        "limits parameter-unknown",
        "MAIL with a parameter that nobody offered",
        "RFC 5321 s4.1.1.11: 555; what is asked for and not done is silently lost",
        partial(_parameter, "XMAILGWDOCTOR=1"),
    ),
    *(
        Probe(
            f"limits chunk-{name}",
            f"BDAT {size}",
            "a chunk's size is misread: the rest of the chunk becomes commands",
            partial(_chunk, size),
            needs_recipient=True,
            extension="CHUNKING",
        )
        for name, size in (("wrapped", str(WRAPPED)), ("negative", "-6"), ("hexadecimal", "0x6"), ("signed", "+6"))
    ),
    Probe(
        "limits login-offered",
        "EHLO without TLS",
        PASSWORDS,
        _auth_offered,
        in_clear=True,
    ),
    Probe(
        "limits login-taken",
        "AUTH without TLS, whether it is offered or not",
        PASSWORDS,
        _auth_taken,
        in_clear=True,
    ),
)
