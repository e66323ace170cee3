"""A fleet of mail servers that behave as badly as those of the world, one a loopback address, and an account of what
each took.

Each server has a temper: a function that is asked at every stage of a session, and answers for the server, drops
the connection, stalls, or lets it go on as it should (None).
"""

import asyncio
import collections
import contextlib
import hashlib
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from typing import TypeAlias

import attrs

DROP = "drop"
HANG = "hang"
KEEP_AND_DROP = "keep and drop"
"""At DOT: the message is taken, and nobody hears of it (RFC 1047)."""
KEEP_AND_HANG = "keep and hang"

OFFERS = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 100000000", "DSN")
STAGES = ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT", "DOT")
_NAME = re.compile(rb"^X-Fleet: (\S+) ([0-9a-f]{64})\r?$", re.MULTILINE)
_LINE_OCTETS = 4096


@attrs.define
class Talk:
    """One session, as a temper sees it: whom the message is from and for so far, and the server itself."""

    mx: "Mx"
    reverse_path: str = ""
    recipients: list[str] = attrs.field(factory=list)
    argument: str = ""  # the path of MAIL or RCPT, or the whole rest of another command
    rest: str = ""
    is_tls: bool = False


Temper: TypeAlias = Callable[[str, Talk], str | None]
"""Given the stage (of STAGES, STARTTLS or BDAT) and the session."""


def letter(name: str, size: int, is_8bit: bool) -> bytes:
    """A message that can be told whole from torn, as long as nobody re-encodes it."""
    word = "grün" if is_8bit else "green"
    body = "".join(f"{number} {word} {name} ..\r\n.\r\n" for number in range(max(1, size // 40))).encode()
    fields = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    header = f"From: <ann@home.test>\r\nSubject: fleet\r\nX-Fleet: {name} {hashlib.sha256(body).hexdigest()}\r\n"
    return (header + (fields if is_8bit else "") + "\r\n").encode() + body


def name_of(octets: bytes) -> str | None:
    """Which message it is, or whose header is quoted there."""
    found = _NAME.search(octets)
    return found[1].decode() if found else None


def is_torn(octets: bytes) -> bool:
    header, _, body = octets.partition(b"\r\n\r\n")
    found = _NAME.search(header)
    if b"quoted-printable" in header or b"base64" in header:
        return False
    return found is None or hashlib.sha256(body).hexdigest().encode() != found[2]


class Mx:
    """One server.  ``taken`` counts by message and recipient what it took; ``unheard`` what of that nobody heard."""

    def __init__(
        self, name: str, address: str, temper: Temper, chance: random.Random, tls: ssl.SSLContext | None,
        more_offers: tuple[str, ...] = (),
    ) -> None:
        self.name, self.address = name, address
        self.chance = chance
        self.taken: collections.Counter[tuple[str, str]] = collections.Counter()
        self.unheard: collections.Counter[tuple[str, str]] = collections.Counter()
        self.torn = 0
        self.in_clear = 0
        self.open = 0
        self.said: collections.Counter[str] = collections.Counter()  # its bad answers, by stage
        self.temper = temper
        self.tls = tls
        self.offers = OFFERS + more_offers

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with contextlib.suppress(OSError, EOFError, ValueError, ssl.SSLError):
                await _Session(self, reader, writer).run()
        finally:
            self.open -= 1
            writer.close()

    def keep(self, octets: bytes, recipients: list[str], is_heard: bool, is_tls: bool) -> None:
        name = name_of(octets)
        if name is None or is_torn(octets):
            self.torn += 1
            return
        self.in_clear += not is_tls
        for recipient in recipients:
            self.taken[name, recipient] += 1
            if not is_heard:
                self.unheard[name, recipient] += 1


class _End(EOFError):
    """The session is over, as the temper wants it."""


class _Session:
    def __init__(self, mx: Mx, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._mx, self._reader, self._writer = mx, reader, writer
        self._talk = Talk(mx)
        self._chunks: list[bytes] = []

    async def run(self) -> None:
        await self._say("CONNECT", f"220 {self._mx.name} ESMTP")
        while True:
            line = (await self._reader.readline()).decode("utf-8", "replace")
            if not line.endswith("\n"):
                return
            verb, _, rest = line.strip().partition(" ")
            verb = verb.upper()
            self._talk.rest = rest
            self._talk.argument = rest.partition("<")[2].partition(">")[0]
            if verb == "QUIT":
                await self._send("221 2.0.0 bye")
                return
            await self._obey(verb)

    async def _obey(self, verb: str) -> None:
        talk, mx = self._talk, self._mx
        match verb:
            case "EHLO":
                offers = [*mx.offers, *(["STARTTLS"] if mx.tls is not None and not talk.is_tls else [])]
                lines = [mx.name, *offers]
                said = [f"250{' ' if line is lines[-1] else '-'}{line}" for line in lines]
                await self._say("EHLO", "\r\n".join(said))
            case "HELO" | "NOOP":
                await self._send(f"250 {mx.name}")
            case "RSET":
                self._forget()
                await self._send("250 2.0.0 forgotten")
            case "STARTTLS" if mx.tls is not None:
                if await self._say("STARTTLS", "220 2.0.0 go on"):
                    await self._writer.start_tls(mx.tls)
                    talk.is_tls = True
            case "MAIL":
                self._forget()
                if await self._say("MAIL", "250 2.1.0 fine"):
                    talk.reverse_path = talk.argument
            case "RCPT":
                if await self._say("RCPT", "250 2.1.5 fine"):
                    talk.recipients.append(talk.argument)
            case "DATA":
                if not talk.recipients:
                    await self._send("554 5.5.1 no valid recipients")
                elif await self._say("DATA", "354 go on"):
                    await self._dot(await self._content())
            case "BDAT" if "CHUNKING" in mx.offers:
                size, _, last = talk.rest.partition(" ")
                self._chunks.append(await self._reader.readexactly(int(size)))
                if not talk.recipients:
                    await self._send("503 5.5.1 no valid recipients")
                elif last.upper() != "LAST":
                    await self._say("BDAT", "250 2.0.0 more")
                elif await self._judged("BDAT") is None:
                    await self._dot(b"".join(self._chunks))
            case _:
                await self._send("502 5.5.1 not here")

    async def _content(self) -> bytes:
        answer = await self._judged("CONTENT")
        if answer is not None:
            raise _End  # what it would say comes at the dot
        lines = []
        while (line := await self._reader.readline()) != b".\r\n":
            if not line.endswith(b"\n"):
                raise _End
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    async def _dot(self, octets: bytes) -> None:
        mx, talk = self._mx, self._talk
        said = mx.temper("DOT", talk)
        if said in (KEEP_AND_DROP, KEEP_AND_HANG):
            mx.keep(octets, talk.recipients, False, talk.is_tls)
            mx.said["DOT"] += 1
            await self._end(said == KEEP_AND_HANG)
        if said is None:
            mx.keep(octets, talk.recipients, True, talk.is_tls)
        await self._finish("DOT", said, "250 2.0.0 taken")
        self._forget()

    async def _judged(self, stage: str) -> str | None:
        """What the temper says, sent if it is an answer; None where it says nothing."""
        said = self._mx.temper(stage, self._talk)
        if said is not None:
            await self._finish(stage, said, "")
        return said

    async def _say(self, stage: str, well: str) -> bool:
        return await self._finish(stage, self._mx.temper(stage, self._talk), well)

    async def _finish(self, stage: str, said: str | None, well: str) -> bool:
        """Answer, or end the session; whether it was answered well."""
        if said is not None:
            self._mx.said[stage] += 1
        if said in (DROP, HANG):
            await self._end(said == HANG)
        await self._send(said or well)
        if said is not None and said.startswith("421"):
            raise _End
        return said is None

    async def _end(self, hangs: bool) -> None:
        if hangs:
            while await self._reader.read(_LINE_OCTETS):  # until the other side has enough of it
                pass
        raise _End

    async def _send(self, answer: str) -> None:
        self._writer.write(answer.encode() + b"\r\n")
        await self._writer.drain()

    def _forget(self) -> None:
        self._chunks = []
        self._talk.reverse_path, self._talk.recipients = "", []


class Fleet:
    """All servers on one event loop, in a thread of its own; ``start`` returns when they listen on port 25."""

    def __init__(self, servers: list[Mx]) -> None:
        self.servers = servers
        self._listening: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._run(self._listen())

    def stop(self) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def taken(self) -> collections.Counter[tuple[str, str]]:
        return sum((mx.taken for mx in self.servers), collections.Counter())

    def unheard(self) -> collections.Counter[tuple[str, str]]:
        return sum((mx.unheard for mx in self.servers), collections.Counter())

    def _run(self, what: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _listen(self) -> None:
        for mx in self.servers:
            self._listening.append(await asyncio.start_server(mx.serve, mx.address, 25, limit=1 << 20, backlog=200))

    async def _close(self) -> None:
        for server in self._listening:
            server.close()


# --- tempers ------------------------------------------------------------------------------------------------

def well(stage: str, talk: Talk) -> str | None:
    return None


def greylists(seconds: float) -> Temper:
    """Each pair of sender and recipient has to come back after that time."""
    first: dict[tuple[str, str], float] = {}

    def temper(stage: str, talk: Talk) -> str | None:
        if stage != "RCPT":
            return None
        now = time.monotonic()
        since = first.setdefault((talk.reverse_path, talk.argument), now)
        return None if now - since >= seconds else "450 4.7.1 Greylisted, please try again later"

    return temper


def sometimes(stages: tuple[str, ...], what: str, share: float) -> Temper:
    """At one of those stages, that share of the times."""

    def temper(stage: str, talk: Talk) -> str | None:
        return what if stage in stages and talk.mx.chance.random() < share else None

    return temper


def at_first(stages: tuple[str, ...], what: str, times: int) -> Temper:
    """That often at each of those stages, then never again."""
    left = dict.fromkeys(stages, times)

    def temper(stage: str, talk: Talk) -> str | None:
        if not left.get(stage):
            return None
        left[stage] -= 1
        return what

    return temper


def crowded(most: int) -> Temper:
    def temper(stage: str, talk: Talk) -> str | None:
        return "421 4.7.0 Too many connections" if stage == "CONNECT" and talk.mx.open > most else None

    return temper


def rated(per_second: float) -> Temper:
    """A message more than that is told 421."""
    next_one = 0.0

    def temper(stage: str, talk: Talk) -> str | None:
        nonlocal next_one
        if stage != "MAIL":
            return None
        now = time.monotonic()
        if now < next_one - 1:
            return "421 4.7.28 You send too fast"
        next_one = max(next_one, now) + 1 / per_second
        return None

    return temper


def moody(share: float) -> Temper:
    """Any answer of the RFC's book, at any stage where it may be given."""
    answers = {
        "CONNECT": ("421 4.3.2 not now", "554 5.3.2 no service here"),
        "EHLO": ("421 4.3.2 not now", "451 4.3.0 not now"),
        "MAIL": ("451 4.3.0 not now", "452 4.3.1 no space", "550 5.7.1 not from you"),
        "RCPT": ("450 4.2.0 busy", "451 4.3.0 not now", "452 4.2.2 full", "550 5.1.1 no such user", "552 5.2.2 full"),
        "DATA": ("451 4.3.0 not now", "554 5.3.0 no"),
        "DOT": ("451 4.3.0 not now", "452 4.3.1 no space", "554 5.7.1 spam", "552 5.3.4 too large"),
    }

    def temper(stage: str, talk: Talk) -> str | None:
        if stage not in answers or talk.mx.chance.random() >= share:
            return None
        return talk.mx.chance.choice(answers[stage])

    return temper


def refuses_parameters(word: str, answer: str) -> Temper:
    """It offers an extension and does not take its parameter."""

    def temper(stage: str, talk: Talk) -> str | None:
        return answer if stage in ("MAIL", "RCPT") and word in talk.rest.upper() else None

    return temper


def at(stage_of_answer: str, answer: str) -> Temper:
    """Always."""

    def temper(stage: str, talk: Talk) -> str | None:
        return answer if stage == stage_of_answer else None

    return temper


def refuses_users(share: float) -> Temper:
    """Some users do not exist there, always the same ones."""

    def temper(stage: str, talk: Talk) -> str | None:
        if stage != "RCPT":
            return None
        unlucky = random.Random(talk.argument).random() < share
        return "550 5.1.1 No such user here" if unlucky else None

    return temper
