"""The sources of accounts, as they are configured."""

import stat
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from mailgw.access.oauth_settings import OAuthSettings
from mailgw.accounts import LoginSources, lasting_secret, login_sources
from mailgw.config.settings import Config, LoginSettings, PythonSettings
from mailgw.mail.envelope import Client, Role
from mailgw.mail.errors import ConfigError, TemporaryFault
from mailgw.mail.event import Event
from mailgw.store.passwd import PasswdFile
from mailgw.testing.driving import result_of
from mailgw.wire.sasl import WRONG, Password

CLIENT = Client("s1", Role.SUBMISSIONS, "192.0.2.1", 4711, False)
NOTHING = LoginSettings(None, None, None)
OAUTH = OAuthSettings("https://a.example/x", "id", "secret", ("email",), frozenset(), "", None)


@attrs.frozen
class FakeConfig:
    """What is asked of a ``Config`` here."""

    state: str
    logins: LoginSettings


class Checker(InMemoryUsernamePasswordDatabaseDontUse):
    def __init__(self, domain: str) -> None:
        super().__init__(**{f"alice@{domain}": b"secret"})


class Mute:
    credentialInterfaces = ()

    def requestAvatarId(self, credentials: object) -> None: ...


NOTED: list[Event] = []


def sources(state: Path, logins: LoginSettings, passwd: str | None = None) -> LoginSources:
    config: Any = FakeConfig(str(state), logins)
    accounts = None
    if passwd is not None:
        (state / "passwd").write_text(passwd)
        accounts = PasswdFile(str(state / "passwd"), lambda stored: None, MemoryReactorClock(), lambda: 0.0)
    reactor: Any = MemoryReactorClock()
    pool: Any = None
    found: Config = config
    return login_sources(found, accounts, reactor, pool, lambda: 0.0, NOTED.append)


def python(target: str, **arguments: object) -> PythonSettings:
    return PythonSettings(f"tests.test_accounts:{target}", arguments, "a.toml", 7, "accounts.checker.type")


def test_nothing_is_configured(tmp_path: Path) -> None:
    found = sources(tmp_path, NOTHING)
    assert found.portal is None
    assert found.logins.mechanisms() == []
    result_of(found.close())


def test_a_passwd_file(tmp_path: Path) -> None:
    found = sources(tmp_path, NOTHING, "alice@example.org:{PLAIN}secret\n")
    assert found.portal is not None
    assert found.logins.mechanisms() == ["PLAIN", "LOGIN", "EXTERNAL"]


def test_dovecot_judges_though_there_is_a_file(tmp_path: Path) -> None:
    logins = attrs.evolve(NOTHING, dovecot_auth="/run/auth", oauth=OAUTH)
    found = sources(tmp_path, logins, "alice@example.org:{PLAIN}secret\n")
    assert found.logins.mechanisms() == ["PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2", "EXTERNAL"]
    judged: list[Any] = []
    claim = Password("", "alice@example.org", "secret")
    Deferred.fromCoroutine(found.logins.judge(claim, CLIENT)).addBoth(judged.append)
    assert judged == []
    Deferred.fromCoroutine(found.close())
    assert judged[0].check(TemporaryFault)


def test_a_checker_of_ones_own(tmp_path: Path) -> None:
    found = sources(tmp_path, attrs.evolve(NOTHING, checker=python("Checker", domain="example.org")))
    assert found.logins.mechanisms() == ["PLAIN", "LOGIN"]
    judge = found.logins.judge
    answers: list[Any] = []
    for login, password in [("alice@example.org", "secret"), ("alice@example.org", "guess"), ("bob", "secret")]:
        Deferred.fromCoroutine(judge(Password("", login, password), CLIENT)).addBoth(answers.append)
    assert answers == ["alice@example.org", WRONG, WRONG]


@pytest.mark.parametrize(("target", "why"), [
    ("Mute", "tests.test_accounts:Mute: expected IUsernamePassword among its credentialInterfaces"),
    ("FakeThing", "tests.test_accounts has no FakeThing"),
    ("object_of_none", "tests.test_accounts:object_of_none lacks credentialInterfaces of twisted.cred.checkers"),
    ("Checker", "tests.test_accounts:Checker raised TypeError: "),
])
def test_a_checker_that_is_none(tmp_path: Path, target: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sources(tmp_path, attrs.evolve(NOTHING, checker=python(target)))
    assert str(caught.value).startswith(f"a.toml:7: accounts.checker.type: {why}")


def object_of_none() -> object:
    return object()


def test_authorities_that_are_gone(tmp_path: Path) -> None:
    with pytest.raises(TemporaryFault, match="not a readable PEM file"):
        sources(tmp_path, attrs.evolve(NOTHING, oauth=attrs.evolve(OAUTH, ca_file="/none")))


def test_the_secret_lasts(tmp_path: Path) -> None:
    secret = lasting_secret(str(tmp_path))
    assert len(secret) == 32
    assert lasting_secret(str(tmp_path)) == secret
    file = tmp_path / "login-secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_bytes(b"cut")
    assert len(lasting_secret(str(tmp_path))) == 32
    with pytest.raises(TemporaryFault, match="No such file"):
        lasting_secret(str(tmp_path / "none"))
