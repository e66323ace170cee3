"""Web hooks by HTTP, of a whole gateway in memory."""

from typing import Any

from mailgw.testing import Gateway
from tests.test_hooks import HOOK
from tests.test_sending import CONFIG


def test_what_was_never_taken_can_be_seen_tried_again_and_dropped() -> None:
    with Gateway(f"{CONFIG}[api]\n{HOOK}") as gateway:
        gateway.answer_posts(lambda post: 404)
        for number in range(2):
            gateway.receive("Subject: x\n\nhi", sender="a@example.net", to=f"b{number}@example.org")
        gateway.advance(days=4)

        def asked(method: str, path: str, body: object = None, status: int = 200) -> Any:
            answer = gateway.http(method, f"/api/v1/webhooks{path}", body)
            assert answer.status == status, answer.body
            return answer.json

        [item] = asked("GET", "")["items"]
        assert (item["name"], item["state"], item["dead"]) == ("shop", "on", 4)
        page = asked("GET", "/shop/dead?limit=3")
        assert (len(page["items"]), page["items"][0]["why"]) == (3, "HTTP 404")
        assert len(asked("GET", f"/shop/dead?after={page['next']}")["items"]) == 1
        number = page["items"][0]["number"]
        assert asked("POST", "/shop/dead/retry", {"numbers": [number]}) == {"events": 1, "missing": []}
        gone = f"/shop/dead?numbers={page['items'][1]['number']}&numbers={number}"
        assert asked("DELETE", gone) == {"events": 1, "missing": [number]}
        assert asked("DELETE", "/shop/dead?all=true") == {"events": 2, "missing": []}
        asked("POST", "/shop/dead/retry", {}, 422)
        assert asked("POST", "/other/dead/retry", {"all": True}, 404)["detail"] == "there is no web hook other"
        for method, path in (("GET", "/nix/dead"), ("DELETE", "/nix/dead?numbers=4"), ("POST", "/nix/resume")):
            assert asked(method, path, None, 404)["detail"] == "there is no web hook nix"
        asked("GET", "/shop/dead?after=x", None, 400)


def test_a_hook_is_turned_on_by_a_reload_or_by_itself() -> None:
    with Gateway(f"{CONFIG}[api]\n{HOOK}") as gateway:
        for path, body, answer in (("/webhooks/shop/resume", None, {"events": 2}), ("/reload", {}, None)):
            gateway.answer_posts(lambda post: 410)
            gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="b@example.org")
            gateway.advance(1)
            assert gateway.http("GET", "/api/v1/webhooks").json["items"][0]["state"] == "off"
            gateway.answer_posts(lambda post: 200)
            said = gateway.http("POST", f"/api/v1{path}", body)
            assert said.status == 200, said.body
            assert answer is None or said.json == answer
            gateway.advance(1)
            [item] = gateway.http("GET", "/api/v1/webhooks").json["items"]
            assert (item["state"], item["waiting"]) == ("on", 0)


def test_numbers_and_health_tell_of_hooks() -> None:
    with Gateway(f"{CONFIG}[api]\n{HOOK}{HOOK.replace('shop', 'desk')}") as gateway:
        gateway.answer_posts(lambda post: 410 if "desk" in post.url else 404)
        gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="b@example.org")
        gateway.advance(1)

        def numbers() -> set[str]:
            lines = gateway.http("GET", "/metrics").body.decode().splitlines()
            return {line.removeprefix("mailgw_webhook_") for line in lines if line.startswith("mailgw_webhook_")}

        def found() -> list[tuple[str, str]]:
            findings = gateway.http("GET", "/api/v1/health").json["findings"]
            return [(one["level"], one["what"]) for one in findings if one["what"].startswith("web hook")]

        off = {"lost_events 0.0", 'off{webhook="desk"} 1.0', 'off{webhook="shop"} 0.0'}
        desk = {'events{state="waiting",webhook="desk"} 2.0', 'events{state="dead",webhook="desk"} 0.0'}
        assert numbers() == off | desk | {
            'events{state="waiting",webhook="shop"} 2.0', 'events{state="dead",webhook="shop"} 0.0'}
        assert found() == [("bad", "web hook desk"), ("warn", "web hook shop")]
        gateway.advance(hours=2)
        assert found() == [("bad", "web hook desk"), ("warn", "web hook shop")]
        gateway.advance(days=4)
        assert numbers() == off | desk | {
            'events{state="waiting",webhook="shop"} 0.0', 'events{state="dead",webhook="shop"} 2.0'}
        assert found() == [("bad", "web hook desk"), ("warn", "web hook shop")]
