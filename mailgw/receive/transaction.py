"""One envelope and one draft: from MAIL to the durable commit (RFC 5321 s3.3, s4.4; RFC 6409 s8).

Content streams into the draft; only the header is gathered, because the trace goes on top of it, loops are
counted in it, and submission completes it.  The dialog bounds it (``header_octets``).
"""

import re
from collections.abc import Awaitable, Callable, Sequence

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.authentication import Authentication
from mailgw.mail.effect import AddHeader, Effect, ReplaceContent, SetHeader, field_of
from mailgw.mail.envelope import BodyType, Client, ReverseName, path_text
from mailgw.mail.header import (
    date_text,
    has_field,
    header_end,
    message_id,
    protocol_word,
    received_field,
    starts_with_field,
    without_private_fields,
)
from mailgw.mail.message import Arrival, Claim, Content, Destination, Message
from mailgw.mail.parameters import MailParameters, Notify
from mailgw.mail.ports import Draft, WallClock
from mailgw.mail.reply import Reply
from mailgw.policy.rewriting import rewrites
from mailgw.policy.rules.relay import may_relay
from mailgw.receive.authenticity import Authenticity, Told
from mailgw.receive.changes import Keeping, changed_recipients, is_held, keeping, rerouted, rewrite
from mailgw.receive.recipients import Recipients
from mailgw.receive.settings import Intake
from mailgw.spool.rows import recorded, unrecorded
from mailgw.trust.evidence import Evidence, Gathering
from mailgw.wire import smtp_replies
from mailgw.wire.content import is_lines

# The first line of a message in an mbox file, perhaps quoted once more on its way; not an obsolete field
# (``From : ...``, RFC 5322 s4.5.2).
_MBOX_FROM = re.compile(rb">*From (?![ \t]*:)[^\r\n]*\r\n")


@attrs.frozen
class Accepted:
    """What the commit made durable.  ``claims`` are to be handed to the intake, which attempts them at once; ``held``
    is why there are none, ``""`` where it is not held."""

    queue_id: str
    size_octets: int
    claims: tuple[Claim, ...]
    held: str


class Transaction:
    """Mutable; lives from MAIL to the answer after content, RSET, or the connection's end.

    ``effects`` are what rules asked for so far, in their order.

    ``fault`` says what is wrong with the header, once the content is complete.  The dialog passes BINARYMIME as it
    comes (RFC 3030 s3), but fields are lines everywhere: a bare LF in one is another field to somebody.

    ``authentication``: what was found out of who sent it, None where nobody asked, or has yet; ``evidence`` is what it
    was made of, None where somebody else found it.

    ``record`` is the name under which who brings it writes down what became of it: it is queued held, though no rule
    wants that, until he has, and lets it go; ``""`` where nobody does.

    ``discard`` may be called at any time; a commit under way then still ends, and its message stays queued
    (the client may not have seen the 250 and may repeat it: RFC 5321 s6.1).
    """

    def __init__(
        self,
        reverse_path: Mailbox | None,
        body_type: BodyType,
        parameters: MailParameters,
        intake: Intake,
        client: Client,
        started: float,
        most_copies: int,
        authenticity: Authenticity,
    ) -> None:
        """``most_copies``: as ``Recipients`` has it."""
        self.reverse_path = reverse_path
        self.started = started
        self.header = b""
        self.queue_id = ""  # from the beginning of the content on
        self.record = ""
        self.held = ""  # once it is committed: why it is held
        self.fault: Reply | None = None
        self._body_type = body_type
        self.parameters = parameters
        self.effects: tuple[Effect, ...] = ()
        self.authentication: Authentication | None = None
        self.evidence: Evidence | None = None
        self._authenticity = authenticity
        self._gathering: Gathering | Told | None = None
        self._intake = intake
        self.recipients = Recipients(intake.destination, most_copies, intake.is_forwarded)
        self._draft: Draft | None = None
        self._gathered: bytes | bytearray | None = b""
        self._trace_octets = 0
        self._head = b""  # what stands between the trace and the body
        self._client = client
        self._hostname = ""
        self._now = 0.0

    @property
    def backlog_octets(self) -> int:
        """What the disk still has to take: pause the transport above a limit."""
        return self._draft.backlog_octets if self._draft is not None else 0

    def open(self, client: Client, hostname: str, wall_clock: WallClock) -> None:
        """Begin the content; ``client`` is what is known of it by now.  TemporaryFault where the spool has no room."""
        self._draft = self._intake.draft()
        self.queue_id = self._draft.queue_id
        self._client = client
        self._hostname = hostname
        self._now = wall_clock()

    def write(self, chunk: bytes) -> None:
        """Take content as it comes, unstuffed."""
        assert self._draft is not None
        if self._body_type is BodyType.SEVEN_BIT and not chunk.isascii():
            self._body_type = BodyType.UNLABELLED
        if self._gathered is None:
            self._draft.write(chunk)
            if self._gathering is not None:
                self._gathering.feed(chunk)
            return
        looked = len(self._gathered)
        if not looked:
            self._gathered = chunk  # most messages bring their header in one
        else:
            if isinstance(self._gathered, bytes):
                self._gathered = bytearray(self._gathered)
            self._gathered += chunk
        end = header_end(self._gathered, looked)
        if end >= 0:
            self._begin_body(end)

    def end_content(self) -> None:
        """Content is complete: ``header`` is what it will be."""
        if self._gathered is not None:
            self._begin_body(len(self._gathered))
        if self._gathering is not None:
            self._gathering.end()

    async def authenticate(self, reverse_name: Callable[[], Awaitable[ReverseName]]) -> bool:
        """Find out who sent it, and write that on top of the message; whether anybody had to ask."""
        gathering, client = self._gathering, self._client
        if gathering is None:
            return False
        assert self._draft is not None
        if isinstance(gathering, Told):
            self.authentication = gathering.authentication
        else:
            reverse = None if client.reverse is None else await reverse_name()
            self.evidence = await self._authenticity.evidence(gathering, client, self.reverse_path, reverse)
            self.authentication = self.evidence.authentication
        field = self._authenticity.field(self.authentication, self.parameters.smtputf8)
        self._draft.crown(field)
        self._trace_octets += len(field)
        return True

    async def drained(self) -> None:
        """Return when the disk has caught up.  TemporaryFault where it refused."""
        assert self._draft is not None
        await self._draft.drained()

    @property
    def message_id(self) -> str:
        """As ``header.message_id`` shows it, once the content is complete; that of submission where it wrote one."""
        return message_id(self._head)

    @property
    def size_octets(self) -> int:
        return 0 if self._draft is None else self._draft.size_octets

    async def content(self) -> Content:
        """What was written, with our trace, once it is complete.  TemporaryFault where the disk refused it."""
        assert self._draft is not None
        return await self._draft.content()

    async def apply(self) -> None:
        """Carry out the effects that are of what the message says and of who gets it.  TemporaryFault: do not commit.
        """
        effects = self.effects
        if not effects:
            return
        draft = self._draft
        assert draft is not None
        self.recipients = await changed_recipients(self.recipients, effects, self._intake)
        if any(map(rewrites, effects)):
            self._draft = new = await rewrite(draft, self._trace_octets, self._head, effects)
            for effect in effects:
                octets = field_of(effect.name, effect.value) if isinstance(effect, (AddHeader, SetHeader)) else b""
                octets = effect.octets if isinstance(effect, ReplaceContent) else octets
                if self._body_type is BodyType.SEVEN_BIT and not octets.isascii():
                    self._body_type = BodyType.UNLABELLED
            assert new.queue_id == draft.queue_id

    def only_destination(self) -> Destination | None:
        """Where it goes, if there is just one way, at once, and of what was asked for nothing is left to the queue: no
        report, no time, no hold."""
        asked = self.parameters
        if self.record or is_held(self.effects) or asked.hold_until is not None or asked.deliver_by is not None:
            return None
        destinations = self.destinations()
        if len(destinations) != 1 or destinations[0].parameters.wants(Notify.SUCCESS):
            return None
        return None if self._keeping(destinations).held else destinations[0]

    async def message(self) -> Message:
        """As a backend would have it from the queue.  TemporaryFault where the disk refuses."""
        arrival = self._arrival(self.destinations())
        return arrival.message(self.queue_id, self._now, await self.content())

    def destinations(self) -> Sequence[Destination]:
        """What is to be queued.  TemporaryFault where a way cannot be told now."""
        found = self.recipients.destinations(self.reverse_path is not None)
        return rerouted(found, self.recipients, self.effects, self._intake) if self.effects else found

    async def commit(self) -> Accepted:
        """Make it durable.  TemporaryFault: nothing is left behind."""
        draft = self._draft
        assert draft is not None
        destinations = self.destinations()
        arrival = self._arrival(destinations)
        claim = self._intake.has_room([d.lane for d in destinations], path_text(self.reverse_path))
        self._draft = None  # from here on the message is the spool's: a lost connection must not discard it
        self.held = recorded(arrival.held)
        claims = await draft.commit(arrival, destinations, claim)
        return Accepted(draft.queue_id, draft.size_octets, claims, self.held)

    def _keeping(self, destinations: Sequence[Destination]) -> Keeping:
        def is_filed() -> bool:
            # A report to the sender takes nothing of the message anywhere.
            copies = (one for one in destinations if not self.recipients.is_report(one))
            return all(self._intake.files_junk(one.lane) for one in copies)

        kept = keeping(self.effects, is_filed)
        if not self.record:
            return kept
        return attrs.evolve(kept, held=unrecorded(self.record, kept.held))

    def _arrival(self, destinations: Sequence[Destination]) -> Arrival:
        client, kept = self._client, self._keeping(destinations)
        return Arrival(
            reverse_path=self.reverse_path,
            body_type=self._body_type,
            peer=client.address,
            helo=client.helo,
            login=client.login or "",
            protocol=protocol_word(client, self.parameters.smtputf8),
            session_id=client.session_id,
            parameters=attrs.evolve(self.parameters, tags=kept.tags) if kept.tags else self.parameters,
            held=kept.held,
            is_ours=may_relay(client),
        )

    def discard(self) -> None:
        """Forget the content."""
        draft, self._draft = self._draft, None
        if draft is not None:
            draft.discard()

    def _begin_body(self, end: int) -> None:
        assert self._draft is not None
        assert self._gathered is not None
        content = bytes(self._gathered)
        self._gathered = None
        if _MBOX_FROM.match(content):
            # An mbox separator that some program sent along: behind our trace it would end the header.
            content = b"X-Mailbox-Line: " + content
            end += len(b"X-Mailbox-Line: ")
        has_header = starts_with_field(content)
        self.header = content[:end] if has_header else b""
        if self._body_type is BodyType.BINARY and not is_lines(self.header):
            self.fault = smtp_replies.BARE_CONTENT
        if self._authenticity.judges(self._client):
            self._gathering = self._authenticity.gathering(self.header, self._client)
            self._gathering.feed(content[end:] if has_header else content.removeprefix(b"\r\n"))
        if self.header:
            self.header = cleaned = self._authenticity.cleaned(self.header, self._client)
            if len(cleaned) != end:
                content, end = cleaned + content[end:], len(cleaned)
        if self._client.role.is_submission and self.header:
            self.header = without_private_fields(self.header)
            content = self.header + content[end:]
        # A message without a header gets the empty line that it lacks: its first line would be read as a broken field.
        if not has_header and not content.startswith(b"\r\n"):
            content = b"\r\n" + content
        trace, added = self._trace(), self._added()
        self._trace_octets = len(trace)
        self._head = added + (self.header or b"\r\n")
        self._draft.write(trace + added + content)

    def _trace(self) -> bytes:
        draft, client = self._draft, self._client
        assert draft is not None
        utf8, priority = self.parameters.smtputf8, self.parameters.priority
        return received_field(client, self._hostname, draft.queue_id, self.recipients.named, utf8, self._now, priority)

    def _added(self) -> bytes:
        """What submission adds on top of the header."""
        draft, client, top = self._draft, self._client, b""
        assert draft is not None
        if client.role.is_submission:
            utf8 = self.parameters.smtputf8
            # RFC 6409 s8: what a message lacks of what RFC 5322 s3.6 wants
            author = str(self.reverse_path or client.login or "")
            if author and not has_field(self.header, b"From") and (utf8 or author.isascii()):
                top += f"From: {author}\r\n".encode()
            if not has_field(self.header, b"Date"):
                top += f"Date: {date_text(int(self._now))}\r\n".encode()
            if not has_field(self.header, b"Message-ID"):
                top += f"Message-ID: <{draft.queue_id}@{self._hostname}>\r\n".encode()
        return top
