"""Whether a claim is true, whatever mechanism it came by."""

from typing import Any

import attrs
from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailgw.access.logins import Logins
from mailgw.access.portal import ClientPassword, make_portal
from mailgw.access.scram_accounts import ScramAccounts
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Client, Role, TlsFacts
from mailgw.mail.errors import TemporaryFault
from mailgw.testing.driving import result_of
from mailgw.wire.sasl import Certificate, LoginClaim, Password, Proof, Token, Untrue
from tests.access.test_scram_accounts import ACCOUNTS, FakeAccounts
from tests.tables import each

CLIENT = Client("s1", Role.SUBMISSIONS, "192.0.2.1", 4711, False)
ALICE = "alice@example.org"


def logins(accounts: FakeAccounts = ACCOUNTS) -> Logins:
    checker = InMemoryUsernamePasswordDatabaseDontUse()  # type: ignore[no-untyped-call] # Twisted's
    checker.addUser(ALICE.encode(), b"secret")
    return Logins(make_portal([checker]), ScramAccounts(accounts, b"s" * 16), None, None, lambda n: b"\0" * n)


def judged(claim: LoginClaim, client: Client = CLIENT, by: Logins | None = None) -> Any:
    found: list[Any] = []
    Deferred.fromCoroutine((by or logins()).judge(claim, client)).addBoth(found.append)
    return None if isinstance(found[0], Untrue) else found[0]


def test_what_some_account_can_use() -> None:
    assert logins().mechanisms() == ["PLAIN", "LOGIN", "SCRAM-SHA-256"]
    assert logins(FakeAccounts(bob="{PLAIN}x")).mechanisms() == ["PLAIN", "LOGIN"]
    nothing = Logins(None, None, None, None, lambda n: b"")
    assert nothing.mechanisms() == []
    assert judged(Password("", ALICE, "secret"), by=nothing) is None


def test_a_nonce_is_printable() -> None:
    assert logins().nonce() == "A" * 24


@each(("claim", "login"), [
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


# --- tokens and certificates -------------------------------------------------------------------------------

class Tokens:
    async def login_of(self, token: str) -> Mailbox | Untrue:
        if token == "down":
            raise TemporaryFault("the issuer is down")
        return Mailbox("Alice", "example.org") if token == "good" else Untrue("expired")


class Existing:
    def has(self, recipient: Mailbox) -> bool:
        return str(recipient).lower() in (ALICE, "bob@example.org")


OTHERS = Logins(None, None, Tokens(), Existing(), lambda n: b"")


def shown(*names: str) -> Client:
    return attrs.evolve(CLIENT, tls=TlsFacts("TLSv1.3", "x", 256, names))


def test_others_are_offered_without_passwords() -> None:
    assert OTHERS.mechanisms() == ["OAUTHBEARER", "XOAUTH2", "EXTERNAL"]
    assert judged(Password("", ALICE, "secret"), by=OTHERS) is None


@each(("claim", "login"), [
    (Token("", "good"), ALICE),
    (Token("ALICE@example.org", "good"), ALICE),
    (Token("bob@example.org", "good"), None),
    (Token("alice", "good"), None),
    (Token("", "bad"), None),
])
def test_a_token(claim: LoginClaim, login: str | None) -> None:
    assert judged(claim, by=OTHERS) == login
    assert judged(claim) is None, "nobody issues any"


@each(("claim", "names", "why"), [
    (Token("", "bad"), (), "expired"),
    (Token("bob@example.org", "good"), (), "user differs"),
    (Certificate(""), ("nobody@example.org",), "no account"),
    (Certificate("bob@example.org"), (ALICE,), "user differs"),
    (Password("", ALICE, "wrong"), (), "wrong"),
    (Password("bob@example.org", ALICE, "secret"), (), "wrong"),
    (Password("", "nobody@example.org", "secret"), (), "wrong"),
    (Proof("", ALICE, False), (), "wrong"),
    (Proof("bob@example.org", ALICE, True), (), "wrong"),
])
def test_why_a_claim_is_false(claim: LoginClaim, names: tuple[str, ...], why: str) -> None:
    by = OTHERS if isinstance(claim, (Token, Certificate)) else logins()
    assert result_of(by.judge(claim, shown(*names))) == Untrue(why)


def test_an_issuer_that_is_down() -> None:
    assert judged(Token("", "down"), by=OTHERS).check(TemporaryFault)


@each(("authzid", "names", "login"), [
    ("", (ALICE,), ALICE),
    (ALICE, (ALICE,), ALICE),
    ("Alice@Example.ORG", (ALICE,), ALICE),
    ("", ("nobody@example.org", "Bob@example.org", ALICE), "bob@example.org"),
    (ALICE, ("bob@example.org", ALICE), ALICE),
    ("bob@example.org", (ALICE,), None),
    ("nobody@example.org", ("nobody@example.org",), None),
    ("", (), None),
    ("alice", (ALICE,), None),
])
def test_a_certificate(authzid: str, names: tuple[str, ...], login: str | None) -> None:
    assert judged(Certificate(authzid), shown(*names), OTHERS) == login
    assert judged(Certificate(authzid), shown(*names)) is None, "nobody knows who exists"
    assert judged(Certificate(authzid), CLIENT, OTHERS) is None, "not under TLS"


def test_the_client_s_address_is_told_with_the_password() -> None:
    seen: list[str] = []

    @implementer(ICredentialsChecker)
    class Checker:
        credentialInterfaces = (IUsernamePassword,)

        def requestAvatarId(self, credentials: ClientPassword) -> bytes:
            seen.append(credentials.address)
            return ALICE.encode()

    by = Logins(make_portal([Checker()]), None, None, None, lambda n: b"")
    judged(Password("", ALICE, "x"), by=by)
    judged(Password("", ALICE, "x"), Client("s", Role.SUBMISSION, "local", 0, False), by)
    judged(Password("", ALICE, "x"), Client("s", Role.SUBMISSION, "192.0.2.7", 0, False), by)
    judged(Password("", ALICE, "x"), Client("s", Role.SUBMISSION, "unknown", 0, False, is_address_shared=True), by)
    assert seen == ["192.0.2.1", "", "192.0.2.7", ""]
