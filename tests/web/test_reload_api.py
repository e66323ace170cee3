"""A reload by HTTP."""

from collections.abc import Sequence

import pytest

from mailgw.mail.ports import Request
from mailgw.testing import Gateway
from mailgw.testing.driving import result_of
from mailgw.web.operations import Asked, Principal, Problem
from mailgw.web.reload_api import Reload, operations

CONFIG = """
[api]
[[route]]
recipients = ["@example.org"]
backend = "box"
[backend.box]
type = "maildir"
path = "/mail/{domain}/{local_part}"
recipients = "any"
"""


def test_what_would_change_is_told_and_nothing_done() -> None:
    with Gateway(CONFIG) as gateway:
        answer = gateway.http("POST", "/api/v1/reload", {"check": True})
        assert answer.status == 200, answer.body
        assert answer.json["faults"] == []
        assert set(answer.json) == {"done", "is_check", "changes", "faults", "note"}
        assert answer.json["is_check"] is True
        assert gateway.http("POST", "/api/v1/reload", {}).json["is_check"] is False


WHO = Principal("t", frozenset())


class NoHeaders:
    def get(self, name: str) -> str | None:
        return None

    def all(self, name: str) -> Sequence[str]:
        return ()


class Refusing:
    """A door behind which a reload is refused."""

    async def answer(self, request: Request) -> object:
        assert request == {"command": "reload", "check": True}
        return {"done": False, "changes": [], "faults": ["m.toml:3: no", "m.toml:4: nor that"]}


def test_what_is_refused_is_no_success() -> None:
    [reload] = operations()
    with pytest.raises(Problem) as found:
        result_of(reload.run(Asked(Refusing(), WHO, {}, None, Reload(check=True), NoHeaders())))
    problem = found.value
    assert (problem.status, problem.detail) == (422, "m.toml:3: no")
    assert problem.more == {"faults": ["m.toml:3: no", "m.toml:4: nor that"]}


def test_what_makes_no_sense_reloads_nothing() -> None:
    with Gateway(CONFIG) as gateway:
        assert gateway.http("POST", "/api/v1/reload", {"check": True}, token=None).status == 401
        assert gateway.http("GET", "/api/v1/reload").status == 405
        assert gateway.http("POST", "/api/v1/reload", {"chek": True}).status == 400
