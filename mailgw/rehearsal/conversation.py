"""A client in memory, who says to a listener's own protocol what a client would say, and waits for each answer."""

import base64
from collections.abc import Sequence

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocol, IPushProducer
from twisted.python.failure import Failure

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Role, TlsFacts, path_text
from mailgw.mail.errors import LocalProtocolError
from mailgw.mail.reply import Reply
from mailgw.receive.factory import EsmtpFactory
from mailgw.receive.peers import LOCAL, UNKNOWN, Peer
from mailgw.receive.protocol import EsmtpProtocol
from mailgw.rehearsal.gateway import Rehearsal
from mailgw.rehearsal.story import Envelope, Story, Turn
from mailgw.rehearsal.watching import SESSION
from mailgw.wire.reply_reader import ReplyFault, ReplyReader

# A session of today, as far as rules see it.
TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
PORT = 49152  # the first of those that are for clients
PASSWORD = b"rehearsed"  # any is right
WIRE_PIECE_OCTETS = 64 * 1024


async def rehearse(gateway: Rehearsal, number: int, envelope: Envelope) -> Story:
    """What becomes of one message at the listener ``number``; one after the other."""
    heard = gateway.heard
    heard.begin(envelope.content is not None)
    talk = _Talk(gateway.factory(number), envelope, heard.turns)
    try:
        replies = await talk.whole()
    finally:
        talk.wire.lose()
    return Story(
        envelope, tuple(heard.turns), tuple(replies), heard.withheld, heard.discarded, heard.effects, heard.sender
    )


class _Talk:
    def __init__(self, factory: EsmtpFactory, envelope: Envelope, turns: list[Turn]) -> None:
        port = 0 if envelope.address in (LOCAL, UNKNOWN) else PORT
        session = EsmtpProtocol(factory, SESSION, Peer(envelope.address, port))
        self.wire = Wire(session)
        self._session = session
        self._envelope = envelope
        self._turns = turns
        self._offers: set[str] = set()

    async def whole(self) -> Sequence[Reply | None]:
        """The conversation; the word that counts for each recipient."""
        envelope = self._envelope
        count = len(envelope.recipients)
        last = await self._begin()
        if last is not None and last.is_positive:
            last = await self._say(self._mail())
        if last is None or not last.is_positive:
            await self._part()
            return [last] * count
        said = [await self._say(f"RCPT TO:<{_written(one)}>") for one in envelope.recipients]
        taken = [place for place, reply in enumerate(said) if reply is not None and reply.is_positive]
        if taken:
            ends = await self._content(len(taken))
            for place, end in zip(taken, ends, strict=True):
                said[place] = end
        await self._part()
        return said

    async def _begin(self) -> Reply | None:
        """Up to the last hello, or the login; its reply."""
        envelope = self._envelope
        is_tls_first = envelope.role is Role.SUBMISSIONS
        self._turns.append(Turn("(connects)"))
        self.wire.connect()
        if is_tls_first and self.wire.wants_tls:
            self.wire.begin_tls()
        last = self._turns[-1].reply = await self.wire.reply()
        if last is None or last.code != 220:
            return last
        last = await self._hello()
        if envelope.with_tls and not is_tls_first and last is not None and last.is_positive:
            ready = await self._say("STARTTLS")
            if ready is None:
                return None
            if ready.code == 220:  # else it goes on in clear, and hears what comes of that
                self.wire.begin_tls()
                last = await self._hello()
        if envelope.login and last is not None and last.is_positive:
            token = base64.b64encode(b"\0" + envelope.login.encode() + b"\0" + PASSWORD).decode()
            last = await self._say(f"AUTH PLAIN {token}", f"AUTH (as {envelope.login})")
        return last

    async def _hello(self) -> Reply | None:
        word = "LHLO" if self._envelope.role is Role.LMTP else "EHLO"
        reply = await self._say(f"{word} {self._envelope.helo}")
        if reply is not None:
            self._offers = {line.partition(" ")[0].upper() for line in reply.lines[1:]}
        return reply

    def _mail(self) -> str:
        envelope = self._envelope
        words = [f"MAIL FROM:<{path_text(envelope.reverse_path)}>"]
        if envelope.size_octets and "SIZE" in self._offers:
            words.append(f"SIZE={envelope.size_octets}")
        addresses = [path_text(envelope.reverse_path), *map(str, envelope.recipients)]
        content = envelope.content
        if "8BITMIME" in self._offers and content is not None and not content.isascii():
            words.append("BODY=8BITMIME")
        if "SMTPUTF8" in self._offers and not all(one.isascii() for one in addresses):
            words.append("SMTPUTF8")
        return " ".join(words)

    async def _content(self, taken: int) -> Sequence[Reply | None]:
        """The last word for each of ``taken`` recipients."""
        if self._envelope.content is not None:
            await self._session.reverse_name()  # who is not in memory takes longer than DNS
        reply = await self._say("DATA")
        if reply is None or reply.code != 354:
            return [reply] * taken
        content = self._envelope.content
        turn = Turn("(no message, and the final dot)" if content is None else f"({len(content)} octets, and the dot)")
        self._turns.append(turn)
        octets = _dotted(content or b"")
        for start in range(0, len(octets), WIRE_PIECE_OCTETS):
            await self.wire.send(octets[start:start + WIRE_PIECE_OCTETS])
        # RFC 2033 s4.2: LMTP has a reply for each recipient that was taken.
        wanted = taken if self._envelope.role is Role.LMTP else 1
        replies = [await self.wire.reply() for _ in range(wanted)]
        turn.reply = next((one for one in replies if one is None or not one.is_positive), replies[0])
        return replies if wanted == taken else replies * taken

    async def _part(self) -> None:
        if not self.wire.is_closed:
            await self._say("QUIT")
            self._turns.pop()

    async def _say(self, line: str, shown: str = "") -> Reply | None:
        turn = Turn(shown or line)
        self._turns.append(turn)
        await self.wire.send(f"{line}\r\n".encode())
        turn.reply = await self.wire.reply()
        return turn.reply


def _dotted(content: bytes) -> bytes:
    """As it goes over the wire (RFC 5321 s4.5.2); whatever else is wrong with it stays so."""
    content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    return content + (b".\r\n" if content.endswith(b"\r\n") or not content else b"\r\n.\r\n")


def _written(recipient: Mailbox) -> str:
    return recipient.local_part if recipient.is_bare_postmaster else str(recipient)


class Wire:
    """A ``receive.protocol.SessionTransport`` whose other end is here."""

    def __init__(self, session: EsmtpProtocol) -> None:
        self.protocol: IProtocol = session
        self.is_closed = False
        self.wants_tls = False
        self._session = session
        self._reader = ReplyReader()
        self._is_paused = self._is_lost = False
        self._waiting: Deferred[None] | None = None

    # --- the client's end -------------------------------------------------------------------------------

    def connect(self) -> None:
        self._session.makeConnection(self)  # type: ignore[no-untyped-call] # Twisted has no types there

    async def send(self, octets: bytes) -> None:
        """Once it is read."""
        while self._is_paused and not self.is_closed:
            await self._wait()
        if not self.is_closed:
            self._session.dataReceived(octets)

    async def reply(self) -> Reply | None:
        """The next one; None where the connection closes before it."""
        while True:
            raw = self._reader.take()
            if isinstance(raw, ReplyFault):
                raise LocalProtocolError(f"our own reply cannot be read: {raw.value}")
            if raw is not None:
                return _as_written(*raw)
            if self.is_closed:
                return None
            await self._wait()

    def begin_tls(self) -> None:
        """The handshake that was asked for comes about."""
        self.wants_tls = False
        self._session.tls_began(TLS)

    def lose(self) -> None:
        """The end, once."""
        self.is_closed = True
        if not self._is_lost:
            self._is_lost = True
            self._session.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call] # Twisted's

    async def _wait(self) -> None:
        self._waiting = Deferred()
        await self._waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:  # not from within the session's own call, as no network does either
            self._session.factory.clock.callLater(0, waiting.callback, None)

    # --- the session's calls ----------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._reader.receive(data)
        self._wake()

    def loseConnection(self) -> None:
        self.is_closed = True
        self._wake()

    def abortConnection(self) -> None:
        self.loseConnection()

    def getHandle(self) -> SSL.Connection:
        raise LocalProtocolError("TLS is told of, not made")

    def startTLS(self, contextFactory: IOpenSSLServerConnectionCreator) -> None:
        self.wants_tls = True

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        self._wake()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Its replies are read at once."""

    def unregisterProducer(self) -> None:
        """As above."""


def _as_written(code: int, lines: Sequence[bytes]) -> Reply:
    """With its status taken off the lines."""
    texts = [line.decode("ascii", "replace") for line in lines]
    status = texts[0].partition(" ")[0]
    parts = status.split(".")
    if len(parts) == 3 and all(part.isdigit() for part in parts) and parts[0] == str(code // 100):
        prefix = f"{status} "
        return Reply(code, status, tuple(line.removeprefix(prefix) for line in texts))
    return Reply(code, "", tuple(texts))
