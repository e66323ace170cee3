"""What this machine's own files say of names: its name servers (resolv.conf) and its hosts; read again when they
change."""

import ipaddress
import os
from typing import Any, Final

FILES_SECONDS: Final = 30.0  # how often the files are looked at
SERVERS: Final = 3  # resolv.conf(5): MAXNS


class NameServers:
    """The servers of a resolv.conf, in its order; the loopback where it names none, as resolv.conf(5) has it."""

    def __init__(self, path: str, clock: Any) -> None:
        self._lines = _LinesOf(path, clock)

    def servers(self) -> tuple[tuple[str, int], ...]:
        found = []
        for words in self._lines.read():
            if words[0] == "nameserver" and len(words) > 1 and _is_address(words[1]):
                found.append((words[1], 53))
        return tuple(found[:SERVERS]) or (("127.0.0.1", 53),)


class Hosts:
    """The addresses of a hosts file."""

    def __init__(self, path: str, clock: Any) -> None:
        self._lines = _LinesOf(path, clock)

    def addresses(self, name: str) -> tuple[str, ...]:
        """As text, in the order of the file; ``name`` in its normal form."""
        found = [
            words[0]
            for words in self._lines.read()
            if _is_address(words[0]) and name in (word.lower().rstrip(".") for word in words[1:])
        ]
        # RFC 6761 s6.3: localhost is never asked for.
        if not found and (name == "localhost" or name.endswith(".localhost")):
            return ("::1", "127.0.0.1")
        return tuple(dict.fromkeys(found))


def is_loopback(server: tuple[str, int]) -> bool:
    return ipaddress.ip_address(server[0]).is_loopback


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True


class _LinesOf:
    """The words of a small file's lines, without comments; read again when it changed.  A missing one is empty."""

    def __init__(self, path: str, clock: Any) -> None:
        self._path = path
        self._clock = clock
        self._looked = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._lines: list[list[str]] = []

    def read(self) -> list[list[str]]:
        now = self._clock.seconds()
        if now - self._looked >= FILES_SECONDS:
            self._looked = now
            try:
                status = os.stat(self._path)
                stamp = (status.st_mtime_ns, status.st_size)
                if stamp != self._stamp:
                    with open(self._path, encoding="utf-8", errors="replace") as file:
                        words = [line.partition("#")[0].partition(";")[0].split() for line in file]
                    self._lines = [line for line in words if line]
                    self._stamp = stamp
            except OSError:
                self._lines, self._stamp = [], None
        return self._lines
