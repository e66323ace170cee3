"""What a plug-in implements.  Floor 0: any plug-in may import it without pulling the gateway in.

Built-in backends keep the same promises and get no other door.
"""

from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Any

from zope.interface import Attribute, Interface

from mailgw.mail.address import Mailbox
from mailgw.mail.event import Event
from mailgw.mail.found import Found
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome
from mailgw.mail.reply import Reply
from mailgw.mail.shape import Shape
from mailgw.mail.verdict import Facts, Stage, Verdict


class IDeliveryBackend(Interface):
    """Where mail ends up: a Maildir, another server, your own Python.

    Promises of the gateway: ``deliver`` is called only with a message that is durable in the queue; at most
    ``concurrency`` calls are under way at once for one lane (over all workers, each of which has an instance of its
    own); a recipient is offered again until an outcome
    says delivered or permanent, so a crash may repeat a delivery (``message.queue_id`` with the recipient
    is the idempotency key), but never loses one.  The content is the same each time.
    Order: what waits in a lane is offered by priority (MT-PRIORITY), then as it became due, its senders in turn;
    several calls are under way at once, and what is tried again comes behind what came later.  With ``concurrency`` 1
    no two messages of a lane overlap; an order of arrival is promised to nobody.
    Promises of the backend: "delivered" only when the next crash cannot take the message back.
    A backend that also provides ``twisted.application.service.IService`` is started and stopped with
    the gateway.
    """

    concurrency: int = Attribute("How many ``deliver`` calls may run at once in one lane, from 1.")

    def lane(recipient: Mailbox) -> str:
        """What this recipient waits for besides the backend itself: a domain, a host, or ``""``.

        Recipients of one lane share an attempt and a fate; trouble in one lane does not delay another.
        """

    async def refusal(recipient: Mailbox) -> Reply | None:
        """None where the recipient is served; else what RCPT answers (550 5.1.1, or a 4yz where unknown).

        An exception is answered 451 4.3.0: a look-up that failed is never a "no such user".
        """

    async def deliver(message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        """One attempt; one outcome for each of ``recipients``.

        A recipient without an outcome, an exception or a result of another shape counts as temporary trouble.

        What the client asked for is in ``message.parameters`` and ``message.recipient_parameters``; a backend that
        is the end of a message's way owes nothing of it (the gateway sends the reports), one that hands it on says
        so in its outcomes (``relayed``, ``dsn``, ``deliver_by``).  Content is handed over as it came:
        ``message.body_type`` BINARY has bare CR, LF and NUL in it; ``deliver.reencoding.fitted`` makes lines of it.

        It is cancelled when it takes too long, and when the gateway stops.  A backend that knows by then what
        became of some recipients ends at once and returns it, with something temporary for the others: those
        it delivered are not offered again.  One that lets the ``CancelledError`` pass gets all of them again.
        """


class IPolicyRule(Interface):
    """May it pass, and as what?  A rule of the operator's own, asked behind the gateway's (relaying, loops, limits): it
    can forbid what they allow, and never allow what they forbid.

    Promises of the gateway: rules are asked in the order of the configuration, and the first objection ends it.
    At CONTENT the message is complete, and nothing of it is durable or answered yet.  A rule is asked again for a
    message whose client tries again, so what it does besides judging happens at least once.
    It is also asked where there is no message at all, by ``mailgw explain`` and ``mailgw replay``: then
    ``facts.is_rehearsal`` is True, and what it remembers of whom it sees should not change.
    The answer is awaited no longer than the rule's ``deadline``; then, or where it raises, or says what makes no sense,
    its ``on_failure`` counts (skip, defer, quarantine): no message is lost, and none is refused for good by it.  After
    ten such failures in a row it is not asked for a while (for clients of one network, where they are all its own).
    Promises of the rule: it does not hold up the reactor (50 ms in one step are told); it may be cancelled at any wait.
    A rule that also provides ``twisted.application.service.IService`` is started and stopped with the gateway.
    """

    stages: Collection[Stage] = Attribute("At which of CONNECT, HELO, AUTH, MAIL, RCPT, CONTENT it is asked.")

    def judge(stage: Stage, facts: Facts) -> Awaitable[Verdict | None]:
        """None, or a verdict (``mail.verdict``: ``reject``, ``defer``, ``change``).

        A coroutine or a Deferred; a plain answer serves, too.  TemporaryFault is its own 4yz.
        """


class ICredentialsSource(Interface):
    """Whose password is right (``[accounts.checker]``): ``twisted.cred.checkers.ICredentialsChecker``, whose providers
    serve as they are.

    Promises of the gateway: it is asked for PLAIN and LOGIN alone, under TLS, and within the limits of guessing; the
    answer is awaited for 30 s.  After ten failures in a row it is not asked for a while.  What it was given is never
    logged.
    Promises of the source: LoginFailed (``twisted.cred.error``) where name or password is wrong; whatever else it
    raises is trouble of ours, and the client is asked to try again (454).  It does not hold up the reactor, and what it
    says does not tell by its time whether a name exists.
    """

    credentialInterfaces: Sequence[object] = Attribute("``IUsernamePassword`` of ``twisted.cred`` among them.")

    def requestAvatarId(credentials: object) -> Awaitable[bytes | str]:
        """A Deferred with the account's address.  ``credentials`` have ``username`` and ``password`` as octets, and the
        client's ``address``, ``""`` where it is none that others know."""


class IEventObserver(Interface):
    """Is told of facts (``mail.event``), beside the journal.

    Promises of the gateway: each fact once, in order, one at a time: the next when the answer to this one is there, at
    most 30 s later.  It is told of what has happened; nothing waits for it, and nothing it does changes mail.
    While it is busy 10,000 facts wait; more are missed, and so is what waits when the gateway stops: whoever must have
    them all reads the journal.  Where several workers run, each has an instance of its own, and tells it of its own.
    Promises of the observer: it does not hold up the reactor.
    An observer that also provides ``twisted.application.service.IService`` is started and stopped with the gateway.
    """

    events: Collection[str] = Attribute('Names of facts, such as {"delivered", "bounced"}; empty for all.')

    def observe(event: Event) -> Awaitable[None] | None:
        """A plain function, a coroutine or a Deferred."""


class IMailgwPlugin(Interface):
    """What makes backends, rules and others, found by its name: ``type = "plugin:NAME"``.

    A module in a folder ``twisted/plugins`` (without an ``__init__.py``) on Python's path has an instance, which also
    provides ``twisted.plugin.IPlugin``: so an installed package brings its own, and nobody need know its modules.
    """

    name: str = Attribute("By which the configuration calls it.")

    def make(**arguments: object) -> object:
        """The backend or rule; ``arguments`` are the other keys of its table, checked against the signature."""


class IGateway(Interface):
    """What a plug-in may have of the gateway that it is in."""

    hostname: str = Attribute("Its own name: for Message-IDs.")
    authserv_id: str = Attribute("Under which it writes what it found out of who sent a message.")
    reactor: Any = Attribute("Twisted's reactor: timers, threads (``deferToThreadPool``).")

    def now() -> float:
        """Seconds since the epoch, UTC."""

    async def send(reverse_path: Mailbox | None, recipients: Sequence[Mailbox], content: bytes) -> str:
        """Put a message into the queue; its queue id, once it is durable.  It goes by the routes of who may send
        anywhere (``"*"`` serves it).

        ``content`` is a whole message with CRLF line ends, no dot-stuffing.  ValueError: more recipients than
        ``[limits] recipients``, none, more octets than ``message_octets``, a NUL, a bare CR or LF.  TemporaryFault: the
        gateway does not run, has no room, or no route serves a recipient.  Nothing is queued then.  Where the caller is
        cancelled while it waits, the message may be queued all the same.
        """


class IUsesGateway(Interface):
    """A plug-in (a backend, a rule, a directory, an observer) that wants to send, or to know the time."""

    def use(gateway: IGateway) -> None:
        """Called once at each start, before the plug-in is asked anything.  ``gateway`` sends from the time when mail
        is taken until the gateway has stopped."""


class ITransactionalBackend(IDeliveryBackend):
    """A backend that may have a message before its client is answered, so that its refusal is the client's answer, and
    no bounce.

    Promises of the gateway: ``in_transaction`` is asked when the content is complete and the policy has let it pass, if
    the message has one recipient, this backend's; with several it is not asked, everything runs from the queue, and
    refusals become reports.  By then nothing is durable and nobody has been answered.  ``message`` has the queue id
    that it is going to have in the queue: with the recipient the same idempotency key, whether it is handed over here
    or by ``deliver``.  Delivered: the client is told 250, and the message is not queued.  Permanent: it is told the
    outcome's 5yz.  Temporary, an exception, or nothing within the time: it is told a 4yz, and keeps the message; what
    it brings again has another queue id.  So has what it brings again because it did not hear our 250 (RFC 1047): a
    Message-ID may tell such repeats.  A message that a rule holds, or of which the sender asked for a report of its
    success or for a time (DELIVERBY, FUTURERELEASE), is queued; so is one whose lane the operator has suspended.
    ``concurrency`` is of ``deliver``: here as many calls may be under way as clients are at that point, up to 1000.
    Promises of the backend: as of ``deliver``, "delivered" only when the next crash cannot take the message back.  It
    answers well within the ten minutes that a client waits for it (RFC 5321 s4.5.3.2.6), three at the most: after 200
    seconds it is cancelled, and whoever is late gets the message twice.
    """

    async def in_transaction(message: Message, recipient: Mailbox) -> Outcome | None:
        """What becomes of it; None: it is to be queued, and comes by ``deliver``."""


class IRelay(IDeliveryBackend):
    """A backend that hands mail to servers of the operator's choice (a smart host), whoever the recipient is: that they
    are not reached says nothing of the recipient's domain, and reports do not blame it.  It is a mark alone."""


class IShapedBackend(IDeliveryBackend):
    """A backend that says more of its limits than one number for every lane."""

    async def shape(lane: str) -> Shape:
        """What holds for ``lane`` now; ``concurrency`` counts no more.

        Asked when a lane has work after a while without, and again from time to time, so it should be cheap.
        TemporaryFault where it cannot be known now: then the lane has ``concurrency`` and no gates.
        """


class ILimitedHere(IDeliveryBackend):
    """A backend whose ``concurrency`` is for the sake of the process that it is in: where several workers deliver, each
    may have so many at once.  It is a mark alone."""


class IFilesJunk(IDeliveryBackend):
    """A backend that keeps junk out of where people look first: a message for which ``message.is_junk`` holds goes to a
    place of its own, such as a folder "Junk".  It is a mark alone.

    A message that a rule calls junk is delivered where all of its backends provide this; else all of it is held for the
    operator.
    """


class IKeepsSessions(IDeliveryBackend):
    """A backend that keeps connections open between two messages."""

    def part(lane: str, count: int) -> None:
        """Of those that are kept for ``lane`` so many are to be closed: others deliver there now."""


class IRecipientDirectory(Interface):
    """Who exists, and where mail for him goes: a database, a service, your own Python (``[directory.NAME]``, named by
    a ``[[route]]``).

    Promises of the gateway: it is asked for addresses alone that such a route serves, without a tag where they were not
    found with it, their local part and domain in lower case (ASCII), so that equal addresses are equal questions.
    Equal questions at the same moment are one, at most ``concurrency`` of the table run at once, and after its
    ``timeout`` one is cancelled.  What was said is remembered for the table's times, and may stand in while the
    directory is down; after failures in a row it is left alone for a while.  Targets need not be final: they are asked
    about in their turn, where a route says so.
    Promises of the directory: it does not block the reactor (``twisted.internet.threads.deferToThread`` is for what
    does), and a question changes nothing: strangers ask as often as they like, and no mail need follow.
    A directory that also provides ``twisted.application.service.IService`` is started and stopped with the gateway.
    """

    async def find(recipient: Mailbox) -> Found | None:
        """What is known of an address.  ``Found()``: it exists; with targets: it is an alias for them; None: nobody has
        that name, which is answered 550 5.1.1, unless a catch-all takes it.

        Whatever it raises, and an answer of another kind, is temporary trouble: the client is asked to come again (451
        4.4.3, or the reply of a TemporaryFault).  So a look-up that failed has to raise, and must not return None.
        """
