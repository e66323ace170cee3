"""The message as a handler sees it: envelope, fields, text, attachments."""

from functools import cached_property
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThreadPool

from mailgw.app.answers import TooComplex
from mailgw.mail.address import Mailbox
from mailgw.mail.authentication import Authentication
from mailgw.mail.beginning import first_octets
from mailgw.mail.letter import Attachment, Fields, Letter, LetterLimits, line_ends, parse_letter
from mailgw.mail.message import Content, Message
from mailgw.trust.read_back import field_on_top, read_back

HERE_OCTETS = 16 * 1024
HERE_LINES = 1000
"""Of a message that is read where it stands.  The worst one that we know within both takes 30 ms, ordinary ones 0.5 ms;
a thread costs 0.2."""
LARGE_OCTETS = 1024 * 1024
"""Above this, of an application one message is read at a time: reading takes up to seven times its size in memory, and
whoever sends a dozen at once is not to have gigabytes."""


class Reading:
    """One message for all its recipients here: it is read once, when somebody wants to know what it says.

    One that is larger than ``HERE_OCTETS``, or has more than ``HERE_LINES``, has been read before, in a thread.
    """

    def __init__(self, octets: bytes, size_octets: int, limits: LetterLimits) -> None:
        self._octets = octets
        self._size_octets = size_octets
        self._limits = limits
        self._letter: Letter | None = None
        self.results_on_top = field_on_top(octets)

    @property
    def letter(self) -> Letter:
        if self._letter is None:
            self._letter = parse_letter(self._octets, self._limits, self._size_octets)
            self._octets = b""
        return self._letter


async def reading_of(content: Content, limits: LetterLimits, reactor: Any, large: DeferredLock) -> Reading:
    """``reactor`` None: there is no thread to read it in.  ``large`` has who reads more than ``LARGE_OCTETS``.
    TemporaryFault where the disk fails."""
    if reactor is None or content.size_octets <= LARGE_OCTETS:
        return await _read(content, limits, reactor)
    await large.acquire()
    try:
        return await _read(content, limits, reactor)
    finally:
        large.release()


async def _read(content: Content, limits: LetterLimits, reactor: Any) -> Reading:
    size = content.size_octets
    wanted = size if size <= limits.octets else limits.header_octets + 1
    octets = await first_octets(content, wanted)
    reading = Reading(octets, size, limits)
    is_short = size <= HERE_OCTETS and line_ends(octets) <= HERE_LINES
    if not is_short and reactor is not None:
        await deferToThreadPool(reactor, reactor.getThreadPool(), lambda: reading.letter)
    return reading


class IncomingMessage:
    """One message, for one recipient.

    ``reverse_path`` is the envelope's sender, None for reports (``<>``); anybody can make it up.  ``recipient`` is the
    address that it came to.  ``login`` is who sent it by a submission port, and ``client`` the address of who brought
    it, ``""`` where nobody did.  ``arrived`` in seconds since 1970, UTC.  ``content`` is all of it as it came (octets,
    our trace on top), to be streamed.  ``tags`` are the words that rules gave it, ``is_junk`` whether
    they call it junk.
    """

    def __init__(self, message: Message, recipient: Mailbox, reading: Reading, authserv_id: str) -> None:
        """``authserv_id``: the gateway's."""
        self.queue_id = message.queue_id
        self.reverse_path = message.reverse_path
        self.recipient = recipient
        self.login = message.login
        self.client = message.peer
        self.arrived = message.arrived
        self.size_octets = message.content.size_octets
        self.content = message.content
        self.tags = message.tags
        self.is_junk = message.is_junk
        self._message = message
        self._reading = reading
        self._authserv_id = authserv_id

    @property
    def key(self) -> str:
        """The same for each attempt, and of no other message or recipient: what tells a repeat."""
        return f"{self.queue_id} {self.recipient}"

    @cached_property
    def authentication(self) -> Authentication:
        """What this gateway found out of who sent it, when it came: ``spf``, ``dkim``, ``dmarc``, ``arc`` and ``iprev``
        of what strangers brought, ``auth`` of whoever logged in, else nothing (an upstream's word counts as ours).
        ``found_by`` is this gateway.  What headers say of themselves is not in it."""
        return read_back(self._message, self._reading.results_on_top, self._authserv_id)

    @property
    def fault(self) -> str | None:
        """Why text and attachments cannot be had: the message is beyond a limit.  None: they can."""
        return self._reading.letter.fault

    @property
    def headers(self) -> Fields:
        """``message.headers["subject"]``, ``.get("x-spam")``, ``.all("received")``: unfolded, decoded."""
        return self._reading.letter.fields

    @property
    def subject(self) -> str:
        """``""`` where there is none."""
        return self._reading.letter.subject

    @property
    def author(self) -> Mailbox | None:
        """The (first) address of From; None where there is none, or it cannot be read.  Anybody can make it up."""
        authors = self._reading.letter.authors
        return authors[0] if authors else None

    @property
    def is_automatic(self) -> bool:
        """Whether a program wrote it: a report, a notice, a list.  Who answers that automatically makes a loop."""
        return self.reverse_path is None or self._reading.letter.is_automatic

    @property
    def text(self) -> str:
        """The plain text, ``""`` where there is none; LF line ends.  TooComplex."""
        return self._whole.text

    @property
    def html(self) -> str:
        """As ``text``."""
        return self._whole.html

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """Every other part.  TooComplex."""
        return self._whole.attachments

    @property
    def _whole(self) -> Letter:
        letter = self._reading.letter
        if letter.fault is not None:
            raise TooComplex(letter.fault)
        return letter

    def __repr__(self) -> str:
        return f"<message {self.queue_id} for {self.recipient}>"
