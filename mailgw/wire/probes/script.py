"""What probes are made of: steps to take, answers heard, findings made."""

import enum
from collections.abc import Callable, Generator, Mapping
from typing import Final

import attrs

from mailgw.mail.address import Mailbox
from mailgw.wire.reply_reader import RawReply


class Judgement(enum.Enum):
    OK = "ok"
    WEAK = "WEAK"
    UNKNOWN = "unknown"  # the server did not let us see
    SKIPPED = "skipped"  # something was not given or not offered, so nothing was sent


@attrs.frozen
class Finding:
    """``answer``: what the server did; ``meaning``: what follows from it, ``""`` where all is well."""

    judgement: Judgement
    answer: str
    meaning: str = ""


class Ended(enum.Enum):
    """Why no more replies were waited for."""

    NOT = ""  # there are as many as were asked for
    CLOSED = "it hung up"
    SILENT = "silence"
    GARBAGE = "what is no reply"
    NO_TLS = "no TLS"


@attrs.frozen
class Heard:
    """The replies to one step, in their order."""

    replies: tuple[RawReply, ...]
    ended: Ended

    @property
    def codes(self) -> tuple[int, ...]:
        return tuple(code for code, _ in self.replies)

    @property
    def code(self) -> int:
        """The first code; 0 where there was none."""
        return self.replies[0][0] if self.replies else 0

    @property
    def is_yes(self) -> bool:
        """A 2yz or 3yz came first."""
        return 200 <= self.code < 400

    @property
    def is_no(self) -> bool:
        """It was refused for good, or by hanging up."""
        return self.code >= 500 or self.code == 421 or (not self.code and self.ended is Ended.CLOSED)

    def __str__(self) -> str:
        codes = [str(code) for code in self.codes]
        if len(codes) > MOST_CODES_TOLD:
            codes[MOST_CODES_TOLD:] = [f"{len(codes) - MOST_CODES_TOLD} more"]
        # After 221 and 421 it goes without saying.
        expected = self.ended is Ended.CLOSED and self.codes[-1:] in ((221,), (421,))
        return ", ".join(codes + [self.ended.value] * (self.ended is not Ended.NOT and not expected))


MOST_CODES_TOLD: Final = 12


# --- steps ----------------------------------------------------------------------------------------------------

ALL: Final = 1 << 30
"""As many replies as come until the server closes, or says no more for a while."""


@attrs.frozen
class Say:
    """Send ``octets`` and wait for that many ``replies``.

    ``piece_octets`` sends them in pieces of that size, each by itself; 0 is all at once.
    """

    octets: bytes
    replies: int = 1
    piece_octets: int = 0


@attrs.frozen
class StartTls:
    """The handshake.  ``Heard`` has what the server had said in clear after its 220, and NO_TLS where it failed."""


@attrs.frozen
class Reconnect:
    """Hang up and connect anew; ``Heard`` has the greeting."""


Step = Say | StartTls | Reconnect
Script = Generator[Step, Heard, Finding]


# --- probes ---------------------------------------------------------------------------------------------------

@attrs.frozen
class Login:
    name: str
    password: str = attrs.field(repr=False)


@attrs.frozen
class Target:
    """What the operator gave.  ``recipient`` is one that the server serves; ``foreign`` one that it must not."""

    recipient: Mailbox | None
    foreign: Mailbox
    starttls: bool
    tls: bool  # from the first octet
    login: Login | None = None


@attrs.frozen
class Server:
    """What the server said of itself: its name, its extensions in upper case, and the hello that it wants."""

    name: str
    extensions: Mapping[str, str]
    hello: bytes

    @property
    def pipelines(self) -> bool:
        return "PIPELINING" in self.extensions


@attrs.frozen
class Probe:
    """``sent``: in words; ``weak``: what it means where the server fell for it.

    ``leaves_mail``: a message may stay behind.  ``extension``: what the server must offer, else there is nothing to
    ask.  ``in_clear``: it is about the time before TLS.  ``as_stranger``: it is about who has not logged in.
    """

    name: str
    sent: str
    weak: str
    script: Callable[[Target, Server], Script]
    needs_recipient: bool = False
    leaves_mail: bool = False
    extension: str = ""
    in_clear: bool = False
    as_stranger: bool = False


# --- words for scripts ----------------------------------------------------------------------------------------

def lines(*commands: str) -> bytes:
    return "".join(f"{command}\r\n" for command in commands).encode("latin-1")


def say(*commands: str) -> Say:
    """Each is one command with one reply."""
    return Say(lines(*commands), len(commands))


GOOD_BYE: Final = Say(b"QUIT\r\n", ALL)


def all_is_well(heard: Heard | str) -> Finding:
    return Finding(Judgement.OK, str(heard))


def weakness(heard: Heard | str, meaning: str = "") -> Finding:
    """``meaning`` where it is not the probe's own."""
    return Finding(Judgement.WEAK, str(heard), meaning)


def nobody_knows(heard: Heard | str, why: str) -> Finding:
    return Finding(Judgement.UNKNOWN, str(heard), why)


def skipped(why: str) -> Finding:
    return Finding(Judgement.SKIPPED, "", why)


def refused_or_weak(heard: Heard) -> Finding:
    """A no is well, a yes is the probe's weakness; what is neither (4yz, silence) shows nothing."""
    if heard.is_yes:
        return weakness(heard)
    if heard.is_no:
        return all_is_well(heard)
    return nobody_knows(heard, "neither yes nor no")
