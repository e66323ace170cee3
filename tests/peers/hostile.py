"""Clients that mean ill, many of them in one process of their own, and honest ones in another.

All loop until they are cancelled: who is thrown out comes again a second later.  Each kind costs the gateway something
else: a session, a timer, memory for input, for output, for a header, a password's hash.

``python -m tests.peers.hostile COUNT PORT GUESSING SUBMISSIONS_PORT`` runs the hostile ones until its standard input
ends.  It says ``there`` once all have begun.
"""

import asyncio
import base64
import contextlib
import random
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import attrs

Sock = socket.socket
# Below the limits that every gateway has for one address and for one network.
OF_AN_ADDRESS, OF_A_NETWORK = 50, 200


def address_of(number: int) -> str:
    """So many hostile sessions come from one address and one /24 as the defaults allow."""
    return f"127.1.{number // OF_A_NETWORK}.{number % OF_A_NETWORK // OF_AN_ADDRESS + 1}"


async def connected(address: str, port: int, buffer_octets: int = 0) -> Sock:
    it = socket.socket()
    it.setblocking(False)
    if buffer_octets:
        it.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_octets)
    it.bind((address, 0))
    try:
        await asyncio.get_running_loop().sock_connect(it, ("127.0.0.1", port))
    except BaseException:
        it.close()
        raise
    return it


async def heard(it: Sock) -> bytes:
    octets = await asyncio.get_running_loop().sock_recv(it, 65536)
    if not octets:
        raise ConnectionError("thrown out")
    return octets


async def say(it: Sock, octets: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(it, octets)


async def envelope(it: Sock) -> None:
    for line in (b"EHLO x.test", b"MAIL FROM:<>", b"RCPT TO:<a@home.test>", b"DATA"):
        await heard(it)
        await say(it, line + b"\r\n")
    await heard(it)


# --- the kinds ----------------------------------------------------------------------------------------------

async def idle(it: Sock) -> None:
    while True:
        await heard(it)


async def dripping(it: Sock) -> None:
    """One octet a second of a command that never comes to its end."""
    await heard(it)
    while True:
        await say(it, b"x")
        await asyncio.sleep(1)


async def endless(it: Sock) -> None:
    """Lines without an end, and garbage."""
    await heard(it)
    while True:
        await say(it, b"x" * 3000 if random.random() < 0.5 else random.randbytes(500) + b"\r\n")
        await asyncio.sleep(0.2)


async def deaf(it: Sock) -> None:
    """Commands without end, and no answer is read."""
    await asyncio.sleep(0.5)
    await say(it, b"EHLO x.test\r\nMAIL FROM:<>\r\n")
    while True:
        await say(it, b"RCPT TO:<a@home.test>\r\n" * 3000)


async def bloating(it: Sock) -> None:
    """A header nearly as long as it may be, and then one octet a second."""
    await envelope(it)
    await say(it, b"X-Header: " + b"y" * 60 + b"\r\n")
    await say(it, (b"\t" + b"y" * 70 + b"\r\n") * 3400)
    while True:
        await say(it, b"\ty\r\n")
        await asyncio.sleep(1)


KINDS: Sequence[Callable[[Sock], Awaitable[None]]] = (idle, dripping, endless, deaf, bloating)


async def hostile(number: int, port: int) -> None:
    kind = KINDS[number % len(KINDS)]
    while True:
        with contextlib.suppress(OSError):
            it = await connected(address_of(number), port, 4096 if kind is deaf else 0)
            try:
                await kind(it)
            finally:
                it.close()
        await asyncio.sleep(1)


async def guessing(number: int, port: int) -> None:
    """Passwords of a login that exists, and of one that does not, as fast as the gateway lets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(f"127.3.{number}.1", 0), ssl=context
            )
            try:
                await reader.readline()
                writer.write(b"EHLO x.test\r\n")
                while (await reader.readline())[3:4] == b"-":
                    pass
                while True:
                    login = random.choice(["ann@home.test", "nobody@home.test"])
                    words = base64.b64encode(f"\0{login}\0{random.random()}".encode())
                    writer.write(b"AUTH PLAIN " + words + b"\r\n")
                    if (await reader.readline())[:3] in (b"", b"421"):
                        break
            finally:
                writer.close()
        await asyncio.sleep(0.5)


async def main(count: int, port: int, guessers: int, submissions: int) -> None:
    enemies = [asyncio.create_task(hostile(number, port)) for number in range(count)]
    enemies += [asyncio.create_task(guessing(number, submissions)) for number in range(guessers)]
    await asyncio.sleep(3)
    print("there", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for enemy in enemies:
        enemy.cancel()
    ended = await asyncio.gather(*enemies, return_exceptions=True)
    bugs = [one for one in ended if not isinstance(one, asyncio.CancelledError)]
    assert not bugs, bugs[:3]


# --- and the honest ones ------------------------------------------------------------------------------------

@attrs.define
class Honest:
    """Sends messages one after another, and remembers how long each took, from connecting or MAIL to the 250."""

    number: int
    port: int
    seconds: list[float] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)

    async def run(self) -> None:
        """Every second one keeps its session."""
        keeps = self.number % 2 == 0
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while True:
            began = time.monotonic()
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self.port, local_addr=(f"127.2.{self.number}.1", 0)
                )
                await self._expect(reader, "220")
                writer.write(b"EHLO client.test\r\n")
                await self._expect(reader, "250")
            for line, code in (
                (b"MAIL FROM:<ann@away.test>", "250"), (b"RCPT TO:<honest@home.test>", "250"), (b"DATA", "354"),
                (b"Subject: honest\r\n\r\nhello\r\n.", "250"),
            ):
                writer.write(line + b"\r\n")
                await self._expect(reader, code)
            self.seconds.append(time.monotonic() - began)
            if not keeps:
                writer.close()
                reader = writer = None
            await asyncio.sleep(0.5)

    async def _expect(self, reader: asyncio.StreamReader, code: str) -> None:
        while True:
            line = (await reader.readline()).decode()
            if line[3:4] != "-":
                break
        if not line.startswith(code):
            self.refused.append(line)
            raise AssertionError(f"expected {code}: {line!r}")


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
