"""The web door of a whole gateway, in memory."""

from collections.abc import Iterator

import pytest

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


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(CONFIG) as made:
        yield made


def test_who_asks_is_told_who_he_is(gateway: Gateway) -> None:
    answer = gateway.http("GET", "/api/v1/session")
    assert answer.status == 200, answer.body
    assert answer.json == {"name": "owner", "scopes": ["read", "queue", "send"], "seconds": None}
    assert answer.headers["cache-control"] == "no-store"


def test_without_a_token_nothing_is_told(gateway: Gateway) -> None:
    answer = gateway.http("GET", "/api/v1/session", token=None)
    assert answer.status == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == 401


def test_health(gateway: Gateway) -> None:
    for path in ("/healthz", "/readyz"):
        answer = gateway.http("GET", path, token=None, headers={"Host": "10.0.0.1"})
        assert (answer.status, answer.body) == (200, b"ok\n"), path


def test_the_page_is_there(gateway: Gateway) -> None:
    answer = gateway.http("GET", "/", token=None)
    assert answer.status == 200
    assert b"<title>mailgw</title>" in answer.body
    again = gateway.http("GET", "/", token=None, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_a_session_of_the_page(gateway: Gateway) -> None:
    answer = gateway.http("POST", "/api/v1/session", {"token": gateway.web_token}, token=None)
    assert answer.status == 200, answer.body
    cookie = answer.cookies[0].partition(";")[0]
    assert "HttpOnly" in answer.cookies[0]
    assert "SameSite=Strict" in answer.cookies[0]
    shown = gateway.http("GET", "/api/v1/session", token=None, headers={"Cookie": cookie})
    assert shown.json["name"] == "owner"
    ended = gateway.http("DELETE", "/api/v1/session", token=None, headers={"Cookie": cookie, "X-Mailgw": "1"})
    assert (ended.status, ended.body) == (204, b"")
    assert ended.cookies == (PLAIN_ENDS,)
    assert gateway.http("GET", "/api/v1/session", token=None, headers={"Cookie": cookie}).status == 401


PLAIN_ENDS = "mailgw_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
TLS_ENDS = f"__Host-{PLAIN_ENDS}; Secure"


def test_a_session_by_a_proxy_that_has_tls(gateway: Gateway) -> None:
    ours = {"Host": "localhost", "Origin": "https://localhost", "X-Mailgw": "1"}
    login = {"token": gateway.web_token}
    plain = gateway.http("POST", "/api/v1/session", login, token=None).cookies[0].partition(";")[0]
    begun = gateway.http("POST", "/api/v1/session", login, token=None, headers={**ours, "Cookie": plain})
    by_tls, cleared = begun.cookies
    assert by_tls.startswith("__Host-mailgw_session=")
    assert by_tls.endswith("; Secure")
    assert cleared == PLAIN_ENDS
    by_tls = by_tls.partition(";")[0]
    ended = gateway.http("DELETE", "/api/v1/session", token=None, headers={**ours, "Cookie": by_tls})
    assert (ended.status, ended.cookies) == (204, (TLS_ENDS,))
    assert gateway.http("GET", "/api/v1/session", token=None, headers={"Cookie": by_tls}).status == 401


def test_a_session_whose_browser_has_both_cookies(gateway: Gateway) -> None:
    ours = {"Host": "localhost", "Origin": "https://localhost", "X-Mailgw": "1"}
    login = {"token": gateway.web_token}
    plain = gateway.http("POST", "/api/v1/session", login, token=None).cookies[0].partition(";")[0]
    by_tls = gateway.http("POST", "/api/v1/session", login, token=None, headers=ours).cookies[0].partition(";")[0]
    ended = gateway.http("DELETE", "/api/v1/session", token=None, headers={**ours, "Cookie": f"{plain}; {by_tls}"})
    assert ended.status == 204
    assert set(ended.cookies) == {PLAIN_ENDS, TLS_ENDS}
    for cookie in (plain, by_tls):
        assert gateway.http("GET", "/api/v1/session", token=None, headers={"Cookie": cookie}).status == 401
    assert gateway.http("DELETE", "/api/v1/session").cookies == (), "a token alone has no cookie"


def test_a_session_whose_cookie_comes_in_a_header_of_its_own(gateway: Gateway) -> None:
    login = gateway.http("POST", "/api/v1/session", {"token": gateway.web_token}, token=None)
    cookie = login.cookies[0].partition(";")[0]
    client = gateway.web()
    client.send(
        b"DELETE /api/v1/session HTTP/1.1\r\nHost: localhost\r\nX-Mailgw: 1\r\n"
        b"Cookie: other=1\r\nCookie: %s\r\n\r\n" % cookie.encode()
    )
    assert client.answer().status == 204
    assert gateway.http("GET", "/api/v1/session", token=None, headers={"Cookie": cookie}).status == 401


def test_the_document(gateway: Gateway) -> None:
    answer = gateway.http("GET", "/api/v1/openapi.json", token=None)
    assert answer.status == 200
    assert answer.json["openapi"] == "3.1.0"
    assert set(answer.json["paths"]["/session"]) == {"get", "post", "delete"}
