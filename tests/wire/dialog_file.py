"""Dialogs as text files, and the trivially accepting shell that they run against.

A file under ``tests/dialogs`` is lines of:

    # a comment, or an empty line
    set role submission         before the first C or S: role, message_octets, recipients, offers_starttls,
                                command_line_octets, auth_line_octets, errors_per_session, tls, chunk_octets, messages,
                                quick_errors, idle_commands,
                                content_line_octets, header_octets, bare_line_ends (refuse, normalise), hold_seconds;
                                is_front (XCLIENT is offered), extensions, with the ESMTP keywords that are offered;
                                mechanisms of AUTH (default: PLAIN LOGIN); bindings, types of channel binding whose
                                octets are "octets of TYPE" (default: tls-exporter)
    whole                       run it only in whole blocks: it is about what came in one read
    C: EHLO there               the client sends this line and CRLF; lines in a row are one read
    C~ a\\nb\\x00\\r\\n             the client sends exactly this, with Python's escapes
    C64: n,,n=user\\x01          the client sends this in base64 and CRLF, with Python's escapes
    C* 3000 x                   the client sends "x" 3000 times, without CRLF
    S: 250 2.0.0 OK             the server says exactly this line; "..." at its end stands for anything
    skip                        whatever the server has said so far was read
    E: Mail a@example.org 8BITMIME 100   the shell saw this event, at or after the last E line
    answer RCPT 550 5.1.1 No    what the shell says to the next such event instead of yes (GREETING, HELLO,
                                STARTTLS, KEYS, AUTH, XCLIENT, MAIL, RCPT, DATA, CONTENT)
    hold MAIL                   the shell does not answer the next such event ...
    answer CONTENT 250 2.0.0 OK | 550 5.1.1 No    one for each recipient (LMTP)
    release 250 2.1.0 OK        ... before this line; C lines between the two are one read more
    penalty                     the client was made to wait for what the server just said, and has waited
    tls                         the handshake is done
    close 421 4.4.2 Timeout     the shell ends the session
    closed                      the session is over
    advance 30                  time passes: nothing to a dialog, which has no clock

Every octet that the server says must be expected by an S line before the next C line.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

import attrs

from mailgw.mail.envelope import Role
from mailgw.mail.reply import Reply
from mailgw.wire import smtp_replies
from mailgw.wire.content import BareLineEnds, ContentRules
from mailgw.wire.sasl import Certificate, LoginClaim, Offer, Password, Proof, ScramKeys, Token
from mailgw.wire.scram import derive_keys
from mailgw.wire.smtp_server import (
    NEED_DATA,
    PAUSED,
    Awaiting,
    Content,
    ContentEnd,
    Credentials,
    Data,
    Dialog,
    DialogSettings,
    Event,
    Expelled,
    Hello,
    KeysOf,
    LoggedIn,
    Mail,
    Overstepped,
    Quit,
    Rcpt,
    Reset,
    Signal,
    StartTls,
    Xclient,
)

FOLDER = Path(__file__).parent.parent / "dialogs"

DEFAULTS = {
    "hostname": "mx.example.org", "role": "mx", "message_octets": 1000, "recipients": 3, "offers_starttls": True,
    "command_line_octets": 512, "auth_line_octets": 2000, "errors_per_session": 10,
    "extensions": frozenset(), "chunk_octets": 1000, "messages": None,
    "quick_errors": 1000, "idle_commands": 1000,
    "content_line_octets": 1000, "header_octets": 1000, "bare_line_ends": "refuse", "hold_seconds": 3600,
}
DEFAULT_OFFER = Offer(("PLAIN", "LOGIN"), {})
# RFC 7677 s3, whose user is "user" and password "pencil"; a stranger's keys prove nothing.
NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
KEYS = derive_keys(b"pencil", b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
STRANGER = ScramKeys(4096, KEYS.salt, bytes(32), bytes(32))
NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
PAUSES = (Awaiting.ANSWER, Awaiting.HANDSHAKE, Awaiting.PENALTY)
WORDS = {
    Hello: "HELLO", StartTls: "STARTTLS", KeysOf: "KEYS", Credentials: "AUTH", Xclient: "XCLIENT", Mail: "MAIL",
    Rcpt: "RCPT", Data: "DATA", ContentEnd: "CONTENT",
}
YES = {
    "STARTTLS": smtp_replies.READY_FOR_TLS,
    "MAIL": smtp_replies.SENDER_OK,
    "RCPT": smtp_replies.RECIPIENT_OK,
    "DATA": smtp_replies.START_CONTENT,
    "CONTENT": Reply(250, "2.0.0", ("Queued",)),
    "XCLIENT": Reply(220, "", ("mx.example.org ESMTP",)),
}


def settings_of(**changes: object) -> DialogSettings:
    values = {**DEFAULTS, **changes}
    values["role"] = Role(values["role"])
    values["content"] = ContentRules(
        line_octets=values.pop("content_line_octets"),  # type: ignore[arg-type]  # a table of tests
        header_octets=values.pop("header_octets"),  # type: ignore[arg-type]
        bare_line_ends=BareLineEnds(values.pop("bare_line_ends")),
    )
    return DialogSettings(**values)  # type: ignore[arg-type]  # a table of tests


def reply_of(text: str) -> Reply:
    """A one-line reply from ``"550 5.1.1 No such user"``; a second word without dots is text."""
    code, _, rest = text.partition(" ")
    status, _, words = rest.partition(" ")
    if status.count(".") == 2 and status.replace(".", "").isdigit():
        return Reply(int(code), status, (words,))
    return Reply(int(code), "", (rest,))


def describe(event: Event) -> str:
    """An event in one line, as E lines have it."""
    match event:
        case Hello(name, extended):
            return f"Hello {name}{' extended' if extended else ''}"
        case KeysOf(mechanism, login):
            return f"KeysOf {mechanism} [{login}]"
        case Credentials(mechanism, claim):
            return f"Credentials {mechanism} {describe_claim(claim)}"
        case Xclient():
            told = attrs.asdict(event)
            return " ".join(["Xclient", *(f"{key}={value}" for key, value in told.items() if value is not None)])
        case Mail(path, body_type, size, asked):
            return f"Mail {'<>' if path is None else path} {body_type.value} {size} {asked}".rstrip()
        case Rcpt(path, parameters):
            return f"Rcpt {path} {parameters}".rstrip()
        case Content(octets):
            return f"Content {octets!r}"
        case ContentEnd(fault):
            return f"ContentEnd{f' {fault.code} {fault.status}' if fault else ''}"
        case Expelled(reply):
            return f"Expelled {reply.code} {reply.status}"
        case Overstepped(limit, path, reply):
            return f"Overstepped {limit.value} {'<>' if path is None else path} {reply.code}"
        case StartTls() | LoggedIn() | Data() | Reset() | Quit():
            return type(event).__name__


def describe_claim(claim: LoginClaim) -> str:
    match claim:
        case Password(authzid, login, password):
            return f"[{authzid}] [{login}] [{password}]"
        case Proof(authzid, login, is_right):
            return f"[{authzid}] [{login}] {'right' if is_right else 'wrong'}"
        case Token(authzid, token):
            return f"[{authzid}] [{token}]"
        case Certificate(authzid):
            return f"[{authzid}]"


def is_good(claim: LoginClaim) -> bool:
    match claim:
        case Password(_, login, password):
            return (login, password) == ("alice", "secret")
        case Proof(_, _, is_right):
            return is_right
        case Token(_, token):
            return token == "good"
        case Certificate(authzid):
            return authzid in ("", "alice@example.org")


class Shell:
    """Says yes to everything, except what it was told; records what it saw, contents joined."""

    def __init__(
        self, settings: DialogSettings, tls: bool, offer: Offer = DEFAULT_OFFER, is_front: bool = False
    ) -> None:
        self.dialog = Dialog(settings, tls, is_front)
        self.dialog.offer_logins(offer)
        self.seen: list[Event] = []
        self.said = b""
        self.refusals: dict[str, list[list[Reply]]] = {}
        self.holding = ""
        self.held = False

    def greet(self) -> None:
        [greeting] = self._next("GREETING", [Reply(220, "", ("mx.example.org ESMTP",))])
        self.dialog.greet(greeting)
        self.pump()

    def receive(self, octets: bytes) -> None:
        self.dialog.receive(octets)
        self.pump()

    def pump(self) -> Signal:
        while True:
            event = self.dialog.next_event()
            if event is PAUSED and self.dialog.has_much_to_say:
                self.said += self.dialog.output()
                continue
            if event is NEED_DATA or event is PAUSED:
                self.said += self.dialog.output()
                assert (event is PAUSED) == (self.dialog.awaiting in PAUSES)
                return event
            self._see(event)
            word = WORDS.get(type(event), "")
            if word and word == self.holding:
                self.holding = ""
                self.held = True
            elif word:
                self._answer(word, event)

    def release(self, reply: Reply) -> None:
        assert self.held, "nothing is held"
        self.held = False
        self.dialog.answer(reply)
        self.pump()

    def _see(self, event: Event) -> None:
        if isinstance(event, Content) and self.seen and isinstance(self.seen[-1], Content):
            event = Content(self.seen[-1].octets + event.octets)
            self.seen.pop()
        elif isinstance(event, ContentEnd) and event.fault is not None and isinstance(self.seen[-1], Content):
            self.seen.pop()  # how much came before a fault hangs on the split, and is discarded anyway
        self.seen.append(event)

    def _answer(self, word: str, event: Event) -> None:
        yes = YES.get(word)
        if isinstance(event, Credentials):
            yes = smtp_replies.LOGGED_IN if is_good(event.claim) else smtp_replies.LOGIN_FAILED
        elif isinstance(event, ContentEnd) and event.fault is not None:
            yes = event.fault
        answers = self._next(word, [] if yes is None else [yes])
        if not answers and isinstance(event, KeysOf):
            self.dialog.supply_keys(KEYS if event.login == "user" else STRANGER, NONCE)
        elif not answers:
            self.dialog.accept_hello(NOW)
        elif len(answers) == 1:
            self.dialog.answer(answers[0])
        else:
            self.dialog.answer_each(answers)

    def _next(self, word: str, yes: list[Reply]) -> list[Reply]:
        scripted = self.refusals.get(word)
        return scripted.pop(0) if scripted else yes


def steps_of(text: str) -> Iterator[tuple[int, str, str]]:
    """(line number, word, rest) of each step; C lines in a row are joined into one."""
    block = b""
    for number, line in enumerate(text.splitlines(), 1):
        word, _, rest = line.partition(" ")
        if word in ("C:", "C~", "C*", "C64:"):
            block += client_octets(word, rest)
            continue
        if not line or line.startswith("#"):
            continue
        if block:
            yield number - 1, "C", block.decode("latin-1")
            block = b""
        yield number, word, rest
    if block:
        yield 0, "C", block.decode("latin-1")


def client_octets(word: str, rest: str) -> bytes:
    if word == "C:":
        return rest.encode("utf-8") + b"\r\n"
    if word == "C64:":
        return b64encode(rest.encode("ascii").decode("unicode_escape").encode("latin-1")) + b"\r\n"
    if word == "C~":
        return rest.encode("ascii").decode("unicode_escape").encode("latin-1")
    count, _, what = rest.partition(" ")
    return what.encode("ascii") * int(count)


def run(text: str, by_octet: bool) -> Shell | None:
    """Run a dialog; AssertionError names the line.  None where the file does not want to run by octets."""
    changes: dict[str, object] = {}
    tls = is_front = False
    mechanisms, bindings = [*DEFAULT_OFFER.mechanisms], ["tls-exporter"]
    shell: Shell | None = None
    looked_at = 0
    refusals: dict[str, list[list[Reply]]] = {}

    def start() -> Shell:
        offer = Offer(tuple(mechanisms), {name: f"octets of {name}".encode() for name in bindings})
        shell = Shell(settings_of(**changes), tls, offer, is_front)
        shell.refusals = refusals
        shell.greet()
        return shell

    for number, word, rest in steps_of(text):
        where = f"line {number}: {word} {rest}"
        if word == "whole":
            if by_octet:
                return None
            continue
        if word == "set":
            assert shell is None, f"{where}: too late"
            key, _, value = rest.partition(" ")
            if key == "tls":
                tls = value == "yes"
            elif key == "mechanisms":
                mechanisms = value.split()
            elif key == "bindings":
                bindings = value.split()
            elif key == "is_front":
                is_front = value == "yes"
            elif key == "offers_starttls":
                changes[key] = value == "yes"
            elif key == "extensions":
                changes[key] = frozenset(value.split())
            else:
                changes[key] = int(value) if value.isdigit() else value
            continue
        if word == "answer":
            kind, _, reply = rest.partition(" ")
            refusals.setdefault(kind, []).append([reply_of(one) for one in reply.split(" | ")])
            continue
        if shell is None:
            shell = start()
        match word:
            case "C":
                assert not shell.said, f"{where}: the server had said {shell.said!r}"
                octets = rest.encode("latin-1")
                for piece in [octets[i:i + 1] for i in range(len(octets))] if by_octet else [octets]:
                    shell.receive(piece)
            case "S:":
                line, end, shell.said = shell.said.partition(b"\r\n")
                assert end, f"{where}: the server said {line!r}"
                said = line.decode("ascii")
                if rest.endswith("..."):
                    assert said.startswith(rest[:-3]), f"{where}: the server said {said!r}"
                else:
                    assert said == rest, f"{where}: the server said {said!r}"
            case "S64:":
                expected = b"334 " + b64encode(rest.encode()) + b"\r\n"
                assert shell.said.startswith(expected), f"{where}: the server said {shell.said!r}"
                shell.said = shell.said.removeprefix(expected)
            case "E:":
                descriptions = [describe(event) for event in shell.seen[looked_at:]]
                assert rest in descriptions, f"{where}: the shell saw {descriptions}"
                looked_at += descriptions.index(rest) + 1
            case "hold":
                shell.holding = rest
            case "release":
                shell.release(reply_of(rest))
            case "penalty":
                assert shell.dialog.awaiting is Awaiting.PENALTY, where
                shell.dialog.go_on()
                shell.pump()
            case "tls":
                assert shell.dialog.awaits_tls, where
                shell.dialog.tls_started()
                shell.pump()
            case "close":
                shell.dialog.close(reply_of(rest))
                shell.pump()
            case "closed":
                assert shell.dialog.is_closing, where
            case "skip":
                shell.said = b""
            case "advance":
                pass
            case _:
                raise AssertionError(f"{where}: what is this?")
    assert shell is not None, "an empty dialog"
    assert not shell.said, f"at the end: the server said {shell.said!r}"
    assert not any(shell.refusals.values()), f"at the end: never asked for {shell.refusals}"
    return shell
