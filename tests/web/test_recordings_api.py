"""Recordings by HTTP, of a whole gateway in memory."""

from collections.abc import Iterator

import pytest

from mailgw.testing import Gateway
from tests.tables import each
from tests.web.test_queue_api import CONFIG, got, posted


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(CONFIG) as made:
        yield made


def test_from_the_order_to_the_end(gateway: Gateway) -> None:
    order = posted(gateway, "/recordings", {"network": "10.0.0.0/8", "minutes": 5, "sessions": 3}, 201)
    assert order == {
        "id": "r1", "network": "10.0.0.0/8", "until": gateway.now + 300, "sessions": 3, "begun": 0,
    }
    assert gateway.receive(b"\n\n", sender="a@example.org", to=["b@example.net"], client="10.0.0.1").code == 250
    gateway.advance(seconds=2)
    found = got(gateway, "/recordings")
    [one] = found["recordings"]
    assert found["orders"] == [order | {"begun": 1}]
    shown = got(gateway, f"/recordings/{one['session_id']}")
    assert shown["lines"][0]["text"] == "220 mx.example.org ESMTP mailgw ready"
    assert shown["lines"][-1] == {"at": shown["lines"][-1]["at"], "side": "", "text": "the end: quit"}
    assert posted(gateway, "/recordings/stop", {"id": "r1"}) == {"stopped": 1}
    answer = gateway.http("DELETE", f"/api/v1/recordings/{one['session_id']}")
    assert answer.status == 204
    assert got(gateway, "/recordings") == {"orders": [], "recordings": []}
    got(gateway, f"/recordings/{one['session_id']}", 404)


@each(("path", "body", "status"), [
    ("/recordings", {}, 422), ("/recordings", {"network": "x"}, 422), ("/recordings", {"address": ""}, 400),
    ("/recordings", {"address": "192.0.2.1", "minutes": 61}, 400),
    ("/recordings", {"address": "192.0.2.1", "x": 1}, 400),
    ("/recordings", {"address": "192.0.2.1", "sessions": 0}, 400), ("/recordings/stop", {}, 422),
    ("/recordings/stop", {"id": "r9"}, 422),
])
def test_nonsense(gateway: Gateway, path: str, body: object, status: int) -> None:
    assert posted(gateway, path, body, status)["status"] == status


def test_who_may_not(gateway: Gateway) -> None:
    assert gateway.http("GET", "/api/v1/recordings", token=None).status == 401
