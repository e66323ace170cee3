"""Who watches (``/live``) is told nothing more when his token is taken away, or his session ends."""

from pathlib import Path

import pytest

from mailgw.testing import Gateway
from mailgw.testing.web import HttpClient, request
from mailgw.web.operations import LiveEvent
from mailgw.web.sending import HEARTBEAT_SECONDS
from mailgw.web.server import LIVE_AT_ONCE
from mailgw.web.tokens import SESSION_SECONDS
from tests.web.serving import ALL, READER, Served
from tests.web.test_now_api import CONFIG

BEARER = {"Authorization": f"Bearer {READER}"}


def configuration(folder: Path, **tokens: str) -> str:
    """Tokens' names, and the letter that each is made of."""
    found = ""
    for name, letter in tokens.items():
        path = folder / name
        path.write_text(letter * 40)
        path.chmod(0o600)
        found += f'[[api.token]]\nname = "{name}"\nscopes = ["read"]\nsecret_file = "{path}"\n'
    return CONFIG.replace("[api]\n", "[api]\n" + found)


def watch(gateway: Gateway, query: str = "", **headers: str) -> HttpClient:
    client = gateway.web()
    client.send(request("GET", f"/api/v1/live{query}", headers, b""))
    gateway.advance(3)
    assert client.received.startswith(b"HTTP/1.1 200 ")
    return client


def log_in(gateway: Gateway, letter: str) -> str:
    answer = gateway.http("POST", "/api/v1/session", {"token": letter * 40}, token=None)
    return answer.cookies[0].partition(";")[0]


def is_told(gateway: Gateway, client: HttpClient, seconds: float = 5) -> bool:
    before = len(client.received)
    gateway.advance(seconds)
    return b"event: " in client.received[before:]


@pytest.mark.parametrize("query", ["", "?now=false"])
@pytest.mark.parametrize("is_session", [False, True])
def test_a_token_that_a_reload_takes_away(tmp_path: Path, query: str, is_session: bool) -> None:
    with Gateway(configuration(tmp_path, one="1", other="2")) as gateway:
        def headers(letter: str) -> dict[str, str]:
            return {"Cookie": log_in(gateway, letter)} if is_session else {"Authorization": f"Bearer {letter * 40}"}

        one, other = watch(gateway, query, **headers("1")), watch(gateway, query, **headers("2"))
        gateway.reload(configuration(tmp_path, other="2"))
        assert one.is_closed
        told = len(one.received)
        gateway.receive(b"Subject: x\n\nx\n", sender="ann@example.com", to=["bob@example.org"])
        assert is_told(gateway, other)
        assert not other.is_closed
        assert len(one.received) == told


def test_a_session_that_is_ended(tmp_path: Path) -> None:
    with Gateway(configuration(tmp_path, one="1")) as gateway:
        cookie = log_in(gateway, "1")
        client = watch(gateway, Cookie=cookie)
        assert is_told(gateway, client)
        answer = gateway.http("DELETE", "/api/v1/session", token=None, headers={"Cookie": cookie, "X-Mailgw": "1"})
        assert answer.status == 204
        assert not is_told(gateway, client)
        # In order, and not cut off: the client may ask again, and is told that a token is needed.
        assert client.received.endswith(b"0\r\n\r\n")


def test_after_twelve_hours() -> None:
    served = Served()
    login = served.ask("POST", "/api/v1/session", {"token": ALL}, token=None)
    headers = {"Cookie": login.cookies[0].partition(";")[0]}
    client = served.raw(request("GET", "/api/v1/live", headers, b""))
    served.advance(SESSION_SECONDS - 1)
    served.door.feed.tell(LiveEvent("now", "before"))
    served.advance(0.5)
    assert b"before" in client.received
    served.advance(0.5)
    served.door.feed.tell(LiveEvent("now", "after"))
    served.advance(0)
    assert b"after" not in client.received
    assert served.door.feed.watching == 0


def test_where_nothing_happens_it_ends_with_the_next_sign_of_life() -> None:
    served = Served()
    login = served.ask("POST", "/api/v1/session", {"token": ALL}, token=None)
    name = login.cookies[0].partition(";")[0]
    client = served.raw(request("GET", "/api/v1/live", {"Cookie": name}, b""))
    served.sessions.close(name.partition("=")[2])
    served.advance(HEARTBEAT_SECONDS - 0.5)
    assert not client.is_closed
    served.advance(0.5)
    assert client.is_closed
    assert served.door.feed.watching == 0


def test_who_is_told_nothing_more_is_not_counted() -> None:
    served = Served()
    cookies = [
        served.ask("POST", "/api/v1/session", {"token": ALL}, token=None).cookies[0].partition(";")[0] for _ in range(2)
    ]
    for number in range(LIVE_AT_ONCE):
        served.raw(request("GET", "/api/v1/live", {"Cookie": cookies[number % 2]}, b""))
    assert served.ask("GET", "/api/v1/live").status == 503
    served.sessions.close(cookies[0].partition("=")[2])
    served.server.renew(served.reception)
    served.advance(0)
    assert len(served.server.live) == served.door.feed.watching == LIVE_AT_ONCE // 2
    for _ in range(LIVE_AT_ONCE - LIVE_AT_ONCE // 2):
        assert b" 200 " in served.raw(request("GET", "/api/v1/live", BEARER, b"")).received
    assert served.ask("GET", "/api/v1/live").status == 503
