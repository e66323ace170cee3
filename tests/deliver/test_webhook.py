"""The web hook backend: what is posted, what is said of it, and what it does with a server that is unwell."""

import hashlib
import hmac
import json
import re
import textwrap
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from mailgw.deliver.smtp_settings import Secret
from mailgw.deliver.webhook import WebhookBackend
from mailgw.deliver.webhook_settings import HookFormat, JsonLimits, WebhookSettings
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Permanence, Scope
from mailgw.net.posting import PostAnswer
from mailgw.spool.content import MemoryContent
from mailgw.testing.driving import result_of
from mailgw.testing.threads import FakeThreads

ANN, BOB, EVE = (Mailbox(name, "example.org") for name in ("ann", "bob", "eve"))
OCTETS = b"Subject: hello\r\n\r\nbody\r\n"
MESSAGE = Message("Q1", None, BodyType.SEVEN_BIT, 1.0, MemoryContent(OCTETS))
SETTINGS = WebhookSettings(
    url="https://hooks.example.org/path-that-is-a-secret", format=HookFormat.RAW, secret=None, secret_file=None,
    one_each=False, recipients=100, concurrency=7, ca_file=None, json=JsonLimits(octets=1000, parts=10, nesting=5),
    answer_octets=1000, idle_seconds=1.0, connect_seconds=1.0, send_seconds=1.0, answer_seconds=1.0,
)


class Stored:
    """Content that is no longer in memory."""

    octets = None

    def __init__(self, octets: bytes, fault: TemporaryFault | None = None) -> None:
        self._octets = octets
        self._fault = fault
        self.size_octets = len(octets)

    async def chunks(self) -> AsyncIterator[bytes]:
        for octet in self._octets:
            yield bytes([octet])
        if self._fault is not None:
            raise self._fault


class Hook:
    """A server that answers as it is told to, in turn, and with 200 then."""

    def __init__(self, *answers: "PostAnswer | TemporaryFault | Deferred[PostAnswer]", **changes: Any) -> None:
        self.clock = Clock()
        self.threads = FakeThreads()
        self.threads.seconds = self.clock.seconds  # type: ignore[attr-defined] # the reactor of both
        self.wall = 1700000000.9
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.answers = list(answers)
        self.closed = 0
        pool: Any = self.threads
        self.backend = WebhookBackend(
            attrs.evolve(SETTINGS, **changes), self, self.threads, lambda: self.wall, pool,  # type: ignore[arg-type]
            self.close,
        )

    def close(self) -> None:
        self.closed += 1

    async def post(self, url: str, headers: Mapping[str, str], content: Any) -> PostAnswer:
        assert url == SETTINGS.url
        self.posts.append((dict(headers), b"".join([chunk async for chunk in content.chunks()])))
        answer = self.answers.pop(0) if self.answers else PostAnswer(200, b"")
        if isinstance(answer, TemporaryFault):
            raise answer
        return await answer if isinstance(answer, Deferred) else answer

    def deliver(self, *recipients: Mailbox, message: Message = MESSAGE) -> Mapping[Mailbox, Outcome]:
        found = result_of(self.backend.deliver(message, recipients or (ANN, BOB)))
        assert set(found) == set(recipients or (ANN, BOB))
        assert "secret" not in str(found)
        return found

    def told(self, name: str) -> list[str]:
        return [headers[name] for headers, _ in self.posts]


def kinds(outcomes: Mapping[Mailbox, Outcome]) -> list[Permanence]:
    return [outcome.permanence for outcome in outcomes.values()]


def test_it_is_a_backend() -> None:
    hook = Hook()
    assert verifyObject(IDeliveryBackend, hook.backend)
    assert (hook.backend.concurrency, hook.backend.lane(ANN)) == (7, "")
    assert result_of(hook.backend.refusal(ANN)) is None
    hook.backend.startService()
    hook.backend.stopService()
    assert hook.closed == 1
    assert "path-that-is" not in repr(SETTINGS)


def test_one_post_for_all_as_it_came() -> None:
    hook = Hook()
    assert kinds(hook.deliver()) == [Permanence.DELIVERED] * 2
    [(headers, body)] = hook.posts
    assert body == OCTETS
    assert headers["Content-Type"] == "message/rfc822"
    assert headers["Mailgw-Recipients"] == "ann@example.org,bob@example.org"
    assert headers["Mailgw-Timestamp"] == "1700000000"
    assert "Mailgw-Signature" not in headers


def test_one_post_for_each() -> None:
    hook = Hook(PostAnswer(200, b""), PostAnswer(422, b""), one_each=True)
    assert kinds(hook.deliver(ANN, BOB, EVE)) == [
        Permanence.DELIVERED, Permanence.PERMANENT, Permanence.DELIVERED]
    assert hook.told("Mailgw-Recipients") == ["ann@example.org", "bob@example.org", "eve@example.org"]
    assert len(set(hook.told("Idempotency-Key"))) == 3
    again = Hook()
    again.deliver(BOB)
    assert again.told("Idempotency-Key") == hook.told("Idempotency-Key")[1:2]


def test_so_many_in_a_post() -> None:
    hook = Hook(recipients=2)
    hook.deliver(ANN, BOB, EVE)
    assert hook.told("Mailgw-Recipients") == ["ann@example.org,bob@example.org", "eve@example.org"]


def test_where_the_server_is_unwell_the_others_wait() -> None:
    for answer in (TemporaryFault("no connection within 1 s"), PostAnswer(503, b""), PostAnswer(302, b"")):
        hook = Hook(PostAnswer(200, b""), answer, one_each=True)
        found = hook.deliver(ANN, BOB, EVE)
        assert kinds(found) == [Permanence.DELIVERED, Permanence.TEMPORARY, Permanence.TEMPORARY]
        assert {outcome.scope for outcome in (found[BOB], found[EVE])} == {Scope.HOST}
        assert len(hook.posts) == 2
        assert kinds(hook.deliver(BOB)) == [Permanence.DELIVERED], "without Retry-After it is asked again"
    assert "no connection" in str(Hook(TemporaryFault("no connection")).deliver()[ANN].reply)


def test_a_server_that_wants_to_be_left_alone_is() -> None:
    hook = Hook(PostAnswer(503, b"", retry_after="100"))
    assert hook.deliver()[ANN].again_after_seconds == 100.0
    hook.clock.advance(99.0)
    found = hook.deliver()
    assert (found[BOB].scope, found[BOB].again_after_seconds, found[BOB].reply.code) == (Scope.HOST, 1.0, 451)
    assert len(hook.posts) == 1
    hook.clock.advance(1.0)
    assert kinds(hook.deliver()) == [Permanence.DELIVERED] * 2
    # What is well, or says something of the message alone, closes nothing.
    hook = Hook(PostAnswer(200, b"", retry_after="100"), PostAnswer(422, b"", retry_after="100"))
    hook.deliver()
    hook.deliver()
    assert kinds(hook.deliver()) == [Permanence.DELIVERED] * 2


def test_it_is_cut_off() -> None:
    never: Deferred[PostAnswer] = Deferred()
    hook = Hook(PostAnswer(200, b""), never, one_each=True)
    task: Any = Deferred.fromCoroutine(hook.backend.deliver(MESSAGE, (ANN, BOB, EVE)))
    task.cancel()
    assert kinds(task.result) == [Permanence.DELIVERED, Permanence.TEMPORARY, Permanence.TEMPORARY]
    assert len(hook.posts) == 2
    never = Deferred()
    task = Deferred.fromCoroutine(Hook(never).backend.deliver(MESSAGE, (ANN,)))
    failed: list[Any] = []
    task.addErrback(lambda failure: failed.append(failure.type.__name__))
    task.cancel()
    assert failed == ["CancelledError"]


# --- signed ---------------------------------------------------------------------------------------------

def hooked(folder: Path, word: str, **changes: Any) -> Hook:
    file = folder / "secret"
    file.write_text(f"{word}\nsecond line")
    return Hook(secret=Secret(word), secret_file=str(file), **changes)


def is_signed(hook: Hook, word: str) -> bool:
    headers, body = hook.posts[-1]
    names = ("Mailgw-Timestamp", "Mailgw-Queue-Id", "Mailgw-Reverse-Path", "Mailgw-Recipients")
    signed = b"".join(headers[name].encode() + b"\n" for name in names) + body
    return headers["Mailgw-Signature"] == "v1=" + hmac.new(word.encode(), signed, hashlib.sha256).hexdigest()


def test_a_post_is_signed(tmp_path: Path) -> None:
    for form in HookFormat:
        hook = hooked(tmp_path, "a word of some length ä", format=form)
        hook.deliver()
        hook.deliver(message=attrs.evolve(MESSAGE, content=Stored(OCTETS)))
        assert is_signed(hook, "a word of some length ä")
        assert hook.posts[0] == hook.posts[1]


def test_it_is_verified_as_the_page_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/backends.rst").read_text()
    names: dict[str, Any] = {}
    [code] = re.findall(r"^.. code-block:: python\n\n((?:(?:    .*)?\n)+)", page, re.MULTILINE)
    exec(textwrap.dedent(code), names)
    hook = hooked(tmp_path, "a word of some length")
    hook.deliver()
    headers, body = hook.posts[0]
    assert names["is_ours"](headers, body, b"a word of some length")
    assert not names["is_ours"](headers, body, b"another word")
    assert not names["is_ours"](headers, body + b"x", b"a word of some length")
    for name in names["SIGNED"]:
        assert not names["is_ours"](headers | {name: "x"}, body, b"a word of some length")


def test_a_secret_is_read_again_when_its_file_changes(tmp_path: Path) -> None:
    hook = hooked(tmp_path, "the first secret")

    def replace(words: str) -> None:
        (tmp_path / "new").write_text(words)
        (tmp_path / "new").rename(tmp_path / "secret")
        hook.clock.advance(2.0)
        hook.deliver()

    with capturedLogs() as logs:
        replace("the second secret")
        assert is_signed(hook, "the second secret")
        replace("\n")
        assert is_signed(hook, "the second secret")
        (tmp_path / "secret").unlink()
        hook.clock.advance(2.0)
        hook.deliver()
        assert is_signed(hook, "the second secret")
    path = tmp_path / "secret"
    assert [formatEvent(line) for line in logs] == [
        f"{path} has another secret, which counts from now on",
        f"{path}: expected the secret in its first line; the secret stays as it was",
        f"{path} cannot be read: No such file or directory; the secret stays as it was",
    ]


# --- JSON -----------------------------------------------------------------------------------------------

def test_a_message_in_json() -> None:
    for content in (MemoryContent(OCTETS), Stored(OCTETS)):
        hook = Hook(format=HookFormat.JSON, one_each=True)
        hook.deliver(message=attrs.evolve(MESSAGE, content=content))
        said = [json.loads(body) for _, body in hook.posts]
        assert [one["envelope"]["recipients"] for one in said] == [["ann@example.org"], ["bob@example.org"]]
        assert [(one["subject"], one["text"]) for one in said] == [("hello", "body\n")] * 2
        assert hook.told("Content-Type") == ["application/json"] * 2


def test_a_message_that_is_too_large_for_json() -> None:
    hook = Hook(format=HookFormat.JSON)
    fitting = MemoryContent(b"\r\n" + b"x" * 998)
    assert kinds(hook.deliver(message=attrs.evolve(MESSAGE, content=fitting))) == [Permanence.DELIVERED] * 2
    found = hook.deliver(message=attrs.evolve(MESSAGE, content=MemoryContent(fitting.octets + b"x")))
    assert kinds(found) == [Permanence.PERMANENT] * 2
    assert found[ANN].reply.status == "5.3.4"
    assert len(hook.posts) == 1
    # As it comes it has no limit of ours.
    assert Hook().deliver(message=attrs.evolve(MESSAGE, content=MemoryContent(b"x" * 2000)))[ANN].is_delivered


def test_the_disk_fails() -> None:
    gone = attrs.evolve(MESSAGE, content=Stored(OCTETS, TemporaryFault("the disk is gone")))
    for form in HookFormat:
        found = Hook(format=form).deliver(message=gone)
        assert kinds(found) == [Permanence.TEMPORARY] * 2
        assert "the disk is gone" in found[ANN].reply.text
