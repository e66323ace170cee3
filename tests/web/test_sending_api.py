"""Sending by HTTP, of a whole gateway in memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailgw.testing import Gateway
from mailgw.testing.web import HttpAnswer

CONFIG = """
hostname = "mx.example.org"
postmaster = "root@example.org"
[api]
{tokens}
[[listen]]
role = "mx"
endpoint = "tcp:25"
[[route]]
recipients = ["@example.org"]
backend = "home"
[backend.home]
type = "maildir"
path = "/mail/{{domain}}/{{local_part}}"
recipients = "any"
[limits]
message_octets = "64KiB"
"""
LETTER = {"from": "Ann <ann@example.org>", "to": ["bob@example.org"], "subject": "hi", "text": "Hello"}
RAW = {"Content-Type": "message/rfc822"}
SECRETS = {"shop": "s" * 40, "bound": "b" * 40, "eyes": "e" * 40, "hands": "h" * 40}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    tables = []
    for name, scope, more in (
        ("shop", "send", ""), ("bound", "send", 'senders = ["@shop.example"]'), ("eyes", "read", ""),
        ("hands", "queue", ""),
    ):
        secret = tmp_path / name
        secret.write_text(SECRETS[name])
        secret.chmod(0o600)
        tables.append(f'[[api.token]]\nname = "{name}"\nscopes = ["{scope}"]\nsecret_file = "{secret}"\n{more}\n')
    with Gateway(CONFIG.format(tokens="".join(tables))) as made:
        yield made


def send(gateway: Gateway, body: object = LETTER, token: str = "shop", query: str = "", **headers: str) -> HttpAnswer:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return gateway.http("POST", f"/api/v1/messages{query}", body, token=SECRETS[token], headers=given)


def got(gateway: Gateway, path: str, token: str = "shop", status: int = 200) -> Any:
    answer = gateway.http("GET", f"/api/v1/messages{path}", token=SECRETS[token])
    assert answer.status == status, answer.body
    return answer.json


def test_202_says_where_to_look(gateway: Gateway) -> None:
    answer = send(gateway, Idempotency_Key="k1")
    assert answer.status == 202
    told = answer.json
    assert answer.headers["location"] == f"/api/v1/messages/{told['id']}"
    assert told["recipients"] == [{"recipient": "bob@example.org", "state": "queued"}]
    gateway.advance(1)
    found = got(gateway, f"/{told['id']}")
    assert [(one["recipient"], one["state"]) for one in found["recipients"]] == [("bob@example.org", "delivered")]
    assert found["token"] == "shop"
    again = send(gateway, Idempotency_Key="k1")
    assert again.status == 202
    assert again.json["idempotent_replay"] is True
    assert len(gateway.mailbox("bob@example.org")) == 1
    [queued] = [one for one in gateway.journal if one.name == "queued"]
    assert (queued.login, queued.peer) == ("api:shop", "127.0.0.1")  # type: ignore[attr-defined] # a Queued


def test_a_problem_names_field_and_recipients(gateway: Gateway) -> None:
    answer = send(gateway, {**LETTER, "to": ["bob@@"]})
    assert (answer.status, answer.json["field"]) == (422, "to[0]")
    answer = send(gateway, {**LETTER, "to": ["bob@example.org", "cy@example.com"]})
    assert answer.status == 422
    assert [(one["recipient"], one["code"]) for one in answer.json["recipients"]] == [("cy@example.com", 550)]
    assert answer.headers["content-type"] == "application/problem+json"
    first, second = send(gateway, Idempotency_Key="k"), send(gateway, {**LETTER, "text": "x"}, Idempotency_Key="k")
    assert (first.status, second.status) == (202, 409)
    assert not list(gateway.mailbox("cy@example.org"))


def test_a_message_as_it_is(gateway: Gateway) -> None:
    raw = b"From: ann@example.org\r\nTo: bob@example.org\r\nBcc: cy@example.org\r\nSubject: raw\r\n\r\nhi\r\n"
    answer = send(gateway, raw, Content_Type="message/rfc822")
    assert answer.status == 202
    assert [one["recipient"] for one in answer.json["recipients"]] == ["bob@example.org", "cy@example.org"]
    query = "?reverse_path=&recipients=dee@example.org&recipients=eve@example.org&tags=a&tags=b"
    answer = send(gateway, raw, query=query, Content_Type="message/rfc822")
    assert [one["recipient"] for one in answer.json["recipients"]] == ["dee@example.org", "eve@example.org"]
    assert got(gateway, f"/{answer.json['id']}")["tags"] == ["a", "b"]
    assert send(gateway, LETTER, query="?tags=a").status == 400


def test_limits_are_those_of_smtp(gateway: Gateway) -> None:
    assert send(gateway, {**LETTER, "text": "x\n" * 20_000}).status == 202
    answer = send(gateway, {**LETTER, "text": "x\n" * 33_000})
    assert (answer.status, answer.json["field"]) == (422, "content")
    assert send(gateway, b"x" * 2_000_000).status in (413, 415)


def test_a_token_may_be_bound_to_addresses(gateway: Gateway) -> None:
    answer = send(gateway, token="bound")
    assert (answer.status, answer.json["field"]) == (422, "reverse_path")
    ours = {**LETTER, "from": "orders@shop.example"}
    assert send(gateway, ours, token="bound").status == 202
    spoofed = {**LETTER, "envelope": {"reverse_path": "orders@shop.example"}}
    answer = send(gateway, spoofed, token="bound")
    assert (answer.status, answer.json["field"]) == (422, "content")


def test_scopes(gateway: Gateway) -> None:
    assert send(gateway, token="eyes").status == 403
    assert send(gateway, token="hands").status == 403
    mine = send(gateway, {**LETTER, "send_at": gateway.now + 3600}).json
    other = send(gateway, {**LETTER, "from": "x@shop.example"}, token="bound").json
    assert [one["id"] for one in got(gateway, "")["items"]] == [mine["id"]]
    assert [one["id"] for one in got(gateway, "?token=bound")["items"]] == [mine["id"]], "its own, whatever it asks for"
    assert {one["id"] for one in got(gateway, "", "eyes")["items"]} == {mine["id"], other["id"]}
    got(gateway, f"/{other['id']}", "shop", 404)
    got(gateway, f"/{mine['id']}", "hands", 403)
    for token, status in (("eyes", 403), ("bound", 404), ("hands", 200), ("shop", 200)):
        answer = gateway.http("DELETE", f"/api/v1/messages/{mine['id']}", token=SECRETS[token])
        assert answer.status == status, token
    assert got(gateway, f"/{mine['id']}")["recipients"][0]["state"] == "removed"
    assert not gateway.queue


def test_the_document_has_the_shape_of_a_letter(gateway: Gateway) -> None:
    document = gateway.http("GET", "/api/v1/openapi.json", token=SECRETS["eyes"]).json
    content = document["paths"]["/messages"]["post"]["requestBody"]["content"]
    assert content.keys() == {"application/json", "message/rfc822"}
    assert "from" in json.dumps(document["components"]["schemas"]["Posted"])
