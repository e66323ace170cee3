"""The client's side of one SMTP or LMTP session, without a socket (RFC 5321, 2033, 2920, 1870, 6152, 2034, 3207,
4954, 3030; not done: AUTH but PLAIN and LOGIN, AUTH= on MAIL).  What is said with MAIL and RCPT: ``client_asked``.

A map of the steps; a reply leads to the right, trouble to OVER:

    GREETING > HELLO > [STARTTLS > HANDSHAKE > HELLO] > [AUTH > [NAME > PASSWORD]] > IDLE
    IDLE > [RESET] > MAIL > RCPT ... > DATA > CONTENT > END ... > IDLE
    IDLE > [RESET] > MAIL > RCPT ... > CONTENT > [CHUNK > CONTENT ...] > END ... > IDLE   with BDAT

Rules:
    BDAT is for binary content alone, where it must be (RFC 3030 s3); chunk after chunk, each once the one before it
    was taken, so that no more than one of them is under way.  For other content it was weighed and left: it saves the
    stuffing (measured: 22 of some 1800 us of a 4 KiB message, 5 ms a MiB), and costs the 354 by which it shows that
    both ends mean the same command, and for large content a round trip a chunk.
    Where PIPELINING is offered, everything up to DATA goes out at once (RFC 2920 s3.1); the steps are the same,
    only nothing is sent between them.
    What became of a recipient is an ``Outcome``.  Only a peer's 5yz to MAIL, RCPT, DATA or the content is final.
    A 5yz to the greeting, EHLO, STARTTLS or AUTH is not: it speaks of us, of the hour or of our configuration,
    not of the message, which its age will end.
    A reply that is not owed, or is no reply, ends the session: it is out of step.  A 3yz to MAIL or RCPT is DATA's:
    what was said of one recipient before it may have been said of another.
    So is one that was there before what it answers: behind the 354 nothing stands until content was sent, and nothing
    stands in a session where no command is under way.
    An answer too many may also come late.  DATA's 354 shows it; to BDAT all answers are alike, so it is used for the
    first transaction of a session alone; others may follow it by DATA.
    Once the final dot or the last chunk left, the server may have taken the message (RFC 1047): without an answer, no
    other host is tried in the same attempt (the outcome's scope is MESSAGE); that would make a second copy likely.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import LocalProtocolError
from mailgw.mail.outcome import Outcome, Permanence, Scope, Secured, delivered, permanent, refused, temporary
from mailgw.mail.reply import Reply
from mailgw.wire.client_asked import Onward, mail_words, rcpt_words
from mailgw.wire.client_events import (
    NEED_DATA,
    ClientSettings,
    Done,
    Event,
    GoAhead,
    Login,
    Ready,
    Signal,
    StartTls,
    StartTlsUse,
    Step,
    Unusable,
)
from mailgw.wire.client_offer import offer_of
from mailgw.wire.reply_reader import RawReply, ReplyFault, ReplyReader, made_reply

_IN_TRANSACTION = frozenset({Step.RESET, Step.MAIL, Step.RCPT, Step.DATA, Step.CONTENT, Step.CHUNK, Step.END})
NO_STARTTLS = "4.7.4"  # RFC 3463 s3.8, X.7.4: security features not supported
_SHORTEST_PART = 8  # of a secret that a server cut; less of it stands in words by chance
_TOO_MUCH = "Out of step with the server: it answered more than it was asked"
_TOO_LITTLE = "Out of step with the server: it left something unanswered"


class ClientDialog:
    """One session with one server.  ``tls`` says that the transport is encrypted from the start.

    ``receive`` octets and take events until NEED_DATA; after every call send ``output``.
    """

    def __init__(self, settings: ClientSettings, tls: bool) -> None:
        self.step = Step.GREETING
        self.offer = offer_of([])
        self.server_name = ""  # as it answered EHLO
        self.tls_is_missing = False  # STARTTLS was wanted, and was not offered, or was refused
        self.secured: Secured | None = None  # what TLS came to, where it is on; for the outcomes
        self.is_chunked = False  # the transaction under way sends its content with BDAT
        self._settings = settings
        self._hop = settings.hop
        self._tls = tls
        self._reader = ReplyReader()
        self._out: list[bytes] = []
        self._extended = True
        self._must_reset = False
        self._has_begun = False  # a transaction
        self._is_used = False  # there was one before the one under way
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
        self,
        reverse_path: Mailbox | None,
        recipients: Sequence[Mailbox],
        size_octets: int,
        body_type: BodyType,
        asked: Onward | None = None,
    ) -> Done | None:
        """Start a transaction with at least one recipient.

        None is the rule.  ``Done`` at once where the server has said that it takes no message of that size;
        nothing is sent then, and the session stays as it is; or where the server has said something unasked, and the
        session is over.  LocalProtocolError, and nothing has changed, where an address cannot stand in a command or the
        server takes no such content: ``asked.utf8`` and binary content need its offer, and binary content a session in
        which no transaction was begun.
        """
        if self.step is not Step.IDLE:
            raise LocalProtocolError(f"a transaction cannot begin while {self.step.value} is awaited")
        if self._reader.has_more:
            self.step = Step.OVER
            return Done(dict.fromkeys(recipients, temporary("4.5.0", _TOO_MUCH, Scope.SESSION, self._hop)))
        offer = self.offer
        if offer.size_limit and size_octets > offer.size_limit:
            why = f"The message has {size_octets} octets, the server takes at most {offer.size_limit}"
            outcome = permanent("5.3.4", why, Scope.MESSAGE, self._hop)
            return Done(dict.fromkeys(recipients, outcome))
        is_chunked = body_type is BodyType.BINARY
        if is_chunked and not offer.chunks_binary:
            raise LocalProtocolError("binary content for a server that takes none")
        if is_chunked and self._has_begun:
            raise LocalProtocolError("binary content in a session that has been used")
        mail = f"MAIL FROM:<{reverse_path if reverse_path is not None else ''}>"
        if offer.size:
            mail += f" SIZE={size_octets}"
        if is_chunked:
            mail += " BODY=BINARYMIME"
        elif offer.eight_bit and body_type is not BodyType.SEVEN_BIT:
            mail += " BODY=8BITMIME"
        if asked is None:
            lines = [mail, *[f"RCPT TO:<{recipient}>" for recipient in recipients]]
        else:
            lines = [mail + mail_words(offer, asked)]
            lines += [f"RCPT TO:<{recipient}>{rcpt_words(offer, asked, recipient)}" for recipient in recipients]
        if not is_chunked:
            lines.append("DATA")
        lines.append("")
        if self._must_reset:
            lines.insert(0, "RSET")
        commands = self._encoded(lines, asked is not None and asked.utf8)
        self._recipients = tuple(recipients)
        self._accepted = []
        self._outcomes = {}
        self._mail_refused = False
        self._is_used, self._has_begun = self._has_begun, True
        self._at = 0
        self.is_chunked = is_chunked
        self.step = Step.RESET if self._must_reset else Step.MAIL
        if offer.pipelining:
            self._out.append(commands)
        else:
            self._waiting = commands.splitlines(keepends=True)
            self._waiting.reverse()
            self._say_next()
        return None

    def _encoded(self, lines: list[str], utf8: bool) -> bytes:
        """The commands, each with its line end; ``lines`` has an empty last one."""
        commands = "\r\n".join(lines)
        if not commands.isascii() and not (utf8 and self.offer.smtputf8):
            raise LocalProtocolError("an address that needs SMTPUTF8")
        # A line end in an address would be a command of its own.
        if commands.count("\n") != len(lines) - 1 or commands.count("\r") != len(lines) - 1:
            raise LocalProtocolError("an address that cannot stand in a command")
        try:
            return commands.encode("utf-8")
        except UnicodeEncodeError:
            raise LocalProtocolError("an address that is no text") from None

    def chunk(self, size_octets: int, is_last: bool) -> None:
        """The next chunk of the content follows, ``size_octets`` long: send ``output``, then the chunk as it is.

        After ``GoAhead`` in a transaction that ``is_chunked``, once for each.
        """
        if self.step is not Step.CONTENT or not self.is_chunked:
            raise LocalProtocolError("a chunk was sent, but not asked for")
        # RFC 3030 s2: bdat-cmd ::= "BDAT" SP chunk-size [ SP end-marker ] CR LF
        self._out.append(b"BDAT %d LAST\r\n" % size_octets if is_last else b"BDAT %d\r\n" % size_octets)
        self.step = Step.END if is_last else Step.CHUNK
        self._at = 0

    def content_sent(self) -> None:
        """The content and its final dot were given to the transport."""
        if self.step is not Step.CONTENT or self.is_chunked:
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

    def without_login(self, line: bytes, is_ours: bool) -> bytes:
        """A line of this session for people to read: without the secrets of the login, if there is one."""
        login = self._settings.login
        if login is None:
            return line
        secrets = [_plain_word(login), _base64(login.password), _base64(login.username)]
        if not is_ours:  # in our own commands it stands in Base64 alone
            secrets.append(login.password.encode("utf-8"))
        return _without([secret for secret in secrets if secret], line)

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
        if code // 100 in (2, 3) and code != 250:
            # RFC 5321 s4.1.1.1: ehlo-ok-rsp has 250 alone; another one answers something else
            return self.refuse("4.5.0", f"Out of step with the server: it answered our greeting with {code}")
        if code // 100 != 2:
            # RFC 5321 s3.2: a server that does not know EHLO is spoken to with HELO.
            if code // 100 == 5 and self._extended and not self._settings.lmtp:
                self._extended = False
                self._say_hello()
                return None
            return self._unusable(raw)
        settings = self._settings
        self.server_name = name = lines[0].partition(b" ")[0].decode("ascii", "replace").lower()
        if name in settings.own_names:
            self.quit()
            return Unusable(permanent("5.4.6", "Mail loops back to this host", Scope.HOST, self._hop))
        self.offer = offer_of(lines if self._extended else [])
        if not self._tls and settings.starttls is not StartTlsUse.NEVER:
            if "STARTTLS" in self.offer.extensions:
                self._out.append(b"STARTTLS\r\n")
                self.step = Step.STARTTLS
                return None
            self.tls_is_missing = True
            if settings.starttls is StartTlsUse.REQUIRED:
                return self.refuse(NO_STARTTLS, "TLS is required, but the server does not offer it")
        return self._log_in()

    def _on_starttls(self, raw: RawReply) -> Event | None:
        if raw[0] == 220:
            if self._reader.has_more:
                # Octets in clear behind the 220 would be read as if they had come under TLS.
                return self.refuse("4.7.0", "The server sent more in clear after it agreed to start TLS")
            self.step = Step.HANDSHAKE
            return StartTls()
        self.tls_is_missing = True
        if self._settings.starttls is StartTlsUse.REQUIRED:
            return self._unusable(raw)
        return self._log_in()

    def _log_in(self) -> Event | None:
        login = self._settings.login
        if login is None:
            return self._ready()
        if not self._tls and not self._settings.may_show_login:
            return self.refuse("4.7.11", "A login is configured, and is not sent without TLS")
        offered = self.offer.extensions.get("AUTH", "").split()
        if "PLAIN" in offered:
            self._out.append(b"AUTH PLAIN " + _plain_word(login) + b"\r\n")
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
            return self._login_refused(raw)
        self._out.append(_base64(login.username) + b"\r\n")
        self.step = Step.PASSWORD
        return None

    def _on_password(self, raw: RawReply) -> Event | None:
        login = self._settings.login
        assert login is not None
        if raw[0] != 334:
            return self._login_refused(raw)
        self._out.append(_base64(login.password) + b"\r\n")
        self.step = Step.AUTH
        return None

    def _on_auth(self, raw: RawReply) -> Event | None:
        return self._ready() if raw[0] // 100 == 2 else self._login_refused(raw)

    def _login_refused(self, raw: RawReply) -> Event:
        """Some servers repeat the command that they do not know; its answer is for the queue, journal and reports."""
        login = self._settings.login
        assert login is not None
        secrets = [_plain_word(login), _base64(login.password), login.password.encode("utf-8")]
        return self._unusable((raw[0], [_without(secrets, line) for line in raw[1]]))

    def _ready(self) -> Event:
        if self._reader.has_more:
            return self.refuse("4.5.0", _TOO_MUCH)
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
        if raw[0] // 100 == 3:
            return self._out_of_step(_TOO_LITTLE)
        self.step = Step.RCPT
        if raw[0] // 100 != 2:
            if raw[0] == 503 and self._is_used:
                # RFC 5321 s4.2.2: bad sequence of commands.  It speaks of what was said before in this session, for
                # another message; in a fresh one this message has its own verdict.
                return self._broken(self._trouble(raw))
            self._mail_refused = True
            self._outcomes = dict.fromkeys(self._recipients, self._refusal(raw))
            if not self.offer.pipelining:
                return self._done()
        self._say_next()
        return None

    def _on_rcpt(self, raw: RawReply) -> Event | None:
        # That is DATA's answer: one is missing before it, and what was said of one recipient may be another's.
        if raw[0] // 100 == 3:
            return self._out_of_step(_TOO_LITTLE)
        recipient = self._recipients[self._at]
        self._at += 1
        if not self._mail_refused:
            if raw[0] // 100 == 2:
                self._accepted.append(recipient)
            else:
                self._outcomes[recipient] = self._rcpt_refusal(raw)
        if self._at == len(self._recipients):
            if self.is_chunked and self._reader.has_more:
                return self._out_of_step()
            if not self._accepted and (self.is_chunked or not self.offer.pipelining):
                self._must_reset = True
                return self._done()
            if self.is_chunked:
                self.step = Step.CONTENT
                return GoAhead()
            self.step = Step.DATA
        self._say_next()
        return None

    def _on_data(self, raw: RawReply) -> Event | None:
        # DATA is the last command that went out: whoever answers more, or answers it with a 2yz, was out of step
        # before, and what was taken for the recipients' answers may have been somebody else's.  Behind a 354 it would
        # pass for the answer to content that has not been sent.
        if self._reader.has_more or raw[0] // 100 < 3:
            return self._out_of_step()
        if raw[0] == 354:
            if self._mail_refused or (self._settings.lmtp and not self._accepted):
                # The dot that RFC 2920 s3.1 asks for might send an empty message to whom it took meanwhile.  And LMTP
                # answers it once for each recipient (RFC 2033 s4.2): nobody says how often where there is none.
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

    def _out_of_step(self, why: str = _TOO_MUCH) -> Done | Unusable:
        self._outcomes = {}
        return self._broken(temporary("4.5.0", why, Scope.SESSION, self._hop))

    def _on_chunk(self, raw: RawReply) -> Event | None:
        if raw[0] // 100 == 2:
            if self._reader.has_more:
                return self._broken(temporary("4.5.0", _TOO_MUCH, Scope.SESSION, self._hop))
            self.step = Step.CONTENT
            return GoAhead()
        if raw[0] // 100 == 3:
            return self._broken(self._trouble(raw))
        # RFC 3030 s2: after a refused chunk the rest is not sent, and RSET makes the server ready again.
        self._must_reset = True
        self._decide(self._outcome(raw, Scope.MESSAGE))
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
        if not self.offer.pipelining:
            self._out.append(self._waiting.pop())

    def _done(self) -> Done:
        # More than was asked for: the next transaction would take it for its own answers.
        self.step = Step.OVER if self._reader.has_more else Step.IDLE
        return Done(self._outcomes)

    # --- judgement ------------------------------------------------------------------------------------------------

    def _outcome(self, raw: RawReply, scope: Scope) -> Outcome:
        reply = made_reply(raw)
        if raw[0] // 100 == 2 and self.step is Step.END:
            relayed = not self._settings.lmtp
            return delivered(reply, self._hop, relayed, self.offer.dsn, self.offer.deliver_by, self.secured)
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
        # RFC 5321 s4.5.3.1.10: 552 for too many recipients is to be taken as 452.  Words alone say it of those that
        # come behind others.
        if raw[0] == 552 and is_too_many(outcome.reply) and (self._accepted or outcome.reply.status == "5.5.3"):
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
    Step.CHUNK: ClientDialog._on_chunk,
    Step.END: ClientDialog._on_end,
}


def is_too_many(reply: Reply) -> bool:
    """Whether a server refused a recipient because there were enough of them in this transaction (RFC 3463 s3.6, X.5.3;
    Exim and others say so in words alone)."""
    if reply.status in ("4.5.3", "5.5.3"):
        return True
    return (
        reply.code in (452, 552) and reply.status.endswith(".0.0") and "too many recipients" in reply.text.lower()
    )


def _base64(word: str) -> bytes:
    return b64encode(word.encode("utf-8"))


def _plain_word(login: Login) -> bytes:
    # RFC 4616 s2: message = [authzid] UTF8NUL authcid UTF8NUL passwd
    return _base64(f"\0{login.username}\0{login.password}")


def _without(secrets: Sequence[bytes], line: bytes) -> bytes:
    """The line without any of the secrets, also where it ends in the middle of one."""
    for secret in secrets:
        for length in range(len(secret), min(len(secret), _SHORTEST_PART) - 1, -1):
            if secret[:length] in line:
                line = line.replace(secret[:length], b"[...]")
                break
    return line
