"""The AUTH part of the server's side of one session, which ``smtp_server.Dialog`` drives (RFC 4954).

It knows which mechanism is under way and whose turn it is in it; whether AUTH may be said at all, how long a
line may be and how errors count is the dialog's to know.
"""

from collections.abc import Container
from typing import TypeAlias

from mailgw.mail.reply import Reply
from mailgw.wire import sasl
from mailgw.wire import smtp_replies as replies
from mailgw.wire.smtp_events import Credentials
from mailgw.wire.smtp_grammar import parse_auth

Step: TypeAlias = bytes | Reply | Credentials
"""A challenge to be sent as it is (then the client's next line is ``respond``'s), a refusal, or what the shell is
to judge (then its answer is ``answered``'s)."""


class Login:
    """One session's exchanges, one after the other.  ``is_done``: a login succeeded, and no other is begun."""

    def __init__(self, mechanisms: Container[str]) -> None:
        """``mechanisms`` are the names that are offered, in upper case."""
        self.is_done = False
        self._mechanisms = mechanisms
        self._mechanism = ""
        self._exchange: sasl.Exchange | None = None

    def begin(self, argument: bytes) -> Step:
        """AUTH and its argument came."""
        auth = parse_auth(argument)
        if isinstance(auth, Reply):
            return auth
        mechanism = sasl.MECHANISMS.get(auth.mechanism)
        if mechanism is None or auth.mechanism not in self._mechanisms:
            return replies.UNKNOWN_MECHANISM
        self._exchange = mechanism()
        self._mechanism = auth.mechanism
        if auth.initial is None:
            return _challenge(self._exchange.challenge())
        # RFC 4954 s4: "=" is an initial response of no octets.
        return self._respond(b"" if auth.initial == b"=" else auth.initial)

    def respond(self, line: bytes) -> Step:
        """The client's line after a challenge came, without its CRLF."""
        if line == b"*":
            self.abandon()
            return replies.AUTH_CANCELLED
        return self._respond(line)

    def answered(self, reply: Reply) -> Step:
        """The shell judged the credentials."""
        self.is_done = reply.is_positive
        return reply

    def abandon(self) -> None:
        """The exchange is over, whatever it had come to."""
        self._exchange = None

    def _respond(self, line: bytes) -> Step:
        exchange = self._exchange
        assert exchange is not None
        response = sasl.decode_base64(line)
        step = sasl.MALFORMED if response is None else exchange.respond(response)
        if isinstance(step, bytes):
            return _challenge(step)
        self._exchange = None
        if isinstance(step, sasl.Malformed):
            return replies.AUTH_MALFORMED
        return Credentials(self._mechanism, step.authzid, step.login, step.password)


def _challenge(challenge: bytes) -> bytes:
    return b"334 " + sasl.encode_base64(challenge) + b"\r\n"
