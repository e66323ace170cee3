"""Lines that end in CRLF alone, with a limit (RFC 5321 s2.3.8, s4.1.1.4, s4.5.3.1.4).

Rules:
    Only CRLF ends a line.  A lone CR or LF, or a NUL, spoils the whole line to its CRLF; it never becomes an end.
    A line above the limit is thrown away as it comes and reported at its CRLF, so that the reader is in step
    again; at most the limit and one read are held.
    The result depends on the octets alone, never on how they were split.
"""

import enum

# How much longer than the limit a line may go on before it is not worth reading to its end.
ENDLESS_FACTOR = 16


class LineFault(enum.Enum):
    BARE = "bare CR, bare LF or NUL"
    TOO_LONG = "too long"
    ENDLESS = "endless"  # the reader is out of step for good


class LineReader:
    """Octets that were received and not yet looked at, taken line by line or all at once.

    ``fault_start`` is how the line began that a fault was told of last: its first four octets.
    """

    def __init__(self) -> None:
        self.fault_start = b""
        self._buffer = b""
        self._at = 0
        self._dropped = 0  # octets of a line that is too long, thrown away so far

    def __len__(self) -> int:
        return len(self._buffer) - self._at

    def receive(self, octets: bytes) -> None:
        if self._at == len(self._buffer):
            self._buffer = octets
        else:
            self._buffer = self._buffer[self._at:] + octets
        self._at = 0

    def take_line(self, limit: int) -> bytes | LineFault | None:
        """The next line without its CRLF, what was wrong with it, or None where it is not complete.

        ``limit`` counts the CRLF.  While it stays None, the next call must give the same limit.
        """
        start = self._at
        end = self._buffer.find(b"\r\n", start)
        if end < 0:
            return self._keep_bounded(limit)
        self._at = end + 2
        octets = self._dropped + self._at - start
        if octets > limit:
            if not self._dropped:
                self.fault_start = self._buffer[start:start + 4]
            self._dropped = 0
            return LineFault.ENDLESS if octets > ENDLESS_FACTOR * limit + 1 else LineFault.TOO_LONG
        line = self._buffer[start:end]
        if b"\n" in line or b"\r" in line or b"\0" in line:
            self.fault_start = line[:4]
            return LineFault.BARE
        return line

    def take_all(self) -> bytes:
        """Everything that waits."""
        octets = self._buffer[self._at:] if self._at else self._buffer
        self._buffer = b""
        self._at = 0
        return octets

    def take_some(self, limit: int) -> bytes:
        """The next octets that wait, ``limit`` at most."""
        octets = self._buffer[self._at:self._at + limit]
        self._at += len(octets)
        return octets

    def clear(self) -> None:
        self._buffer = b""
        self._at = 0
        self._dropped = 0

    def _keep_bounded(self, limit: int) -> LineFault | None:
        waiting = len(self)
        if self._dropped + waiting <= limit:
            return None
        if self._dropped + waiting > ENDLESS_FACTOR * limit:
            return LineFault.ENDLESS
        if not self._dropped:
            self.fault_start = self._buffer[self._at:self._at + 4]
        # A CR at the end may be half of the CRLF that we look for.
        keep = 1 if self._buffer.endswith(b"\r") else 0
        self._dropped += waiting - keep
        self._buffer = self._buffer[-keep:] if keep else b""
        self._at = 0
        return None
