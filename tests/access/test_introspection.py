"""What a bearer token is worth, by what its issuer says."""

import json
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from mailgw.access import introspection
from mailgw.access.introspection import Introspection
from mailgw.access.oauth_settings import OAuthSettings
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.net.https import HttpAnswer
from mailgw.wire.sasl import Untrue
from tests.tables import each

NOW = 1_700_000_000.0
ALICE = Mailbox("alice", "example.org")
SETTINGS = OAuthSettings(
    endpoint="https://login.example.org/introspect", client_id="mail gw", client_secret="s:cret",
    login_claims=("username", "email", "sub"), scope=frozenset(), audience="", ca_file=None,
)


class Issuer:
    """Says what it is told; keeps what it was asked."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.says: Any = {"active": True, "username": "alice@example.org"}
        self.asked: list[tuple[str, bytes, Mapping[str, str]]] = []
        self.waiting: list[Deferred[HttpAnswer]] | None = None
        self.introspection = Introspection(
            attrs.evolve(SETTINGS, **settings), self, b"s" * 16, self.clock, lambda: NOW + self.clock.seconds()
        )

    async def post(self, url: str, form: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        self.asked.append((url, form, headers))
        if self.waiting is not None:
            waits: Deferred[HttpAnswer] = Deferred()
            self.waiting.append(waits)
            return await waits
        if isinstance(self.says, Exception):
            raise self.says
        if isinstance(self.says, HttpAnswer):
            return self.says
        return HttpAnswer(200, json.dumps(self.says).encode())

    def begin(self, token: str = "token") -> "tuple[list[Any], Deferred[Any]]":
        found: list[Any] = []
        task = Deferred.fromCoroutine(self.introspection.login_of(token))
        return found, task.addBoth(found.append)

    def login_of(self, token: str = "token") -> Any:
        """None where it is worth nothing."""
        found = self.begin(token)[0][0]
        return None if isinstance(found, Untrue) else found


def is_unsure(found: Any) -> bool:
    return isinstance(found, Failure) and isinstance(found.value, TemporaryFault)


def test_how_it_is_asked() -> None:
    issuer = Issuer()
    assert issuer.login_of("a/b+c=") == ALICE
    # RFC 7662 s2.1; RFC 6749 s2.3.1: form-encoded before base64
    assert issuer.asked == [(
        "https://login.example.org/introspect",
        b"token=a%2Fb%2Bc%3D&token_type_hint=access_token",
        {"Authorization": "Basic bWFpbCtndzpzJTNBY3JldA==", "Accept": "application/json"},
    )]


@each(("says", "login"), [
    ({"active": False, "username": "alice@example.org"}, None),
    ({"active": True}, None),
    ({"active": True, "username": "alice", "email": "alice@example.org"}, ALICE),
    ({"active": True, "username": "alice", "sub": "alice@example.org"}, ALICE),
    ({"active": True, "username": ["alice@example.org"]}, None),
    ({"active": True, "username": "Postmaster"}, None),
    ({"active": True, "username": "alice@example.org", "scope": None}, ALICE),
    ({"active": True, "username": "alice@example.org", "exp": None, "nbf": None}, ALICE),
    ({"active": True, "username": "alice@example.org", "exp": 10**400}, None),
    ({"active": True, "username": "alice@example.org", "nbf": 10**400}, None),
    ({"active": True, "username": "alice@example.org", "exp": NOW + 1}, ALICE),
    ({"active": True, "username": "alice@example.org", "exp": NOW}, None),
    ({"active": True, "username": "alice@example.org", "exp": "tomorrow"}, None),
    ({"active": True, "username": "alice@example.org", "exp": True}, None),
    ({"active": True, "username": "alice@example.org", "nbf": NOW}, ALICE),
    ({"active": True, "username": "alice@example.org", "nbf": NOW + 1}, None),
])
def test_what_it_says(says: dict[str, object], login: Mailbox | None) -> None:
    issuer = Issuer()
    issuer.says = says
    assert issuer.login_of() == login


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.just(10**400) | st.text(max_size=5)
    | st.sampled_from(["alice@example.org", "mail"]), st.lists, max_leaves=3,
)


@given(st.dictionaries(st.sampled_from(["username", "sub", "exp", "nbf", "scope", "aud", "iat"]), VALUES))
def test_whatever_it_says_is_judged(says: dict[str, object]) -> None:
    issuer = Issuer(scope=frozenset({"mail"}), audience="mail")
    issuer.says = HttpAnswer(200, json.dumps({"active": True, **says}).encode())
    assert issuer.login_of() in (ALICE, None)


def test_the_scope_and_the_audience() -> None:
    issuer = Issuer(scope=frozenset({"mail", "smtp"}), audience="mx.example.org")
    good = {"active": True, "username": "alice@example.org", "scope": "smtp openid mail", "aud": "mx.example.org"}
    for change, login in [
        ({}, ALICE), ({"aud": ["x", "mx.example.org"]}, ALICE), ({"scope": "mail"}, None),
        ({"scope": ["mail", "smtp"]}, None), ({"scope": None}, None),
        ({"aud": "x"}, None), ({"aud": None}, None), ({"aud": {}}, None),
    ]:
        issuer.says = {**good, **change}
        assert issuer.login_of(f"token {change}") == login


@each(("change", "why"), [
    ({"active": False}, "not active"), ({"exp": NOW}, "expired"), ({"nbf": NOW + 1}, "not yet valid"),
    ({"scope": "smtp"}, "scope"), ({"aud": "x"}, "audience"), ({"username": "alice"}, "no address"),
])
def test_why_a_token_is_worth_nothing(change: dict[str, object], why: str) -> None:
    issuer = Issuer(scope=frozenset({"mail"}), audience="mx")
    issuer.says = {"active": True, "username": "alice@example.org", "scope": "mail", "aud": "mx", **change}
    assert issuer.begin()[0] == [Untrue(why)]


@each("says", [
    TemporaryFault("no answer"), HttpAnswer(401, b"{}"), HttpAnswer(500, b""), HttpAnswer(302, b""),
    HttpAnswer(200, b""),
    HttpAnswer(200, b"<html>"), HttpAnswer(200, b"[]"), HttpAnswer(200, b"{}"), HttpAnswer(200, b'{"active":"true"}'),
    HttpAnswer(200, b"[" * 60_000), HttpAnswer(200, b"\xff"),
])
def test_an_issuer_in_trouble(says: Exception | HttpAnswer) -> None:
    issuer = Issuer()
    issuer.says = says
    with capturedLogs() as logged:
        assert is_unsure(issuer.login_of())
        assert is_unsure(issuer.login_of("another"))
    assert len(logged) == 1, "once, not for each login"
    issuer.says = {"active": True, "username": "alice@example.org"}
    assert issuer.login_of() == ALICE


def test_good_answers_are_remembered_for_a_moment() -> None:
    issuer = Issuer()
    assert [issuer.login_of() for _ in range(3)] == [ALICE] * 3
    assert len(issuer.asked) == 1
    issuer.login_of("another")
    assert len(issuer.asked) == 2
    issuer.clock.advance(introspection.REMEMBER_SECONDS)
    issuer.says = {"active": False}
    assert issuer.login_of() is None
    assert issuer.login_of() is None
    assert len(issuer.asked) == 4, "a bad one is asked for each time"


def test_none_is_remembered_beyond_its_end() -> None:
    issuer = Issuer()
    issuer.says = {"active": True, "username": "alice@example.org", "exp": NOW + 10}
    assert issuer.login_of() == ALICE
    issuer.clock.advance(9.9)
    assert issuer.login_of() == ALICE
    assert len(issuer.asked) == 1
    issuer.clock.advance(0.2)
    assert issuer.login_of() is None


def test_few_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspection, "REMEMBERED", 2)
    issuer = Issuer()
    for token in ("a", "b", "c", "c", "b", "a"):
        issuer.login_of(token)
    assert len(issuer.asked) == 4


def test_few_are_asked_at_once_and_few_wait() -> None:
    issuer = Issuer()
    issuer.waiting = []
    found = [issuer.begin(f"{number}") for number in range(introspection.AT_ONCE + introspection.WAITING)]
    assert len(issuer.asked) == introspection.AT_ONCE
    assert is_unsure(issuer.login_of("one more"))
    found[0][1].cancel()  # the session is gone: its place is free
    assert found[0][0][0].check(CancelledError)
    assert len(issuer.asked) == introspection.AT_ONCE + 1
    issuer.waiting[1].callback(HttpAnswer(200, b'{"active":true,"sub":"alice@example.org"}'))
    assert found[1][0] == [ALICE]
    for one in found:
        one[1].cancel()


def test_neither_secret_nor_token_is_shown() -> None:
    issuer = Issuer()
    issuer.login_of("t0ken")
    assert "s:cret" not in repr(SETTINGS)
    assert "t0ken" not in repr(vars(issuer.introspection))
