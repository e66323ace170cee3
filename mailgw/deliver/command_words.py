"""What a command is told, and what its end says: arguments, environment, exit status and output (pipe(8) of Postfix,
sysexits.h; RFC 3463 for the statuses).

Rules:
    An argument is one argument, whatever is put into it: no shell reads it, and what is put in is not read again.
    No address becomes an option: where one would begin an argument with "-", its recipient is refused, as by Postfix's
    queue manager (``allow_min_user``).  The same for the sender, and for a NUL, which ends an argument.
    What stands in the environment has the characters alone that Postfix lets pass there (``command_expansion_filter``):
    a shell may read it after all.
    Only what speaks of the message or its recipient is permanent.  A program that is used wrongly, is missing or
    crashes is the operator's to mend, and mail waits for him; there Postfix returns it.
"""

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import path_text
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Scope, delivered, refused
from mailgw.mail.reply import Reply

# --- arguments ---------------------------------------------------------------------------------------------

_OF_THE_RECIPIENT = frozenset(("recipient", "local_part", "domain"))
_KNOWN = (*sorted(_OF_THE_RECIPIENT), "sender", "queue_id")
# "{{" and "}}" are braces, as in Python's own templates.
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SHELLS = frozenset(("sh", "ash", "bash", "dash", "ksh", "mksh", "zsh", "fish", "csh", "tcsh"))


def argument_fault(argument: str) -> str | None:
    """Why ``argument`` is no template of one, or None."""
    for piece in _PIECE.finditer(argument):
        if piece[0] in ("{", "}"):
            return "a brace without its partner; {{ and }} stand for braces"
        if piece[1] is not None and piece[1] not in _KNOWN:
            return f"unknown {{{piece[1]}}}; known are {', '.join(f'{{{name}}}' for name in _KNOWN)}"
    return None


def vector_fault(arguments: Sequence[str]) -> str | None:
    """What ``arguments``, each a template, must not be together; None where nothing is against them."""
    if _names(arguments[0]):
        return "the program itself cannot hang on the message: expected its path"
    program = arguments[0].rpartition("/")[2]
    for before, argument in pairwise(arguments):
        if program in _SHELLS and re.match(r"-\w*c\w*\Z", before) and _names(argument):
            why = "an address in a script of a shell is a command of whoever sends it"
            return f"{why}: expected it as an argument of its own behind the script, which reads it as \"$1\""
    return None


def _names(template: str) -> set[str]:
    return {piece[1] for piece in _PIECE.finditer(template) if piece[1] is not None}


@attrs.frozen
class Vector:
    """The templates of a command's arguments; ``null_sender`` stands for the null reverse-path, as in pipe(8)."""

    arguments: tuple[str, ...]
    null_sender: str

    def refusal(self, message: Message, recipient: Mailbox | None) -> str | None:
        """Why ``recipient`` cannot be told to the command (None: why the message cannot); None where it can."""
        for template in self.arguments:
            names = _names(template)
            if not names or (recipient is None) != names.isdisjoint(_OF_THE_RECIPIENT):
                continue
            filled = self._filled(template, message, recipient)
            if "\0" in filled:
                return "has a NUL, which ends an argument"
            if filled.startswith("-") and not template.startswith("-"):
                return 'begins with "-", and would be taken for an option'
        return None

    def filled(self, message: Message, recipients: Sequence[Mailbox]) -> list[bytes]:
        """The arguments for one run.  One that names the recipient stands there once for each."""
        return [argument.encode("utf-8", "surrogateescape") for argument in self._all(message, recipients)]

    def _all(self, message: Message, recipients: Sequence[Mailbox]) -> Iterator[str]:
        for template in self.arguments:
            if _names(template).isdisjoint(_OF_THE_RECIPIENT):
                yield self._filled(template, message, None)
            else:
                yield from (self._filled(template, message, recipient) for recipient in recipients)

    def _filled(self, template: str, message: Message, recipient: Mailbox | None) -> str:
        values = {"sender": path_text(message.reverse_path) or self.null_sender, "queue_id": message.queue_id}
        if recipient is not None:
            values |= {
                "recipient": str(recipient), "local_part": recipient.local_part, "domain": recipient.domain
            }
        return _PIECE.sub(lambda piece: piece[0][0] if piece[1] is None else values[piece[1]], template)


# --- environment -------------------------------------------------------------------------------------------

PATH = "/usr/local/bin:/usr/bin:/bin"
# Postfix's command_expansion_filter, the default.
_UNSAFE = re.compile(r"[^0-9!@%\-_=+:,./a-zA-Z]")


def environment(message: Message, recipients: Sequence[Mailbox], own: Mapping[str, str]) -> dict[str, str]:
    """All that the command has of one; ``own``, the operator's, comes over the rest."""
    told = {
        "SENDER": path_text(message.reverse_path), "QUEUE_ID": message.queue_id, "TAGS": ",".join(message.tags),
    }
    if len(recipients) == 1:
        [only] = recipients
        told |= {"RECIPIENT": str(only), "LOCAL": only.local_part, "DOMAIN": only.domain}
    tame = {name: _UNSAFE.sub("_", value) for name, value in told.items()}
    return {"PATH": PATH, "LANG": "C.UTF-8", **tame, **own}


# --- how it ended --------------------------------------------------------------------------------------------

@attrs.frozen
class Ended:
    """``status`` of its exit, or None where a ``signal`` of that number ended it; ``output`` is how its output began,
    that for people and for faults together."""

    status: int | None
    signal: int
    output: bytes


MAX_LINES = 5
MAX_LINE_CHARACTERS = 200

# sysexits.h: what each says, and as what we take it.  A 4.y.z where Postfix has a 5.y.z is explained above.
SYSEXITS: Mapping[int, tuple[str, str]] = {
    64: ("4.3.5", "it was used wrongly"),  # EX_USAGE
    65: ("5.6.0", "it cannot use the message's data"),  # EX_DATAERR
    66: ("4.3.0", "it cannot open its input"),  # EX_NOINPUT
    67: ("5.1.1", "it knows no such recipient"),  # EX_NOUSER
    68: ("5.1.2", "it knows no such host"),  # EX_NOHOST
    69: ("5.3.0", "a service is not available"),  # EX_UNAVAILABLE
    70: ("4.3.0", "it has an internal fault"),  # EX_SOFTWARE
    71: ("4.3.0", "the system lacks something"),  # EX_OSERR
    72: ("4.3.0", "a file of the system is missing"),  # EX_OSFILE
    73: ("4.2.0", "it cannot make a file of the recipient's"),  # EX_CANTCREAT
    74: ("4.3.0", "it cannot read or write"),  # EX_IOERR
    75: ("4.3.0", "it asks to be tried again"),  # EX_TEMPFAIL
    76: ("4.5.0", "another side breaks its protocol"),  # EX_PROTOCOL
    77: ("5.7.0", "it may not do this"),  # EX_NOPERM
    78: ("4.3.5", "it is configured wrongly"),  # EX_CONFIG
}
# POSIX's shells, env(1) and setsid(1): the program cannot be run, or is not there.
_NOT_RUN = {126: "it cannot be run", 127: "it, or what it runs, is missing"}
# pipe(8): a status at the beginning of the output says more than the exit status.
_STATUS = re.compile(rb"\s*([45]\.[0-9]{1,3}\.[0-9]{1,3})(?=[\s:]|\Z)")


def outcome_of(ended: Ended, program: str) -> Outcome:
    """What became of each recipient of the run."""
    if ended.status == 0:
        return delivered(Reply(250, "2.0.0", told("Delivered to the command", ended.output)), program)
    if ended.status is None:
        return _failed("4.3.0", f"signal {_signal_name(ended.signal)} ended it", ended.output, program)
    if ended.status in _NOT_RUN:
        # Any other message would meet the same.
        return _failed("4.3.5", _NOT_RUN[ended.status], ended.output, program, Scope.HOST)
    status, why = SYSEXITS.get(ended.status, ("4.3.0", "of no known meaning"))
    said = _STATUS.match(ended.output)
    if said is not None:
        status = said[1].decode()
    failed = _failed(status, f"exit status {ended.status}, {why}", ended.output, program)
    if said is None or not failed.reply.is_permanent:
        return failed
    # Who begins with a status speaks to the sender; other output may be of faults alone.
    return attrs.evolve(failed, words=" ".join(_lines(ended.output[said.end():])).lstrip(": "))


def not_started(why: str, program: str) -> Outcome:
    """The system would not run it."""
    return _failed("4.3.5", why, b"", program, Scope.HOST)


def _failed(status: str, why: str, output: bytes, program: str, scope: Scope = Scope.RECIPIENT) -> Outcome:
    reply = Reply(550 if status[0] == "5" else 451, status, told(f"The command failed: {why}", output))
    return refused(reply, scope, program, is_ours=True)


def _signal_name(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)


def told(why: str, output: bytes) -> tuple[str, ...]:
    """Our words, and what the command said."""
    lines = tuple(_lines(output))
    return (f"{why}; it said:", *lines) if lines else (why,)


def _lines(output: bytes) -> Iterator[str]:
    """The first lines that are not empty, for people's eyes."""
    lines = [line for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    for line in lines[:MAX_LINES]:
        line = line.strip()[:MAX_LINE_CHARACTERS]
        yield "".join(c if c.isprintable() and c != "\ufffd" else "?" for c in line)
