"""The content part of the server's side of one session, which ``smtp_server.Dialog`` drives: DATA and BDAT
(RFC 5321 s4.1.1.4, RFC 3030 s2).

It knows how far a message's content has come in; whether it may be sent at all, who is asked and what is
said is the dialog's to know.

Rules:
    A chunk is read to its end, whatever is wrong with it, and its octets are never taken for commands.
    After a refused chunk no other one of the same transaction is taken: half of a message is none.
    A message in very many very small chunks is refused; a client that goes on with them errs each time.
"""

import re
from collections.abc import Mapping
from typing import Final

import attrs

from mailgw.mail.reply import Reply
from mailgw.wire import smtp_replies as replies
from mailgw.wire.content import ContentCheck, ContentFault
from mailgw.wire.dots import DotReader
from mailgw.wire.lines import LineReader
from mailgw.wire.smtp_events import DialogSettings

# RFC 3030 s2: bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ] CR LF; chunk-size = 1*DIGIT; end-marker = "LAST"
# Ten digits are read to the end if they must be; nobody waits for more than 9 GiB that nobody wants.
_BDAT: Final = re.compile(rb"([0-9]{1,10})(?:[ \t]+(.+))?\Z", re.DOTALL)

# So many chunks of a message may be as small as they like; beyond, they must have this size on the average.
FREE_CHUNKS: Final = 1000
MEAN_CHUNK_OCTETS: Final = 512

FAULTS: Final[Mapping[ContentFault | None, Reply | None]] = {
    None: None,
    ContentFault.BARE: replies.BARE_CONTENT,
    ContentFault.NUL: replies.NUL_CONTENT,
    ContentFault.LONG_LINE: replies.LONG_CONTENT_LINE,
    ContentFault.LARGE_HEADER: replies.LARGE_HEADER,
    ContentFault.TOO_LARGE: replies.TOO_LARGE,
}


@attrs.frozen
class Chunk:
    """What one BDAT announced; ``fault`` where there was something else behind the size."""

    size_octets: int
    is_last: bool
    fault: Reply | None


def parse_bdat(argument: bytes) -> Chunk | None:
    """What follows ``BDAT ``.  None where no size can be made out, so that nobody knows where the chunk ends."""
    match = _BDAT.match(argument)
    if match is None:
        return None
    marker = match[2]
    is_last = marker is not None and marker.upper() == b"LAST"
    return Chunk(int(match[1]), is_last, None if marker is None or is_last else replies.BAD_BDAT)


class Incoming:
    """The content of one transaction.

    ``chunk`` is the one that is being read, None in content by DATA; ``refusal`` why it is dropped as it comes.
    ``is_open``: the shell waits for content.
    ``is_spoiled``: a chunk was refused.  ``is_misuse``: the chunk should not have been sent at all.
    """

    def __init__(self, settings: DialogSettings, is_binary: bool) -> None:
        self.chunk: Chunk | None = None
        self.refusal: Reply | None = None
        self.is_open = False
        self.is_spoiled = False
        self.is_misuse = False
        self._settings = settings
        self._check = ContentCheck(settings.message_octets, settings.content, is_binary)
        self._dots: DotReader | None = None
        self._left = 0
        self._chunks = 0
        self._chunk_octets = 0

    @property
    def fault(self) -> Reply | None:
        """What was wrong with the content so far."""
        return FAULTS[self._check.fault]

    @property
    def has_ended(self) -> bool:
        """Content by DATA came to its end, or the chunk did."""
        return not self._left if self.chunk is not None else self._dots is None or self._dots.ended

    @property
    def is_complete(self) -> bool:
        """Content by DATA, or a chunk that is said to be the last."""
        return self.chunk is None or self.chunk.is_last

    def begin_data(self) -> None:
        self.is_open = True
        self._dots = DotReader()

    def begin_chunk(self, chunk: Chunk, refusal: Reply | None) -> None:
        """A chunk's octets follow.  With a ``refusal``, or of too many octets, they are dropped."""
        self.chunk = chunk
        self._left = chunk.size_octets
        refusal = refusal or chunk.fault
        self.is_misuse = refusal is not None and not self.is_spoiled
        self._chunks += 1
        self._chunk_octets += chunk.size_octets
        if self._chunks > FREE_CHUNKS + self._chunk_octets // MEAN_CHUNK_OCTETS:
            # Each costs us a command's work, however small it is.
            self.is_misuse = True
            refusal = refusal or replies.TOO_MANY_CHUNKS
        self.refusal = refusal or self._size_refusal(chunk.size_octets)

    def next(self, lines: LineReader) -> bytes | None:
        """The next octets of the message; b"" where none came that may be handed out: ``has_ended`` then says
        whether there will be more.  None where ``lines`` are empty before the end."""
        if self.has_ended:
            return b""
        if not len(lines):
            return None
        if self.chunk is None:
            assert self._dots is not None
            octets, rest = self._dots.feed(lines.take_all())
            if rest:
                lines.receive(rest)
        else:
            octets = lines.take_some(self._left)
            self._left -= len(octets)
            if self.refusal is not None:
                return b""
        return self._check.take(octets)

    def finish(self) -> bytes:
        """What content remains behind the last octets, when it ``has_ended`` and ``is_complete``."""
        return self._check.finish()

    def _size_refusal(self, size_octets: int) -> Reply | None:
        if size_octets > self._settings.chunk_octets:
            return replies.CHUNK_TOO_LARGE
        if self._check.size_octets + size_octets > self._settings.message_octets:
            return replies.TOO_LARGE
        return None
