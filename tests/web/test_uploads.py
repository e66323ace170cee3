"""What uploads may take of the disk, of time, and of each other's room."""

import pytest
from twisted.internet.defer import Deferred

from mailgw.testing.web import HttpClient
from mailgw.web import uploads
from mailgw.web.channel import BODY_OCTETS_PER_SECOND, BODY_SECONDS, LINGER_SECONDS, STUCK_SECONDS
from mailgw.web.operations import Problem
from mailgw.web.uploads import UPLOADS_OF_A_TOKEN, UploadFolder
from tests.tables import each
from tests.web.serving import Served
from tests.web.test_attacks import BEARER, HOST, statuses

MOST = 200_000  # of the test's own operation


def begun(served: Served, length: int | None = MOST, some: bytes = b"x") -> HttpClient:
    """An upload of which ``some`` has come; of which nobody knows the length where ``length`` is None."""
    said = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    octets = b"%x\r\n%s\r\n" % (len(some), some) if length is None and some else some
    head = f"POST /api/v1/files HTTP/1.1\r\n{HOST}{BEARER}Content-Type: message/rfc822\r\n{said}\r\n\r\n"
    client = served.client()
    client.send(head.encode() + octets)
    served.advance(0)
    return client


def folder_of(served: Served) -> UploadFolder:
    return served.server.uploads


@each("length", [MOST, None])
def test_the_reserve_is_left_by_all_that_may_come(length: int | None) -> None:
    served = Served()
    served.reserve_octets = 1_000_000
    served.disk.free = 1_000_000 + 3 * MOST
    clients = [begun(served, length, b"") for _ in range(4)]
    assert [statuses(one) for one in clients] == [[], [], [], [503]], "before any of it came"
    assert b"Retry-After: 5\r\n" in clients[3].received
    clients[0].close()
    served.advance(0)
    assert statuses(begun(served, length)) == []


@each(["free", "expected"], [(1_000_000 + 5, 200), (1_000_000 + 4, 503), (10, 503), (0, 503)])
def test_below_its_reserve_the_disk_is_mail_s(free: int, expected: int) -> None:
    served = Served()
    served.reserve_octets, served.disk.free = 1_000_000, free
    answer = served.ask("POST", "/api/v1/files", b"12345", headers={"Content-Type": "message/rfc822"})
    assert answer.status == expected
    assert folder_of(served).under_way == set()


def test_what_is_on_disk_is_not_counted_twice() -> None:
    served = Served()
    served.reserve_octets, served.disk.free = 0, 2 * MOST
    first = begun(served, some=b"x" * (MOST - 1))
    served.disk.free -= MOST - 1
    second = begun(served, some=b"x")
    assert (statuses(first), statuses(second)) == ([], [])
    first.send(b"x")
    served.advance(0)
    assert statuses(first) == [200]


def test_it_ends_where_others_take_the_room() -> None:
    served = Served()
    served.reserve_octets, served.disk.free = 1000, 1_000_000
    client = begun(served)
    served.disk.free = 1000
    client.send(b"x" * 1000)
    served.advance(0)
    assert statuses(client) == []
    served.disk.free = 999
    client.send(b"x" * 1000)
    served.advance(0)
    assert statuses(client) == [503]
    assert (served.disk.names("/state/uploads"), folder_of(served).under_way) == ([], set())


def test_a_disk_that_does_not_answer_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> int:
        raise OSError(5, "Input/output error")

    served = Served()
    monkeypatch.setattr(served.disk, "free_octets", fail)
    assert statuses(begun(served)) == [503]


def test_so_many_of_a_token_and_no_more() -> None:
    served = Served()
    clients = [begun(served) for _ in range(UPLOADS_OF_A_TOKEN + 1)]
    assert [statuses(one) for one in clients] == [[]] * UPLOADS_OF_A_TOKEN + [[429]]
    assert b"Retry-After: 5\r\n" in clients[-1].received
    other = folder_of(served).begin("other", MOST, "message/rfc822", clients[0])  # type: ignore[arg-type]
    other.discard()
    assert served.ask("GET", "/api/v1/things/x").status == 200
    clients[0].send(b"x" * (MOST - 1))
    served.advance(0)
    assert statuses(clients[0]) == [200]
    assert statuses(begun(served)) == []
    assert statuses(begun(served)) == [429]


def test_so_many_octets_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "UPLOADS_OCTETS", 2 * MOST)
    served = Served()
    first, second, third = begun(served), begun(served, None), begun(served, 1, b"")
    assert [statuses(one) for one in (first, second, third)] == [[], [], [503]]
    monkeypatch.setattr(uploads, "UPLOADS_OCTETS", MOST - 1)
    for one in (first, second):
        one.close()
    served.advance(0)
    assert folder_of(served).under_way == set()
    assert statuses(begun(served)) == [], "what is larger comes alone"
    with pytest.raises(Problem, match="under way"):
        folder_of(served).begin("other", 0, "message/rfc822", first)  # type: ignore[arg-type]


@each("length", [MOST, None])
def test_after_a_burst_it_may_not_idle(length: int | None) -> None:
    served = Served()
    client = begun(served, length, b"x" * (MOST - 1))
    served.advance(BODY_SECONDS)
    assert statuses(client) == []
    served.advance(1)
    assert statuses(client) == [408]
    assert folder_of(served).under_way == set()
    served.advance(LINGER_SECONDS + 1)
    assert client.is_closed


def test_nor_trickle() -> None:
    served = Served()
    client = begun(served, some=b"x" * (MOST - 100))
    for _ in range(int(BODY_SECONDS) + 2):
        client.send(b"x")
        served.advance(1)
    assert statuses(client) == [408]


def test_its_pace_is_enough() -> None:
    served = Served()
    client = begun(served, BODY_OCTETS_PER_SECOND * 20, b"x" * BODY_OCTETS_PER_SECOND)
    for _ in range(19):
        served.advance(1)
        client.send(b"x" * BODY_OCTETS_PER_SECOND)
    served.advance(0)
    assert statuses(client) == [200]


@each(["seconds", "answers"], [(BODY_SECONDS + 5, [200]), (STUCK_SECONDS + 1, [503])])
def test_a_slow_disk_is_not_its_client_s_fault(
    monkeypatch: pytest.MonkeyPatch, seconds: float, answers: list[int]
) -> None:
    monkeypatch.setattr(uploads, "AHEAD_OCTETS", 1000)
    served = Served()
    folder = folder_of(served)
    in_thread, waiting = folder.in_thread, Deferred[None]()

    def slowly(work: object, *arguments: object) -> Deferred[object]:
        done: Deferred[object] = Deferred()
        waiting.addCallback(lambda _: in_thread(work, *arguments).chainDeferred(done))  # type: ignore[arg-type]
        return done

    with monkeypatch.context() as patched:
        patched.setattr(folder, "in_thread", slowly)
        client = begun(served, MOST, b"x" * 50_000)
        client.send(b"x" * 50_000)
        served.advance(seconds)
    waiting.callback(None)
    served.advance(0)
    client.send(b"x" * (MOST - 100_000))
    served.advance(1)
    assert statuses(client) == answers
    served.advance(LINGER_SECONDS + 1)
    assert (served.disk.names("/state/uploads"), folder.under_way) == ([], set())
