"""What the server's dialog is told once, what it tells its shell, and whose turn it is (RFC 5321 s3, s4.5.3.2)."""

import enum
from typing import Final

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType, Role
from mailgw.mail.parameters import RcptParameters
from mailgw.mail.reply import Reply
from mailgw.wire.content import ContentRules
from mailgw.wire.sasl import LoginClaim
from mailgw.wire.smtp_parameters import Asked


@attrs.frozen
class DialogSettings:
    """What a listener decides once for all its sessions.

    ``hostname`` stands in the greeting's and EHLO's answer.  ``message_octets`` (from 1) is announced as SIZE.
    ``recipients`` bounds one message's.  ``offers_starttls`` says that there is a certificate; it has no
    effect while TLS is on.  ``command_line_octets`` and ``auth_line_octets`` count the CRLF (RFC 5321
    s4.5.3.1.4: at least 512 and what the extensions add; RFC 4954 s4: 12288).  ``errors_per_session``
    is how many bad commands and failed logins are answered before 421.  ``extensions`` are the ESMTP keywords
    that this listener offers beside those (SMTPUTF8, DSN ...): a word or a parameter whose keyword is not among
    them is unknown here.  ``content`` says what content must keep to, and ``chunk_octets`` how much one BDAT may
    bring.  ``messages`` is how many one session may bring, None for any number: EHLO says so (RFC 9422).
    The first ``quick_errors`` are answered at once, others after a penalty.  ``idle_commands`` that bring no message
    forward may come between two messages; more of them are errors.
    ``hold_seconds`` is the longest time that FUTURERELEASE announces.
    """

    hostname: str
    role: Role
    message_octets: int
    recipients: int
    offers_starttls: bool
    command_line_octets: int
    auth_line_octets: int
    errors_per_session: int
    extensions: frozenset[str]
    content: ContentRules
    chunk_octets: int
    messages: int | None
    quick_errors: int
    idle_commands: int
    hold_seconds: int


class Limit(enum.Enum):
    """Limits that the dialog keeps by itself, and the shell writes down."""

    SIZE = "size"
    RECIPIENTS = "recipients"


# --- events: what the client did.  "Owed" ones want exactly one answer before the next event. ------------------

@attrs.frozen
class Hello:
    """Owed: ``accept_hello(now)``, or ``answer`` with a refusal.  A transaction that was open is dropped.

    ``name`` is what the client calls itself: 1 to 255 printable ASCII characters without a space (others came
    as ``?``), not checked further.  ``extended`` for EHLO and LHLO.
    """

    name: str
    extended: bool


@attrs.frozen
class StartTls:
    """Owed: ``answer``; with a 220 ``awaits_tls`` becomes true, and the transport starts TLS after the output left."""


@attrs.frozen
class KeysOf:
    """Owed: ``supply_keys`` with those of ``login``, made up where there is no such account, or ``answer`` with a
    refusal.  The name is only claimed, yet."""

    mechanism: str
    login: str


@attrs.frozen
class Credentials:
    """Owed: ``answer`` with 235, or 535 or a 4yz.  After a 235 the client counts as logged in once it was told so
    (``LoggedIn``), which takes one more line of it where the mechanism has a last word."""

    mechanism: str
    claim: LoginClaim


@attrs.frozen
class LoggedIn:
    """The client was told that it is logged in, by the ``Credentials`` before.  Nothing is owed."""


@attrs.frozen
class Xclient:
    """A front names its client.  Owed: ``answer`` with a 220, after which the session starts over (but for TLS), under
    that login where there is one; or with a refusal, which leaves it as it was.

    None is what was not told, ``""`` and 0 what the front does not know.  ``login`` on submission alone, in lower case.
    """

    name: str | None = None
    addr: str | None = None
    port: int | None = None
    proto: str | None = None
    helo: str | None = None
    login: str | None = None
    destaddr: str | None = None
    destport: int | None = None


@attrs.frozen
class Mail:
    """Owed: ``answer``.  ``path`` None is ``<>``.  ``size`` is the client's own estimate, None without one.

    ``asked`` is what it wants done, for ``smtp_parameters.mail_parameters`` to date and to judge.
    """

    path: Mailbox | None
    body_type: BodyType
    size: int | None
    asked: Asked


@attrs.frozen
class Rcpt:
    """Owed: ``answer``.  ``path`` may be the bare ``<Postmaster>``.  A refusal leaves the transaction as it was."""

    path: Mailbox
    parameters: RcptParameters


@attrs.frozen
class Data:
    """Owed: ``answer`` with 354, or a refusal, which leaves the transaction as it was.

    At least one recipient was accepted.  It comes for DATA and for the first BDAT, whose client never sees the 354;
    a refusal it gets behind its chunk.
    """


@attrs.frozen
class Content:
    """The next octets of the message, unstuffed, never empty, with CRLF line ends but for BODY=BINARYMIME.  Nothing
    is owed."""

    octets: bytes


@attrs.frozen
class ContentEnd:
    """Owed: ``answer``, which LMTP's dialog sends once for each accepted recipient, or there ``answer_each``.

    The transaction is over.  With a ``fault`` (too large, bare CR or LF, a NUL ...) discard what came and answer
    with it; ``Content`` stopped at the fault.
    """

    fault: Reply | None


@attrs.frozen
class Overstepped:
    """MAIL announced more octets than we take, or a recipient came beyond our limit; ``path`` is what it named.
    It was answered with ``reply``.  Nothing is owed."""

    limit: Limit
    path: Mailbox | None
    reply: Reply


@attrs.frozen
class Reset:
    """The transaction, which was open, is dropped: RSET came, or the last chunk of a message that was refused before
    ``Data``.  It was answered.  Nothing is owed."""


@attrs.frozen
class Quit:
    """QUIT came and was answered.  Send the output and close."""


@attrs.frozen
class Expelled:
    """The dialog had enough of this client and told it ``reply``.  Send the output and close."""

    reply: Reply


Owed = Hello | StartTls | KeysOf | Credentials | Xclient | Mail | Rcpt | Data | ContentEnd
"""The events that want an answer."""

Event = Owed | LoggedIn | Content | Overstepped | Reset | Quit | Expelled


class Signal(enum.Enum):
    """Why there is no event now."""

    NEED_DATA = "need data"  # the client's turn: ``receive`` more
    PAUSED = "paused"        # our turn: an answer is owed, TLS is to start, a penalty runs, or output waits


NEED_DATA: Final = Signal.NEED_DATA
PAUSED: Final = Signal.PAUSED


class Awaiting(enum.Enum):
    """Whose turn it is, and so which time limit runs (RFC 5321 s4.5.3.2)."""

    __hash__ = object.__hash__  # time limits are looked up by it at each read; Enum's own hash is Python code

    ANSWER = "answer"                # ours: the greeting or an answer is owed; no limit for the client
    COMMAND = "command"              # 5 minutes (s4.5.3.2.7)
    CREDENTIALS = "credentials"      # an AUTH exchange's next line; as for a command
    CONTENT_START = "content start"  # 354 was said, nothing came yet; 2 minutes
    CONTENT = "content"              # 3 minutes between two reads
    PENALTY = "penalty"              # ours: the client erred too often; ``go_on`` when it has waited
    HANDSHAKE = "handshake"          # 220 was said to STARTTLS
    NOTHING = "nothing"              # over: send the output and close
