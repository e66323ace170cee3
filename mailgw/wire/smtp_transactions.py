"""The mail transactions of one session: MAIL, RCPT, DATA, BDAT, RSET and their answers; ``smtp_server.Dialog`` adds
the session around them (RFC 5321 s3.3, s4.1.1; RFC 3030 s2; RFC 2033 s4.2).

Rules:
    After a refused DATA, octets that were sent before the refusal may be content: the session ends, or a message's
    text would be taken for commands (RFC 2920 s3.1 forbids them).  A refused BDAT is read and dropped instead; one
    whose size nobody can tell ends the session, too.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from mailgw.mail.envelope import BodyType, Role
from mailgw.mail.errors import LocalProtocolError
from mailgw.mail.reply import Reply
from mailgw.wire import smtp_replies as replies
from mailgw.wire.smtp_content import Incoming, parse_bdat
from mailgw.wire.smtp_events import (
    NEED_DATA,
    Awaiting,
    Content,
    ContentEnd,
    Data,
    DialogSettings,
    Event,
    Limit,
    Mail,
    Overstepped,
    Rcpt,
    Reset,
    Signal,
)
from mailgw.wire.smtp_grammar import parse_mail, parse_rcpt
from mailgw.wire.smtp_parameters import mail_keywords, rcpt_keywords
from mailgw.wire.smtp_turns import Turns, Witness


class Transactions(Turns, ABC):
    """One after the other."""

    def __init__(self, settings: DialogSettings, tls: bool) -> None:
        super().__init__(settings)
        self._tls = tls
        self._mail_keywords = mail_keywords(settings.extensions, settings.role.is_submission)
        self._rcpt_keywords = rcpt_keywords(settings.extensions)
        self._smtputf8 = False  # the last MAIL said so
        self._incoming: Incoming | None = None
        self._recipients = 0
        self._drop_transaction()

    @abstractmethod
    def _lacking(self) -> Reply | None:
        """What has to be done before MAIL may be said."""

    def answer_each(self, answers: Sequence[Reply]) -> None:
        """Answer ``ContentEnd`` for each accepted recipient, in their order (LMTP alone, RFC 2033 s4.2)."""
        if self.awaiting is Awaiting.NOTHING:
            return
        for reply in answers:
            self._fitting(reply)
        if self._owed is not ContentEnd or len(answers) != self._answers():
            raise LocalProtocolError(f"{len(answers)} answers are not what is owed")
        self._owed = None
        self.awaiting = Awaiting.COMMAND
        self._answer_content(answers)

    def _end(self) -> None:
        super()._end()
        self._incoming = None

    # --- commands ----------------------------------------------------------------------------------------

    def _mail(self, argument: bytes) -> Event | None:
        if not self._conduct.begin_mail():
            return self._expel(replies.TOO_MANY_MESSAGES)
        lacking = self._lacking()
        if lacking is not None:
            return self._refuse(lacking)
        if self._in_transaction:
            return self._refuse(replies.NESTED_MAIL)
        mail = parse_mail(argument, self._mail_keywords)
        if isinstance(mail, Reply):
            return self._refuse(mail)
        if mail.asked.require_tls and not self._tls:
            return self._refuse(replies.REQUIRETLS_IN_CLEAR)
        if mail.size is not None and mail.size > self._settings.message_octets:
            self._say(replies.TOO_LARGE)  # RFC 1870 s6.1
            return Overstepped(Limit.SIZE, mail.path, replies.TOO_LARGE)
        self._recipients = 0
        self._smtputf8 = mail.asked.smtputf8
        self._is_binary = mail.body_type is BodyType.BINARY
        return self._owe(Mail(mail.path, mail.body_type, mail.size, mail.asked))

    def _rcpt(self, argument: bytes) -> Event | None:
        if not self._in_transaction:
            return self._refuse(self._mail_missing())
        if self._incoming is not None:
            return self._refuse(replies.AFTER_CHUNK)
        rcpt = parse_rcpt(argument, self._rcpt_keywords, self._mail_keywords, self._smtputf8)
        if isinstance(rcpt, Reply):
            return self._refuse(rcpt)
        if self._recipients >= self._settings.recipients:
            if self._conduct.exceed() and (expelled := self._count_error()):
                return expelled
            self._say(replies.TOO_MANY_RECIPIENTS)  # RFC 5321 s4.5.3.1.10
            return Overstepped(Limit.RECIPIENTS, rcpt.path, replies.TOO_MANY_RECIPIENTS)
        return self._owe(Rcpt(rcpt.path, rcpt.parameters))

    def _data(self, argument: bytes) -> Event | None:
        if not self._in_transaction:
            return self._refuse_data(self._mail_missing())
        if argument:
            return self._refuse_data(replies.NO_ARGUMENT)
        if self._incoming is not None:
            return self._refuse_data(replies.AFTER_CHUNK)
        if self._is_binary:
            return self._refuse_data(replies.BINARY_WANTS_CHUNKS)
        if not self._recipients:
            return self._refuse_data(self._recipients_missing())
        return self._owe(Data())

    def _bdat(self, argument: bytes) -> Event | None:
        chunk = parse_bdat(argument)
        if chunk is None:
            return self._expel(replies.CHUNK_WITHOUT_SIZE)
        incoming = self._incoming
        if incoming is None:
            incoming = self._incoming = Incoming(self._settings, self._is_binary)
        incoming.begin_chunk(chunk, self._chunk_refusal(incoming))
        if incoming.refusal is None and not incoming.is_open:
            return self._owe(Data())
        self.awaiting = Awaiting.CONTENT_START
        return None

    def _chunk_refusal(self, incoming: Incoming) -> Reply | None:
        """Why no chunk may come now."""
        if self._turned_away:
            return replies.NO_SERVICE
        if "CHUNKING" not in self._settings.extensions:
            return replies.NOT_IMPLEMENTED
        if not self._in_transaction:
            return self._mail_missing()
        if incoming.is_spoiled:
            return replies.CHUNK_REFUSED_BEFORE
        return None if self._recipients else self._recipients_missing()

    def _rset(self, argument: bytes) -> Event | None:
        if argument:
            return self._refuse(replies.NO_ARGUMENT)
        self._say(replies.OK)
        if not self._in_transaction:
            return None
        self._drop_transaction()
        return Reset()

    # --- content ---------------------------------------------------------------------------------------

    def _next_content(self) -> Event | Signal | None:
        incoming = self._incoming
        assert incoming is not None
        while not incoming.has_ended:
            octets = incoming.next(self._lines) if self.witness is None else self._witnessed(incoming, self.witness)
            if octets is None:
                return NEED_DATA
            self.awaiting = Awaiting.CONTENT
            if octets:
                return Content(octets)
        if incoming.refusal is not None:
            return self._refuse_chunk(incoming, incoming.refusal)
        if incoming.is_complete and (octets := incoming.finish()):
            return Content(octets)
        if incoming.is_complete or incoming.fault is not None:
            return self._owe(ContentEnd(incoming.fault))
        assert incoming.chunk is not None
        self._say(Reply(250, "2.0.0", (f"{incoming.chunk.size_octets} octets received",)))
        self.awaiting = Awaiting.COMMAND
        return None

    def _witnessed(self, incoming: Incoming, witness: Witness) -> bytes | None:
        waiting = len(self._lines)
        octets = incoming.next(self._lines)
        witness.content(waiting - len(self._lines))
        return octets

    def _refuse_chunk(self, incoming: Incoming, refusal: Reply) -> Event | None:
        """A chunk that is not wanted was read to its end (RFC 3030 s2: only then is it answered)."""
        if incoming.is_open:
            return self._owe(ContentEnd(refusal))
        self.awaiting = Awaiting.COMMAND
        if incoming.is_misuse and (expelled := self._count_error()):
            return expelled
        for _ in range(self._answers() or 1):
            self._say(refusal)
        was_in_transaction = self._in_transaction
        if incoming.is_complete or not was_in_transaction:
            self._drop_transaction()
            return Reset() if was_in_transaction else None
        incoming.is_spoiled = True
        return None

    # --- answers ---------------------------------------------------------------------------------------

    def _answer_content(self, answers: Sequence[Reply]) -> None:
        for reply in answers:
            self._say(reply)
        incoming = self._incoming
        assert incoming is not None
        if any(reply.code == 421 for reply in answers):
            self._end()
        elif not incoming.is_complete:
            incoming.is_open = False
            incoming.is_spoiled = True
        else:
            if answers[0].is_positive:
                self._conduct.deliver(self._recipients)
            self._drop_transaction()

    def _answers(self) -> int:
        """How many replies the end of this content, or chunk, wants."""
        incoming = self._incoming
        assert incoming is not None
        # RFC 2033 s4.2: one for each recipient that was accepted; RFC 3030 s2: behind the last chunk.
        return self._recipients if self._settings.role is Role.LMTP and incoming.is_complete else 1

    def _answer_rcpt(self, reply: Reply) -> None:
        if reply.is_positive:
            self._recipients += 1
        elif reply.is_permanent and self._settings.role is not Role.LMTP:
            self._conduct.be_refused()
            self._last = self._bear()
            if self._last is not None:
                return
        self._say(reply)

    def _answer_data(self, reply: Reply) -> None:
        incoming = self._incoming
        if incoming is None:
            self._say(reply)
            if not reply.is_positive:
                self._last = self._expel_if_ahead()
                return
            incoming = self._incoming = Incoming(self._settings, False)
            incoming.begin_data()
        elif reply.is_positive:
            incoming.is_open = True
        else:
            incoming.refusal = reply
        self.awaiting = Awaiting.CONTENT_START

    # --- below -----------------------------------------------------------------------------------------

    def _refuse_data(self, reply: Reply) -> Event | None:
        return self._refuse(reply) or self._expel_if_ahead()

    def _expel_if_ahead(self) -> Event | None:
        """After DATA was refused: the client must not have gone on before it knew."""
        return self._expel(replies.SENT_BEFORE_CONTENT) if len(self._lines) else None

    def _drop_transaction(self) -> None:
        self._in_transaction = False
        self._recipients = 0
        self._is_binary = False
        self._incoming = None

    def _recipients_missing(self) -> Reply:
        return replies.NO_LMTP_RECIPIENTS if self._settings.role is Role.LMTP else replies.NO_RECIPIENTS

    def _mail_missing(self) -> Reply:
        return self._lacking() or replies.MAIL_FIRST
