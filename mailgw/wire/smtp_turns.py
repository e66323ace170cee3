"""Whose turn it is in one session, what is owed and what is said; ``smtp_server.Dialog`` adds the commands.

Rules:
    While an answer is owed nothing more is looked at, so pipelined commands are answered in their order.
    After the end of a session nothing is said and nothing is taken.
    While much that was said waits for ``output``, nothing more is looked at: short commands have long answers.
    After an error of one who errs often nothing is looked at before ``go_on``.
"""

from collections.abc import Mapping
from typing import Final, Protocol, assert_never

from mailgw.mail.errors import LocalProtocolError
from mailgw.mail.reply import Reply
from mailgw.wire import smtp_replies as replies
from mailgw.wire.lines import LineFault, LineReader
from mailgw.wire.smtp_conduct import Conduct
from mailgw.wire.smtp_events import (
    Awaiting,
    ContentEnd,
    Credentials,
    Data,
    DialogSettings,
    Event,
    Expelled,
    Hello,
    KeysOf,
    Mail,
    Owed,
    Rcpt,
    StartTls,
    Xclient,
)


class Witness(Protocol):
    """Who is told of a session as it is spoken (``transcript.Transcript``)."""

    def command(self, line: bytes) -> None:
        """The client's line, where a command was due."""

    def credentials(self) -> None:
        """A line of the client's within an AUTH exchange."""

    def spoiled(self, fault: LineFault) -> None:
        """A line where a command was due, that is none."""

    def content(self, octets: int) -> None:
        """So much of a message, or of a chunk that nobody wants."""

    def reply(self, octets: bytes) -> None:
        """Ours."""

    def challenge(self) -> None:
        """Ours, within an AUTH exchange."""


# As much as one read may be.
OUTPUT_OCTETS: Final = 65536


class Turns:
    """Not re-entrant; calls in a forbidden order raise ``LocalProtocolError``.  ``witness`` hears all that is said."""

    def __init__(self, settings: DialogSettings) -> None:
        self.awaiting: Awaiting = Awaiting.ANSWER
        self._settings = settings
        self._lines = LineReader()
        self._output: list[bytes] = []
        self._output_octets = 0
        self._owed: type[Owed] | None = None
        self._last: Event | None = None  # what an answer of ours led to: a login, or the session's end
        self._greeted = False
        self._turned_away = False  # by a 554 greeting
        self._conduct = Conduct(settings)
        self.witness: Witness | None = None

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

    def close(self, reply: Reply) -> None:
        """Say a last word (421 4.4.2 for silence, 421 4.3.2 for a shutdown) and end the session at any time."""
        if self.awaiting is not Awaiting.NOTHING:
            self._say(reply)
            self._end()

    def output(self) -> bytes:
        """Take the octets to send, b"" where there are none; what was taken is not given again."""
        octets = b"".join(self._output)
        self._output.clear()
        self._output_octets = 0
        return octets

    @property
    def has_much_to_say(self) -> bool:
        """Take ``output`` before anything more is looked at."""
        return self._output_octets > OUTPUT_OCTETS

    def go_on(self) -> None:
        """The penalty was served (``Awaiting.PENALTY``): send ``output`` and ask for events again."""
        if self.awaiting is Awaiting.PENALTY:
            self.awaiting = Awaiting.COMMAND

    # --- below -----------------------------------------------------------------------------------------

    def _fitting(self, reply: Reply) -> type[Owed]:
        """What is owed, where ``reply`` may answer it; else LocalProtocolError."""
        owed = self._owed
        if owed is None:
            raise LocalProtocolError(f"no answer is owed: {reply}")
        if reply.is_positive and reply.code not in _POSITIVE[owed]:
            raise LocalProtocolError(f"{reply} is no answer to {owed.__name__}")
        return owed

    def _say(self, reply: Reply) -> None:
        octets = reply.octets()
        if self.witness is not None:
            self.witness.reply(octets)
        self._output_octets += len(octets)
        self._output.append(octets)

    def _owe(self, event: Owed) -> Event:
        self._owed = type(event)
        self.awaiting = Awaiting.ANSWER
        return event

    def _end(self) -> None:
        self._owed = None
        self._lines.clear()
        self.awaiting = Awaiting.NOTHING

    def _expel(self, reply: Reply) -> Event:
        self._say(reply)
        self._end()
        return Expelled(reply)

    def _refuse(self, reply: Reply) -> Event | None:
        """Answer a command that should not have been given; one too many of them ends the session."""
        expelled = self._count_error()
        if expelled is None:
            self._say(reply)
        return expelled

    def _count_error(self) -> Event | None:
        self._conduct.err()
        return self._bear()

    def _bear(self) -> Event | None:
        """After an error: the end, a penalty, or nothing."""
        if self._conduct.is_unbearable:
            return self._expel(replies.TOO_MANY_ERRORS)
        if self._conduct.is_slowed:
            self.awaiting = Awaiting.PENALTY
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


_POSITIVE: Final[Mapping[type, frozenset[int]]] = {
    Hello: frozenset(),  # that is accept_hello's
    StartTls: frozenset({220}),
    KeysOf: frozenset(),  # that is supply_keys's
    Credentials: frozenset({235}),
    Xclient: frozenset({220}),
    Mail: frozenset({250}),
    Rcpt: frozenset({250, 251, 252}),
    Data: frozenset({354}),
    ContentEnd: frozenset({250}),
}
