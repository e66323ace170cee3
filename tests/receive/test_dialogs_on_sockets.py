"""Some of tests/dialogs over loopback TCP: the real factory, reactor and transports answer as the pure dialog does.

Codes and statuses are compared, since a real shell has words of its own; and that the session ends where it should.
"""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread

from mailgw.mail.envelope import Role
from mailgw.wire.smtp_events import DialogSettings
from tests.receive.listening import Listener
from tests.tables import each
from tests.wire.dialog_file import FOLDER, Shell, settings_of, steps_of

# What only the fake shell of the pure dialogs can do, or what needs TLS.
SCRIPTED = re.compile(r"^(answer|hold|release|tls|close|set (tls|mechanisms|is_front)|S: 220 2\.0\.0)\b", re.MULTILINE)
# A real shell says what became of the priority.
OWN_WORDS = {"mail_priority"}
FILES = [
    file for file in sorted(FOLDER.glob("*.txt"))
    if not SCRIPTED.search(file.read_text(encoding="utf-8")) and file.stem not in OWN_WORDS
]
SAMPLE = FILES[::4]
SECONDS = 5.0


def shapes(lines: Iterator[bytes]) -> Iterator[str]:
    """Each reply's code with its status: what is the same whoever answers."""
    for line in lines:
        match = re.match(r"([0-9]{3})([- ]?)([245]\.[0-9]+\.[0-9]+)?", line.decode())
        assert match is not None, line
        if match[2] != "-":
            yield f"{match[1]} {match[3] or ''}"


def converse(port: int, settings: DialogSettings, text: str) -> None:
    """Say what the client says to both; AssertionError names the line after which they differ."""
    pure = Shell(settings, tls=False)
    pure.greet()
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection, connection.makefile("rb") as lines:
        replies = shapes(iter(lines.readline, b""))
        for number, word, rest in [(0, "C", ""), *steps_of(text)]:
            if word != "C":
                continue
            connection.sendall(rest.encode("latin-1"))
            pure.receive(rest.encode("latin-1"))
            expected = list(shapes(iter(pure.said.splitlines(keepends=True))))
            pure.said = b""
            assert [next(replies, "closed") for _ in expected] == expected, f"line {number}"
        if pure.dialog.is_closing:
            assert next(replies, "closed") == "closed"
        else:
            connection.sendall(b"\r\nQUIT\r\n")  # the last command of the file may be half of one


def settings_in(text: str) -> DialogSettings:
    changes: dict[str, object] = {}
    for key, value in re.findall(r"^set (\w+) (.*)$", text, re.MULTILINE):
        changes[key] = int(value) if value.isdigit() else value
        if key == "extensions":
            changes[key] = frozenset(value.split())
        elif key == "offers_starttls":
            changes[key] = value == "yes"
    return settings_of(**changes)


def test_the_sample_is_one() -> None:
    assert len(SAMPLE) >= 20


@each("file", SAMPLE)
@pytest_twisted.ensureDeferred
async def test_a_dialog(file: Path) -> None:
    text = await deferToThread(file.read_text, "utf-8")
    settings = settings_in(text)
    listener = Listener(Role(settings.role), rules=())
    listener.factory.dialog_settings = settings
    port = reactor.listenTCP(0, listener.factory, interface="127.0.0.1")
    # Its clock is the test's: a second in ten milliseconds, for what is answered late on purpose.
    clock = LoopingCall(listener.clock.advance, 0.5)
    clock.start(0.005)
    try:
        await deferToThread(converse, port.getHost().port, settings, text)
    finally:
        clock.stop()
        await port.stopListening()
        await listener.sessions.end(listener.clock, 0)
