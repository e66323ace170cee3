"""A client that speaks with a gateway under test: command by command, or a whole message at once."""

import functools
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailgw.mail.reply import Reply
from mailgw.wire.reply_reader import ReplyFault, ReplyReader, made_reply
from mailgw.wire.stuffing import stuffed

# RFC 5321 s4.5.3.2.6: what a client waits for the answer to its final dot; nothing has a longer limit.
PATIENCE_SECONDS = 600.0
HELO_NAME = "client.example.com"


@attrs.frozen
class Answer:
    """What a gateway said to a message: the ``reply`` that ended it, and the ``stage`` that it belongs to (CONNECT,
    EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, CONTENT).

    ``recipients`` has what each was answered; with LMTP after the content, else to RCPT.  ``queue_id`` is the
    message's, ``""`` where it got neither into the queue nor to a backend.  ``results`` are what was found out of who
    sent it (``"spf=fail smtp.mailfrom=ann@example.net: ..."``), () where nobody was asked.
    """

    reply: Reply
    stage: str
    recipients: Mapping[str, Reply]
    queue_id: str = ""
    results: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        return self.reply.code

    @property
    def status(self) -> str:
        return self.reply.status

    @property
    def text(self) -> str:
        return self.reply.text

    @property
    def is_accepted(self) -> bool:
        """From here on the message is the gateway's to answer for."""
        return self.stage == "CONTENT" and any(
            reply.code // 100 == 2 for reply in (self.reply, *self.recipients.values())
        )

    def __str__(self) -> str:
        return f"{self.reply} (to {self.stage})"


class Hung(Exception):
    """The connection was closed without a reply."""


class Client(Protocol):
    """One connection.  ``wait(is_enough)`` lets time pass until it is enough, or for PATIENCE_SECONDS."""

    def __init__(self, wait: Callable[[Callable[[], object]], None]) -> None:
        self._wait = wait
        self._replies = ReplyReader()
        self._found: list[Reply] = []
        self.is_closed = False
        self.offers: tuple[str, ...] = ()

    def dataReceived(self, data: bytes) -> None:
        self._replies.receive(data)
        while (raw := self._replies.take()) is not None:
            assert not isinstance(raw, ReplyFault), f"the gateway is out of step: {raw.value}"
            self._found.append(made_reply(raw))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_closed = True

    # --- one by one -----------------------------------------------------------------------------------------

    def reply(self) -> Reply:
        """The next one.  ``Hung`` where none comes."""
        self._wait(lambda: self._found or self.is_closed)
        if not self._found:
            raise Hung("the connection was closed" if self.is_closed else f"no reply within {PATIENCE_SECONDS} s")
        return self._found.pop(0)

    def send(self, octets: bytes) -> None:
        """Octets as they are; nothing is waited for."""
        transport: Any = self.transport
        if not self.is_closed:
            transport.write(octets)

    def command(self, line: str) -> Reply:
        """The answer to one line."""
        self.send(f"{line}\r\n".encode())
        return self.reply()

    def hello(self, is_lmtp: bool = False) -> Reply:
        reply = self.command(f"{'LHLO' if is_lmtp else 'EHLO'} {HELO_NAME}")
        self.offers = tuple(line.partition(" ")[0].upper() for line in reply.lines[1:])
        return reply

    def start_tls(self) -> None:
        """The client's part of the handshake; who the server is, is believed."""
        transport: Any = self.transport
        transport.startTLS(Believing())

    def log_in(self, login: str, password: str) -> Reply:
        return self.command("AUTH PLAIN " + b64encode(f"\0{login}\0{password}".encode()).decode())

    def hang_up(self) -> None:
        transport: Any = self.transport
        if not self.is_closed:
            transport.loseConnection()

    # --- a whole message ------------------------------------------------------------------------------------

    def open(self, login: str | None, password: str, is_lmtp: bool, is_implicit: bool) -> tuple[str, Reply] | None:
        """Up to where MAIL may come; the stage and the reply that stand in the way, if any do."""
        if is_implicit:
            self.start_tls()
        for stage, step in (("CONNECT", self.reply), ("EHLO", functools.partial(self.hello, is_lmtp))):
            if not (reply := step()).is_positive:
                return stage, reply
        if login is None:
            return None
        if not is_implicit:
            if not (reply := self.command("STARTTLS")).is_positive:
                return "STARTTLS", reply
            self.start_tls()
            self.hello(is_lmtp)
        reply = self.log_in(login, password)
        return None if reply.is_positive else ("AUTH", reply)

    def transact(
        self, content: bytes, sender: str | None, to: Sequence[str], is_lmtp: bool, mail: str, rcpt: str
    ) -> Answer:
        """One message."""
        addresses = "".join([sender or "", *to])
        asked = [mail] if mail else []
        if not content.isascii() and "BODY=" not in mail.upper():
            asked.append("BODY=8BITMIME")
        if not addresses.isascii() and "SMTPUTF8" not in mail.upper():
            asked.append("SMTPUTF8")
        reply = self.command(" ".join([f"MAIL FROM:<{sender or ''}>", *asked]))
        if not reply.is_positive:
            return Answer(reply, "MAIL", {})
        recipients: dict[str, Reply] = {}
        for one in to:
            recipients[one] = reply = self.command(f"RCPT TO:<{one}> {rcpt}".rstrip())
            if reply.code == 421:  # RFC 5321 s3.8: the connection is closing
                return Answer(reply, "RCPT", recipients)
        taken = [one for one, reply in recipients.items() if reply.is_positive]
        if not taken:
            return Answer(next(iter(recipients.values())), "RCPT", recipients)
        reply = self.command("DATA")
        if reply.code != 354:
            return Answer(reply, "DATA", recipients)
        self.send(stuffed(content))
        reply = self.reply()
        if is_lmtp:
            recipients |= zip(taken, [reply, *(self.reply() for _ in taken[1:])], strict=True)
            reply = next((one for one in recipients.values() if not one.is_positive), reply)
        return Answer(reply, "CONTENT", recipients)


@functools.cache
def _context() -> SSL.Context:
    return SSL.Context(SSL.TLS_CLIENT_METHOD)


@implementer(IOpenSSLClientConnectionCreator)
class Believing:
    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        return SSL.Connection(_context(), None)
