"""One reply of SMTP or LMTP: a code, an enhanced status, its lines (RFC 5321 s4.2, RFC 2034, RFC 3463)."""

import re

import attrs

# RFC 3463 s2: status-code = class "." subject "." detail; subject and detail = 1*3digit
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}\Z")


@attrs.frozen
class Reply:
    """``code`` 200 to 599; ``status`` as ``"5.1.1"`` or ``""`` where none belongs (greeting, HELO, EHLO,
    354, 334); ``lines`` at least one, printable, without line ends."""

    code: int
    status: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """All lines as one, for logs and bounces."""
        return " ".join(self.lines)

    @property
    def is_positive(self) -> bool:
        return 200 <= self.code < 400

    @property
    def is_permanent(self) -> bool:
        return 500 <= self.code < 600

    def octets(self) -> bytes:
        """The reply as it stands on the wire, the status on every line (RFC 2034 s4).

        Whatever a plug-in's or a peer's words hold, this is one reply of ASCII lines: what cannot be printed
        becomes ``?``, and a line is cut at 512 octets (RFC 5321 s4.5.3.1.5).
        """
        prefix = f"{self.status} " if self.status else ""
        if len(self.lines) == 1:  # nearly all, several a message
            return f"{self.code} {prefix}{_printable(self.lines[0])}\r\n".encode("ascii", "replace")
        last = len(self.lines) - 1
        text = "".join([
            f"{self.code}{' ' if i == last else '-'}{prefix}{_printable(line)}\r\n" for i, line in enumerate(self.lines)
        ])
        return text.encode("ascii", "replace")

    def __str__(self) -> str:
        return f"{self.code} {self.status} {self.text}" if self.status else f"{self.code} {self.text}"


def refusal_fault(reply: object) -> str | None:
    """Why ``reply``, of somebody else's making, is nothing to refuse with; None where it is a whole 4yz or 5yz."""
    return reply_fault(reply, 400)


def reply_fault(reply: object, least_code: int = 200) -> str | None:
    """Why ``reply``, of somebody else's making, is no whole one with a code from ``least_code`` to 599, or None."""
    if not isinstance(reply, Reply):
        return f"a {type(reply).__name__} is no Reply"
    if not (isinstance(reply.code, int) and least_code <= reply.code < 600):
        return f"{reply!r:.80} is no Reply of {least_code} to 599"
    if not (isinstance(reply.status, str) and (not reply.status or _STATUS.match(reply.status))):
        return f"{reply.status!r:.80} is no status as 5.7.1"
    is_said = isinstance(reply.lines, tuple) and reply.lines and all(isinstance(line, str) for line in reply.lines)
    return None if is_said else "the reply has no text"


def in_one_class(reply: Reply) -> Reply:
    """The status's class is that of the code, which counts: RFC 2034 s4 wants them the same."""
    status = f"{reply.code // 100}{reply.status[1:]}"
    return reply if not reply.status or status == reply.status else attrs.evolve(reply, status=status)


# 512 octets without the CRLF, the code, and the longest status that RFC 3463 s2 knows, each with its separator.
_MAX_TEXT = 512 - 2 - len("550-5.123.123 ")


def _printable(line: str) -> str:
    if len(line) > _MAX_TEXT:
        line = line[:_MAX_TEXT]
    if line.isprintable():
        return line
    return "".join([c if c.isprintable() else "?" for c in line])
