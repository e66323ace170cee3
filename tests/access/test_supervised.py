from collections.abc import Callable
from typing import Any

from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mailgw.access.portal import log_in, make_portal
from mailgw.access.supervised import LOGIN_SECONDS, SupervisedChecker
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event
from tests.logged import LoggedFailures
from tests.tables import each


class Own:
    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, says: Callable[[], Any]) -> None:
        self.says = says

    def requestAvatarId(self, credentials: Any) -> Any:
        return self.says()


def outcome(says: Callable[[], Any], wait: float = 0.0) -> tuple[Any, list[Event]]:
    clock: Any = Clock()
    facts: list[Event] = []
    own: Any = Own(says)
    found: list[Any] = []
    portal = make_portal([SupervisedChecker(own, clock, facts.append)])
    Deferred.fromCoroutine(log_in(portal, "alice@example.org", "secret")).addBoth(found.append)
    clock.advance(wait)
    (result,) = found
    return getattr(result, "value", result), facts


def test_its_word_counts() -> None:
    login, facts = outcome(lambda: succeed(b"alice@example.org"))
    assert str(login.address) == "alice@example.org"
    assert outcome(lambda: fail(UnauthorizedLogin())) == (None, [])
    assert outcome(lambda: fail(LoginFailed())) == (None, [])
    assert facts == []


def raises() -> Any:
    raise ValueError("its own")


@each("does", [Deferred, raises, lambda: fail(ValueError("its own")), lambda: succeed("nobody")])
def test_trouble_is_no_wrong_password(logged_failures: LoggedFailures, does: Callable[[], Any]) -> None:
    fault, facts = outcome(does, LOGIN_SECONDS)
    assert isinstance(fault, TemporaryFault)
    assert fault.reply.code == 454
    assert len(facts) <= 1
    logged_failures.take()
