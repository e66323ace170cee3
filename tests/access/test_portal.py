"""Logins: who gets in, what is hashed for whom, what is remembered, and when to come again."""

import hashlib
from collections.abc import Callable
from typing import Any, cast

import pytest
from twisted.cred.checkers import (
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailgw.access.portal import (
    LOGIN_LIMITS,
    AccountsChecker,
    ILogin,
    Login,
    LoginLimits,
    LoginRealm,
    log_in,
    make_portal,
)
from mailgw.access.remembered import Remembered
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.testing.threads import FakeThreads
from tests.tables import each

ALICE = Login(Mailbox("alice", "example.org"))


def ssha(password: bytes, salt: str) -> str:
    return "{SSHA256.HEX}" + hashlib.sha256(password + salt.encode()).hexdigest() + salt.encode().hex()


class FakeAccounts:
    """Notes whose stored password was asked for in another's place."""

    def __init__(self, **stored: str) -> None:
        self.stored = {f"{name}@example.org": value for name, value in stored.items()}
        self.stood_in: list[int] = []

    def password_of(self, login: str) -> str | None:
        return self.stored.get(login.lower())

    def another(self, number: int) -> str | None:
        self.stood_in.append(number)
        usable = [stored for stored in self.stored.values() if stored]
        return usable[number % len(usable)] if usable else None


class Bench:
    def __init__(self, accounts: FakeAccounts, limits: LoginLimits = LOGIN_LIMITS) -> None:
        self.accounts = accounts
        self.threads = FakeThreads()
        self.threads.at_once = False
        self.clock = Clock()
        threads: Any = self.threads
        self.checker = AccountsChecker(accounts, limits, b"s" * 16, threads, threads, self.clock)
        self.portal = make_portal([self.checker])

    def begin(self, login: str, password: str = "secret") -> list[Any]:
        found: list[Any] = []
        Deferred.fromCoroutine(log_in(self.portal, login, password)).addBoth(found.append)
        return found

    def log_in(self, login: str, password: str = "secret") -> tuple[Any, int]:
        """The result, and how many hashes it took."""
        found = self.begin(login, password)
        hashes = len(self.threads.work)
        self.threads.run(hashes)
        return found[0], hashes


@pytest.fixture
def bench() -> Bench:
    return Bench(FakeAccounts(alice=ssha(b"secret", "1"), bob=ssha(b"hidden", "2"), list=""))


def test_interfaces(bench: Bench) -> None:
    assert verifyObject(ICredentialsChecker, bench.checker)
    assert verifyObject(IRealm, LoginRealm())
    assert verifyObject(ILogin, ALICE)


def test_right_and_wrong(bench: Bench) -> None:
    assert bench.log_in("Alice@Example.org") == (ALICE, 1)
    assert bench.log_in("alice@example.org", "Secret") == (None, 1)
    assert bench.log_in("alice@example.org", "") == (None, 1)
    assert bench.log_in("alice@example.org", "\udce9") == (None, 1)


def test_a_name_of_other_letters_is_never_anothers(bench: Bench) -> None:
    kelvin = "\u212aate@example.org"  # its lower case would be kate
    bench.accounts.password_of = {kelvin: ssha(b"his", "5")}.get  # type: ignore[method-assign]
    assert bench.log_in(kelvin, "his") == (Login(Mailbox("\u212aate", "example.org")), 1)


def test_a_login_has_one_name_whichever_form_its_domain_is_written_in(bench: Bench) -> None:
    login = "Grün@Müller.example"
    bench.accounts.password_of = {login: ssha(b"secret", "3")}.get  # type: ignore[method-assign]
    assert bench.log_in(login) == (Login(Mailbox("grün", "xn--mller-kva.example")), 1)


@pytest.mark.parametrize("login", ["nobody@example.org", "list@example.org", "alice", "", "\u212a@x", "\udce9"])
def test_who_has_no_password_costs_a_hash_too(bench: Bench, login: str) -> None:
    for password in ("secret", "hidden"):  # even where it is the one of the account that stands in
        assert bench.log_in(login, password) == (None, 1)
    assert len(bench.accounts.stood_in) == 2
    assert len(set(bench.accounts.stood_in)) == 1, "the same one each time"


def test_names_without_an_account_are_spread_over_the_hashes(bench: Bench) -> None:
    for number in range(20):
        bench.log_in(f"nobody{number}@example.org")
    assert {number % 2 for number in bench.accounts.stood_in} == {0, 1}


def test_a_name_without_an_account_is_the_same_however_it_is_spelled(bench: Bench) -> None:
    for login in ("nobody@example.org", "NoBody@EXAMPLE.org", '"no\\body"@example.org'):
        bench.log_in(login)
    assert len(set(bench.accounts.stood_in)) == 1


def test_without_any_password_nobody_logs_in() -> None:
    assert Bench(FakeAccounts(list="")).log_in("nobody@example.org") == (None, 0)


# --- what is remembered ----------------------------------------------------------------------------


def test_a_verified_login_costs_no_second_hash_for_a_while(bench: Bench) -> None:
    assert bench.log_in("alice@example.org") == (ALICE, 1)
    assert bench.log_in("alice@example.org") == (ALICE, 0)
    assert bench.log_in("alice@example.org", "wrong") == (None, 1)
    assert bench.log_in("bob@example.org") == (None, 1)
    bench.clock.advance(300)
    assert bench.log_in("alice@example.org") == (ALICE, 1)


def test_a_changed_password_forgets(bench: Bench) -> None:
    bench.log_in("alice@example.org")
    bench.accounts.stored["alice@example.org"] = ssha(b"other", "3")
    assert bench.log_in("alice@example.org") == (None, 1)
    assert bench.log_in("alice@example.org", "other") == (ALICE, 1)
    del bench.accounts.stored["alice@example.org"]
    assert bench.log_in("alice@example.org", "other") == (None, 1)


def test_many_sessions_with_one_login_wait_for_one_hash() -> None:
    bench = Bench(FakeAccounts(alice=ssha(b"secret", "1")), LoginLimits(1, 10, 60.0, 10))
    results = [bench.begin("alice@example.org") for _ in range(5)]
    bench.threads.run(1)
    assert bench.threads.work == []
    assert results == [[ALICE]] * 5


def test_the_oldest_is_forgotten_first() -> None:
    clock = Clock()
    remembered = Remembered(b"s", 2, 10.0, clock.seconds)
    for name in "aba":
        remembered.add(name, b"p", "h")
    remembered.add("c", b"p", "h")
    assert [remembered.holds(name, b"p", "h") for name in "abc"] == [True, False, True]
    assert not remembered.holds("a", b"p", "i")
    assert not remembered.holds("a", b"p", "h"), "another hash forgets it"
    assert not remembered.holds("cp", b"", "h"), "a name's end is no password's start"


# --- too many, trouble, others' checkers -----------------------------------------------------------


def test_few_hash_at_once_few_wait_and_the_rest_come_again() -> None:
    bench = Bench(FakeAccounts(alice=ssha(b"secret", "1")), LoginLimits(2, 3, 60.0, 10))
    results = [bench.begin(f"nobody{number}@example.org") for number in range(6)]
    assert len(bench.threads.work) == 2
    assert [len(result) for result in results] == [0] * 5 + [1]
    (refused,) = results[5]
    assert isinstance(refused, Failure)
    assert isinstance(refused.value, TemporaryFault)
    assert str(refused.value.reply) == "454 4.7.0 Temporary authentication failure"
    while bench.threads.work:
        assert len(bench.threads.work) <= 2
        bench.threads.run(1)
    assert results[:5] == [[None]] * 5


def test_a_session_that_goes_leaves_its_turn_to_the_thread() -> None:
    bench = Bench(FakeAccounts(alice=ssha(b"secret", "1")), LoginLimits(1, 3, 60.0, 10))
    found: list[Any] = []
    task = Deferred.fromCoroutine(log_in(bench.portal, "alice@example.org", "secret"))
    task.addBoth(found.append)
    other = bench.begin("nobody@example.org")
    task.cancel()
    assert found[0].check(CancelledError)
    assert len(bench.threads.work) == 1, "the other one waits"
    bench.threads.run(1)
    bench.threads.run(1)
    assert other == [None]
    assert bench.log_in("alice@example.org") == (ALICE, 0)


def test_a_hash_that_fails_is_no_refusal_and_frees_its_turn() -> None:
    bench = Bench(FakeAccounts(alice=ssha(b"secret", "1"), bob=cast("str", 5)), LoginLimits(1, 3, 60.0, 10))
    failure, _ = bench.log_in("bob@example.org")
    assert failure.value.reply.code == 454
    assert isinstance(failure.value.__cause__, TypeError)
    assert bench.log_in("alice@example.org") == (ALICE, 1)


@implementer(ICredentialsChecker)
class OthersChecker:
    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer

    def requestAvatarId(self, credentials: Any) -> Any:
        return self.answer()


def outcome_of(portal: Portal) -> Any:
    found: list[Any] = []
    Deferred.fromCoroutine(log_in(portal, "alice@example.org", "secret")).addBoth(found.append)
    return found[0]


def test_anybodys_checker_serves() -> None:
    checker = InMemoryUsernamePasswordDatabaseDontUse()
    checker.addUser(b"alice@example.org", b"secret")
    assert outcome_of(make_portal([checker])) == ALICE


@each(
    "avatar_id", [b"alice", "", "postmaster", b"\xff@example.org", "a@example.org\r\nb", "x" * 999]
)
def test_an_avatar_id_that_is_no_address_is_the_checkers_fault(avatar_id: Any) -> None:
    with capturedLogs() as logs:
        failure = outcome_of(make_portal([OthersChecker(lambda: avatar_id)]))
    assert isinstance(failure.value, TemporaryFault)
    assert failure.value.reply.code == 454
    [line] = [formatEvent(one) for one in logs]
    assert line.startswith(f"the checker of logins calls one {repr(avatar_id)[:100]}")
    assert line.isprintable()


def test_nobody_logs_in_anonymously() -> None:
    assert outcome_of(make_portal([OthersChecker(lambda: ())])) is None


def test_a_checker_in_trouble_is_no_refusal() -> None:
    failure = outcome_of(make_portal([OthersChecker(lambda: 1 // 0)]))
    assert isinstance(failure.value, TemporaryFault)
    assert failure.value.reply.code == 454
    assert isinstance(failure.value.__cause__, ZeroDivisionError)
    assert outcome_of(make_portal([])) is None  # nobody judges user names and passwords: nobody gets in


def test_the_realm_has_logins_alone() -> None:
    with pytest.raises(NotImplementedError):
        LoginRealm().requestAvatar(b"alice@example.org", None)
    with pytest.raises(UnauthorizedLogin):
        LoginRealm().requestAvatar((), None, ILogin)
