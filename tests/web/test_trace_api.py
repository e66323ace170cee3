"""The journal's answers by HTTP, of a whole gateway in memory, whose journal's file is a test's."""

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from mailgw.testing import Gateway
from tests.store.test_journal_story import ANN, BOB, LIFE, NOTICE, PEER, Q1, Q2, journal
from tests.tables import each
from tests.web.test_queue_api import CONFIG


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal(path, *LIFE)
    with Gateway(CONFIG) as made:
        config = made.service.config
        made.service.config = attrs.evolve(config, journal=attrs.evolve(config.journal, path=str(path)))
        yield made


def got(gateway: Gateway, path: str, status: int = 200) -> Any:
    answer = gateway.http("GET", f"/api/v1{path}")
    assert answer.status == status, (path, answer.body)
    return answer.json


@each(("query", "ids"), [
    (f"word={BOB}", [Q1]), (f"address={ANN}", [NOTICE, Q1, Q2, ""]), (f"queue_id={Q2}", [Q2]),
    (f"message_id=%3C{Q1}%40mail.example.org%3E", [Q1]), ("peer=203.0.113.0/24&limit=2", [Q1, ""]),
    ("peer=198.51.100.1&since=1.5", [""]), ("word=nobody@example.org", []),
])
def test_searches(gateway: Gateway, query: str, ids: list[str]) -> None:
    found = got(gateway, f"/trace?{query}")
    assert [row["queue_id"] for row in found["items"]] == ids


def test_a_row_says_what_became_of_its_message(gateway: Gateway) -> None:
    row = got(gateway, f"/trace?address={ANN}")["items"][1]
    assert (row["queue_id"], row["event"], row["last"]["recipient"]) == (Q1, "bounced", BOB)
    assert row["time"] == row["last"]["time"]
    assert row["reverse_path"] == ANN


def test_pages(gateway: Gateway) -> None:
    found: list[str] = []
    after = ""
    for _ in range(9):
        page = got(gateway, f"/trace?address={ANN}&limit=1{after}")
        found += [row["queue_id"] for row in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == [NOTICE, Q1, Q2, ""]


def test_a_story(gateway: Gateway) -> None:
    found = got(gateway, f"/trace/{Q1}")
    assert [fact["event"] for fact in found["facts"]][:3] == ["connected", "tls", "rejected"]
    assert found["facts"][0]["peer"] == PEER
    assert found["notices"] == [{"queue_id": NOTICE, "kind": "bounce", "recipient": BOB}]
    assert got(gateway, "/trace/q0", 404)["status"] == 404
    assert got(gateway, f"/queue/messages/{Q1}/attempts") == found["attempts"]


@each(("path", "status"), [
    ("/trace", 422), (f"/trace?word={BOB}&peer={PEER}", 422), ("/trace?peer=x", 422), ("/trace?word=a&after=x", 422),
    ("/trace?word=a&limit=0", 400), ("/trace?word=a&limit=1001", 400), ("/trace?word=a&since=-1", 400),
    ("/trace?word=", 400), (f"/trace?word={'x' * 1001}", 400), ("/trace?what=a", 400),
    (f"/trace/{'x' * 1001}", 422),
])
def test_nonsense(gateway: Gateway, path: str, status: int) -> None:
    assert got(gateway, path, status)["status"] == status


def test_a_journal_that_is_no_file_is_told(gateway: Gateway) -> None:
    config = gateway.service.config
    try:
        gateway.service.config = attrs.evolve(config, journal=attrs.evolve(config.journal, path="-"))
        assert "standard output" in got(gateway, f"/trace/{Q1}", 422)["detail"]
        assert got(gateway, f"/queue/messages/{Q1}/attempts") == []
    finally:
        gateway.service.config = config
