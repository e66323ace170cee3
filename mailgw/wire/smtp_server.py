"""The server's side of one SMTP or LMTP session, without a socket (RFC 5321, 2033, 2920, 1870, 6152, 2034, 3207,
4954, 6409; not done: CHUNKING, source routing, VRFY beyond 252, EXPN).

Rules:
    Form, order and parameters are judged here and answered here; the shell sees legal events alone.
    While an answer is owed nothing more is looked at, so pipelined commands are answered in their order.
    Nothing that came in clear counts under TLS, and what came between STARTTLS and TLS ends the session.
    AUTH exists for the submission roles, under TLS, and for nobody else.
    After a refused DATA, octets that were sent before the refusal may be content: the session ends, or a message's
    text would be taken for commands (RFC 2920 s3.1 forbids them).
"""

from collections.abc import Callable, Mapping
from typing import Final, assert_never

from mailgw.mail.envelope import Role
from mailgw.mail.errors import LocalProtocolError
from mailgw.mail.reply import Reply
from mailgw.wire import smtp_replies as replies
from mailgw.wire.dots import ContentFault, DotReader
from mailgw.wire.lines import LineFault, LineReader
from mailgw.wire.smtp_auth import Login, Step
from mailgw.wire.smtp_events import (
    NEED_DATA,
    PAUSED,
    Awaiting,
    Content,
    ContentEnd,
    Credentials,
    Data,
    DialogSettings,
    Event,
    Expelled,
    Hello,
    Mail,
    Owed,
    Quit,
    Rcpt,
    Reset,
    Signal,
    StartTls,
)
from mailgw.wire.smtp_grammar import parse_mail, parse_name, parse_rcpt, vrfy_fault
from mailgw.wire.smtp_parameters import mail_keywords, offers, rcpt_keywords

__all__ = [
    "NEED_DATA", "PAUSED", "Awaiting", "Content", "ContentEnd", "Credentials", "Data", "Dialog", "DialogSettings",
    "Event", "Expelled", "Hello", "Mail", "Owed", "Quit", "Rcpt", "Reset", "Signal", "StartTls",
]


class Dialog:
    """One session.  Not re-entrant; calls in a forbidden order raise ``LocalProtocolError``.

    The loop of a shell::

        dialog.receive(octets)
        while (event := dialog.next_event()) is not NEED_DATA and event is not PAUSED:
            ...                       # answer() what is owed, now or later
        transport.write(dialog.output())
    """

    def __init__(self, settings: DialogSettings, tls: bool) -> None:
        """``tls``: the session is under TLS from its first octet (submissions)."""
        self.awaiting: Awaiting = Awaiting.ANSWER
        self._settings = settings
        self._lines = LineReader()
        self._output: list[bytes] = []
        self._owed: type[Owed] | None = None
        self._last: Event | None = None  # how an answer of ours ended the session
        self._greeted = False
        self._turned_away = False  # by a 554 greeting
        self._errors = 0
        self._tls = tls
        self._login_required = settings.role.is_submission
        self._mail_keywords = mail_keywords(settings.extensions, settings.role.is_submission)
        self._rcpt_keywords = rcpt_keywords(settings.extensions)
        self._smtputf8 = False  # the last MAIL said so
        self._dots: DotReader | None = None
        self._forget()

    def _forget(self) -> None:
        """All that the client said, but not its errors."""
        self._introduced = False
        self._extended = False
        self._login = Login(self._settings.sasl_mechanisms)
        self._in_transaction = False
        self._recipients = 0
        self._line_octets = self._line_limit()

    @property
    def is_closing(self) -> bool:
        """The session is over: send ``output()``, then close.  What still comes in is dropped."""
        return self.awaiting is Awaiting.NOTHING

    @property
    def awaits_tls(self) -> bool:
        """A 220 was given to STARTTLS: send ``output()``, start TLS, and call ``tls_started`` when it stands."""
        return self.awaiting is Awaiting.HANDSHAKE

    @property
    def backlog_octets(self) -> int:
        """Octets received, but not yet looked at: pause the transport above a limit."""
        return len(self._lines)

    def greet(self, reply: Reply) -> None:
        """Say the greeting, once, first of all: 220; 554, after which only QUIT is served; or 421, which closes."""
        if self._greeted:
            raise LocalProtocolError("greeted twice")
        self._greeted = True
        if self.awaiting is Awaiting.NOTHING:
            return
        self._say(reply)
        if reply.code == 421:
            self._end()
            return
        # RFC 5321 s3.1: after 554 the server waits for QUIT, and answers 503 to everything else.
        self._turned_away = not reply.is_positive
        self.awaiting = Awaiting.COMMAND

    def receive(self, octets: bytes) -> None:
        """Take what the client sent; ``next_event`` looks at it."""
        if self.awaiting is Awaiting.HANDSHAKE:
            raise LocalProtocolError("octets in clear after STARTTLS was accepted")
        if self.awaiting is not Awaiting.NOTHING:
            self._lines.receive(octets)

    def next_event(self) -> Event | Signal:
        """The next legal thing that the client did.  What is illegal was answered, and is no event."""
        while True:
            match self.awaiting:
                case Awaiting.COMMAND:
                    event = self._next_command()
                case Awaiting.CONTENT | Awaiting.CONTENT_START:
                    event = self._next_content()
                case Awaiting.CREDENTIALS:
                    event = self._next_credentials()
                case Awaiting.ANSWER | Awaiting.HANDSHAKE:
                    return PAUSED
                case Awaiting.NOTHING:
                    event, self._last = self._last or NEED_DATA, None
                case _:
                    assert_never(self.awaiting)
            if event is not None:
                return event

    def accept_hello(self, now: float) -> None:
        """Answer ``Hello`` with our name and, if extended, the extensions.

        ``now`` in seconds since the epoch: FUTURERELEASE names a date.
        """
        if self.awaiting is Awaiting.NOTHING:
            return
        if self._owed is not Hello:
            raise LocalProtocolError("no hello to accept")
        self._owed = None
        self.awaiting = Awaiting.COMMAND
        self._introduced = True
        self._line_octets = self._line_limit()
        hostname = self._settings.hostname
        self._say(Reply(250, "", (hostname, *self._extensions(now)) if self._extended else (hostname,)))

    def answer(self, reply: Reply) -> None:
        """Give the owed answer.  A 421 closes, whatever it answers.

        After the end of the session it does nothing: a slow answer may come after ``close``.
        """
        if self.awaiting is Awaiting.NOTHING:
            return
        owed = self._owed
        if owed is None:
            raise LocalProtocolError(f"no answer is owed: {reply}")
        positive = reply.is_positive
        if positive and reply.code not in _POSITIVE[owed]:
            raise LocalProtocolError(f"{reply} is no answer to {owed.__name__}")
        self._owed = None
        self.awaiting = Awaiting.COMMAND
        if reply.code == 421:
            self._say(reply)
            self._end()
        elif owed is Rcpt:
            self._recipients += positive
            self._say(reply)
        elif owed is Mail:
            self._in_transaction = positive
            self._say(reply)
        elif owed is ContentEnd:
            self._answer_content(reply)
        elif owed is Data:
            self._answer_data(reply)
        elif owed is Credentials:
            self._last = self._log_in(self._login.answered(reply))
        elif owed is StartTls:
            self._answer_starttls(reply)
        else:
            self._say(reply)  # a hello refused

    def close(self, reply: Reply) -> None:
        """Say a last word (421 4.4.2 for silence, 421 4.3.2 for a shutdown) and end the session at any time."""
        if self.awaiting is not Awaiting.NOTHING:
            self._say(reply)
            self._end()

    def output(self) -> bytes:
        """Take the octets to send, b"" where there are none; what was taken is not given again."""
        octets = b"".join(self._output)
        self._output.clear()
        return octets

    def tls_started(self) -> None:
        """TLS stands: all that was learned before is forgotten (RFC 3207 s4.2)."""
        if self.awaiting is not Awaiting.HANDSHAKE:
            raise LocalProtocolError("TLS was not asked for")
        self._tls = True
        self._forget()
        self.awaiting = Awaiting.COMMAND

    # --- what comes in ---------------------------------------------------------------------------------

    def _next_command(self) -> Event | Signal | None:
        line = self._lines.take_line(self._line_octets)
        if line is None:
            return NEED_DATA
        if isinstance(line, LineFault):
            return self._refuse_line(line, replies.LINE_TOO_LONG)
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        # AUTH alone may be longer than other commands, by its initial response (RFC 4954 s4).
        if len(line) + 2 > self._settings.command_line_octets and verb != b"AUTH":
            return self._refuse(replies.LINE_TOO_LONG)
        if self._turned_away and verb != b"QUIT":
            return self._refuse(replies.NO_SERVICE)
        command = _COMMANDS.get(verb)
        if command is None:
            # A browser that was led here would send its whole request as commands.
            if verb in _FOREIGN:
                return self._expel(replies.NOT_THIS_PROTOCOL)
            return self._refuse(replies.UNKNOWN_COMMAND)
        # RFC 5321 s4.1.1: white space at the end is tolerated.
        return command(self, argument.strip(b" \t"))

    def _next_content(self) -> Event | Signal | None:
        dots = self._dots
        assert dots is not None
        while not dots.ended:
            octets = self._lines.take_all()
            if not octets:
                return NEED_DATA
            self.awaiting = Awaiting.CONTENT
            content, rest = dots.feed(octets)
            if rest:
                self._lines.receive(rest)
            if content:
                return Content(content)
        self._dots = None
        return self._owe(ContentEnd(_CONTENT_FAULTS[dots.fault]))

    def _next_credentials(self) -> Event | Signal | None:
        line = self._lines.take_line(self._settings.auth_line_octets)
        if line is None:
            return NEED_DATA
        self.awaiting = Awaiting.COMMAND
        if isinstance(line, LineFault):
            self._login.abandon()
            return self._refuse_line(line, replies.AUTH_LINE_TOO_LONG)
        return self._log_in(self._login.respond(line))

    # --- commands ----------------------------------------------------------------------------------------

    def _ehlo(self, argument: bytes) -> Event | None:
        return self._hello(argument, extended=True, lmtp=False)

    def _helo(self, argument: bytes) -> Event | None:
        return self._hello(argument, extended=False, lmtp=False)

    def _lhlo(self, argument: bytes) -> Event | None:
        return self._hello(argument, extended=True, lmtp=True)

    def _hello(self, argument: bytes, extended: bool, lmtp: bool) -> Event | None:
        # RFC 2033 s4.1: LHLO takes the place of both, which must not succeed.
        if lmtp is not (self._settings.role is Role.LMTP):
            return self._refuse(replies.UNKNOWN_COMMAND if lmtp else replies.USE_LHLO)
        name = parse_name(argument)
        if isinstance(name, Reply):
            return self._refuse(name)
        # RFC 5321 s4.1.4: EHLO drops the transaction as RSET does.
        self._drop_transaction()
        self._extended = extended
        return self._owe(Hello(name, extended))

    def _starttls(self, argument: bytes) -> Event | None:
        if self._tls:
            return self._refuse(replies.TLS_IS_ON)
        if not self._settings.offers_starttls:
            return self._refuse(replies.NOT_IMPLEMENTED)
        if argument:
            return self._refuse(replies.NO_ARGUMENT)
        if not self._introduced:
            return self._refuse(replies.HELLO_FIRST)
        if self._in_transaction:
            return self._refuse(replies.NOT_IN_TRANSACTION)
        if len(self._lines):
            return self._expel(replies.SENT_BEFORE_TLS)
        return self._owe(StartTls())

    def _auth(self, argument: bytes) -> Event | None:
        if not self._login_required:
            return self._refuse(replies.NOT_IMPLEMENTED)
        if not self._introduced:
            return self._refuse(replies.HELLO_FIRST)
        if not self._tls:
            return self._refuse(replies.ENCRYPTION_REQUIRED)
        if self._login.is_done:
            return self._refuse(replies.LOGGED_IN_ALREADY)
        return self._log_in(self._login.begin(argument))

    def _mail(self, argument: bytes) -> Event | None:
        if not self._introduced:
            return self._refuse(replies.HELLO_FIRST)
        if self._login_required and not self._login.is_done:
            return self._refuse(replies.AUTH_REQUIRED if self._tls else replies.TLS_FIRST)
        if self._in_transaction:
            return self._refuse(replies.NESTED_MAIL)
        mail = parse_mail(argument, self._mail_keywords)
        if isinstance(mail, Reply):
            return self._refuse(mail)
        if mail.asked.require_tls and not self._tls:
            return self._refuse(replies.REQUIRETLS_IN_CLEAR)
        if mail.size is not None and mail.size > self._settings.message_octets:
            self._say(replies.TOO_LARGE)  # RFC 1870 s6.1
            return None
        self._recipients = 0
        self._smtputf8 = mail.asked.smtputf8
        return self._owe(Mail(mail.path, mail.body_type, mail.size, mail.asked))

    def _rcpt(self, argument: bytes) -> Event | None:
        if not self._in_transaction:
            return self._refuse(self._mail_missing())
        rcpt = parse_rcpt(argument, self._rcpt_keywords, self._mail_keywords, self._smtputf8)
        if isinstance(rcpt, Reply):
            return self._refuse(rcpt)
        if self._recipients >= self._settings.recipients:
            self._say(replies.TOO_MANY_RECIPIENTS)  # RFC 5321 s4.5.3.1.10
            return None
        return self._owe(Rcpt(rcpt.path, rcpt.parameters))

    def _data(self, argument: bytes) -> Event | None:
        if not self._in_transaction:
            return self._refuse_data(self._mail_missing())
        if argument:
            return self._refuse_data(replies.NO_ARGUMENT)
        if not self._recipients:
            lmtp = self._settings.role is Role.LMTP
            return self._refuse_data(replies.NO_LMTP_RECIPIENTS if lmtp else replies.NO_RECIPIENTS)
        return self._owe(Data())

    def _rset(self, argument: bytes) -> Event | None:
        if argument:
            return self._refuse(replies.NO_ARGUMENT)
        self._say(replies.OK)
        if not self._in_transaction:
            return None
        self._drop_transaction()
        return Reset()

    def _quit(self, _argument: bytes) -> Event | None:
        self._say(replies.BYE)
        self._end()
        return Quit()

    def _noop(self, _argument: bytes) -> Event | None:
        self._say(replies.OK)
        return None

    def _help(self, _argument: bytes) -> Event | None:
        self._say(replies.HELP)
        return None

    def _vrfy(self, argument: bytes) -> Event | None:
        if not argument:
            return self._refuse(replies.WANTS_ARGUMENT)
        fault = vrfy_fault(argument, self._mail_keywords)
        if fault is not None:
            return self._refuse(fault)
        self._say(replies.CANNOT_VERIFY)
        return None

    def _not_implemented(self, _argument: bytes) -> Event | None:
        return self._refuse(replies.NOT_IMPLEMENTED)

    # --- answers ---------------------------------------------------------------------------------------

    def _answer_content(self, reply: Reply) -> None:
        # RFC 2033 s4.2: one reply for each recipient that was accepted.
        for _ in range(self._recipients if self._settings.role is Role.LMTP else 1):
            self._say(reply)
        self._drop_transaction()
        if reply.is_positive:
            self._errors = 0  # a long and useful session may err now and then

    def _answer_data(self, reply: Reply) -> None:
        if not reply.is_positive:
            self._say(reply)
            self._last = self._expel_if_ahead()
            return
        self._say(reply)
        self._dots = DotReader(self._settings.message_octets)
        self.awaiting = Awaiting.CONTENT_START

    def _answer_starttls(self, reply: Reply) -> None:
        if not reply.is_positive:
            self._say(reply)
        elif len(self._lines):
            self._last = self._expel(replies.SENT_BEFORE_TLS)
        else:
            self._say(reply)
            self.awaiting = Awaiting.HANDSHAKE

    # --- below -----------------------------------------------------------------------------------------

    def _say(self, reply: Reply) -> None:
        self._output.append(reply.octets())

    def _owe(self, event: Owed) -> Event:
        self._owed = type(event)
        self.awaiting = Awaiting.ANSWER
        return event

    def _end(self) -> None:
        self._owed = None
        self._login.abandon()
        self._dots = None
        self._lines.clear()
        self.awaiting = Awaiting.NOTHING

    def _expel(self, reply: Reply) -> Event:
        self._say(reply)
        self._end()
        return Expelled(reply)

    def _refuse(self, reply: Reply) -> Event | None:
        """Answer a command that should not have been given; one too many of them ends the session."""
        self._errors += 1
        if self._errors > self._settings.errors_per_session:
            return self._expel(replies.TOO_MANY_ERRORS)
        self._say(reply)
        return None

    def _refuse_line(self, fault: LineFault, too_long: Reply) -> Event | None:
        match fault:
            case LineFault.BARE:
                return self._refuse(replies.BARE_OCTETS)
            case LineFault.TOO_LONG:
                return self._refuse(too_long)
            case LineFault.ENDLESS:
                return self._expel(replies.ENDLESS_LINE)
            case _:
                assert_never(fault)

    def _refuse_data(self, reply: Reply) -> Event | None:
        return self._refuse(reply) or self._expel_if_ahead()

    def _expel_if_ahead(self) -> Event | None:
        """After DATA was refused: the client must not have gone on before it knew."""
        return self._expel(replies.SENT_BEFORE_CONTENT) if len(self._lines) else None

    def _drop_transaction(self) -> None:
        self._in_transaction = False
        self._recipients = 0

    def _mail_missing(self) -> Reply:
        if self._login_required and not self._login.is_done:
            return replies.AUTH_REQUIRED if self._tls else replies.TLS_FIRST
        return replies.MAIL_FIRST

    def _log_in(self, step: Step) -> Event | None:
        """What an exchange came to."""
        if isinstance(step, bytes):
            self._output.append(step)
            self.awaiting = Awaiting.CREDENTIALS
            return None
        if not isinstance(step, Reply):
            return self._owe(step)
        if not step.is_positive:
            return self._refuse(step)
        self._say(step)
        self._line_octets = self._line_limit()
        return None

    def _may_log_in(self) -> bool:
        return self._login_required and self._tls and self._introduced and not self._login.is_done

    def _line_limit(self) -> int:
        settings = self._settings
        if self._may_log_in():
            return max(settings.command_line_octets, settings.auth_line_octets)
        return settings.command_line_octets

    def _extensions(self, now: float) -> list[str]:
        settings = self._settings
        words = ["PIPELINING", f"SIZE {settings.message_octets}", "8BITMIME", "ENHANCEDSTATUSCODES"]
        if settings.offers_starttls and not self._tls:
            words.append("STARTTLS")
        if self._may_log_in() and settings.sasl_mechanisms:
            words.append(" ".join(("AUTH", *settings.sasl_mechanisms)))
        if settings.extensions:
            words += offers(settings.extensions, self._tls, now, settings.hold_seconds)
        return words


_POSITIVE: Final[Mapping[type, frozenset[int]]] = {
    Hello: frozenset(),  # that is accept_hello's
    StartTls: frozenset({220}),
    Credentials: frozenset({235}),
    Mail: frozenset({250}),
    Rcpt: frozenset({250, 251, 252}),
    Data: frozenset({354}),
    ContentEnd: frozenset({250}),
}

_CONTENT_FAULTS: Final[Mapping[ContentFault | None, Reply | None]] = {
    None: None,
    ContentFault.BARE: replies.BARE_CONTENT,
    ContentFault.TOO_LARGE: replies.TOO_LARGE,
}

_COMMANDS: Final[Mapping[bytes, Callable[[Dialog, bytes], Event | None]]] = {
    b"EHLO": Dialog._ehlo,
    b"HELO": Dialog._helo,
    b"LHLO": Dialog._lhlo,
    b"STARTTLS": Dialog._starttls,
    b"AUTH": Dialog._auth,
    b"MAIL": Dialog._mail,
    b"RCPT": Dialog._rcpt,
    b"DATA": Dialog._data,
    b"RSET": Dialog._rset,
    b"QUIT": Dialog._quit,
    b"NOOP": Dialog._noop,
    b"HELP": Dialog._help,
    b"VRFY": Dialog._vrfy,
    # RFC 5321 s4.2.4: known, but not served (BDAT is RFC 3030's; the others the RFC's own and its ancestors').
    b"BDAT": Dialog._not_implemented,
    b"EXPN": Dialog._not_implemented,
    b"SEND": Dialog._not_implemented,
    b"SOML": Dialog._not_implemented,
    b"SAML": Dialog._not_implemented,
    b"TURN": Dialog._not_implemented,
}

_FOREIGN: Final = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT"})
