"""The MTA's side of the milter protocol, as much of it as hands messages to a filter and hears what it adds.

Not done: filters that change bodies, recipients or what is there (their orders are passed over); negotiated macros.
"""

import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import attrs

# libmilter/docs and mfdef.h of Sendmail: version 6, all that a filter may do, and all steps that it may leave out.
VERSION, ACTIONS, STEPS = 6, 0x1FF, 0x1FFFFF
# The filter gets values as they are, with the space behind the colon: "simple" signatures have it in them.
LEADING_SPACE = 0x100000
# What a filter asks not to be told, by SMFIP_NO...: the command's letter.
LEFT_OUT = {b"C": 0x1, b"H": 0x2, b"M": 0x4, b"R": 0x8, b"B": 0x10, b"L": 0x20, b"N": 0x40, b"T": 0x200}
# What a filter asks not to answer, by SMFIP_NR_...
UNANSWERED = {
    b"L": 0x80, b"C": 0x1000, b"H": 0x2000, b"M": 0x4000, b"R": 0x8000, b"T": 0x10000, b"N": 0x40000, b"B": 0x80000,
}
CHUNK = 65_535
_FIELD_END = re.compile(rb"\r\n(?![ \t])")
LAST = b"acdrsty"  # accept, continue, discard, reject, skip (no more of the body), tempfail, a reply of its own


@attrs.frozen
class Filtered:
    """``fields``: added, the topmost first, as name and value; ``action``: the last answer's letter."""

    action: bytes
    fields: tuple[tuple[bytes, bytes], ...]

    def values(self, name: bytes) -> list[bytes]:
        return [value for found, value in self.fields if found.lower() == name.lower()]


class Milter:
    """One connection to a filter, over which messages go one after the other."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        self._input = self._socket.makefile("rb")
        self._send(b"O", struct.pack(">III", VERSION, ACTIONS, STEPS))
        letter, octets = self._answer()
        assert letter == b"O", letter
        _, _, self._steps = struct.unpack(">III", octets[:12])
        assert self._steps & LEADING_SPACE, "the filter takes spaces away"
        self._command(b"C", b"client.test\x004" + struct.pack(">H", 25) + b"192.0.2.1\0")
        self._command(b"H", b"client.test\0")

    def close(self) -> None:
        self._send(b"Q", b"")
        self._input.close()
        self._socket.close()

    def message(self, octets: bytes, sender: bytes = b"ann@home.test") -> Filtered:
        """What the filter makes of a message, whose header ends with an empty line."""
        header, _, body = (b"\r\n" + octets).partition(b"\r\n\r\n")
        self._send(b"D", b"Mi\0" + b"1\0")
        parts = [(b"M", b"<" + sender + b">\0"), (b"R", b"<bob@away.test>\0"), (b"T", b"")]
        for field in _FIELD_END.split(header[2:]) if header else []:
            name, _, value = field.partition(b":")
            # Milters know lines by LF, as Postfix hands them over.
            parts.append((b"L", name + b"\0" + value.replace(b"\r\n", b"\n") + b"\0"))
        parts.append((b"N", b""))
        parts += [(b"B", body[start:start + CHUNK]) for start in range(0, len(body), CHUNK)]
        is_skipping = False
        for letter, said in parts:
            if is_skipping and letter == b"B":
                continue
            action = self._command(letter, said)
            is_skipping = action == b"s"
            if action not in b"cs":
                return Filtered(action, ())
        fields: list[tuple[bytes, bytes]] = []
        self._send(b"E", b"")
        for letter, said in self._answers():
            if letter == b"h":
                fields.append(_named(said))
            elif letter == b"i":
                fields.insert(int.from_bytes(said[:4], "big"), _named(said[4:]))
            elif letter in LAST:
                return Filtered(letter, tuple(fields))
        raise AssertionError("never here")

    def _command(self, letter: bytes, octets: bytes) -> bytes:
        """The filter's answer, "c" (go on) where it gives none."""
        if self._steps & LEFT_OUT.get(letter, 0):
            return b"c"
        self._send(letter, octets)
        if self._steps & UNANSWERED.get(letter, 0):
            return b"c"
        return next(letter for letter, _ in self._answers() if letter in LAST)

    def _send(self, letter: bytes, octets: bytes) -> None:
        self._socket.sendall(struct.pack(">I", 1 + len(octets)) + letter + octets)

    def _answers(self) -> Iterator[tuple[bytes, bytes]]:
        while True:
            yield self._answer()

    def _answer(self) -> tuple[bytes, bytes]:
        octets = self._input.read(int.from_bytes(self._input.read(4), "big"))
        assert octets, "the filter hung up"
        return octets[:1], octets[1:]


def _named(octets: bytes) -> tuple[bytes, bytes]:
    name, value, _ = octets.split(b"\0")
    return name, value.replace(b"\n", b"\r\n")
