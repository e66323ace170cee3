"""Whether a claim is true, whatever mechanism it came by."""

from typing import Any

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.defer import Deferred

from mailgw.access.logins import Logins
from mailgw.access.portal import make_portal
from mailgw.access.scram_accounts import ScramAccounts
from mailgw.mail.envelope import Client, Role
from mailgw.wire.sasl import LoginClaim, Password, Proof
from tests.access.test_scram_accounts import ACCOUNTS, FakeAccounts

CLIENT = Client("s1", Role.SUBMISSIONS, "192.0.2.1", 4711, False)
ALICE = "alice@example.org"


def logins(accounts: FakeAccounts = ACCOUNTS) -> Logins:
    checker = InMemoryUsernamePasswordDatabaseDontUse()  # type: ignore[no-untyped-call] # Twisted's
    checker.addUser(ALICE.encode(), b"secret")
    return Logins(make_portal([checker]), ScramAccounts(accounts, b"s" * 16), lambda n: b"\0" * n)


def judged(claim: LoginClaim, client: Client = CLIENT, by: Logins | None = None) -> Any:
    found: list[Any] = []
    Deferred.fromCoroutine((by or logins()).judge(claim, client)).addBoth(found.append)
    return found[0]


def test_what_some_account_can_use() -> None:
    assert logins().mechanisms() == ["PLAIN", "LOGIN", "SCRAM-SHA-256"]
    assert logins(FakeAccounts(bob="{PLAIN}x")).mechanisms() == ["PLAIN", "LOGIN"]
    nothing = Logins(None, None, lambda n: b"")
    assert nothing.mechanisms() == []
    assert judged(Password("", ALICE, "secret"), by=nothing) is None


def test_a_nonce_is_printable() -> None:
    assert logins().nonce() == "A" * 24


@pytest.mark.parametrize(("claim", "login"), [
    (Password("", ALICE, "secret"), ALICE),
    (Password("", ALICE, "wrong"), None),
    (Password(ALICE, ALICE, "secret"), ALICE),
    (Password("Alice@EXAMPLE.org", ALICE, "secret"), ALICE),
    (Password("bob@example.org", ALICE, "secret"), None),
    (Password("bob", ALICE, "secret"), None),
    (Proof("", "Alice@Example.org", True), ALICE),
    (Proof("", ALICE, False), None),
    (Proof("bob@example.org", ALICE, True), None),
    (Proof("", "no address", True), None),
])
def test_a_claim(claim: LoginClaim, login: str | None) -> None:
    assert judged(claim) == login


def test_keys() -> None:
    assert logins().keys(ALICE).iterations == 4096
