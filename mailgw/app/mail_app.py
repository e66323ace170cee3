"""``MailApp``: handlers for addresses, as a web framework has them for paths.

    app = MailApp()

    @app.recipient("ticket+{number:int}@example.org")
    async def ticket(message, number):
        await store(number, message.text, message.attachments)

``docs/app.rst`` is for who writes one.
"""

import re
import secrets
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any, Literal, TypeVar

from twisted.internet.defer import CancelledError, DeferredLock
from twisted.logger import Logger
from zope.interface import alsoProvides, implementer

from mailgw.app.incoming import IncomingMessage, Reading, reading_of
from mailgw.app.register import Handler, Register
from mailgw.app.running import awaited, handled, in_time
from mailgw.app.sending import Sending, begin
from mailgw.interfaces import IFilesJunk, IGateway, ITransactionalBackend, IUsesGateway
from mailgw.mail.address import Mailbox
from mailgw.mail.address_pattern import AddressPattern, parse_pattern
from mailgw.mail.duration import seconds_of
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.letter import LetterLimits
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Scope, permanent, temporary
from mailgw.mail.reply import Reply
from mailgw.mail.sender_pattern import SenderPattern, parse_sender_pattern
from mailgw.mail.written import File, Person, Writing, completed, person, written
from mailgw.net.supervised import troubles_of, watched

log = Logger()

LONGEST_TRANSACTION_SECONDS = 180.0
"""RFC 5321 s4.5.3.2.6: a client waits 10 minutes for the answer after content, some wait less, and a session of ours
gives no answer longer than 4."""

HOPS_FIELD = "Mailgw-Hops"
"""Of what a handler sends: how many messages before it were each sent while the one before was handled."""
MOST_HOPS = 25
"""Of those.  Two or three are a forwarded ticket; more than this is a handler that writes to itself.  Received fields,
which end other circles, are none of a letter that is new each time."""
MOST_LEFT = 100
"""Calls of one handler that did not end when they were cancelled; each keeps its message in memory.  Then its mail
waits."""
_now_handled: ContextVar[IncomingMessage | None] = ContextVar("_now_handled", default=None)

F = TypeVar("F", bound=Callable[..., Any])
CallNext = Callable[[IncomingMessage], Awaitable[None]]
Address = Mailbox | str
When = Literal["queued", "transaction"]

_CUT_OFF = temporary("4.3.0", "The attempt ended before this recipient's turn", Scope.RECIPIENT, "")
_SAME = "(that of the author)"


@implementer(ITransactionalBackend, IUsesGateway)
class MailApp:
    """``concurrency``: how many messages each handler has at once from the queue, and as many in transactions, where
    one more is a 4yz.  ``deadline`` is how long one may take with one
    recipient, ``transaction_deadline`` (at most 3 minutes) where the client waits for it; durations are ``"5m"`` or
    seconds.  ``limits`` of what is read of a message.  ``author`` is who ``send`` writes as: ``"desk@example.org"`` or
    ``"Help Desk <desk@example.org>"``.  ``files_junk``: its handlers look at ``message.is_junk``, so that what a rule
    calls junk need not be held (``IFilesJunk``).  ValueError where one of them cannot be.
    """

    def __init__(
        self,
        *,
        concurrency: int = 8,
        deadline: float | str = "5m",
        transaction_deadline: float | str = "60s",
        limits: LetterLimits | None = None,
        author: Address | None = None,
        files_junk: bool = False,
    ) -> None:
        if files_junk:
            alsoProvides(self, IFilesJunk)
        if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
            raise ValueError(f"expected concurrency to be a whole number from 1, not {concurrency!r}")
        self.concurrency = concurrency
        self.deadline_seconds = seconds_of(deadline)
        self.transaction_seconds = seconds_of(transaction_deadline)
        if self.transaction_seconds > LONGEST_TRANSACTION_SECONDS:
            raise ValueError("expected transaction_deadline to be at most 3 minutes: nobody waits long for an answer")
        self.limits = limits or LetterLimits()
        self.author = None if author is None else person(author)
        self._register = Register()
        self._senders: dict[Callable[..., Any], SenderPattern] = {}
        self._middleware: list[Callable[..., Any]] = []
        self._waited_for: Counter[str] = Counter()  # in transactions, by the handlers' names
        self._gateway: IGateway | None = None
        self._thread: int | None = None  # the reactor's
        self._large = DeferredLock()
        self._left: Counter[str] = Counter()  # calls that do not end, by the handlers' names

    # --- writing it -----------------------------------------------------------------------------------

    def recipient(self, pattern: str, *, sender: str | None = None, when: When = "queued") -> Callable[[F], F]:
        """The function below gets the mail for these addresses; fields of the pattern are its arguments.

        ``sender`` narrows it to some; ``when="transaction"`` runs it before the client is answered, so that its
        ``Reject`` is the client's answer, where it can be.  A function may have several patterns.  ValueError, where it
        is written, for what is no pattern, is ambiguous beside another, or does not fit the function.
        """
        if when not in ("queued", "transaction"):
            raise ValueError(f'expected when to be "queued" or "transaction", not {when!r}')
        parsed = parse_pattern(pattern)
        narrowed = None if sender is None else parse_sender_pattern(sender)

        def register(function: F) -> F:
            self._add(function, parsed, narrowed, when == "transaction")
            return function

        return register

    def sender(self, pattern: str) -> Callable[[F], F]:
        """The handler below has mail from these senders alone; it stands below ``recipient`` or ``default``."""
        parsed = parse_sender_pattern(pattern)

        def remember(function: F) -> F:
            if any(one.call == function for one in self._register.handlers()):
                raise ValueError(f"{_name(function)}: @app.sender stands below @app.recipient and @app.default")
            if function in self._senders:
                raise ValueError(f"{_name(function)}: one @app.sender is enough")
            self._senders[function] = parsed
            return function

        return remember

    def default(self, function: F) -> F:
        """The function gets all mail that reaches the application and no pattern matches; without one such addresses
        are refused at RCPT."""
        self._add(function, None, None, False)
        return function

    def middleware(self, function: F) -> F:
        """``async def m(message, call_next)`` runs around every handler; the one written first is the outermost.

        What it raises counts as the handler's; where it does not await ``call_next(message)`` the handler does not run,
        and the message is done.
        """
        self._middleware.append(function)
        return function

    def address_for(self, name: str, **fields: object) -> Mailbox:
        """The address whose mail the handler called ``name`` gets, with these fields.  ValueError where there is none.
        """
        patterns = [one.pattern for one in self._register.handlers() if one.name == name and one.pattern is not None]
        for pattern in patterns:
            if set(pattern.names) == set(fields):
                return pattern.address(fields)
        raise ValueError(f"no handler {name!r} with the fields {', '.join(fields) or '(none)'}")

    @property
    def patterns(self) -> tuple[AddressPattern, ...]:
        """Of all handlers."""
        return tuple(dict.fromkeys(one.pattern for one in self._register.handlers() if one.pattern is not None))

    @property
    def routes(self) -> tuple[str, ...]:
        """Patterns for a ``[[route]]`` that brings all its addresses here: ``@example.org``, ``@.example.org``."""
        return tuple(dict.fromkeys(pattern.route for pattern in self.patterns))

    def takes(self, recipient: Mailbox) -> bool:
        """Whether some handler has the address."""
        return self._register.at(recipient) is not None

    # --- sending ------------------------------------------------------------------------------------------

    def send(
        self,
        to: Address | Iterable[Address],
        subject: str = "",
        text: str = "",
        html: str = "",
        attachments: Sequence[File] = (),
        *,
        cc: Iterable[Address] = (),
        bcc: Iterable[Address] = (),
        author: Address | None = None,
        reverse_path: Address | None = _SAME,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Sending:
        """Put a message into the queue; a Deferred of its queue id, once it is on disk there.

        It begins at once.  A handler that does not await it is done no sooner for that, and fails where it fails.

        ``raw`` is a whole message in place of subject, text, html, attachments, cc and headers.  ``reverse_path`` is
        whom bounces go to, the author unless it is said; ``None`` is nobody, as for automatic answers (RFC 3834 s3.3).

        ValueError, nothing sent: an address that is none, a line end in a header, more than the gateway takes.
        TemporaryFault, nothing sent: the gateway does not run, its disk is full, no route serves a recipient; or what
        is handled now was itself sent by a handler, and so on, ``MOST_HOPS`` times: mail that goes in circles.
        RuntimeError, which is raised, and not the Deferred's: it is called from another thread than the reactor's.
        """
        if self._thread not in (None, threading.get_ident()):
            raise RuntimeError(
                "app.send was called from another thread than the reactor's: there it is "
                "twisted.internet.threads.blockingCallFromThread(reactor, app.send, ...)")
        return begin(self._sent(to, subject, text, html, attachments, cc, bcc, author, reverse_path, headers, raw))

    async def _sent(
        self, to: Address | Iterable[Address], subject: str, text: str, html: str, attachments: Sequence[File],
        cc: Iterable[Address], bcc: Iterable[Address], author: Address | None, reverse_path: Address | None,
        headers: Mapping[str, str] | None, raw: bytes | None,
    ) -> str:
        gateway = self._gateway
        if gateway is None:
            raise TemporaryFault("no gateway runs this application now")
        sender = self.author if author is None else person(author)
        if sender is None:
            raise ValueError("expected an author, here or of the MailApp: whom is the message from?")
        primary, copies, hidden = ([person(one) for one in _several(several)] for several in (to, cc, bcc))
        message_id = f"{secrets.token_hex(12)}@{gateway.hostname}"
        hops = _hops(_now_handled.get())
        if raw is None:
            fields = {**hops, **(headers or {})}
            writing = Writing(sender, primary, copies, subject, text, html, attachments, fields)
            octets = written(writing, gateway.now(), message_id)
        elif subject or text or html or attachments or copies or headers:
            raise ValueError("a raw message has its subject, text, attachments, cc and headers in it")
        else:
            octets = completed(raw, gateway.now(), message_id)
            octets = b"".join(f"{name}: {value}\r\n".encode() for name, value in hops.items()) + octets
        path = _path(sender, reverse_path)
        recipients = list(dict.fromkeys(one.mailbox for one in (*primary, *copies, *hidden)))
        return await gateway.send(path, recipients, octets)

    # --- as a backend ---------------------------------------------------------------------------------------

    def use(self, gateway: IGateway) -> None:
        self._gateway = gateway
        self._thread = threading.get_ident()

    def lane(self, recipient: Mailbox) -> str:
        """The handler's name: one that is slow or down holds up no other."""
        handler = self._register.at(recipient)
        return "" if handler is None else handler.name

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        if self.takes(recipient):
            return None
        return Reply(550, "5.1.1", (f"<{recipient}>: no such address here",))

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        """One recipient after the other; a message is read once for all of them."""
        outcomes: dict[Mailbox, Outcome] = {}
        try:
            reading = await self._reading(message)
            for recipient in recipients:
                outcomes[recipient], is_cut_off = await self._outcome(message, recipient, reading)
                if is_cut_off:
                    break
        except TemporaryFault as fault:  # the disk's
            return dict.fromkeys(recipients, temporary("4.3.0", fault.why, Scope.MESSAGE, ""))
        except CancelledError:
            if not outcomes:
                raise
        return {recipient: outcomes.get(recipient, _CUT_OFF) for recipient in recipients}

    async def in_transaction(self, message: Message, recipient: Mailbox) -> Outcome | None:
        found = self._register.find(recipient, message.reverse_path)
        if found is None or not found[0].in_transaction:
            return None
        name = found[0].name
        if self._waited_for[name] >= self.concurrency:
            # Queued, its refusals would be bounces, and a flood of mail a flood of them.
            return temporary("4.3.2", "Too many at once, please try again later", Scope.MESSAGE, name)
        self._waited_for[name] += 1
        try:
            reading = await self._reading(message)
            outcome, _ = await self._run(*found, message, recipient, reading, self.transaction_seconds)
        except TemporaryFault as fault:
            return temporary("4.3.0", fault.why, Scope.MESSAGE, name)
        finally:
            self._waited_for[name] -= 1
        return outcome

    # --- below ----------------------------------------------------------------------------------------------

    def _add(
        self, function: Callable[..., Any], pattern: AddressPattern | None, sender: SenderPattern | None,
        in_transaction: bool,
    ) -> None:
        marked = self._senders.get(function)
        if marked is not None and sender is not None:
            raise ValueError(f"{_name(function)}: a sender is said twice")
        self._register.add(Handler(_name(function), function, pattern, sender or marked, in_transaction))

    async def _reading(self, message: Message) -> Reading:
        reactor = None if self._gateway is None else self._gateway.reactor
        return await reading_of(message.content, self.limits, reactor, self._large)

    async def _outcome(self, message: Message, recipient: Mailbox, reading: Reading) -> tuple[Outcome, bool]:
        """As ``in_time``."""
        found = self._register.find(recipient, message.reverse_path)
        if found is not None:
            return await self._run(*found, message, recipient, reading, self.deadline_seconds)
        if self.takes(recipient):
            return permanent("5.7.1", f"<{recipient}> takes no mail from this sender", Scope.RECIPIENT, ""), False
        # It was there at RCPT, and another program was started since; or an operator rerouted it.
        return permanent("5.1.1", f"<{recipient}>: no such address here", Scope.RECIPIENT, ""), False

    async def _run(
        self, handler: Handler, fields: Mapping[str, object], message: Message, recipient: Mailbox, reading: Reading,
        seconds: float,
    ) -> tuple[Outcome, bool]:
        if self._left[handler.name] >= MOST_LEFT:
            why = f"The application has {MOST_LEFT} calls under way that do not end"
            return temporary("4.3.0", why, Scope.RECIPIENT, handler.name), False
        authserv_id = "" if self._gateway is None else self._gateway.authserv_id
        incoming = IncomingMessage(message, recipient, reading, authserv_id)

        async def innermost(message: IncomingMessage) -> object:
            return await awaited(handler.call(message, **fields))

        call_next: Callable[[IncomingMessage], Awaitable[object]] = innermost
        for function in reversed(self._middleware):
            call_next = partial(_around, function, call_next)

        async def outermost() -> object:
            _now_handled.set(incoming)  # for this coroutine, and what it begins
            return await call_next(incoming)

        part = f"handler {handler.name}"
        note = troubles_of(part)
        work = watched(handled(outermost, handler.name, message.queue_id, recipient, note), part)
        clock = None if self._gateway is None else self._gateway.reactor
        return await in_time(work, seconds, clock, handler.name, message.queue_id, self._left, note)


async def _around(
    function: Callable[..., Any], call_next: Callable[[IncomingMessage], Awaitable[object]], message: IncomingMessage
) -> object:
    return await awaited(function(message, call_next))


def _hops(handled_now: IncomingMessage | None) -> dict[str, str]:
    """The field of what is sent now; nothing where no handler sends it.  TemporaryFault where that is one too many."""
    if handled_now is None:
        return {}
    said = handled_now.headers.get(HOPS_FIELD, "0").strip()
    hops = 1 + (int(said) if re.fullmatch("[0-9]{1,3}", said) else 0)
    if hops > MOST_HOPS:
        log.error("what {message} was answered with is not sent: it goes in circles", message=handled_now)
        raise TemporaryFault(f"this mail goes in circles: {MOST_HOPS} handlers have sent it on to the next one")
    return {HOPS_FIELD: str(hops)}


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _several(addresses: Address | Iterable[Address]) -> Iterable[Address]:
    if addresses is None:  # a reverse_path, whose type nobody looked at
        raise ValueError("expected an address, not None: nobody is to hear of what has no sender")
    return [addresses] if isinstance(addresses, Mailbox | str) else addresses


def _path(author: Person, reverse_path: Address | None) -> Mailbox | None:
    if reverse_path is None or reverse_path == "":
        return None
    return author.mailbox if reverse_path is _SAME else person(reverse_path).mailbox
