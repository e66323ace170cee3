"""The server's side of one SMTP or LMTP session, without a socket (RFC 5321, 2033, 2920, 1870, 6152, 2034, 3207,
3030, 4954, 6409, 9422; not done: source routing, VRFY beyond 252, EXPN).

Rules:
    Form, order and parameters are judged here and answered here; the shell sees legal events alone.
    Nothing that came in clear counts under TLS, and what came between STARTTLS and TLS ends the session.
    AUTH exists for the submission roles, under TLS, and for nobody else.
"""

from collections.abc import Callable, Mapping
from typing import Final, assert_never

from mailgw.mail.envelope import Role
from mailgw.mail.errors import LocalProtocolError
from mailgw.mail.reply import Reply
from mailgw.wire import smtp_replies as replies
from mailgw.wire.lines import LineFault
from mailgw.wire.mechanisms import behind_a_front
from mailgw.wire.sasl import NOTHING_OFFERED, Offer, ScramKeys
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
    KeysOf,
    Limit,
    LoggedIn,
    Mail,
    Overstepped,
    Owed,
    Quit,
    Rcpt,
    Reset,
    Signal,
    StartTls,
    Xclient,
)
from mailgw.wire.smtp_grammar import parse_name, vrfy_fault
from mailgw.wire.smtp_offers import extension_lines
from mailgw.wire.smtp_transactions import Transactions
from mailgw.wire.xclient import Front

__all__ = [
    "NEED_DATA", "PAUSED", "Awaiting", "Content", "ContentEnd", "Credentials", "Data", "Dialog", "DialogSettings",
    "Event", "Expelled", "Hello", "KeysOf", "Limit", "LoggedIn", "Mail", "Overstepped", "Owed", "Quit", "Rcpt", "Reset",
    "Signal", "StartTls", "Xclient",
]


class Dialog(Transactions):
    """One session.  Not re-entrant; calls in a forbidden order raise ``LocalProtocolError``.

    The loop of a shell::

        dialog.receive(octets)
        while (event := dialog.next_event()) is not NEED_DATA and event is not PAUSED:
            ...                       # answer() what is owed, now or later
        transport.write(dialog.output())
    """

    def __init__(self, settings: DialogSettings, tls: bool, is_front: bool = False) -> None:
        """``tls``: the session is under TLS from its first octet (submissions); ``is_front``: XCLIENT is offered."""
        super().__init__(settings, tls)
        self._front = Front(settings.role, is_front)
        self._login_required = settings.role.is_submission
        self._offer = NOTHING_OFFERED
        self._forget()

    def _end(self) -> None:
        super()._end()
        self._login.abandon()

    def _forget(self) -> None:
        """All that the client said, but not its errors."""
        self._introduced = False
        self._extended = False
        self._login = Login(self._offer)
        self._drop_transaction()
        self._line_octets = self._line_limit()

    def offer_logins(self, offer: Offer) -> None:
        """Say by what one may log in, when TLS stands: before ``tls_started``, or before the greeting of a session
        that began with TLS.  The submission roles alone make use of it."""
        self._offer = offer
        self._login = Login(offer)

    def next_event(self) -> Event | Signal:
        """The next legal thing that the client did.  What is illegal was answered, and is no event."""
        while True:
            if self.has_much_to_say and self.awaiting is not Awaiting.NOTHING:
                return PAUSED
            match self.awaiting:
                case Awaiting.COMMAND:
                    event = self._next_command() if self._last is None else self._take_last()
                case Awaiting.CONTENT | Awaiting.CONTENT_START:
                    event = self._next_content()
                case Awaiting.CREDENTIALS:
                    event = self._next_credentials()
                case Awaiting.ANSWER | Awaiting.HANDSHAKE | Awaiting.PENALTY:
                    return PAUSED
                case Awaiting.NOTHING:
                    event = self._take_last() or NEED_DATA
                case _:
                    assert_never(self.awaiting)
            if event is not None:
                return event

    def _take_last(self) -> Event | None:
        last, self._last = self._last, None
        return last

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
        owed = self._fitting(reply)
        positive = reply.is_positive
        self._owed = None
        self.awaiting = Awaiting.COMMAND
        if reply.code == 421:
            self._say(reply)
            self._end()
        elif owed is Rcpt:
            self._answer_rcpt(reply)
        elif owed is Mail:
            self._in_transaction = positive
            self._say(reply)
        elif owed is ContentEnd:
            self._answer_content([reply] * self._answers())
        elif owed is Data:
            self._answer_data(reply)
        elif owed is Credentials or owed is KeysOf:
            self._last = self._log_in(self._login.answered(reply))
        elif owed is StartTls:
            self._answer_starttls(reply)
        elif owed is Xclient:
            self._answer_xclient(reply)
        else:
            self._say(reply)  # a hello refused

    def supply_keys(self, keys: ScramKeys, nonce: str) -> None:
        """Answer ``KeysOf``; ``nonce`` is printable without commas, fresh, and hard to guess.

        After the end of the session it does nothing.
        """
        if self.awaiting is Awaiting.NOTHING:
            return
        if self._owed is not KeysOf:
            raise LocalProtocolError("no keys are wanted")
        self._owed = None
        self.awaiting = Awaiting.COMMAND
        self._last = self._log_in(self._login.supply(keys, nonce))

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
        if self.witness is not None:
            if isinstance(line, LineFault):
                self.witness.spoiled(line)
            else:
                self.witness.command(line)
        if isinstance(line, LineFault):
            start = self._lines.fault_start
            return self._expel_if_chunk(start) or self._refuse_line(line, replies.LINE_TOO_LONG)
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        # AUTH alone may be longer than other commands, by its initial response (RFC 4954 s4).
        if len(line) + 2 > self._settings.command_line_octets and verb != b"AUTH":
            return self._expel_if_chunk(line) or self._refuse(replies.LINE_TOO_LONG)
        if self._turned_away and verb not in (b"QUIT", b"BDAT"):
            return self._refuse(replies.NO_SERVICE)
        command = _COMMANDS.get(verb)
        if command is None:
            if verb.startswith(b"BDAT"):  # BDAT, a tab, a number
                return self._expel(replies.CHUNK_WITHOUT_SIZE)
            # A browser that was led here would send its whole request as commands.
            if verb in _FOREIGN:
                return self._expel(replies.NOT_THIS_PROTOCOL)
            return self._refuse(replies.UNKNOWN_COMMAND)
        if verb in _IDLE and self._conduct.idle() and (expelled := self._count_error()):
            return expelled
        # RFC 5321 s4.1.1: white space at the end is tolerated.
        return command(self, argument.strip(b" \t"))

    def _next_credentials(self) -> Event | Signal | None:
        line = self._lines.take_line(self._settings.auth_line_octets)
        if line is None:
            return NEED_DATA
        if self.witness is not None:
            self.witness.credentials()
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

    def _xclient(self, argument: bytes) -> Event | None:
        named = self._front.name(argument, self._introduced, self._in_transaction)
        return self._refuse(named) if isinstance(named, Reply) else self._owe(named)

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

    def _answer_starttls(self, reply: Reply) -> None:
        if not reply.is_positive:
            self._say(reply)
        elif len(self._lines):
            self._last = self._expel(replies.SENT_BEFORE_TLS)
        else:
            self._say(reply)
            self.awaiting = Awaiting.HANDSHAKE

    def _answer_xclient(self, reply: Reply) -> None:
        self._say(reply)
        if self._front.answered(reply):
            self._offer = behind_a_front(self._offer)
            self._forget()
            self._login.is_done = self._front.vouches
        else:
            self._end()  # the client is not welcome, and the front has said that it speaks for nobody else

    # --- below -----------------------------------------------------------------------------------------

    def _expel_if_chunk(self, line: bytes) -> Event | None:
        """A line that was not read cannot be BDAT: its octets would be taken for commands."""
        return self._expel(replies.CHUNK_WITHOUT_SIZE) if line[:4].upper() == b"BDAT" else None

    def _lacking(self) -> Reply | None:
        if not self._introduced:
            return replies.HELLO_FIRST
        if self._login_required and not self._login.is_done:
            return replies.AUTH_REQUIRED if self._tls else replies.TLS_FIRST
        return None

    def _log_in(self, step: Step) -> Event | None:
        """What an exchange came to."""
        if isinstance(step, bytes):
            self._output.append(step)
            if self.witness is not None:
                self.witness.challenge()
            self.awaiting = Awaiting.CREDENTIALS
            return None
        if not isinstance(step, Reply):
            return self._owe(step)
        if not step.is_positive:
            return self._refuse(step)
        self._say(step)
        self._line_octets = self._line_limit()
        return LoggedIn()

    def _may_log_in(self) -> bool:
        return self._login_required and self._tls and self._introduced and not self._login.is_done

    def _line_limit(self) -> int:
        settings = self._settings
        if self._may_log_in():
            return max(settings.command_line_octets, settings.auth_line_octets)
        return settings.command_line_octets

    def _extensions(self, now: float) -> list[str]:
        lines = self._front.offers()
        if self._may_log_in() and self._login.mechanisms:
            lines.append(" ".join(("AUTH", *self._login.mechanisms)))
        return extension_lines(self._settings, self._tls, now, lines)


_COMMANDS: Final[Mapping[bytes, Callable[[Dialog, bytes], Event | None]]] = {
    b"EHLO": Dialog._ehlo,
    b"HELO": Dialog._helo,
    b"LHLO": Dialog._lhlo,
    b"STARTTLS": Dialog._starttls,
    b"AUTH": Dialog._auth,
    b"XCLIENT": Dialog._xclient,
    b"MAIL": Dialog._mail,
    b"RCPT": Dialog._rcpt,
    b"DATA": Dialog._data,
    b"BDAT": Dialog._bdat,
    b"RSET": Dialog._rset,
    b"QUIT": Dialog._quit,
    b"NOOP": Dialog._noop,
    b"HELP": Dialog._help,
    b"VRFY": Dialog._vrfy,
    # RFC 5321 s4.2.4: known, but not served.
    b"EXPN": Dialog._not_implemented,
    b"SEND": Dialog._not_implemented,
    b"SOML": Dialog._not_implemented,
    b"SAML": Dialog._not_implemented,
    b"TURN": Dialog._not_implemented,
}

# They may come as often as they like, and bring no message forward.
_IDLE: Final = frozenset({b"EHLO", b"HELO", b"LHLO", b"RSET", b"NOOP", b"HELP", b"VRFY"})

_FOREIGN: Final = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT"})
