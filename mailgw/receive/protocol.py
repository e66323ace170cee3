"""One connection: its octets, its time limits, its TLS (RFC 5321 s4.5.3.2, RFC 3207, RFC 8314 s3.3).

What the client may do is decided by ``session``.

Rules:
    While an answer is owed the dialog is paused, and a client that goes on sending is not read.
    Where content comes faster than the disk takes it, or replies go unread, the client is not read either.
    One catch-all a conversation: what is not foreseen is logged with its traceback and answered 451 4.3.0.
    A commit that was begun is never cancelled.
"""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any
from typing import Protocol as Shape

import attrs
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IPushProducer,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailgw.mail import event as fact
from mailgw.mail.envelope import Client, ReverseName, Role, TlsFacts
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Stage, Verdict
from mailgw.net.sending import send, start_tls
from mailgw.net.tls_facts import tls_facts
from mailgw.receive.fronts import nobody_s
from mailgw.receive.line import EVENTS_A_TURN, LONG_READ_OCTETS, TURN_SECONDS
from mailgw.receive.pace import Pace
from mailgw.receive.peers import Peer
from mailgw.receive.recording import Recording
from mailgw.receive.session import HELLO_ACCEPTED, Session
from mailgw.receive.transaction import Transaction
from mailgw.wire import smtp_replies
from mailgw.wire.mechanisms import offer
from mailgw.wire.sasl import ScramKeys
from mailgw.wire.smtp_server import (
    NEED_DATA,
    PAUSED,
    Awaiting,
    Content,
    Dialog,
    Event,
)

if TYPE_CHECKING:
    from mailgw.receive.factory import EsmtpFactory

log = Logger()

# A draft may be this far ahead of the disk before the client is paused.
BACKLOG_OCTETS = 1024 * 1024
# RFC 5321 s4.5.3.2.3: a client waits 5 minutes for our answer to RCPT; we give up on ourselves before that.
ANSWER_SECONDS = 240.0

_BROKEN = Reply(421, "4.3.0", ("Local problem, closing the connection",))
_TOO_MANY = Verdict("sessions", "", Reply(421, "4.7.0", ("Too many connections, please try again later",)))

_UNDECIDED = Verdict("trouble", "", _BROKEN)
_CROWDED = Reply(421, "4.3.2", ("All connections are in use and this one is idle; please come again",))
_EARLY = Verdict(
    "early_talker", "", Reply(554, "5.5.1", ("You talk before you are greeted; mail servers wait for it",))
)


class SessionTransport(Shape):
    """What a session uses of Twisted's stream transports."""

    protocol: IProtocol

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def getHandle(self) -> SSL.Connection: ...
    def startTLS(self, contextFactory: IOpenSSLServerConnectionCreator) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...


@implementer(IHandshakeListener, IPushProducer)
class EsmtpProtocol(Protocol):
    """Built by ``EsmtpFactory``; ends by QUIT, a time limit, too many errors, or ``finish``."""

    factory: "EsmtpFactory"
    transport: SessionTransport  # type: ignore[assignment] # Twisted: any ITransport or None

    def __init__(self, factory: "EsmtpFactory", session_id: str, peer: Peer) -> None:
        """``peer`` is the client, which is not always the transport's."""
        self.factory = factory
        self._peer = peer
        self._session = Session(factory, Client(session_id, factory.settings.role, "", 0, False))
        self._clock = factory.clock
        self._limits = factory.time_limits
        self._dialog = Dialog(
            factory.dialog_settings, tls=factory.settings.role is Role.SUBMISSIONS, is_front=factory.is_front(peer)
        )
        self._timer: IDelayedCall | None = None
        self._greeting: IDelayedCall | None = None
        self._penalty: IDelayedCall | None = None
        self._began = self._heard = self._clock.seconds()
        self._pace = Pace(factory.settings.time_limits, self._began)
        self._task: Deferred[Any] | None = None  # what the client waits for
        # Why we do not read: any of these.
        self._counted = 0  # messages, for the pace
        self._is_in_line = False
        self._pumping = self._paused = self._draining = self._unread = False
        self._closed = self._lost = self._in_handshake = self._is_told_of = False
        # What came before TLS was started, where it comes first.
        self._before_tls: bytes | None = b"" if factory.settings.role is Role.SUBMISSIONS else None
        self._recording: Recording | None = None

    async def reverse_name(self) -> ReverseName:
        """The name of the client's address, once it is known."""
        return await self._session.reverse_name()

    # --- the transport's calls ------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The client is known, by its connection or a proxy's word: from here on it counts, and is judged."""
        self._session.client = self._session.origin = client = self._identify(self._peer)
        self._record_if_wanted()
        if self._peer.is_client:
            self._tell_of_it()
        self._timer = self._clock.callLater(self._limits[Awaiting.COMMAND], self._time_is_up)
        self.transport.registerProducer(self, True)
        self.factory.sessions.add(self)
        if client.is_trusted and not self.factory.chain.has_rules(Stage.CONNECT):
            self._welcome(None)  # a coroutine for nothing would be a tenth of what a connection costs
        else:
            self.factory.tasks.spawn("admission", self._admit())

    def dataReceived(self, octets: bytes) -> None:
        if self._closed:
            return
        if not self._is_told_of:
            self._tell_of_it()
        if self._before_tls is not None:
            self._before_tls += octets  # they wait, with the rest on the network, until there is room for the client
            self._paused = True
            self._regulate()
            return
        if self._greeting is not None:
            self._greeting.cancel()
            self._greeting = None
            self._turn_away(_EARLY)
            return
        self._dialog.receive(octets)
        if len(octets) > LONG_READ_OCTETS and self.factory.line and self._dialog.awaiting is Awaiting.COMMAND:
            self._wait_in_line()
        self._pump()
        if self._dialog.awaiting is Awaiting.CONTENT:
            self._heard = self._clock.seconds()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        for timer in (self._timer, self._greeting, self._penalty):
            if timer is not None and timer.active():
                timer.cancel()
        self._session.leave()
        if self._task is not None and not self._session.is_committing:
            self._task.cancel()
        self.factory.sessions.discard(self)
        if self._recording is not None:
            self._recording.end(f"the end: {self._session.why}")
        client = self._session.client
        if self._in_handshake and self._peer.is_client:  # a proxy's look whether we are alive begins no TLS
            self.factory.note(fact.TlsFailed(client.session_id, client.address, _reason_text(reason)))
        if not self._is_told_of:
            return
        seconds = round(self._clock.seconds() - self._began, 3)
        self.factory.note(
            fact.Disconnected(client.session_id, client.address, self._session.why, seconds, self._session.messages)
        )

    def handshakeCompleted(self) -> None:
        self.tls_began(tls_facts(self.transport.getHandle(), with_bindings=self.factory.settings.role.is_submission))

    def tls_began(self, tls: TlsFacts) -> None:
        """The handshake is over, and came to ``tls``."""
        if self._session.is_fronted:
            tls = nobody_s(tls)
        if self._recording is not None:
            self._recording.transcript.note(f"{tls.version}, {tls.cipher}")
        # RFC 3207 s4.2: all that was learned in clear is forgotten.
        self._session.client = attrs.evolve(self._session.origin, tls=tls)
        self._in_handshake = False
        self._heard = self._clock.seconds()
        client = self._session.client
        # Whom a proxy does not name cannot be locked out either, so he has no passwords to try.
        if client.role.is_submission and self._peer.is_client:
            usable = self.factory.logins.mechanisms()
            self._dialog.offer_logins(offer(usable, tls.bindings, bool(tls.certificate_names)))
        self.factory.note(
            fact.TlsStarted(client.session_id, client.address, tls.version, tls.cipher, tls.certificate_names)
        )
        if client.role is Role.SUBMISSIONS:
            self._greet()
        else:
            self._dialog.tls_started()
            self._pump()

    # --- the transport asks us, who write, to wait: the client does not read its replies ------------

    def pauseProducing(self) -> None:
        self._unread = True
        self._regulate()

    def resumeProducing(self) -> None:
        self._unread = False
        self._regulate()
        self._pump()

    def stopProducing(self) -> None:
        """The connection is going; ``connectionLost`` follows."""

    # --- the service's calls ----------------------------------------------------------------------

    def finish(self) -> None:
        """Close as soon as no message is under way: RFC 5321 s3.8 lets 421 stand anywhere."""
        self._session.is_leaving = True
        self._flush()

    def abort(self) -> None:
        """Close now.  An unfinished message was never acknowledged; its client keeps it."""
        if self._session.why == "lost":
            self._session.why = "shutdown"
        self.transport.abortConnection()

    # --- where places are few ----------------------------------------------------------------------

    def idle_seconds(self, now: float) -> float:
        """How long it was silent, or how far its content stays behind the slowest rate; 0 where it is not to go."""
        client, awaiting = self._session.client, self._dialog.awaiting
        if self._closed or client.is_trusted or client.login is not None:
            return 0.0
        if self._in_handshake:
            return now - self._heard
        transaction = self._session.transaction
        if awaiting is Awaiting.CONTENT and transaction is not None:
            return self._pace.behind(transaction.started, now)
        if awaiting is Awaiting.ANSWER or awaiting is Awaiting.PENALTY:
            return 0.0
        return now - self._heard

    def give_way(self) -> None:
        self._give_up(_CROWDED)

    # --- the conversation --------------------------------------------------------------------------

    def _identify(self, peer: Peer) -> Client:
        old = self._session.client
        may_relay, is_trusted = self.factory.known_as(peer.address)
        if not peer.is_client:
            # Where a proxy names nobody, its own address is nothing to judge or limit a client by.
            may_relay, is_trusted = False, True
        elif self.factory.is_front(peer):
            is_trusted = True  # many clients come from its address, and each counts for himself once he is named
        return Client(
            old.session_id, old.role, peer.address, peer.port, may_relay, is_trusted=is_trusted,
            is_address_shared=not peer.is_client,
        )

    def _record_if_wanted(self) -> None:
        """The client is known: by his address somebody may want to read the session."""
        recordings, client = self.factory.recordings, self._session.client
        if recordings is not None and recordings.is_on and self._recording is None:
            self._recording = recordings.of(client.session_id, client.role.value, client.address)
            if self._recording is not None:
                self._dialog.witness = self._recording.transcript

    def _tell_of_it(self) -> None:
        """Write down that somebody connected: of a proxy itself, which only looks whether we are alive, not before it
        says something."""
        self._is_told_of = True
        client = self._session.client
        self.factory.note(
            fact.Connected(client.session_id, client.role.value, client.address, client.port, self._peer.proxy)
        )

    async def _admit(self) -> None:
        """The client is known: is there room for it?"""
        session = self._session
        try:
            verdict = await session.standing.enter(session.client)
            if verdict is None and self.factory.chain.has_rules(Stage.CONNECT) and not self._lost:
                session.look_up_name()
                self._task = Deferred.fromCoroutine(session.judge_connection())
                verdict = await self._task
        except CancelledError:  # it took too long, or the client is gone
            verdict = _UNDECIDED
        except Exception as fault:  # noqa: BLE001 - who is not greeted would wait for ever
            log.failure("session {session_id} cannot begin", session_id=session.client.session_id)
            self.factory.note(fact.Trouble("session", type(fault).__name__, session.client.session_id, ""))
            verdict = _UNDECIDED
        self._task = None
        if not self._lost:
            self._welcome(verdict)

    def _welcome(self, verdict: Verdict | None) -> None:
        """Greet, or say why not: ``verdict`` is the counters' objection."""
        # Who has too many already takes nobody else's place.
        if verdict is None and not self.factory.sessions.let_in(self, self._clock.seconds()):
            verdict = _TOO_MANY
        if verdict is not None:
            self._turn_away(verdict)
            return
        if not self._session.is_looked_up:
            self._session.look_up_name()
        if self._session.client.role is Role.SUBMISSIONS:
            self._start_tls()
        elif seconds := self.factory.greeting_delay(self._session.client):
            if self._dialog.backlog_octets:  # while rules thought about it
                self._turn_away(_EARLY)
                return
            self._greeting = self._clock.callLater(seconds, self._greet)
        else:
            self._greet()

    def _turn_away(self, verdict: Verdict) -> None:
        if not self._is_told_of:
            self._tell_of_it()
        reply = self._session.reject(Stage.CONNECT, verdict)
        self._session.why = "refused"
        if self._session.client.role is Role.SUBMISSIONS:
            self._close()  # before TLS there is nothing that it would understand
            return
        self._dialog.close(reply)
        self._flush()

    def _greet(self) -> None:
        self._greeting = None
        self._dialog.greet(self.factory.greeting)
        self._flush()

    def _start_tls(self) -> None:
        self._in_handshake = True
        tls = self.factory.settings.tls
        assert tls is not None
        early, self._before_tls = self._before_tls, None
        start_tls(self.transport, tls)
        if self._paused:
            self._paused = False
            self._regulate()
        if early:
            self.transport.protocol.dataReceived(early)

    def _pump(self) -> None:
        """Work off the dialog's events until it needs data or an answer."""
        if self._pumping or self._lost or self._is_in_line:
            return
        self._pumping = True
        left, end = EVENTS_A_TURN, self._clock.seconds() + TURN_SECONDS
        try:
            while True:
                event = self._dialog.next_event()
                if event is PAUSED and self._dialog.has_much_to_say:
                    self._send()
                    if not self._unread:
                        continue  # else when the client has read it
                if event is NEED_DATA or event is PAUSED:
                    break
                self._take(event)
                left -= 1
                if (left <= 0 or self._clock.seconds() >= end) and not self._dialog.awaits_tls:
                    self._wait_in_line()
                    break
        except Exception:  # noqa: BLE001 - the one catch-all of this conversation
            self._fail(Failure())  # type: ignore[no-untyped-call] # Twisted has no types there
        finally:
            self._pumping = False
        self._flush()

    def _wait_in_line(self) -> None:
        """It has more to do than a turn: the others first."""
        if self._is_in_line:
            return
        self._is_in_line = True
        self._regulate()
        self.factory.line.join(self._go_on_in_turn)

    def _go_on_in_turn(self) -> None:
        self._is_in_line = False
        if not self._lost:
            self._pump()
            self._regulate()  # not before: what is read then may be the client's end, while an answer is owed

    def _take(self, event: Event) -> None:
        reaction = self._session.react(event)
        if reaction is None:
            if isinstance(event, Content):
                self._pace.content(len(event.octets))
                self._follow_disk()
        elif isinstance(reaction, (Reply, ScramKeys)):
            self._give(reaction)
        else:
            self._owe(reaction)

    def _give(self, reply: Reply | ScramKeys) -> None:
        if reply is HELLO_ACCEPTED:
            self._dialog.accept_hello(self.factory.wall_clock())
        elif isinstance(reply, ScramKeys):
            self._dialog.supply_keys(reply, self.factory.logins.nonce())
        elif reply is smtp_replies.HANG_UP:
            self._session.why = "scripted"
            self.transport.abortConnection()
        else:
            self._dialog.answer(reply)

    def _follow_disk(self) -> None:
        transaction = self._session.transaction
        assert transaction is not None
        if not self._draining and transaction.backlog_octets > BACKLOG_OCTETS:
            self._draining = True
            self.factory.tasks.spawn("drain", self._drain(transaction))

    def _owe(self, coroutine: Coroutine[Deferred[Any], Any, Reply | ScramKeys]) -> None:
        """Answer with what the coroutine returns, now or later."""
        self._heard = self._clock.seconds()
        task = Deferred.fromCoroutine(coroutine)
        self._task = task
        answered = task.addCallbacks(self._answer, self._fail)
        answered.addErrback(_log_bug)  # type: ignore[unused-awaitable] # the end of the chain

    def _answer(self, reply: Reply | ScramKeys) -> None:
        self._task = None
        now = self._clock.seconds()
        self._pace.waited(now - self._heard)
        if self._session.messages != self._counted:
            self._counted = self._session.messages
            self._pace.begin(now)
        self._heard = now
        if self._lost:
            return
        if self._session.is_fronted:
            self._record_if_wanted()
        self._give(reply)
        self._pump()

    def _fail(self, failure: Failure) -> None:
        """The catch-all: nothing that went wrong with us is ever the client's fault."""
        self._task = None
        fault = failure.value
        reply, is_bug = smtp_replies.LOCAL_TROUBLE, False
        if isinstance(fault, TemporaryFault):
            reply = fault.reply
            self._session.reject(Stage.CONTENT, Verdict("trouble", fault.why, reply))
        elif not isinstance(fault, CancelledError):
            is_bug = True
            self._session.why = "error"
            log.failure("session {session_id} failed", failure=failure, session_id=self._session.client.session_id)
            self.factory.note(fact.Trouble("session", type(fault).__name__, self._session.client.session_id, ""))
        is_owed = self._dialog.awaiting is Awaiting.ANSWER
        if self._lost or is_bug or not is_owed:
            self._session.drop_transaction()
        if self._lost:
            return
        if is_owed:
            self._dialog.answer(reply)  # a transaction that was open stays so: one recipient's trouble is no other's
        if is_bug or not is_owed:
            self._dialog.close(_BROKEN)
        self._pump()

    def _flush(self) -> None:
        """Send what there is to say, and follow where the dialog stands now."""
        dialog = self._dialog
        if self._lost or self._pumping:
            return
        if dialog.awaiting is Awaiting.PENALTY and self._serve_penalty():
            return
        if self._session.is_leaving and self._session.transaction is None and dialog.awaiting is Awaiting.COMMAND:
            if self._session.why == "lost":
                self._session.why = "shutdown"
            dialog.close(smtp_replies.SHUTTING_DOWN)
        self._send()
        if dialog.is_closing:
            self._close()
            return
        if dialog.awaits_tls and not self._in_handshake:
            self._start_tls()
        # Who has said all that he has to say, QUIT too, may shut his side: that is read, and taken for the end, behind
        # the answer that he waits for, in whichever turn it came to be owed.
        if self._paused is not (dialog.awaiting is Awaiting.ANSWER and dialog.backlog_octets > 0):
            self._paused = not self._paused
            self._regulate()
        deadline = min(self._heard + self._limits[dialog.awaiting], self._pace.deadline)
        if self._timer is not None and deadline < self._timer.getTime():
            self._set_timer(max(0.0, deadline - self._clock.seconds()))

    def _send(self) -> None:
        octets = self._dialog.output()
        if octets:
            # What is half of a command or an answer to nobody does not show that somebody is there: our words do.
            self._heard = self._clock.seconds()
            send(self.transport, octets)

    def _serve_penalty(self) -> bool:
        """Who errs often waits for our words, and is not read meanwhile; whether he has to wait."""
        if self._penalty is None:
            self._penalty = self._clock.callLater(self.factory.settings.time_limits.error_delay, self._go_on)
            self._paused = True
            self._regulate()
        return self._penalty.active()

    def _go_on(self) -> None:
        self._penalty = None
        self._dialog.go_on()
        self._send()
        self._pump()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.transport.unregisterProducer()  # TLS would else wait for the producer's end
        self.transport.resumeProducing()     # to see the peer's FIN
        self.transport.loseConnection()
        self._set_timer(self._limits[Awaiting.NOTHING])

    def _regulate(self) -> None:
        if self._closed or self._lost:
            return
        if self._paused or self._draining or self._unread or self._is_in_line:
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()

    def _set_timer(self, seconds: float) -> None:
        """Look again in ``seconds``.  A new timer, since Twisted looks through all of them to make one ring sooner."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, self._time_is_up)

    def _time_is_up(self) -> None:
        """A limit may have passed.  Timers are not moved at each read; they look here how long it was silent."""
        if self._closed:
            self.transport.abortConnection()
            return
        awaiting = Awaiting.HANDSHAKE if self._in_handshake else self._dialog.awaiting
        now = self._clock.seconds()
        left = self._heard + self._limits[awaiting] - now
        if awaiting is not Awaiting.ANSWER and awaiting is not Awaiting.PENALTY:
            left = min(left, self._pace.left(now))
        if left > 0.001:
            self._timer = self._clock.callLater(left, self._time_is_up)
            return
        self._timer = self._clock.callLater(self._limits[Awaiting.NOTHING], self._time_is_up)
        if awaiting is Awaiting.ANSWER or awaiting is Awaiting.PENALTY:
            if self._task is not None and not self._session.is_committing:
                self._task.cancel()
            self._heard = self._clock.seconds()
            return
        self._give_up(smtp_replies.TIMED_OUT)

    def _give_up(self, reply: Reply) -> None:
        self._session.why = "timeout"
        self._session.drop_transaction()
        if self._in_handshake:
            self._closed = True
            self.transport.abortConnection()
            return
        self._dialog.close(reply)
        self._flush()

    async def _drain(self, transaction: Transaction) -> None:
        try:
            await transaction.drained()
        except TemporaryFault:
            pass  # the commit will say so; until then content is read and dropped, in step
        self._draining = False
        self._heard = self._clock.seconds()
        self._regulate()


def _log_bug(failure: Failure) -> None:
    log.failure("answering failed", failure=failure)


def _reason_text(reason: Failure) -> str:
    """Why a handshake failed, in one line: OpenSSL's words where it has any."""
    value = reason.value
    if isinstance(value, ConnectionDone):
        return "the client closed"
    details = value.args[0] if value is not None and value.args else ""
    if isinstance(details, list) and details:
        return str(details[0][-1])[:200]
    return (str(value) or type(value).__name__)[:200]
