"""Runs a probe on a connection: opens the session, takes its steps, hands it the answers."""

from binascii import b2a_base64
from collections.abc import Callable, Generator
from typing import Protocol, TypeVar, assert_never

import attrs

from mailgw.wire.probes.script import (
    Ended,
    Finding,
    Heard,
    Login,
    Probe,
    Reconnect,
    Say,
    Server,
    StartTls,
    Step,
    Target,
    nobody_knows,
    say,
    skipped,
)
from mailgw.wire.reply_reader import RawReply, ReplyFault, ReplyReader

NO_GREETING = "no greeting"
HELLO_NAME = "doctor.mailgw.invalid"

T = TypeVar("T")
Steps = Generator[Step, Heard, T]


class Connection(Protocol):
    """One connection; its calls may block."""

    def send(self, octets: bytes) -> None:
        """ConnectionError where the server hung up; TimeoutError where it does not read."""

    def receive(self) -> bytes:
        """At least one octet; b"" where the server closed, TimeoutError after a silence."""

    def start_tls(self) -> None:
        """OSError where the handshake fails."""

    def close(self) -> None: ...


Connect = Callable[[], Connection]
"""A new connection; OSError where there is none."""


def survey(target: Target, connect: Connect) -> Server | str:
    """Who is there; or why nobody can be asked.  OSError where there is no connection at all."""
    with _Conversation(connect) as conversation:
        return conversation.run(opening(target.starttls, target.login))


def examine(probe: Probe, target: Target, connect: Connect) -> Finding:
    """Run one probe in a session of its own."""
    if probe.needs_recipient and target.recipient is None:
        return skipped("needs --recipient")
    if probe.in_clear and target.tls:
        return skipped("TLS is on from the first octet")
    try:
        with _Conversation(connect) as conversation:
            login = None if probe.in_clear or probe.as_stranger else target.login
            opened = conversation.run(opening(target.starttls and not probe.in_clear, login))
            if isinstance(opened, str):
                return nobody_knows(opened, "no session, so nothing was asked")
            if probe.extension and probe.extension not in opened.extensions:
                return skipped(f"{probe.extension} is not offered")
            finding = conversation.run(probe.script(target, opened))
    except OSError as fault:
        return nobody_knows(f"no connection: {fault.strerror or fault}", "nothing was asked")
    if finding.meaning or finding.judgement.value != "WEAK":
        return finding
    return attrs.evolve(finding, meaning=probe.weak)


def opening(starttls: bool, login: Login | None) -> Steps[Server | str]:
    """From the greeting to the answer to EHLO (or LHLO, where it is wanted), under TLS and logged in as asked for."""
    greeting = yield Say(b"")
    if not greeting.replies and greeting.ended in (Ended.SILENT, Ended.CLOSED):
        return f"{NO_GREETING}: {greeting.ended.value}"
    if greeting.code != 220:
        return f"greeted with {greeting}"
    server = yield from hello()
    if isinstance(server, str):
        return server
    if starttls:
        heard = yield say("STARTTLS")
        if heard.code != 220:
            return f"STARTTLS: {heard}"
        heard = yield StartTls()
        if heard.ended is not Ended.NOT:
            return "the TLS handshake failed"
        server = yield from hello()
    if login is None or isinstance(server, str):
        return server
    if "PLAIN" not in server.extensions.get("AUTH", "").split():
        return "AUTH PLAIN is not offered"
    # RFC 4616 s2: message = [authzid] UTF8NUL authcid UTF8NUL passwd
    word = b2a_base64(f"\0{login.name}\0{login.password}".encode(), newline=False).decode("ascii")
    heard = yield say(f"AUTH PLAIN {word}")
    return server if heard.code == 235 else f"AUTH PLAIN: {heard}"


def hello() -> Steps[Server | str]:
    verb = "EHLO"
    heard = yield say(f"EHLO {HELLO_NAME}")
    if heard.code >= 500:
        verb = "LHLO"  # RFC 2033 s4.1: an LMTP server knows no EHLO
        heard = yield say(f"LHLO {HELLO_NAME}")
    if heard.code != 250:
        return f"{verb}: {heard}"
    words = [line.decode("ascii", "replace") for line in heard.replies[0][1]]
    extensions = {}
    for word in words[1:]:
        keyword, _, parameters = word.upper().partition(" ")
        extensions[keyword] = parameters
    return Server(words[0].partition(" ")[0].lower(), extensions, f"{verb} {HELLO_NAME}\r\n".encode())


class _Conversation:
    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection = connect()
        self._reader = ReplyReader()

    def __enter__(self) -> "_Conversation":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def run(self, script: Steps[T]) -> T:
        try:
            step = next(script)
            while True:
                step = script.send(self._take(step))
        except StopIteration as end:
            value: T = end.value
            return value

    def _take(self, step: Step) -> Heard:
        match step:
            case Say(octets, replies, piece_octets):
                ended = self._send(octets, piece_octets)
                return self._listen(replies, ended)
            case StartTls():
                return self._start_tls()
            case Reconnect():
                self._connection.close()
                self._connection = self._connect()
                self._reader = ReplyReader()
                return self._listen(1, Ended.NOT)
            case _:
                assert_never(step)

    def _send(self, octets: bytes, piece_octets: int) -> Ended:
        size = piece_octets or max(1, len(octets))
        try:
            for start in range(0, len(octets), size):
                self._connection.send(octets[start:start + size])
        except TimeoutError:
            return Ended.SILENT
        except OSError:
            return Ended.CLOSED
        return Ended.NOT

    def _listen(self, count: int, sent: Ended) -> Heard:
        """What it has said before it hung up is heard in any case."""
        replies: list[RawReply] = []
        ended = Ended.NOT
        while len(replies) < count:
            reply = self._reader.take()
            if isinstance(reply, ReplyFault):
                ended = Ended.GARBAGE
                break
            if reply is not None:
                replies.append(reply)
                continue
            try:
                octets = self._connection.receive()
            except TimeoutError:
                ended = Ended.SILENT if sent is Ended.NOT else sent
                break
            except OSError:
                octets = b""
            if not octets:
                ended = Ended.CLOSED
                break
            self._reader.receive(octets)
        return Heard(tuple(replies), ended)

    def _start_tls(self) -> Heard:
        ahead: list[RawReply] = []
        while isinstance(reply := self._reader.take(), tuple):
            ahead.append(reply)
        try:
            self._connection.start_tls()
        except OSError:
            return Heard(tuple(ahead), Ended.NO_TLS)
        self._reader = ReplyReader()
        return Heard(tuple(ahead), Ended.NOT)
