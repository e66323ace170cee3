"""How many connections there are, and which of them is closed for a new one."""

from twisted.internet.defer import Deferred

from mailgw.testing.web import HttpClient, request
from mailgw.web.channel import CONNECTIONS, FRESH_SECONDS, KNOWN, STRANGERS, STRANGERS_PER_ADDRESS
from mailgw.web.operations import Asked, Operation, Raw
from tests.tables import each
from tests.web.serving import ALL, Served
from tests.web.test_attacks import statuses, take_nothing

BEARER = {"Authorization": f"Bearer {ALL}"}
GOOD = request("GET", "/api/v1/things/x", BEARER)
HALF = b"GET /app.js HTTP/1.1\r\nHost: local"
BODY = request("POST", "/api/v1/session", {"Content-Type": "application/json", "Content-Length": "900"}) + b"{"
LARGE = request("GET", "/api/v1/large", BEARER)


async def alive(asked: Asked) -> object:
    return b"ok"


def healthy() -> Served:
    served = Served()
    probe = Operation("GET", "/readyz", None, "Ready", Raw("text/plain"), alive, is_open=True)
    served.reception.health["/readyz"] = probe  # type: ignore[index] # a dict
    return served


def closed(clients: list[HttpClient]) -> list[int]:
    return [number for number, one in enumerate(clients) if one.is_closed]


def crowd(served: Served, says: bytes = b"", count: int = STRANGERS_PER_ADDRESS) -> list[HttpClient]:
    clients = [served.client() for _ in range(count)]
    for one in clients:
        one.send(says)
    served.advance(0)
    return clients


@each("says", [b"", HALF, BODY, request("GET", "/app.js", {})])
def test_a_crowd_at_one_address_locks_nobody_out(says: bytes) -> None:
    for seconds in (0, FRESH_SECONDS, 8):
        served = healthy()
        clients = crowd(served, says)
        assert closed(clients) == []
        served.advance(seconds)
        known = served.client()
        assert closed(clients) == [0], "the oldest of them"
        assert known.ask("GET", "/api/v1/things/x", BEARER).status == 200
        probe = served.client()
        assert closed(clients) == [0], "who showed a token is not counted with them"
        assert probe.ask("GET", "/readyz", {}).status == 200
        assert served.client().ask("GET", "/readyz", {}).status == 200
        assert closed(clients) == [0, 1]
        assert len(served.factory) == STRANGERS_PER_ADDRESS + 1
        assert known.ask("GET", "/api/v1/things/x", BEARER).status == 200


def test_who_comes_again_and_again_is_closed_before_who_asks() -> None:
    served = healthy()
    crowd(served)
    for _ in range(50):
        probe = served.client()
        crowd(served, count=5)
        assert probe.ask("GET", "/readyz", {}).status == 200
    assert len(served.factory) == STRANGERS_PER_ADDRESS


def test_another_address_is_not_meant() -> None:
    served = Served()
    other = served.client("192.0.2.2")
    clients = crowd(served)
    served.client()
    assert (other.is_closed, closed(clients)) == (False, [0])


def test_who_is_silent_goes_before_a_body_and_that_before_an_answer() -> None:
    served = healthy()
    waiting: list[Deferred[bytes]] = []

    async def slow(asked: Asked) -> object:
        waiting.append(Deferred())
        return await waiting[-1]

    served.reception.health["/healthz"] = Operation(  # type: ignore[index] # a dict
        "GET", "/healthz", None, "Slow", Raw("text/plain"), slow, is_open=True)
    asking = crowd(served, request("GET", "/healthz", {}), 1)
    bodies = crowd(served, BODY, 2)
    silent = crowd(served, HALF, STRANGERS_PER_ADDRESS - 3)
    served.advance(FRESH_SECONDS)
    for number in range(len(silent)):
        crowd(served, count=1)
        assert (closed(silent)[-1], closed(bodies), closed(asking)) == (number, [], [])
    crowd(served, count=2)
    assert (closed(bodies), closed(asking)) == ([0, 1], [])
    waiting[0].callback(b"yes")
    served.advance(0)
    assert statuses(asking[0]) == [200]


def test_what_is_under_way_with_a_token_stays() -> None:
    served = Served()
    taking = served.client()
    take_nothing(taking)
    taking.send(LARGE)
    coming = served.client()
    coming.send(request("POST", "/api/v1/orders", {
        **BEARER, "Content-Type": "application/json", "Content-Length": "12"}) + b'{"name"')
    served.advance(0)
    clients = crowd(served, count=3 * STRANGERS_PER_ADDRESS)
    assert closed(clients) == list(range(2 * STRANGERS_PER_ADDRESS))
    coming.send(b':"x"}')
    served.advance(0)
    assert (statuses(coming), taking.is_closed) == ([200], False)


def test_too_many_strangers_leave_room_for_others() -> None:
    served = Served()
    known = served.client()
    assert known.ask("GET", "/api/v1/things/x", BEARER).status == 200
    strangers = [served.client(f"192.0.2.{number}") for number in range(1, STRANGERS + 1)]
    assert closed(strangers) == []
    strangers.append(served.client("198.51.100.1"))
    assert closed(strangers) == [0]
    assert known.ask("GET", "/api/v1/things/x", BEARER).status == 200


def test_too_many_known_ones_are_closed_where_they_idle() -> None:
    served = healthy()
    known = []
    for _ in range(KNOWN + 1):
        known.append(served.client())
        assert closed(known) == []
        known[-1].send(GOOD)
        served.advance(0.001)
        assert statuses(known[-1]) == [200]
    assert closed(known) == [0], "the one that idles for the longest time"
    assert known[1].ask("GET", "/api/v1/things/x", BEARER).status == 200
    crowd(served, GOOD, 1)
    assert closed(known) == [0, 2]
    assert len(served.factory) == KNOWN


def test_so_many_at_all_and_health_is_told() -> None:
    served = healthy()
    busy = []
    for _ in range(KNOWN):
        busy.append(served.client())
        take_nothing(busy[-1])
        busy[-1].send(LARGE)
        served.advance(0)
    [late] = crowd(served, GOOD, 1)
    assert statuses(late) == [503]
    others = [served.client(f"192.0.2.{number}") for number in range(1, CONNECTIONS - KNOWN)]
    assert (len(served.factory), closed(others), late.is_closed) == (CONNECTIONS, [], False)
    for number in range(CONNECTIONS):
        assert served.client(f"198.51.100.{number}").ask("GET", "/readyz", {}).status == 200
        assert len(served.factory) <= CONNECTIONS
    assert closed(busy) == []
