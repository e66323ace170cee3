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
        assert asked("POST", "/shop/dead/retry", {"numbers": [number]}) == {"events": 1}
        assert asked("DELETE", f"/shop/dead?numbers={page['items'][1]['number']}") == {"events": 1}
        assert asked("DELETE", "/shop/dead?all=true") == {"events": 2}
        asked("POST", "/shop/dead/retry", {}, 422)
        asked("POST", "/other/dead/retry", {"all": True}, 422)
        asked("GET", "/shop/dead?after=x", None, 400)
