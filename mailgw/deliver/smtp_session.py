"""One connection to a next hop: the dialog's shell, its time limits, the content with back-pressure.

The conversation runs inside ``dataReceived``; a transaction is one Deferred, so that a message costs no more
than that.  Whatever goes wrong ends as an ``Outcome`` of the dialog's.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IProtocol, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailgw.deliver.smtp_settings import SmtpSettings
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Content, Message
from mailgw.mail.outcome import Outcome, Scope, Secured, temporary
from mailgw.net.client_tls import Handshake, is_tls_fault, tls_fault_text
from mailgw.net.sending import send, start_tls
from mailgw.trust.tls_policy import Judgement, Verified
from mailgw.wire.client_asked import Onward
from mailgw.wire.client_events import Done, Event, GoAhead, Ready, Signal, StartTls, Step, Unusable
from mailgw.wire.client_offer import Offer
from mailgw.wire.conversation import Conversation, content_words
from mailgw.wire.smtp_client import ClientDialog
from mailgw.wire.stuffing import DotWriter, stuffed

log = Logger()

# How long a connection that we closed may take to send what is left and to say good-bye in TLS.
_CLOSE_SECONDS = 10.0

# RFC 3463 X.4.7: delivery time expired; here the time of one attempt.
TOO_LONG = temporary("4.4.7", "The delivery took too long", Scope.MESSAGE, "")


def step_limits(settings: SmtpSettings) -> Mapping[Step, float]:
    """How long each step may take (RFC 5321 s4.5.3.2)."""
    return {
        Step.GREETING: settings.greeting_seconds,
        Step.HELLO: settings.hello_seconds,
        Step.STARTTLS: settings.hello_seconds,
        Step.HANDSHAKE: settings.hello_seconds,
        Step.AUTH: settings.hello_seconds,
        Step.NAME: settings.hello_seconds,
        Step.PASSWORD: settings.hello_seconds,
        Step.IDLE: settings.idle_seconds,
        Step.RESET: settings.mail_seconds,
        Step.MAIL: settings.mail_seconds,
        Step.RCPT: settings.rcpt_seconds,
        Step.DATA: settings.data_init_seconds,
        Step.CONTENT: settings.data_block_seconds,
        Step.CHUNK: settings.data_end_seconds,
        Step.END: settings.data_end_seconds,
        Step.OVER: _CLOSE_SECONDS,
    }


@implementer(IProtocol, IHandshakeListener, IPushProducer)
class Session(Protocol):
    """``opened`` fires once, with None when the session stands, or with why it does not.

    ``handshake`` is for STARTTLS or, with ``implicit``, for TLS from the first octet; None where there is to be
    no TLS.  ``on_end`` is called when an idle session ends by itself; only one that is kept, and so has it, does.
    ``messages`` counts transactions.  ``tls_failed`` says that TLS is what broke the session,
    ``tls_is_wrong`` that this was no lost connection but TLS itself, the certificate for one; ``judgement`` what a
    handshake that was completed is worth, None before; ``is_verified`` that it proves the host to be the destination's;
    ``timed_out`` that the peer was silent for too long; ``is_local`` that it is on this machine; ``own_address`` the IP
    address that the connection comes from, ``""`` where there is none.  With ``keeps_words`` what is said is kept for
    ``words``.
    """

    def __init__(
        self,
        dialog: ClientDialog,
        hop: str,
        handshake: Handshake | None,
        implicit: bool,
        limits: Mapping[Step, float],
        clock: IReactorTime,
        is_local: bool,
        keeps_words: bool = False,
    ) -> None:
        self.opened: Deferred[Outcome | None] = Deferred(self._opening_cancelled)
        self.hop = hop
        self.on_end: Callable[[], None] | None = None
        self.messages = 0
        self.tls_failed = False
        self.tls_is_wrong = False
        self.own_address = ""
        self.judgement: Judgement | None = None
        self.is_verified = False
        self.timed_out = False
        self.is_local = is_local
        self._words = Conversation(dialog.without_login) if keeps_words else None
        self._words_since = clock.seconds()
        self._dialog = dialog
        self._handshake = handshake
        self._implicit = implicit
        self._in_handshake = False
        self._is_untried = False  # TLS is on, and nothing was heard under it yet
        self._limits = limits
        self._clock = clock
        self._heard = 0.0
        self._timer: IDelayedCall | None = None
        self._turn: Deferred[Done] | None = None
        self._content: Content | None = None
        self._stream: Deferred[None] | None = None
        self._writes_wait = False
        self._drained: Deferred[None] | None = None
        self._go_ahead: Deferred[None] | None = None  # for the next chunk
        self._is_opened = False
        self._lost = False

    @property
    def is_ready(self) -> bool:
        """Whether ``transact`` may be called."""
        return self._dialog.step is Step.IDLE and not self._lost

    @property
    def is_spent(self) -> bool:
        """Whether it takes no further transaction: the server said so (RFC 9422 s4)."""
        offer = self._dialog.offer
        # Which domains were named before is not kept: where they are limited, each transaction has its own session.
        return bool(self.messages and (offer.rcpt_domain_limit or 0 < offer.mail_limit <= self.messages))

    def has_room(self, body_type: BodyType) -> bool:
        """Whether a further transaction may have such content: binary content is for the first one alone (see
        ``wire.smtp_client``); after it may come anything else, since DATA's answer shows who is out of step."""
        return not self.is_spent and not (body_type is BodyType.BINARY and self.messages)

    @property
    def offer(self) -> Offer:
        return self._dialog.offer

    @property
    def tls_is_missing(self) -> bool:
        """TLS was wanted, and the server does not offer it, or refused it."""
        return self._dialog.tls_is_missing

    @property
    def secured(self) -> Secured | None:
        """What TLS came to, once the handshake is done and judged; None before, and in clear."""
        return self._dialog.secured

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The certificates that the server showed (DER), its own first."""
        return () if self._handshake is None else self._handshake.chain

    @property
    def server_name(self) -> str:
        """As the server answered EHLO; ``""`` before."""
        return self._dialog.server_name

    def transact(
        self, message: Message, recipients: Sequence[Mailbox], onward: Onward | None = None
    ) -> Deferred[Done]:
        """Send one message.  Only while ``is_ready``.

        The outcomes are complete, whatever happens.  Whoever is cancelled while waiting for it calls ``abort``.
        LocalProtocolError where the dialog's ``begin`` raises it; the session is as it was.
        """
        content = message.content
        refused = self._dialog.begin(message.reverse_path, recipients, content.size_octets, message.body_type, onward)
        if refused is not None:
            if self._dialog.step is Step.OVER:
                self._hang_up()
            return succeed(refused)
        self.messages += 1
        self._content = content
        turn: Deferred[Done] = Deferred()
        self._turn = turn
        self._heard = self._clock.seconds()
        self._flush()
        return turn

    def forget_words(self) -> None:
        """What was said before is none of the next message's."""
        if self._words is not None:
            self._words.forget()
            self._words_since = self._clock.seconds()

    def words(self) -> tuple[tuple[str, ...], float] | None:
        """What was said since the beginning, or since ``forget_words``, and in how many seconds; None where it is not
        kept."""
        if self._words is None:
            return None
        return self._words.lines(), self._clock.seconds() - self._words_since

    def close(self) -> None:
        """Say QUIT and hang up.  Not in a transaction."""
        if not self._lost:
            self._dialog.quit()
            self._hang_up()

    def abort(self) -> Mapping[Mailbox, Outcome]:
        """Drop the connection; a transaction under way gets no answer any more.

        What became of that transaction's recipients: what the peer said so far, temporary trouble for the others;
        empty where none was under way.
        """
        self._turn = None
        self._is_opened = True
        self._note_words(TOO_LONG.reply.text)
        event = self._dialog.fail(TOO_LONG.reply.status, TOO_LONG.reply.text, TOO_LONG.scope)
        self._drop()
        return event.outcomes if isinstance(event, Done) else {}

    def _opening_cancelled(self, opened: "Deferred[Outcome | None]") -> None:
        self.abort()

    # --- the transport's calls --------------------------------------------------------------------

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)  # a command group waits for no acknowledgement of what went before
        self.own_address = getattr(transport.getHost(), "host", "")
        self._heard = self._clock.seconds()
        if self._implicit:
            self._start_tls()
        self._timer = self._clock.callLater(self._limits[self._dialog.step], self._time_is_up)

    def dataReceived(self, data: bytes) -> None:
        dialog = self._dialog
        if dialog.step is Step.OVER:
            # We said good-bye, and it talks on, as it may under TLS until it says good-bye, too: nobody reads that, it
            # fills no memory, and it buys no time.
            return
        if dialog.step is not Step.IDLE:  # where nothing was asked, half an answer does not keep a session alive
            self._heard = self._clock.seconds()
        self._is_untried = False
        if self._words is not None:
            self._words.they(data)
        dialog.receive(data)
        while not isinstance(event := dialog.next_event(), Signal):
            self._take(event)
        self._flush()

    def handshakeCompleted(self) -> None:
        if not self._in_handshake:
            return
        self._in_handshake = False
        assert self._handshake is not None
        self.judgement = judgement = self._handshake.judge()
        if not judgement.may_go_on:
            self._note_words(judgement.why)
            self.tls_failed = self.tls_is_wrong = True
            # RFC 3463 X.7.5: cryptographic failure.  Nothing more is said to this peer.
            event = self._dialog.refuse("4.7.5", judgement.why)
            self._dialog.output()
            self._take(event)
            self._drop()
            return
        self.is_verified = judgement.verified is not Verified.NONE and self._handshake.demand.is_authentic
        self._dialog.secured = secured = self._handshake.secured()
        self._note_words(f"{secured.version}, {secured.cipher}, verified: {secured.verified}")
        # RFC 8446 s4.4: a server judges what the client showed, or did not, when the client has finished already.
        self._is_untried = True
        self._heard = self._clock.seconds()
        if self._dialog.step is Step.HANDSHAKE:
            self._dialog.tls_started()
            self._flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._in_handshake:
            self.tls_failed = True
            self.tls_is_wrong = is_tls_fault(reason.value)
            self._fail("4.7.5", f"The TLS handshake failed: {tls_fault_text(reason.value)}")
        elif self._is_untried:
            self.tls_failed = True
            self._fail("4.7.5", f"The connection broke right behind the TLS handshake: {tls_fault_text(reason.value)}")
        elif isinstance(reason.value, ConnectionDone | ConnectionLost):
            self._fail("4.4.2", f"The connection was lost while waiting for {self._dialog.step.value}")
        else:
            why = tls_fault_text(reason.value)
            self._fail("4.4.2", f"The connection broke while waiting for {self._dialog.step.value}: {why}")

    # --- back-pressure: the transport is our consumer while content streams -----------------------------

    def pauseProducing(self) -> None:
        self._writes_wait = True

    def resumeProducing(self) -> None:
        self._writes_wait = False
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.callback(None)

    def stopProducing(self) -> None:
        """The connection is lost; ``connectionLost`` does what is to be done."""

    # --- the conversation --------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        match event:
            case GoAhead():
                content, self._content = self._content, None
                if content is None:
                    self._next_chunk()
                    return
                if not self._dialog.is_chunked:
                    self._note_words(content_words(content.size_octets))
                octets = content.octets
                if self._dialog.is_chunked:
                    self._start_stream(self._send_chunks(content))
                elif octets is not None:
                    # Marked as sent first: a transport may report its loss from within write.
                    self._dialog.content_sent()
                    send(self.transport, stuffed(octets))
                else:
                    self._start_stream(self._send(content))
            case Done():
                turn, self._turn = self._turn, None
                self._content = None
                if self._dialog.step is Step.OVER:
                    self._hang_up()
                elif self._stream is not None:  # a chunk was refused: the others are not sent
                    stream, self._stream = self._stream, None
                    self._go_ahead = None
                    stream.cancel()
                if turn is not None:
                    turn.callback(event)
            case Ready():
                self._is_opened = True
                if self._handshake is not None:
                    self._handshake.keep()
                self.opened.callback(None)
            case StartTls():
                self._start_tls()
            case Unusable(outcome):
                self._hang_up()
                if not self._is_opened:
                    self._is_opened = True
                    self.opened.callback(outcome)

    def _start_tls(self) -> None:
        assert self._handshake is not None
        self._in_handshake = True
        start_tls(self.transport, self._handshake)

    def _flush(self) -> None:
        """Send what there is to say; see that the timer looks in time."""
        octets = self._dialog.output()
        if octets and not self._lost:
            if self._words is not None:
                self._words.we(octets)
            send(self.transport, octets)
        timer = self._timer
        if timer is not None:
            deadline = self._heard + self._limits[self._dialog.step]
            if deadline < timer.getTime():
                # A new one: to make one ring sooner, Twisted looks through all of them.
                timer.cancel()
                self._timer = self._clock.callLater(max(0.0, deadline - self._clock.seconds()), self._time_is_up)

    def _fail(self, status: str, why: str, scope: Scope = Scope.HOST) -> None:
        event = self._dialog.fail(status, why, scope)
        if event is not None:
            self._note_words(why)
            self._take(event)

    def _note_words(self, text: str) -> None:
        if self._words is not None:
            self._words.note(text)

    def _hang_up(self) -> None:
        """Send what is left and close; where content was under way, close at once."""
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()
        if self._stream is not None:
            self._drop()
        elif not self._lost:
            self._heard = self._clock.seconds()
            self._flush()
            assert self.transport is not None
            self.transport.loseConnection()

    def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cancel()
        if not self._lost:
            transport: Any = self.transport
            transport.abortConnection()

    def _time_is_up(self) -> None:
        """A limit may have passed.  The timer is not moved at each step; it looks here how long it was silent."""
        step = self._dialog.step
        left = self._heard + self._limits[step] - self._clock.seconds()
        if left > 0.001:
            self._timer = self._clock.callLater(left, self._time_is_up)
            return
        self._timer = None
        if step is Step.IDLE and self.on_end is None:
            # It is in somebody's hands, who looks at content before it is sent; there is always a next call.
            self._heard = self._clock.seconds()
            self._timer = self._clock.callLater(self._limits[step], self._time_is_up)
        elif step is Step.IDLE:
            self._timer = self._clock.callLater(_CLOSE_SECONDS, self._time_is_up)
            self.close()
        else:
            self.timed_out = True
            self.tls_failed = self.tls_failed or self._in_handshake or self._is_untried
            self._fail("4.4.2", f"Timed out while waiting for {step.value}")
            self._drop()

    # --- large content -------------------------------------------------------------------------------

    def _start_stream(self, sending: Coroutine[Deferred[None], Any, None]) -> None:
        stream = Deferred.fromCoroutine(sending)
        if not stream.called:
            self._stream = stream
        stream.addErrback(self._stream_failed)  # type: ignore[unused-awaitable] # owned by this session

    async def _send(self, content: Content) -> None:
        transport: Any = self.transport
        writer = DotWriter()
        self._writes_wait = False
        transport.registerProducer(self, True)
        try:
            async for chunk in content.chunks():
                transport.write(writer.write(chunk))
                if self._writes_wait:
                    self._drained = Deferred()
                    await self._drained
                if self._dialog.step is not Step.CONTENT:
                    return  # it ended meanwhile
                self._heard = self._clock.seconds()
            self._stream = None
            self._dialog.content_sent()
            transport.write(writer.end())
        finally:
            self._drained = None
            transport.unregisterProducer()

    async def _send_chunks(self, content: Content) -> None:
        """Binary content as it is, a BDAT for each chunk, each once the one before it was taken."""
        before: bytes | None = None
        async for chunk in content.chunks():
            if before is not None:
                self._go_ahead = Deferred()
                self._say_chunk(before, False)
                await self._go_ahead
            before = chunk
            self._heard = self._clock.seconds()
        self._stream = None
        self._say_chunk(before or b"", True)

    def _say_chunk(self, chunk: bytes, is_last: bool) -> None:
        self._dialog.chunk(len(chunk), is_last)
        command = self._dialog.output()
        if self._words is not None:
            self._words.we(command)
            self._words.note(content_words(len(chunk)))
        send(self.transport, command + chunk)
        self._flush()

    def _next_chunk(self) -> None:
        go_ahead, self._go_ahead = self._go_ahead, None
        assert go_ahead is not None
        go_ahead.callback(None)

    def _stream_failed(self, failure: Failure) -> None:
        """The content cannot be read to its end.  The dot is never sent, so the server never takes a part."""
        self._stream = None
        fault = failure.value
        if isinstance(fault, CancelledError):
            return
        if isinstance(fault, TemporaryFault):
            why = fault.why
        else:
            log.failure("content cannot be sent", failure=failure)
            why = "The content cannot be read"
        self._fail("4.3.0", why, Scope.MESSAGE)
        self._drop()
