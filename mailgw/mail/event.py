"""Facts of a gateway's life, one frozen class each; journal, metrics and traces observe them.

Field names are the same everywhere.  No credential, AUTH line or body octet is ever in one.
Times are added by the journal; durations are ``seconds``.
"""

from typing import ClassVar

import attrs

from mailgw.mail.event_kind import Event as Event
from mailgw.mail.event_of_processes import Reloaded as Reloaded
from mailgw.mail.event_of_processes import Started as Started
from mailgw.mail.event_of_processes import Stopped as Stopped
from mailgw.mail.event_of_processes import WorkerEnded as WorkerEnded
from mailgw.mail.event_of_processes import WorkerStarted as WorkerStarted


@attrs.frozen
class Connected(Event):
    """``proxy`` is the address of the proxy that passed the connection on, ``""`` for none."""

    name: ClassVar[str] = "connected"
    session_id: str
    role: str
    peer: str
    port: int
    proxy: str = ""


@attrs.frozen
class ProxyFailed(Event):
    """A listed proxy connected without a good PROXY header."""

    name: ClassVar[str] = "proxy_failed"
    session_id: str
    peer: str
    why: str


@attrs.frozen
class Fronted(Event):
    """A front named its client by XCLIENT; ``peer`` is the client from here on."""

    name: ClassVar[str] = "fronted"
    session_id: str
    peer: str
    port: int
    front: str
    client_name: str
    helo: str


@attrs.frozen
class Disconnected(Event):
    """``why``: quit, lost, timeout, refused, error, shutdown."""

    name: ClassVar[str] = "disconnected"
    session_id: str
    peer: str
    why: str
    seconds: float
    messages: int


@attrs.frozen
class TlsStarted(Event):
    name: ClassVar[str] = "tls"
    session_id: str
    peer: str
    version: str
    cipher: str
    certificate_names: tuple[str, ...]


@attrs.frozen
class TlsFailed(Event):
    name: ClassVar[str] = "tls_failed"
    session_id: str
    peer: str
    why: str


@attrs.frozen
class ReverseNameFound(Event):
    """The name of a stranger's address was looked up; ``reverse_name`` is ``""`` where there is none, or none in time;
    ``is_confirmed`` says that it has this address in turn."""

    name: ClassVar[str] = "reverse_name"
    session_id: str
    peer: str
    reverse_name: str
    is_confirmed: bool


@attrs.frozen
class LoggedIn(Event):
    name: ClassVar[str] = "login"
    session_id: str
    peer: str
    login: str
    mechanism: str


@attrs.frozen
class LoginFailed(Event):
    """``login`` is the name that was tried; it may be garbage, so it is printed with escapes.  ``why`` is for the
    operator; the client is told nothing of it."""

    name: ClassVar[str] = "login_failed"
    session_id: str
    peer: str
    login: str
    mechanism: str
    why: str


@attrs.frozen
class LockedOut(Event):
    """Too many failed logins: ``by`` is what is locked (address, network, login), ``key`` which one.  A login's name
    is what was tried; it may be garbage."""

    name: ClassVar[str] = "locked_out"
    session_id: str
    peer: str
    by: str
    key: str
    seconds: float


@attrs.frozen
class Rejected(Event):
    """A command that our policy or our trouble refused; ``stage`` CONNECT, HELO, AUTH, MAIL, RCPT, CONTENT; ``why`` is
    for the operator, ``""`` where the text says it all.

    ``queue_id``, ``recipients`` and ``message_id`` count at CONTENT, as of what is queued; ``way`` as ``Queued`` has
    it."""

    name: ClassVar[str] = "rejected"
    session_id: str
    peer: str
    stage: str
    rule: str
    code: int
    status: str
    text: str
    reverse_path: str
    recipient: str
    why: str = ""
    queue_id: str = ""
    recipients: tuple[str, ...] = ()
    message_id: str = ""
    way: str = ""


@attrs.frozen
class Queued(Event):
    """Responsibility passed to us: the message is durable.

    ``parameters``: what MAIL asked for, as the queue keeps it (RFC 6710 s4.1 wants the priority logged).
    ``message_id``: as ``header.message_id``, here and in what follows.  ``cause``: of what a plug-in sent while it
    delivered a message, that one's queue id.  ``way``: how it was handed in, where that was no session of SMTP
    (``envelope.Client``), here and in what follows.
    """

    name: ClassVar[str] = "queued"
    session_id: str
    queue_id: str
    peer: str
    login: str
    reverse_path: str
    recipients: tuple[str, ...]
    size_octets: int
    seconds: float  # from MAIL to the commit
    parameters: str = ""
    message_id: str = ""
    cause: str = ""
    way: str = ""


@attrs.frozen
class HandedOver(Event):
    """A backend took a message before its client was answered: it never was in the queue.  ``code``, ``status`` and
    ``text`` are the backend's."""

    name: ClassVar[str] = "handed_over"
    session_id: str
    queue_id: str
    peer: str
    login: str
    reverse_path: str
    recipient: str
    lane: str
    size_octets: int
    seconds: float  # from MAIL to the answer
    code: int
    status: str
    text: str
    message_id: str = ""
    way: str = ""


@attrs.frozen
class Authenticated(Event):
    """What was found out of who sent a message, before it is judged: a word for each method, as RFC 8601 writes it
    (``"dmarc=fail header.from=example.org policy.dmarc=reject: nothing that passes ..."``).  ``found_by``: the
    authserv-id of who found it; ``vouched_by``: a trusted ARC sealer whose word counts against DMARC's, ``""`` for
    none."""

    name: ClassVar[str] = "authenticated"
    session_id: str
    queue_id: str
    peer: str
    results: tuple[str, ...]
    found_by: str
    vouched_by: str


@attrs.frozen
class Changed(Event):
    """What rules asked for of a message that is queued: their names, and a word for each thing they did
    (``"add_header X-Spam"``, ``"tag spam"``, ``"quarantine"``), in order.  Behind ``Queued``.

    ``held`` is why nobody tries it, ``""`` where it is tried: of ``"junk"`` that hangs on where it goes."""

    name: ClassVar[str] = "changed"
    session_id: str
    queue_id: str
    effects: tuple[str, ...]
    why: str
    held: str = ""


@attrs.frozen
class Discarded(Event):
    """A rule let the client be told 250, and the message be forgotten."""

    name: ClassVar[str] = "discarded"
    session_id: str
    queue_id: str
    peer: str
    reverse_path: str
    recipients: tuple[str, ...]
    why: str
    message_id: str = ""
    way: str = ""


@attrs.frozen
class Expanded(Event):
    """A recipient of a queued message was an alias; to how many addresses (``recipients``) it came.  Behind ``Queued``,
    one each."""

    name: ClassVar[str] = "expanded"
    session_id: str
    queue_id: str
    recipient: str
    recipients: int


@attrs.frozen
class Result(Event):
    """What an attempt at a recipient came to, by the words of ``hop``; no fact of its own."""

    queue_id: str
    recipient: str
    lane: str
    hop: str
    code: int
    status: str
    text: str
    attempts: int


@attrs.frozen
class Delivered(Result):
    name: ClassVar[str] = "delivered"
    seconds: float  # from arrival
    tls: str = ""  # its version, "" in clear
    cipher: str = ""
    verified: str = ""  # by what the hop's certificate was: dane, sts, ca, fingerprint, none
    source: str = ""  # the address that it left from, where one was chosen from several


@attrs.frozen
class Signed(Event):
    """A message is signed on its way out (``method`` dkim), or sealed (arc), by a domain's keys; once for all
    recipients that get it in the same form soon after another."""

    name: ClassVar[str] = "signed"
    queue_id: str
    method: str
    domain: str
    selectors: tuple[str, ...]


@attrs.frozen
class Unsigned(Event):
    """A message leaves without signatures of ours (``method`` dkim), or without our seal (arc), though mail is signed
    here: why, once a message."""

    name: ClassVar[str] = "unsigned"
    queue_id: str
    method: str
    why: str


@attrs.frozen
class Retrying(Result):
    """A recipient was tried in vain and waits again; ``reply_class`` (``queue.replies``) of what was said, ``""`` for
    none."""

    name: ClassVar[str] = "deferred"
    retry_seconds: float
    reply_class: str = ""
    source: str = ""  # as ``Delivered`` has it


@attrs.frozen
class Bounced(Result):
    """A recipient failed for good; ``notice_id`` is the bounce's queue id, ``""`` where its sender wanted none;
    ``reply_class`` as ``Retrying`` has it."""

    name: ClassVar[str] = "bounced"
    notice_id: str
    reply_class: str = ""
    source: str = ""  # as ``Delivered`` has it


@attrs.frozen
class Conversation(Event):
    """What was said in an attempt, by us (``C:``) and by ``hop`` (``S:``), as far as it is kept
    (``wire.conversation``): never a secret, never content.  Before the facts of what it came to; one a connection."""

    name: ClassVar[str] = "conversation"
    queue_id: str
    lane: str
    hop: str
    lines: tuple[str, ...]
    seconds: float


@attrs.frozen
class Warned(Event):
    name: ClassVar[str] = "delay_warning"
    queue_id: str
    recipient: str
    notice_id: str


@attrs.frozen
class Reported(Event):
    """The sender was told, as it had asked, that a recipient was ``delivered``, ``relayed``, or ``expanded`` to the
    several addresses of an alias (``action``)."""

    name: ClassVar[str] = "reported"
    queue_id: str
    recipient: str
    action: str
    notice_id: str


@attrs.frozen
class Expired(Event):
    """The time that its sender gave a message (DELIVERBY) passed: ``mode`` R, it goes back; N, its sender is told."""

    name: ClassVar[str] = "expired"
    queue_id: str
    recipient: str
    lane: str
    attempts: int
    mode: str


@attrs.frozen
class Undeliverable(Event):
    """A message of ours with the null reverse-path failed: held for the operator."""

    name: ClassVar[str] = "held"
    queue_id: str
    recipient: str
    lane: str
    code: int
    status: str
    text: str


@attrs.frozen
class StsPolicyFetched(Event):
    """A domain's MTA-STS policy was learned, or is another than it was."""

    name: ClassVar[str] = "sts_policy"
    domain: str
    mode: str
    mx_patterns: tuple[str, ...]
    max_age_seconds: int
    policy_id: str


@attrs.frozen
class StsPolicyFailed(Event):
    """A domain says that it has an MTA-STS policy, which could not be fetched or read; what was in force stays.

    ``result`` is RFC 8460's word for it.
    """

    name: ClassVar[str] = "sts_policy_failed"
    domain: str
    result: str
    why: str


@attrs.frozen
class TlsReported(Event):
    """A report on a day's TLS went to whom the domain named (RFC 8460), by mail, which is in the queue, or by HTTPS.

    ``day`` as 2026-11-28; ``queue_id`` ``""`` where none went by mail; ``successes`` and ``failures`` count sessions.
    """

    name: ClassVar[str] = "tls_report"
    domain: str
    day: str
    report_id: str
    destinations: tuple[str, ...]
    queue_id: str
    successes: int
    failures: int


@attrs.frozen
class TlsReportFailed(Event):
    """A report on a day's TLS could be brought to nobody; ``is_final``: it is given up."""

    name: ClassVar[str] = "tls_report_failed"
    domain: str
    day: str
    why: str
    is_final: bool


@attrs.frozen
class ReportKept(Event):
    """A report of somebody else's was kept (a backend of type reports): ``report`` is its number there, ``kind`` dmarc
    or tls; what ``organization``, ``report_id`` and ``domains`` are is the reporter's word.  ``sender`` is the domain
    in From of its mail, ``is_trusted`` whether DMARC passed for that; ``is_new`` False: it was there already.
    ``count`` messages or sessions, ``failures`` of them failed."""

    name: ClassVar[str] = "report_kept"
    queue_id: str
    report: int
    kind: str
    organization: str
    report_id: str
    domains: tuple[str, ...]
    sender: str
    is_trusted: bool
    is_new: bool
    count: int
    failures: int


@attrs.frozen
class ReportUnread(Event):
    """What came as a report to a backend of type reports cannot be read; the rest as ``ReportKept`` has it."""

    name: ClassVar[str] = "report_unread"
    queue_id: str
    sender: str
    is_trusted: bool
    why: str


@attrs.frozen
class DmarcReported(Event):
    """A report by DMARC on a day's mail (RFC 9990) is in the queue, for one address that asks for it.

    ``day`` as 2026-11-28; ``messages`` in ``rows`` rows are told of, ``left_out`` are not, for want of room.
    """

    name: ClassVar[str] = "dmarc_report"
    domain: str
    day: str
    report_id: str
    recipient: str
    queue_id: str
    rows: int
    messages: int
    left_out: int


@attrs.frozen
class DmarcReportFailed(Event):
    """A report by DMARC went not to all that its domain names, or to none; ``is_final``: nor will it."""

    name: ClassVar[str] = "dmarc_report_failed"
    domain: str
    day: str
    why: str
    is_final: bool


@attrs.frozen
class DkimKey(Event):
    """What became of a key that mail is signed with: ``move`` made, seen, signs, retired, gone, lost, forgotten
    (``trust.dkim_rotation``); ``why`` says more, ``""`` where there is no more to say."""

    name: ClassVar[str] = "dkim_key"
    domain: str
    selector: str
    move: str
    why: str


@attrs.frozen
class Removed(Event):
    """The operator, or the HTTP API, removed a ``recipient`` from its lane of the queue; or, where the order named no
    message, as many as ``recipients`` says, and then the other fields are ``""``."""

    name: ClassVar[str] = "removed"
    queue_id: str
    recipients: int
    recipient: str = ""
    lane: str = ""


@attrs.frozen
class Ordered(Event):
    """The operator gave an order over the queue: ``order`` hold, release, retry, reroute, bounce, suspend, resume;
    ``which`` the query or the destination; ``to`` the backend of a reroute; how many ``recipients`` it met;
    ``queue_id`` where the query names a message."""

    name: ClassVar[str] = "ordered"
    order: str
    which: str
    to: str
    recipients: int
    queue_id: str = ""


@attrs.frozen
class Operated(Event):
    """Something was asked for by HTTP that changes something, or would have: by whose ``token``, from which ``peer``,
    and what the answer's ``http_status`` was."""

    name: ClassVar[str] = "operated"
    token: str
    peer: str
    method: str
    path: str
    http_status: int


@attrs.frozen
class TokenRefused(Event):
    """Somebody asked by HTTP with a token that there is not.  Of many by one ``peer`` the first of each minute
    alone."""

    name: ClassVar[str] = "token_refused"
    peer: str
    method: str
    path: str


@attrs.frozen
class Trouble(Event):
    """Something of ours went wrong; ``what`` names the part, ``why`` says how.  The traceback is in the log."""

    name: ClassVar[str] = "trouble"
    what: str
    why: str
    session_id: str
    queue_id: str
