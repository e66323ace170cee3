"""What a web hook's answer means for each recipient."""

import json

from mailgw.deliver.webhook_answer import in_words, judged, wait_seconds
from mailgw.mail.address import Mailbox
from mailgw.mail.outcome import Outcome, Permanence, Scope
from tests.tables import each

ANN, BOB = Mailbox("Ann", "example.org"), Mailbox("bob", "example.org")
HOP = "https://hooks.example.org"
JSON = "application/json"


def outcomes(status: int, body: bytes | None = b"", media_type: str = JSON) -> dict[Mailbox, Outcome]:
    found = judged(status, media_type, body, (ANN, BOB), HOP, 30.0)
    assert set(found) == {ANN, BOB}
    assert all(outcome.hop == HOP for outcome in found.values())
    return found


@each(("status", "expected"), [
    (200, "250 2.0.0"), (202, "250 2.0.0"), (204, "250 2.0.0"), (299, "250 2.0.0"),
    (400, "554 5.3.0"), (409, "554 5.3.0"), (410, "554 5.3.0"), (413, "552 5.3.4"), (415, "554 5.6.1"),
    (422, "554 5.3.0"), (451, "554 5.3.0"), (499, "554 5.3.0"),
    *((status, "451 4.3.0") for status in (
        199, 300, 301, 302, 304, 307, 308, 401, 402, 403, 404, 405, 407, 408, 421, 423, 425, 426, 429,
        500, 501, 502, 503, 504, 507, 511, 599, 600, 999,
    )),
])
def test_the_status(status: int, expected: str) -> None:
    for outcome in outcomes(status).values():
        assert f"{outcome.reply.code} {outcome.reply.status}" == expected
        assert str(status) in outcome.reply.text
        kinds = {"2": Permanence.DELIVERED, "4": Permanence.TEMPORARY, "5": Permanence.PERMANENT}
        assert outcome.permanence is kinds[expected[0]]
        # Trouble with the server or the URL is every message's; a verdict is this one's.
        if expected[0] == "4":
            assert (outcome.scope, outcome.again_after_seconds) == (Scope.HOST, 30.0)
        elif expected[0] == "5":
            assert (outcome.scope, outcome.is_ours, outcome.again_after_seconds) == (Scope.MESSAGE, True, None)


@each(("status", "location", "words"), [
    (301, "https://a.example:8443/b?c", " to https://a.example:8443"), (302, "/b", ""), (303, "", ""),
    (301, "https://user:word@a.example/", " to https://a.example"),
    (307, "http://[2001:db8::1]/b", " to http://[2001:db8::1]"), (308, "http://[/", ""), (308, "http://a:b/", ""),
    (308, "https://a\x1b.example/", ""), (308, "file://a.example/", ""),
])
def test_a_redirection_says_where_to_but_no_path(status: int, location: str, words: str) -> None:
    assert in_words(status, location) == f"HTTP {status}: it redirects{words}; give the URL itself in the configuration"


@each("status", [304, 404, 503])
def test_other_answers_are_their_status(status: int) -> None:
    assert in_words(status, "https://a.example/") == f"HTTP {status}"


def test_each_recipient_may_have_an_answer_of_his_own() -> None:
    said = {"recipients": {"ann@EXAMPLE.org": {"code": 550, "status": "5.1.1", "text": "no\r\nAnn"}}}
    found = outcomes(200, json.dumps(said).encode())
    assert str(found[ANN].reply) == "550 5.1.1 no??Ann"
    assert (found[ANN].permanence, found[ANN].scope, found[ANN].is_ours) == (
        Permanence.PERMANENT, Scope.RECIPIENT, False)
    assert found[BOB].is_delivered


@each(("value", "expected"), [
    ({"code": 250, "status": "2.1.5", "text": "here"}, "250 2.1.5 here"),
    ({"code": 250}, "250 2.0.0 The web hook said so"),
    ({"code": 450, "status": "4.2.1", "text": "later"}, "450 4.2.1 later"),
    ({"code": 550, "status": "4.2.1"}, "550 5.0.0 The web hook said so"),
    ({"code": 550, "status": "5.1.1\n"}, "550 5.0.0 The web hook said so"),
    ({"code": 550, "status": 5, "text": 7}, "550 5.0.0 The web hook said so"),
    ({"code": 554, "text": "x" * 300}, "554 5.0.0 " + "x" * 200),
    ({"code": 599}, "599 5.0.0 The web hook said so"),
    *((value, "451 4.3.0 The web hook's answer has no code") for value in (
        {}, None, 550, {"code": "550"}, {"code": True}, {"code": 354}, {"code": 199}, {"code": 600}, {"code": 5e2},
    )),
])
def test_an_answer_of_his_own(value: object, expected: str) -> None:
    found = outcomes(200, json.dumps({"recipients": {str(ANN): value}}).encode())
    assert str(found[ANN].reply) == expected
    kinds = {"2": Permanence.DELIVERED, "4": Permanence.TEMPORARY, "5": Permanence.PERMANENT}
    assert found[ANN].permanence is kinds[expected[0]]
    is_said = expected[0] == "5" and "said so" not in expected
    assert found[ANN].words == (found[ANN].reply.text if is_said else "")
    assert found[BOB].is_delivered


@each("body", [b"", b" \n", b"{}", b"[]", b'"ok"', b"7", b"null", b'{"ok": true}', b'{"recipients": {}}'])
def test_json_that_says_nothing_of_recipients(body: bytes) -> None:
    assert all(outcome.is_delivered for outcome in outcomes(200, body).values())


@each("body", [None, b"{", b"<html>", b"\xff", b"[" * 100_000, b'{"recipients": []}', b'{"recipients": null}'])
def test_json_that_is_not_understood_serves_nobody(body: bytes | None) -> None:
    for outcome in outcomes(200, body).values():
        assert (outcome.permanence, outcome.scope) == (Permanence.TEMPORARY, Scope.MESSAGE)
    for media_type in ("application/json; charset=utf-8", "application/problem+json", "APPLICATION/JSON"):
        assert not outcomes(200, body, media_type)[ANN].is_delivered
    for media_type in ("", "text/html", "text/json", "application/jsonx"):
        assert outcomes(200, body, media_type)[ANN].is_delivered


def test_who_names_somebody_else_may_mean_one_of_us() -> None:
    said = {"recipients": {"an@example.org": {"code": 550}, "bob@example.org": {"code": 250}}}
    found = outcomes(200, json.dumps(said).encode())
    assert found[ANN].permanence is Permanence.TEMPORARY
    assert found[BOB].is_delivered


@each(("word", "expected"), [
    ("30", 30.0), ("3600", 3600.0), ("3601", 3600.0), ("9" * 40, 3600.0), ("0", None), ("", None), ("-1", None),
    ("soon", None), ("1.5", None), ("\u0663", None),
    ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0), ("Thu, 01 Jan 1970 00:16:40 GMT", None),
    ("Thu, 01 Jan 2070 00:16:40 GMT", 3600.0), ("Thu, 01 Jan 99999 00:16:40 GMT", None),
])
def test_how_long_it_wants_to_be_left_alone(word: str, expected: float | None) -> None:
    assert wait_seconds(word, 1000.0) == expected
