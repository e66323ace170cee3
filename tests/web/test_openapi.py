"""The document of all that there is, and that all of it is there."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from mailgw.office import topics
from mailgw.testing import Gateway
from mailgw.web import openapi
from mailgw.web.operations import PREFIX, Operation, Problem, Scope
from mailgw.web.routing import Routes
from tests.tables import each
from tests.web.serving import OPERATIONS

CONFIG = """
[api]
{tokens}
[[route]]
recipients = ["@example.org"]
backend = "box"
[backend.box]
type = "maildir"
path = "/mail/{{domain}}/{{local_part}}"
recipients = "any"
"""


# Who sent a message sees and cancels it, whatever else he may: they ask for a scope themselves (test_sending_api).
BY_WHOSE_IT_IS = ("/messages", "/messages/{id}")


def found(value: Any, key: str) -> Iterator[Any]:
    """All values of that key, wherever they are."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from found(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from found(inner, key)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("tokens")
    tokens = ""
    for scope in Scope:
        path = folder / scope.value
        path.write_text(scope.value * 20)
        path.chmod(0o600)
        tokens += f'[[api.token]]\nname = "{scope.value}"\nscopes = ["{scope.value}"]\nsecret_file = "{path}"\n'
    with Gateway(CONFIG.format(tokens=tokens)) as made:
        yield made


@pytest.fixture(scope="module")
def document(gateway: Gateway) -> dict[str, Any]:
    answer = gateway.http("GET", "/api/v1/openapi.json", token=None)
    assert answer.headers["content-type"] == "application/json"
    told: dict[str, Any] = answer.json
    return told


def test_every_operation_is_in_it(document: dict[str, Any]) -> None:
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert {(one.method, one.path) for one in topics()} < told
    assert {("GET", "/openapi.json"), ("POST", "/session"), ("GET", "/session"), ("DELETE", "/session")} < told


def test_what_it_refers_to_is_there(document: dict[str, Any]) -> None:
    for reference in found(document, "$ref"):
        place: Any = document
        for word in reference.removeprefix("#/").split("/"):
            place = place[word]
        assert place


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    names = list(found(document["paths"], "operationId"))
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)


def test_each_says_what_it_takes_and_answers(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            where = f"{method} {path}"
            assert one["summary"], where
            assert one["tags"] == [path.split("/")[1]], where
            in_path = [x["name"] for x in one["parameters"] if x["in"] == "path"]
            assert in_path == re.findall(r"\{([a-z_]+)\}", path), where
            assert any(status.startswith("2") for status in one["responses"]), where
            assert {"400", "401", "403", "500", "503"} <= set(one["responses"]), where
            if method in ("get", "delete"):
                assert "requestBody" not in one or method == "delete", where


def test_each_lets_in_who_may(gateway: Gateway) -> None:
    """Nobody without a token, nobody with another scope: and where the scope is right it is no longer that."""
    for one in topics():
        path = PREFIX + re.sub(r"\{[a-z_]+\}", "x", one.path)
        assert gateway.http(one.method, path, token=None).status == 401, path
        for scope in Scope:
            answer = gateway.http(one.method, path, token=scope.value * 20) if scope is not one.scope else None
            if answer is not None and one.scope is not None:
                assert answer.status == 403, (one.method, path, scope)
                assert answer.json["detail"] == f"the scope {one.scope.value} is needed"


def test_what_changes_something_is_no_get() -> None:
    for one in topics():
        assert one.is_safe or one.method != "GET", one.path
        assert one.scope is not None or one.path in BY_WHOSE_IT_IS, one.path
        assert one.is_safe or one.scope is not Scope.READ or one.is_open, f"{one.method} {one.path}: by a reader?"


def test_an_example() -> None:
    told = openapi.document(OPERATIONS, "1.2.3")
    assert told["info"]["version"] == "1.2.3"
    things = told["paths"]["/things/{name}"]["get"]
    assert things["operationId"] == "get_things_name"
    assert things["x-scope"] == "read"
    limit = next(one for one in things["parameters"] if one["name"] == "limit")
    assert limit == {"name": "limit", "in": "query", "required": False, "schema": {"type": "integer", "default": 100}}
    word = next(one for one in things["parameters"] if one["name"] == "word")
    assert word["schema"] == {"type": "string"}, "what is left out is null: nobody says null"
    assert things["responses"]["200"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Shown"}
    files = told["paths"]["/files"]["post"]["requestBody"]
    assert files == {"required": True, "content": {"message/rfc822": {"schema": {"type": "string"}}}}
    assert "413" in told["paths"]["/files"]["post"]["responses"]
    assert told["paths"]["/live"]["get"]["responses"]["200"]["content"] == {"text/event-stream": {}}
    assert told["paths"]["/refusals/{how}"]["get"]["responses"]["409"]["description"] == "Always"


def operation(method: str, path: str) -> Operation:
    return Operation(method, path, Scope.READ, "", None, OPERATIONS[0].run)


@each(
    ("method", "path", "expected"),
    [
        ("GET", "queue/lanes", "GET /queue/lanes"),
        ("HEAD", "queue/lanes", "GET /queue/lanes"),
        ("GET", "queue/x", "GET /queue/{id}"),
        ("POST", "queue/x", "POST /queue/{verb}"),
        ("POST", "queue/lanes", "405 GET, HEAD"),
        ("DELETE", "queue/x", "405 GET, HEAD, POST"),
        ("GET", "queue", "404"),
        ("GET", "queue/x/y", "404"),
        ("GET", "nothing", "404"),
        ("TRACE", "queue/lanes", "405 GET, HEAD"),
    ],
)
def test_routes(method: str, path: str, expected: str) -> None:
    paths = [("POST", "/queue/{verb}"), ("GET", "/queue/{id}"), ("GET", "/queue/lanes")]
    routes = Routes([operation(*one) for one in paths])
    try:
        one = routes.route(method, path.split("/")).operation
        said = f"{one.method} {one.path}"
    except Problem as problem:
        said = f"{problem.status} {problem.headers.get('Allow', '')}".strip()
    assert said == expected


def test_two_operations_are_not_one() -> None:
    with pytest.raises(ValueError, match="two operations"):
        Routes([operation("GET", "/queue/{verb}"), operation("GET", "/queue/{id}")])


def test_a_page_for_people(gateway: Gateway) -> None:
    answer = gateway.http("GET", "/api", token=None)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    text = answer.body.decode()
    for one in topics():
        assert f"<code>{one.method} {one.path}</code>" in text
    assert "<script" not in text
    assert "style=" not in text
