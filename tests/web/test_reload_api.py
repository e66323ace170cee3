"""A reload by HTTP."""

from mailgw.testing import Gateway

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
        assert set(answer.json) == {"done", "changes", "faults", "note"}


def test_what_makes_no_sense_reloads_nothing() -> None:
    with Gateway(CONFIG) as gateway:
        assert gateway.http("POST", "/api/v1/reload", {"check": True}, token=None).status == 401
        assert gateway.http("GET", "/api/v1/reload").status == 405
        assert gateway.http("POST", "/api/v1/reload", {"chek": True}).status == 400
