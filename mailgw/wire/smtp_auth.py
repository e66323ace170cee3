"""The AUTH part of the server's side of one session, which ``smtp_server.Dialog`` drives (RFC 4954).

It knows which mechanism is under way and whose turn it is in it; whether AUTH may be said at all, how long a
line may be and how errors count is the dialog's to know.
"""

from typing import Final, TypeAlias

from mailgw.mail.errors import LocalProtocolError
from mailgw.mail.reply import Reply
from mailgw.wire import sasl
from mailgw.wire import smtp_replies as replies
from mailgw.wire.mechanisms import MECHANISMS
from mailgw.wire.smtp_events import Credentials, KeysOf
from mailgw.wire.smtp_grammar import parse_auth

Step: TypeAlias = bytes | Reply | KeysOf | Credentials
"""A challenge to be sent as it is (then the client's next line is ``respond``'s), a reply to be given, or what the
shell is asked (then its answer is ``supply``'s or ``answered``'s)."""


class Login:
    """One session's exchanges, one after the other.  ``is_done``: a login succeeded, and no other is begun."""

    def __init__(self, offer: sasl.Offer) -> None:
        self.is_done = False
        self._offer = offer
        self._mechanism = ""
        self._exchange: sasl.Exchange | None = None
        self._verdict: Reply | None = None  # to be given once the client has taken the exchange's last word

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What EHLO says."""
        return self._offer.mechanisms

    def begin(self, argument: bytes) -> Step:
        """AUTH and its argument came."""
        auth = parse_auth(argument)
        if isinstance(auth, Reply):
            return auth
        mechanism = MECHANISMS.get(auth.mechanism)
        if mechanism is None or auth.mechanism not in self._offer.mechanisms:
            return replies.UNKNOWN_MECHANISM
        self._exchange = mechanism(self._offer)
        self._mechanism = auth.mechanism
        if auth.initial is None:
            return _challenge(self._exchange.challenge())
        # RFC 4954 s4: "=" is an initial response of no octets.
        return self._respond(b"" if auth.initial == b"=" else auth.initial)

    def respond(self, line: bytes) -> Step:
        """The client's line after a challenge came, without its CRLF."""
        if self._verdict is not None:
            return self._end(self._verdict, line)
        if line == b"*":
            self.abandon()
            return replies.AUTH_CANCELLED
        return self._respond(line)

    def supply(self, keys: sasl.ScramKeys, nonce: str) -> Step:
        """The shell answered ``KeysOf``."""
        if self._exchange is None:
            raise LocalProtocolError("no exchange wants keys")
        return _challenge(self._exchange.supply(keys, nonce))

    def answered(self, reply: Reply) -> Step:
        """The shell judged the credentials, or refused to look for keys."""
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        # RFC 4954 s4, RFC 7628 s3.2.3: what the mechanism has to say last is one more challenge, before the reply.
        # Where nobody could judge there is nothing to say.
        word = exchange.last_word(reply.is_positive) if reply.is_positive or reply.is_permanent else None
        if word is None:
            self.is_done = reply.is_positive
            return reply
        self._verdict = reply
        return _challenge(word)

    def abandon(self) -> None:
        """The exchange is over, whatever it had come to."""
        self._exchange = self._verdict = None

    def _end(self, verdict: Reply, line: bytes) -> Step:
        """The client's answer to the last word: nothing, where it was good news; of bad news there is no way out."""
        self.abandon()
        if not verdict.is_positive:
            return verdict
        if line:
            return replies.AUTH_CANCELLED if line == b"*" else replies.AUTH_MALFORMED
        self.is_done = True
        return verdict

    def _respond(self, line: bytes) -> Step:
        exchange = self._exchange
        assert exchange is not None
        response = sasl.decode_base64(line)
        step = sasl.Fault.MALFORMED if response is None else exchange.respond(response)
        if isinstance(step, bytes):
            return _challenge(step)
        if isinstance(step, sasl.Fault):
            self._exchange = None
            return _FAULTS[step]
        if isinstance(step, sasl.KeysWanted):
            return KeysOf(self._mechanism, step.login)
        return Credentials(self._mechanism, step)


_FAULTS: Final = {
    sasl.Fault.MALFORMED: replies.AUTH_MALFORMED,
    sasl.Fault.NOT_BOUND: replies.AUTH_NOT_BOUND,
}


def _challenge(challenge: bytes) -> bytes:
    return b"334 " + sasl.encode_base64(challenge) + b"\r\n"
