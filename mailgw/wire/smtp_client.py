"""The client's side of one SMTP or LMTP session, without a socket (RFC 5321, 2033, 2920, 1870, 6152, 2034, 3207,
4954; not done: CHUNKING, SMTPUTF8, DSN, BINARYMIME, AUTH but PLAIN and LOGIN, AUTH= on MAIL).

A map of the steps; a reply leads to the right, trouble to OVER:

    GREETING > HELLO > [STARTTLS > HANDSHAKE > HELLO] > [AUTH > [NAME > PASSWORD]] > IDLE
    IDLE > [RESET] > MAIL > RCPT ... > DATA > CONTENT > END ... > IDLE

Rules:
    Where PIPELINING is offered, everything up to DATA goes out at once (RFC 2920 s3.1); the steps are the same,
    only nothing is sent between them.
    What became of a recipient is an ``Outcome``.  Only a peer's 5yz to MAIL, RCPT, DATA or the content is final.
    A 5yz to the greeting, EHLO, STARTTLS or AUTH is not: it speaks of us, of the hour or of our configuration,
    not of the message, which its age will end.
    A reply that is not owed, or is no reply, ends the session: it is out of step.
    Once the final dot left, the server may have taken the message: without an answer, no other host is tried
    in the same attempt (the outcome's scope is MESSAGE), since that would make a second copy likely.
"""

import enum
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import LocalProtocolError
from mailgw.mail.outcome import Outcome, Permanence, Scope, delivered, permanent, refused, temporary
from mailgw.wire.reply_reader import RawReply, ReplyFault, ReplyReader, made_reply


class StartTlsUse(enum.Enum):
    """What to do about STARTTLS; without effect where TLS is on from the start."""

    NEVER = "never"
    IF_OFFERED = "if offered"
    REQUIRED = "required"


@attrs.frozen
class Login:
    username: str
    password: str = attrs.field(repr=False)


@attrs.frozen
class ClientSettings:
    """``hello_name`` is who we say we are; a server that calls itself by one of ``own_names`` (lower case) is this
    host, and mail for it goes in circles.  ``may_show_login`` lets AUTH pass in clear.  ``hop`` names the
    peer in outcomes."""

    hello_name: str
    lmtp: bool
    starttls: StartTlsUse
    login: Login | None
    may_show_login: bool
    hop: str
    own_names: frozenset[str]


# --- events ---------------------------------------------------------------------------------------------------

@attrs.frozen
class Ready:
    """The session stands: ``begin`` may be called."""


@attrs.frozen
class StartTls:
    """Start TLS on the transport, then call ``tls_started``."""


@attrs.frozen
class GoAhead:
    """The server wants the content: send it stuffed, with its final dot, then call ``content_sent``."""


@attrs.frozen
class Done:
    """The transaction is over: one outcome for each recipient."""

    outcomes: dict[Mailbox, Outcome]


@attrs.frozen
class Unusable:
    """The session came to nothing, or ended between two transactions.  Send the output and close."""

    outcome: Outcome


Event = Ready | StartTls | GoAhead | Done | Unusable


class Signal(enum.Enum):
    NEED_DATA = "need data"


NEED_DATA: Final = Signal.NEED_DATA


class Step(enum.Enum):
    """Which answer is awaited, and so which time limit runs (RFC 5321 s4.5.3.2)."""

    GREETING = "the greeting"
    HELLO = "the answer to EHLO"
    STARTTLS = "the answer to STARTTLS"
    HANDSHAKE = "the TLS handshake"
    AUTH = "the answer to AUTH"
    NAME = "the prompt for a user name"
    PASSWORD = "the prompt for a password"  # noqa: S105 - no password
    IDLE = "work"
    RESET = "the answer to RSET"
    MAIL = "the answer to MAIL"
    RCPT = "the answer to RCPT"
    DATA = "the answer to DATA"
    CONTENT = "the content to be taken"
    END = "the answer to the content"
    OVER = "nothing"


_IN_TRANSACTION = frozenset({Step.RESET, Step.MAIL, Step.RCPT, Step.DATA, Step.CONTENT, Step.END})


class ClientDialog:
    """One session with one server.  ``tls`` says that the transport is encrypted from the start.

    ``receive`` octets and take events until NEED_DATA; after every call send ``output``.
    """

    def __init__(self, settings: ClientSettings, tls: bool) -> None:
        self.step = Step.GREETING
        self.extensions: dict[str, str] = {}
        self.takes_8bit = False
        self._settings = settings
        self._hop = settings.hop
        self._tls = tls
        self._reader = ReplyReader()
        self._out: list[bytes] = []
        self._extended = True
        self._pipelines = False
        self._takes_size = False
        self._size_limit = 0
        self._must_reset = False
        # the transaction
        self._waiting: list[bytes] = []  # without PIPELINING: commands to come, the next one last
        self._recipients: tuple[Mailbox, ...] = ()
        self._accepted: list[Mailbox] = []
        self._outcomes: dict[Mailbox, Outcome] = {}
        self._mail_refused = False
        self._at = 0  # RCPT: the recipient whose answer is next; END: the same among the accepted, for LMTP

    # --- octets in and out ----------------------------------------------------------------------------

    def receive(self, octets: bytes) -> None:
        self._reader.receive(octets)

    def output(self) -> bytes:
        """Take what is to be sent."""
        if not self._out:
            return b""
        octets = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        return octets

    def next_event(self) -> Event | Signal:
        """What the received octets come to, or NEED_DATA."""
        while self.step is not Step.OVER and self.step is not Step.HANDSHAKE:
            raw = self._reader.take()
            if raw is None:
                break
            if isinstance(raw, ReplyFault):
                why = f"Out of step with the server: {raw.value}"
                return self._broken(temporary("4.5.0", why, Scope.HOST, self._hop))
            # RFC 5321 s3.8: 421 may come at any time, and the session is over.
            event = self._hung_up(raw) if raw[0] == 421 else _ANSWERED[self.step](self, raw)
            if event is not None:
                return event
        return NEED_DATA

    # --- what the shell tells ------------------------------------------------------------------------------

    def tls_started(self) -> None:
        """The handshake is done.  All that was learned in clear is forgotten (RFC 3207 s4.2)."""
        if self.step is not Step.HANDSHAKE:
            raise LocalProtocolError("TLS started, but not asked for")
        self._tls = True
        self._say_hello()

    def begin(
        self, reverse_path: Mailbox | None, recipients: Sequence[Mailbox], size_octets: int, body_type: BodyType
    ) -> Done | None:
        """Start a transaction with at least one recipient.

        None is the rule.  ``Done`` at once where the server has said that it takes no message of that size;
        nothing is sent then, and the session stays as it is.
        """
        if self.step is not Step.IDLE:
            raise LocalProtocolError(f"a transaction cannot begin while {self.step.value} is awaited")
        if self._size_limit and size_octets > self._size_limit:
            why = f"The message has {size_octets} octets, the server takes at most {self._size_limit}"
            outcome = permanent("5.3.4", why, Scope.MESSAGE, self._hop)
            return Done(dict.fromkeys(recipients, outcome))
        mail = f"MAIL FROM:<{reverse_path if reverse_path is not None else ''}>"
        if self._takes_size:
            mail += f" SIZE={size_octets}"
        if self.takes_8bit and body_type is BodyType.EIGHT_BIT:
            mail += " BODY=8BITMIME"
        lines = [mail, *[f"RCPT TO:<{recipient}>" for recipient in recipients], "DATA", ""]
        if self._must_reset:
            lines.insert(0, "RSET")
        commands = "\r\n".join(lines)
        # A line end in an address would be a command of its own.
        if not commands.isascii() or commands.count("\n") != len(lines) - 1 or commands.count("\r") != len(lines) - 1:
            raise LocalProtocolError("an address that cannot stand in a command")
        self._recipients = tuple(recipients)
        self._accepted = []
        self._outcomes = {}
        self._mail_refused = False
        self._at = 0
        self.step = Step.RESET if self._must_reset else Step.MAIL
        if self._pipelines:
            self._out.append(commands.encode("ascii"))
        else:
            self._waiting = [f"{line}\r\n".encode("ascii") for line in lines[:-1]]
            self._waiting.reverse()
            self._say_next()
        return None

    def content_sent(self) -> None:
        """The content and its final dot were given to the transport."""
        if self.step is not Step.CONTENT:
            raise LocalProtocolError("content was sent, but not asked for")
        self.step = Step.END
        self._at = 0

    def quit(self) -> None:
        """Say good-bye; no answer is waited for, since nothing hangs on it."""
        if self.step is not Step.OVER:
            self._out.append(b"QUIT\r\n")
            self.step = Step.OVER

    def fail(self, status: str, why: str, scope: Scope) -> Done | Unusable | None:
        """The session cannot go on: the connection is lost, a time limit has passed, the content cannot be read.

        None where it was over already.  Close the transport; what was not sent must not be.
        """
        if self.step is Step.OVER:
            return None
        return self._broken(temporary(status, why, scope, self._hop))

    def refuse(self, status: str, why: str) -> Unusable:
        """We do not want this session: the server lacks what we need.  Not to be called in a transaction."""
        self.quit()
        return Unusable(temporary(status, why, Scope.HOST, self._hop))

    # --- before the first transaction ---------------------------------------------------------------------

    def _on_greeting(self, raw: RawReply) -> Event | None:
        if raw[0] // 100 != 2:
            return self._unusable(raw)
        self._say_hello()
        return None

    def _say_hello(self) -> None:
        verb = "LHLO" if self._settings.lmtp else "EHLO" if self._extended else "HELO"
        self._out.append(f"{verb} {self._settings.hello_name}\r\n".encode("ascii"))
        self.step = Step.HELLO

    def _on_hello(self, raw: RawReply) -> Event | None:
        code, lines = raw
        if code // 100 != 2:
            # RFC 5321 s3.2: a server that does not know EHLO is spoken to with HELO.
            if code // 100 == 5 and self._extended and not self._settings.lmtp:
                self._extended = False
                self._say_hello()
                return None
            return self._unusable(raw)
        settings = self._settings
        name = lines[0].partition(b" ")[0].decode("ascii", "replace").lower()
        if name in settings.own_names:
            self.quit()
            return Unusable(permanent("5.4.6", "Mail loops back to this host", Scope.HOST, self._hop))
        self._learn(lines if self._extended else [])
        if not self._tls and settings.starttls is not StartTlsUse.NEVER:
            if "STARTTLS" in self.extensions:
                self._out.append(b"STARTTLS\r\n")
                self.step = Step.STARTTLS
                return None
            if settings.starttls is StartTlsUse.REQUIRED:
                return self.refuse("4.7.4", "TLS is required, but the server does not offer it")
        return self._log_in()

    def _learn(self, lines: list[bytes]) -> None:
        # RFC 5321 s4.1.1.1: the first line is the server's name, each further one a keyword with parameters.
        self.extensions = {}
        for line in lines[1:]:
            keyword, _, parameters = line.decode("ascii", "replace").upper().partition(" ")
            self.extensions[keyword] = parameters
            if keyword.startswith("AUTH="):  # as servers wrote it before RFC 2554, and some still do
                self.extensions.setdefault("AUTH", f"{keyword[5:]} {parameters}")
        self._pipelines = "PIPELINING" in self.extensions
        self.takes_8bit = "8BITMIME" in self.extensions
        self._takes_size = "SIZE" in self.extensions
        # RFC 1870 s3: without a number, or with 0, there is no fixed limit.
        limit = self.extensions.get("SIZE", "").strip()
        self._size_limit = int(limit) if limit.isascii() and limit.isdigit() and len(limit) <= 20 else 0

    def _on_starttls(self, raw: RawReply) -> Event | None:
        if raw[0] == 220:
            if self._reader.has_more:
                # Octets in clear behind the 220 would be read as if they had come under TLS.
                return self.refuse("4.7.0", "The server sent more in clear after it agreed to start TLS")
            self.step = Step.HANDSHAKE
            return StartTls()
        if self._settings.starttls is StartTlsUse.REQUIRED:
            return self._unusable(raw)
        return self._log_in()

    def _log_in(self) -> Event | None:
        login = self._settings.login
        if login is None:
            return self._ready()
        if not self._tls and not self._settings.may_show_login:
            return self.refuse("4.7.11", "A login is configured, and is not sent without TLS")
        offered = self.extensions.get("AUTH", "").split()
        if "PLAIN" in offered:
            # RFC 4616 s2: message = [authzid] UTF8NUL authcid UTF8NUL passwd
            word = _base64(f"\0{login.username}\0{login.password}")
            self._out.append(b"AUTH PLAIN " + word + b"\r\n")
            self.step = Step.AUTH
        elif "LOGIN" in offered:
            self._out.append(b"AUTH LOGIN\r\n")
            self.step = Step.NAME
        else:
            return self.refuse("4.7.0", "A login is configured, but the server offers neither AUTH PLAIN nor LOGIN")
        return None

    def _on_name(self, raw: RawReply) -> Event | None:
        login = self._settings.login
        assert login is not None
        if raw[0] != 334:
            return self._unusable(raw)
        self._out.append(_base64(login.username) + b"\r\n")
        self.step = Step.PASSWORD
        return None

    def _on_password(self, raw: RawReply) -> Event | None:
        login = self._settings.login
        assert login is not None
        if raw[0] != 334:
            return self._unusable(raw)
        self._out.append(_base64(login.password) + b"\r\n")
        self.step = Step.AUTH
        return None

    def _on_auth(self, raw: RawReply) -> Event | None:
        return self._ready() if raw[0] // 100 == 2 else self._unusable(raw)

    def _ready(self) -> Ready:
        self.step = Step.IDLE
        return Ready()

    # --- a transaction ------------------------------------------------------------------------------------------

    def _on_reset(self, raw: RawReply) -> Event | None:
        if raw[0] // 100 != 2:
            return self._broken(self._trouble(raw))
        self._must_reset = False
        self.step = Step.MAIL
        self._say_next()
        return None

    def _on_mail(self, raw: RawReply) -> Event | None:
        self.step = Step.RCPT
        if raw[0] // 100 != 2:
            self._mail_refused = True
            self._outcomes = dict.fromkeys(self._recipients, self._refusal(raw))
            if not self._pipelines:
                return self._done()
        self._say_next()
        return None

    def _on_rcpt(self, raw: RawReply) -> Event | None:
        recipient = self._recipients[self._at]
        self._at += 1
        if not self._mail_refused:
            if raw[0] // 100 == 2:
                self._accepted.append(recipient)
            else:
                self._outcomes[recipient] = self._rcpt_refusal(raw)
        if self._at == len(self._recipients):
            self.step = Step.DATA
            if not self._pipelines and not self._accepted:
                self._must_reset = True
                return self._done()
        self._say_next()
        return None

    def _on_data(self, raw: RawReply) -> Event | None:
        # DATA is the last command that went out: whoever refuses it and answers more, or answers it with a 2yz, was
        # out of step before, and what was taken for the recipients' answers may have been somebody else's.
        if raw[0] != 354 and (self._reader.has_more or raw[0] // 100 < 3):
            self._outcomes.clear()
            why = "Out of step with the server: it answered more than it was asked"
            return self._broken(temporary("4.5.0", why, Scope.SESSION, self._hop))
        if raw[0] == 354:
            if self._mail_refused:
                # The dot that RFC 2920 s3.1 asks for might send an empty message to whom it took meanwhile.
                self.step = Step.OVER
                return Done(self._outcomes)
            self.step = Step.CONTENT
            if self._accepted:
                return GoAhead()
            # RFC 2920 s3.1: DATA was pipelined and no recipient accepted; an empty message, its answer ignored
            self._out.append(b".\r\n")
            self.content_sent()
            return None
        self._must_reset = True
        self._decide(self._refusal(raw))
        if raw[0] // 100 < 4:
            self.step = Step.OVER
            return Done(self._outcomes)
        return self._done()

    def _on_content(self, raw: RawReply) -> Event | None:
        # The server had enough before the dot.  What it said counts; where it stands, nobody knows.
        return self._broken(self._outcome(raw, Scope.MESSAGE))

    def _on_end(self, raw: RawReply) -> Event | None:
        if raw[0] // 100 == 3:
            return self._broken(self._trouble(raw))
        # RFC 2033 s4.2: one answer for each accepted recipient, in the order of RCPT
        if self._settings.lmtp and self._accepted:
            recipient = self._accepted[self._at]
            self._at += 1
            self._outcomes[recipient] = self._outcome(raw, Scope.RECIPIENT)
            return self._done() if self._at == len(self._accepted) else None
        outcome = self._outcome(raw, Scope.MESSAGE)
        for recipient in self._accepted:
            self._outcomes[recipient] = outcome
        return self._done()

    def _on_idle(self, raw: RawReply) -> Event | None:
        return self._broken(self._trouble(raw))

    def _say_next(self) -> None:
        if not self._pipelines:
            self._out.append(self._waiting.pop())

    def _done(self) -> Done:
        self.step = Step.IDLE
        return Done(self._outcomes)

    # --- judgement ------------------------------------------------------------------------------------------------

    def _outcome(self, raw: RawReply, scope: Scope) -> Outcome:
        reply = made_reply(raw)
        if raw[0] // 100 == 2 and self.step is Step.END:
            return delivered(reply, self._hop, relayed=not self._settings.lmtp)
        return refused(reply, scope, self._hop)

    def _trouble(self, raw: RawReply) -> Outcome:
        """What the peer said of the session: temporary, whatever its code."""
        return Outcome(Permanence.TEMPORARY, Scope.HOST, made_reply(raw), self._hop)

    def _refusal(self, raw: RawReply) -> Outcome:
        """A refusal of MAIL or DATA: of this message, unless a 4yz speaks of the server itself."""
        outcome = self._outcome(raw, Scope.MESSAGE)
        # RFC 3463 s3.4, s3.5: X.3.X mail system status, X.4.X network and routing status
        if outcome.reply.code // 100 == 4 and outcome.reply.status[:4] in ("4.3.", "4.4."):
            return attrs.evolve(outcome, scope=Scope.SESSION)
        return outcome

    def _rcpt_refusal(self, raw: RawReply) -> Outcome:
        outcome = self._outcome(raw, Scope.RECIPIENT)
        # RFC 5321 s4.5.3.1.10: 552 for too many recipients is to be taken as 452.
        if raw[0] == 552 and outcome.reply.status == "5.5.3":
            return attrs.evolve(outcome, permanence=Permanence.TEMPORARY)
        return outcome

    def _unusable(self, raw: RawReply) -> Unusable:
        """The peer refused the session: temporary, whatever it said."""
        self.quit()
        return Unusable(self._trouble(raw))

    def _hung_up(self, raw: RawReply) -> Done | Unusable:
        return self._broken(self._trouble(raw))

    def _broken(self, outcome: Outcome) -> Done | Unusable:
        """The session is over; ``outcome`` is for every recipient that has none yet."""
        step, self.step = self.step, Step.OVER
        if step not in _IN_TRANSACTION:
            return Unusable(outcome)
        if step is Step.END:
            outcome = attrs.evolve(outcome, scope=Scope.MESSAGE)
        elif outcome.scope is Scope.HOST:
            # It may be this message that the server cannot bear: another host may, but no other message waits for it.
            outcome = attrs.evolve(outcome, scope=Scope.SESSION)
        self._decide(outcome)
        return Done(self._outcomes)

    def _decide(self, outcome: Outcome) -> None:
        for recipient in self._recipients:
            self._outcomes.setdefault(recipient, outcome)


_ANSWERED: Mapping[Step, Callable[[ClientDialog, RawReply], Event | None]] = {
    Step.GREETING: ClientDialog._on_greeting,
    Step.HELLO: ClientDialog._on_hello,
    Step.STARTTLS: ClientDialog._on_starttls,
    Step.AUTH: ClientDialog._on_auth,
    Step.NAME: ClientDialog._on_name,
    Step.PASSWORD: ClientDialog._on_password,
    Step.IDLE: ClientDialog._on_idle,
    Step.RESET: ClientDialog._on_reset,
    Step.MAIL: ClientDialog._on_mail,
    Step.RCPT: ClientDialog._on_rcpt,
    Step.DATA: ClientDialog._on_data,
    Step.CONTENT: ClientDialog._on_content,
    Step.END: ClientDialog._on_end,
}


def _base64(word: str) -> bytes:
    return b64encode(word.encode("utf-8"))
