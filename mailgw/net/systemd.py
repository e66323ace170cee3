"""The service manager's socket: sd_notify(3), and the watchdog's times.  Nothing is there unless systemd says so.

Rules:
    What the environment says is taken out of it: whoever we start (workers, plug-ins' commands) must not speak for us.
    A datagram that the manager does not take is lost, and nobody waits for it; a gateway needs no manager.
"""

import socket
import time
from collections.abc import MutableMapping
from typing import Final

import attrs
from twisted.logger import Logger

log = Logger()

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
WATCHDOG: Final = "WATCHDOG=1"
MICRO: Final = 1_000_000


@attrs.define
class Manager:
    """``address`` is a path, or begins with "@" (Linux's abstract sockets), None where nobody listens;
    ``watchdog_seconds`` is how long it waits for a sign of life, None where it does not."""

    address: str | None
    watchdog_seconds: float | None = None

    @classmethod
    def of(cls, environ: MutableMapping[str, str], pid: int) -> "Manager":
        """What started the process ``pid``; its words are taken out of the environment."""
        address = environ.pop("NOTIFY_SOCKET", None)
        word, whose = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        if address is None or address[:1] not in ("/", "@") or len(address) < 2:
            return cls(None)
        # sd_watchdog_enabled(3): without a pid it is for whoever reads it.
        is_ours = not whose or whose == str(pid)
        seconds = int(word) / MICRO if is_ours and word.isascii() and word.isdigit() and int(word) else None
        return cls(address, seconds)

    def tell(self, *lines: str) -> None:
        """Say it, at once."""
        if self.address is None:
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
                door.setblocking(False)
                door.connect(address)
                door.send("\n".join(lines).encode())
        except OSError as fault:
            log.debug("systemd was not told {words}: {why}", words=lines[0], why=fault.strerror)

    def ready(self, status: str) -> None:
        self.tell(READY, f"STATUS={status}")

    def reloading(self) -> None:
        """``ready`` has to follow."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        self.tell(STOPPING, f"STATUS={status}")

    def status(self, status: str) -> None:
        self.tell(f"STATUS={status}")

    def alive(self) -> None:
        self.tell(WATCHDOG)


def forget_sockets(environ: MutableMapping[str, str]) -> None:
    """Sockets that were handed down (sd_listen_fds(3)) are ours alone; Twisted has read of them when it was loaded."""
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"):
        environ.pop(name, None)
