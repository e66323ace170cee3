"""One web hook for events: order, retries, what is dead, and how posts are signed."""

import base64
import hashlib
import hmac
import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from mailgw.deliver.event_hook import EventHook
from mailgw.deliver.event_hook_settings import MOST_CONCURRENCY, USUAL, EventHookSettings
from mailgw.deliver.event_hook_signing import secrets_in, signed
from mailgw.deliver.straying import PROBES, STRAYS, STRAYS_LATELY
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Content
from mailgw.net.posting import PostAnswer
from mailgw.net.tasks import TaskGroup
from mailgw.store import hooks
from mailgw.store.hooks import NewEvent
from mailgw.store.ledger import Job, Ledger
from mailgw.store.state_file import Workshop
from tests.tables import each

SETTINGS = EventHookSettings(
    name="shop", url="https://shop.example/hook/secret", secret_file=None, secrets=(b"s" * 24,),
    events=frozenset(USUAL), lanes=(), tags=(), concurrency=1, events_per_post=4, ca_file=None, connect_seconds=5.0,
    answer_seconds=5.0, schedule=(5.0, 60.0, 600.0), give_up_seconds=7200.0, keep_dead_seconds=86400.0,
)
NOW = 1_700_000_000.0
Says = Callable[[Sequence[dict[str, Any]]], int]


class Played:
    """A hook that posts to a test; ``taken`` are the events that were answered 2xx, in their order.  ``says`` is the
    status, 0 for no answer."""

    def __init__(self, says: Says = lambda events: 204, **changed: Any) -> None:
        self.clock = Clock()
        self.says = says
        self.posts: list[tuple[Mapping[str, str], bytes]] = []
        self.taken: list[dict[str, Any]] = []
        self.retry_after = self.location = ""
        self.chance: Callable[[], float] = lambda: 0.5
        self.slow: Deferred[None] | None = None
        workshop = Workshop(None, self.clock, None)  # type: ignore[arg-type] # no file is touched
        workshop.do = execute  # type: ignore[method-assign]
        self.ledger = Ledger(None, hooks.SCHEMA, workshop)
        self.failed: list[object] = []
        self.tasks = TaskGroup(lambda what, failure: self.failed.append(failure))
        self.settings = attrs.evolve(SETTINGS, **changed)
        self.number = 0
        self.restart()

    def restart(self) -> None:
        self.hook = EventHook(
            self.settings, self.ledger, self, self.clock, self.now, lambda: self.chance(), self.tasks,
            lambda: self.settings.secrets,
        )

    def now(self) -> float:
        return NOW + float(self.clock.seconds())

    async def post(self, url: str, headers: Mapping[str, str], content: Content) -> PostAnswer:
        assert url == self.settings.url
        body = b"".join([chunk async for chunk in content.chunks()])
        self.posts.append((headers, body))
        if self.slow is not None:
            await self.slow
        events = json.loads(body)
        status = self.says(events)
        if not status:
            raise TemporaryFault("no connection")
        if 200 <= status < 300:
            self.taken += events
        return PostAnswer(status, b"", "", self.retry_after, self.location)

    def add(self, *messages: str) -> None:
        """An event of each."""
        events = []
        for message in messages:
            self.number += 1
            body = json.dumps({"id": self.number, "message": message}).encode()
            events.append(NewEvent("shop", message, self.now(), body))
        self.do(hooks.added(events, self.now()))
        self.hook.wake()

    def do(self, job: Job[Any]) -> Any:
        found: list[Any] = []
        self.ledger.do(job).addCallback(found.append)  # type: ignore[unused-awaitable] # it is there
        return found[0]

    @property
    def ids(self) -> list[int]:
        return [one["id"] for one in self.taken]

    @property
    def dead(self) -> list[int]:
        return [one.event["id"] for one in self.do(hooks.dead_of("shop", 0, 1000))]

    @property
    def waiting(self) -> int:
        return int(self.do(hooks.tallies(["shop"]))["shop"].waiting)


def test_events_are_posted_in_their_order_several_at_once() -> None:
    played = Played()
    played.add(*"abcdefghij")
    assert played.ids == list(range(1, 11))
    assert [len(json.loads(body)) for _, body in played.posts] == [4, 4, 2]
    played.add("k")
    assert played.ids[-1] == 11
    assert not played.waiting
    assert not played.clock.getDelayedCalls()


def test_each_post_is_signed_by_each_secret() -> None:
    played = Played(secrets=(b"new" * 8, b"old" * 8))
    played.add("a")
    [(headers, body)] = played.posts
    whole = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    words = [f"v1,{base64.b64encode(hmac.new(key, whole, hashlib.sha256).digest()).decode()}"
             for key in (b"new" * 8, b"old" * 8)]
    assert headers["webhook-signature"] == " ".join(words)
    assert headers["webhook-timestamp"] == str(int(NOW))
    assert "webhook-signature" not in signed(b"", [1], 0, ())


def test_the_example_of_standard_webhooks() -> None:
    """Of its reference libraries: https://github.com/standard-webhooks/standard-webhooks, libraries/python/tests."""
    [secret] = secrets_in(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    whole = b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330." + b'{"test": 2432232314}'
    found = base64.b64encode(hmac.new(secret, whole, hashlib.sha256).digest()).decode()
    assert found == "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@each(("octets", "found"), [
    (b"a" * 24, (b"a" * 24,)), (b"\n a \n\nb\r\nc\n", (b"a", b"b")), (b"whsec_YWI=\nx", (b"ab", b"x")), (b"", ()),
])
def test_secrets_stand_in_the_first_two_lines(octets: bytes, found: tuple[bytes, ...]) -> None:
    assert secrets_in(octets) == found


def test_what_was_not_taken_is_posted_again_with_the_same_id() -> None:
    played = Played(says=lambda events: 503)
    played.add("a", "a")
    assert len(played.posts) == 1
    played.clock.advance(4.9)
    assert len(played.posts) == 1
    played.says = lambda events: 200
    played.clock.advance(0.2)
    assert played.ids == [1, 2]
    assert played.hook.state.failures == 0
    played = Played(says=lambda events: 0)
    played.add("a")
    played.clock.advance(5.0)
    first, second = (headers["webhook-id"] for headers, _ in played.posts)
    assert first == second


def test_the_pauses_are_those_of_the_schedule_and_the_server_s_own() -> None:
    played = Played(says=lambda events: 0)
    played.add("a")
    at = []
    for second in range(2000):
        count = len(played.posts)
        played.clock.advance(1)
        if len(played.posts) > count:
            at.append(second + 1)
    assert at == [5, 65, 665, 1265, 1865]
    played = Played(says=lambda events: 429)
    played.retry_after = "30"
    played.add("a")
    played.clock.advance(29)
    assert len(played.posts) == 1
    played.clock.advance(1)
    assert len(played.posts) == 2


def test_new_events_do_not_hurry_a_server_that_is_down() -> None:
    played = Played(says=lambda events: 500)
    played.add("a")
    for _ in range(10):
        played.add("b")
    assert len(played.posts) == 1


def test_410_turns_it_off_until_it_is_made_anew() -> None:
    played = Played(says=lambda events: 410)
    played.add("a", "b")
    assert played.hook.state.is_off
    played.add("c")
    played.clock.advance(100_000)
    assert len(played.posts) == 1
    played.says = lambda events: 200
    played.restart()
    played.hook.wake()
    assert played.ids == [1, 2, 3]


def test_it_is_resumed_after_a_410() -> None:
    played = Played(says=lambda events: 503)
    played.add("a", "b")
    assert played.hook.state.again == NOW + 5.0
    played.says = lambda events: 410
    played.clock.advance(5)
    state = played.hook.state
    assert (state.is_off, state.again, state.failures) == (True, 0.0, 0)
    played.says = lambda events: 503
    played.hook.resume()
    assert (state.is_off, state.failures, len(played.posts)) == (False, 1, 3)
    played.says = lambda events: 200
    played.clock.advance(5)
    assert played.ids == [1, 2]


def test_what_waits_for_a_server_that_was_down_is_tried_at_once() -> None:
    played = Played(says=lambda events: 0, concurrency=2)
    played.add(*"abcd")
    for _ in range(100):
        played.clock.advance(60)
    count = len(played.posts)
    assert played.hook.state.again > played.now() + 60
    played.says = lambda events: 200
    played.hook.resume()
    assert len(played.posts) > count
    assert sorted(played.ids) == [1, 2, 3, 4]
    assert not played.clock.getDelayedCalls()


def test_messages_that_wait_by_themselves_are_due_now() -> None:
    played = Played(says=lambda events: 400)
    played.add(*"abcde")
    assert played.waiting == 5
    played.says = lambda events: 200
    played.clock.advance(1)
    assert played.do(hooks.due_now("other", played.now())) == 0
    assert played.do(hooks.due_now("shop", played.now())) == 5
    assert played.do(hooks.due_now("shop", played.now())) == 0
    played.hook.resume()
    assert sorted(played.ids) == [1, 2, 3, 4, 5]


@each(("messages", "words"), [("a", "web hook shop: 1 event is dead: no connection"),
                              ("abc", "web hook shop: 3 events are dead: no connection")])
def test_the_log_counts_the_dead(messages: str, words: str) -> None:
    played = Played(says=lambda events: 0)
    played.add(*messages)
    with capturedLogs() as logged:
        for _ in range(140):
            played.clock.advance(60)
    assert [formatEvent(one) for one in logged if "dead" in one["log_format"]] == [words]


def test_one_event_that_is_refused_holds_up_its_own_message_alone() -> None:
    def says(events: Sequence[dict[str, Any]]) -> int:
        return 400 if any(one["message"] == "bad" for one in events) else 200

    played = Played(says=says)
    played.add("a", "b", "bad", "c", "bad", "d", "e", "f", "g")
    assert played.ids == [1, 2, 4, 6, 7, 8, 9]
    assert played.waiting == 2
    assert played.hook.state.failures == 0, "the server is well"
    played.says = lambda events: 200
    played.clock.advance(5.1)
    assert played.ids[-2:] == [3, 5]


def test_an_event_that_the_server_falls_over_is_found_too() -> None:
    def says(events: Sequence[dict[str, Any]]) -> int:
        return 500 if any(one["message"] == "bad" for one in events) else 200

    played = Played(says=says)
    played.add("a", "b", "bad", "c", "d")
    for _ in range(100):
        played.clock.advance(60)
    assert sorted(played.ids) == [1, 2, 4, 5]
    assert played.waiting == 1


def test_what_is_too_old_is_dead_and_its_successor_has_its_turn() -> None:
    def says(events: Sequence[dict[str, Any]]) -> int:
        return 400 if any(one["id"] == 1 for one in events) else 200

    played = Played(says=says)
    played.add("a", "a", "b")
    assert played.ids == [3]
    for _ in range(130):
        played.clock.advance(60)
    assert played.dead == [1]
    assert played.ids == [3, 2]
    [dead] = played.do(hooks.dead_of("shop", 0, 10))
    assert dead.why == "HTTP 400"


@each("status", [301, 304, 308, 401, 402, 403, 404, 405, 407, 421, 426])
def test_a_hook_that_refuses_several_messages_in_a_row_as_if_it_were_not_the_one_waits_as_a_whole(status: int) -> None:
    played = Played(says=lambda events: status)
    messages = [f"m{number}" for number in range(20)]
    played.add(*messages, *messages)
    assert len(played.posts) == 2 + STRAYS, "4, 2, and then one after the other"
    assert played.hook.state.failures == 1
    at = []
    for second in range(2000):
        count = len(played.posts)
        played.add("new") if second == 100 else None
        played.clock.advance(1)
        if len(played.posts) > count:
            at.append(second + 1)
    assert at == [5, 65, 365, 665, 965, 1265, 1565, 1865], "five minutes at most"
    assert len(played.posts) <= 2 + STRAYS + PROBES * len(at)
    for _ in range(50):
        played.clock.advance(3600)
    assert not played.dead, "far older than it gives up"
    played.says = lambda events: 503
    for _ in range(5):
        played.clock.advance(3600)
    played.restart()
    played.hook.wake()
    played.clock.advance(10)
    assert not played.dead, "it is remembered"
    played.says = lambda events: 200
    for _ in range(3):
        played.clock.advance(3600)
    assert sorted(played.ids) == list(range(1, 42))
    for number in range(20):
        assert played.ids.index(number + 1) < played.ids.index(number + 21)
    assert played.hook.state.failures == 0


@each(("good", "is_known"), [(range(8, 21), True), (range(12, 14), False), (range(1, 1), False)])
def test_a_hook_that_is_astray_is_tried_with_the_oldest_and_the_newest_and_any(good: range, is_known: bool) -> None:
    """Some are not for it, the first ones of all; the others have not to wait for these."""
    tried: list[int] = []

    def says(events: Sequence[dict[str, Any]]) -> int:
        tried.append(events[0]["id"])
        return 200 if all(one["id"] in good for one in events) else 404

    played = Played(says=says)
    played.add(*(f"m{number}" for number in range(20)))
    assert not played.taken
    assert tried[-STRAYS:] == [1, 2, 3, 4, 5]
    tried.clear()
    played.clock.advance(5)
    assert tried[:3] == [6, 20, *([5] if 20 in good else [13])]
    assert sorted(played.ids) == list(good)
    assert played.hook.state.failures == (0 if good else 2)
    for _ in range(100):
        played.clock.advance(600)
    bad = [number for number in range(1, 21) if number not in good]
    if not is_known:
        assert not played.dead, "five are refused since it took one"
        good = range(1, 1000)
        played.add("new")
        played.clock.advance(300)
        assert sorted(played.ids) == list(range(1, 22))
        return
    assert sorted(played.dead) == bad, "they are no others than what a 400 is for"


@each(("good", "seconds"), [
    (range(200, 700), 60), (range(150, 500), 60), (range(0, 700, 25), 60), (range(400, 500), 3600),
])
def test_who_does_not_know_some_messages_has_the_others_soon(good: range, seconds: int) -> None:
    """However many there are of either, and wherever they stand."""
    def says(events: Sequence[dict[str, Any]]) -> int:
        return 200 if all(int(one["message"][1:]) in good for one in events) else 404

    played = Played(says=says, events_per_post=100, schedule=(5.0, 30.0, 3600.0))
    played.chance = random.Random(5).random
    messages = [f"m{number}" for number in range(700)]
    played.add(*messages, *messages)
    for _ in range(seconds // 5):
        played.clock.advance(5)
    assert sorted(played.ids) == sorted(number + 1 + more for number in good for more in (0, 700))
    for number in good:
        assert played.ids.index(number + 1) < played.ids.index(number + 701)
    assert not played.dead


def test_a_hook_that_took_something_lately_is_astray_later_but_is() -> None:
    def says(events: Sequence[dict[str, Any]]) -> int:
        return 200 if events[0]["id"] == 1 else 401

    for messages, at_once in ((20, False), (300, True)):
        played = Played(says=says)
        played.add("first")
        played.add(*(f"m{number}" for number in range(messages)))
        assert bool(played.hook.state.failures) is at_once
        assert played.do(hooks.tallies(["shop"]))["shop"].blocked == min(messages, STRAYS_LATELY)
        played.clock.advance(590)
        assert bool(played.hook.state.failures) is at_once
        for _ in range(100):
            played.clock.advance(600)
        assert played.hook.state.failures
        assert not played.dead
        played.says = lambda events: 200
        for _ in range(3):
            played.clock.advance(300)
        assert sorted(played.ids) == list(range(1, messages + 2))


def test_a_hook_that_is_astray_is_failing_with_few_messages_too() -> None:
    played = Played(says=lambda events: 404)
    played.add(*(f"m{number}" for number in range(STRAYS)))
    played.hook.close()
    played.restart()
    played.hook.wake()
    for _ in range(2000):
        played.clock.advance(60)
        assert played.hook.state.failures or played.clock.seconds() < 600
    assert not played.dead
    played.says = lambda events: 200
    played.clock.advance(300)
    assert sorted(played.ids) == [1, 2, 3, 4, 5]


def test_a_hook_that_redirects_says_what_to_do_about_it_and_shows_no_secret() -> None:
    played = Played(says=lambda events: 301)
    played.location = "https://user:word@www.shop.example/hook/secret?token=secret"
    with capturedLogs() as logged:
        played.add("a")
        why = "HTTP 301: it redirects to https://www.shop.example; give the URL itself in the configuration"
        tally = played.do(hooks.tallies(["shop"]))["shop"]
        assert (played.hook.state.why, tally.blocked, tally.why) == (why, 1, why)
        played.add(*"bcde")
    assert played.hook.state.failures
    [line] = [formatEvent(one) for one in logged if one["log_level"].name == "error"]
    assert line.endswith(why)


def test_of_a_message_of_which_two_in_a_row_die_of_age_all_die_that_are_as_old() -> None:
    played = Played(says=lambda events: 400)
    played.add(*["list"] * 2500, "other", "list")
    for _ in range(100):
        played.clock.advance(60)
    played.add("list", "list")
    count = len(played.posts)
    with capturedLogs() as logged:
        for _ in range(30):
            played.clock.advance(60)
    assert played.waiting == 2
    assert [formatEvent(one) for one in logged if "dead" in one["log_format"]] == [
        *["web hook shop: 1 event is dead: HTTP 400"] * 2, "web hook shop: 2500 events are dead: HTTP 400"]
    assert len(played.posts) < count + 20, "its successor has its turn, and the others are not tried"
    played.says = lambda events: 200
    played.clock.advance(600)
    assert played.ids == [2503, 2504]
    assert played.hook.state.dead == 2502


def test_a_message_alone_that_is_not_found_is_no_sign_of_a_hook_astray() -> None:
    def says(events: Sequence[dict[str, Any]]) -> int:
        return 404 if any("bad" in one["message"] for one in events) else 200

    played = Played(says=says)
    for number in range(3 * STRAYS):
        played.add(f"bad{number}", f"good{number}")
    assert len(played.ids) == 3 * STRAYS
    assert played.hook.state.failures == 0
    for _ in range(100):
        played.clock.advance(600)
    assert len(played.dead) == 3 * STRAYS
    answers = [404] * (STRAYS - 1) + [400]
    played = Played(says=lambda events: answers[(events[0]["id"] - 1) % STRAYS], events_per_post=1)
    played.add(*(f"m{number}" for number in range(3 * STRAYS)))
    assert len(played.posts) == 3 * STRAYS
    assert played.hook.state.failures == 0


def test_without_an_attempt_nothing_dies_of_age() -> None:
    played = Played()
    played.hook.close()
    played.add("a")
    played.clock.advance(1_000_000)
    assert not played.dead
    played.restart()
    played.hook.wake()
    assert played.ids == [1]


def test_a_server_that_is_gone_leaves_what_is_too_old_dead() -> None:
    played = Played(says=lambda events: 0)
    played.add(*"abc")
    for _ in range(119):
        played.clock.advance(60)
    played.add("d")
    assert not played.dead
    for _ in range(15):
        played.clock.advance(60)
    assert played.dead == [1, 2, 3]
    assert played.waiting == 1
    assert len(played.do(hooks.revived("shop", None, played.now()))) == 3
    played.says = lambda events: 200
    played.clock.advance(700)
    assert played.ids == [4, 1, 2, 3]
    assert not played.dead


def test_a_slow_server_has_one_post_at_a_time_for_each_line() -> None:
    played = Played(concurrency=4, events_per_post=1)
    played.slow = Deferred()
    played.add(*(f"m{number}" for number in range(20)))
    assert len(played.posts) == 4
    slow, played.slow = played.slow, None
    slow.callback(None)
    assert sorted(played.ids) == list(range(1, 21))


def test_what_is_cut_off_is_posted_again() -> None:
    played = Played()
    played.slow = Deferred()
    played.add("a")
    played.hook.close()
    played.slow = None
    played.restart()
    played.hook.wake()
    assert played.ids == [1]
    assert len(played.posts) == 2
    assert not played.failed


def test_the_book_s_trouble_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played()
    with monkeypatch.context() as patched:
        def full(work: object) -> object:
            raise OSError(28, "No space left on device")

        played.add()
        patched.setattr(played.ledger, "look", lambda job: execute(_fail))
        played.hook.wake()
    played.add("a")
    played.clock.advance(5.1)
    assert played.ids == [1]


def _fail() -> None:
    raise TemporaryFault("hooks.sqlite: disk I/O error")


def test_there_are_as_many_lanes_as_posts_at_once() -> None:
    assert hooks.LANES == MOST_CONCURRENCY
    assert {hooks.lane_of(f"m{number}") for number in range(500)} == set(range(hooks.LANES))


def test_where_there_is_no_room_the_oldest_are_dead() -> None:
    played = Played()
    played.hook.close()
    played.add(*"abcde")
    more = [NewEvent("other", "x", NOW, b'{"id": 0}')]
    assert played.do(hooks.added(more, NOW, most=4)) == {"shop": 2}
    assert played.dead == [1, 2]
    assert played.waiting == 3


STATUSES = st.sampled_from([200, 200, 200, 204, 400, 404, 429, 500, 503, 0])


@given(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=25), st.lists(STATUSES, max_size=40),
    st.integers(1, 4), st.integers(1, 6), st.lists(st.integers(1, 900), max_size=12), st.sampled_from(["", "a", "bd"]),
)
def test_the_order_of_each_message_holds_whatever_the_server_does(
    messages: list[str], statuses: list[int], concurrency: int, most: int, waits: list[int], poison: str
) -> None:
    """Each event is taken, or dead, and no earlier one of its message is taken after it."""
    answers = list(statuses)
    tried: list[dict[str, Any]] = []

    def says(events: Sequence[dict[str, Any]]) -> int:
        tried.extend(events)
        if any(one["message"] in poison for one in events):
            return 422
        return answers.pop(0) if answers else 200

    played = Played(says=says, concurrency=concurrency, events_per_post=most)
    left, pauses = list(messages), list(waits)
    while left or pauses:
        played.add(*left[:3])
        left = left[3:]
        played.clock.advance(pauses.pop(0) if pauses else 1)
        if len(pauses) % 5 == 4:  # it is killed, and starts again
            played.hook.close()
            played.restart()
            played.hook.wake()
    for _ in range(200):
        played.clock.advance(120)
    assert not played.failed
    assert sorted([*played.ids, *played.dead]) == list(range(1, len(messages) + 1))
    for message in set(messages):
        order = [one["id"] for one in played.taken if one["message"] == message]
        assert order == sorted(order)
        assert all(one["message"] in poison for one in tried if one["id"] in played.dead)
