"""One reply of SMTP or LMTP: a code, an enhanced status, its lines (RFC 5321 s4.2, RFC 2034, RFC 3463)."""

import attrs


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
        """The reply as it stands on the wire, the status on every line (RFC 2034 s4)."""
        prefix = f"{self.status} " if self.status else ""
        last = len(self.lines) - 1
        return "".join(
            f"{self.code}{' ' if i == last else '-'}{prefix}{line}\r\n" for i, line in enumerate(self.lines)
        ).encode("utf-8", "replace")

    def __str__(self) -> str:
        return f"{self.code} {self.status} {self.text}" if self.status else f"{self.code} {self.text}"
