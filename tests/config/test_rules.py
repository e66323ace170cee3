"""``[[rule]]``: what is read, and what is a fault."""

import re
from pathlib import Path
from typing import Any

import pytest

import twisted.plugins
from mailgw.config.plugin import make_observer, make_rule
from mailgw.config.settings import PluginKind
from mailgw.mail.envelope import Role
from mailgw.mail.errors import ConfigError
from mailgw.mail.verdict import Stage
from mailgw.policy.failing import OnFailure
from tests.config.making import SMALL, loaded
from tests.config.test_load import faults_of
from tests.tables import each

OWN = "python:tests.config.test_rules:Own"
HEARS = "python:tests.config.test_rules:Hears"


class Own:
    stages = (Stage.RCPT,)

    def __init__(self, minutes: int = 5) -> None:
        self.minutes = minutes

    async def judge(self, stage: Stage, facts: Any) -> None:
        return None


class Lacking:
    stages = (Stage.RCPT,)


class Worded(Own):
    stages = ("CONTENT",)  # type: ignore[assignment]


class Stageless(Own):
    stages = ()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Twisted's own plug-ins take a second to be looked through where nobody has done it before.
    monkeypatch.setattr(twisted.plugins, "__path__", [str(tmp_path / "twisted/plugins")])
    return tmp_path / "mailgw.toml"


def test_a_rule_with_all_its_keys(file: Path) -> None:
    file.write_text(
        f'{SMALL}[[rule]]\ntype = "{OWN}"\nname = "mine"\nroles = ["mx", "lmtp"]\ndeadline = "60s"\n'
        'on_failure = "skip"\nminutes = 7\n'
    )
    (rule,) = loaded(file).rules
    assert (rule.name, rule.roles, rule.deadline_seconds, rule.on_failure) == (
        "mine", {Role.MX, Role.LMTP}, 60.0, OnFailure.SKIP)
    made: Any = make_rule(rule.plugin)
    assert made.minutes == 7


def test_what_a_rule_has_where_nothing_is_said(file: Path) -> None:
    file.write_text(f'{SMALL}[[rule]]\ntype = "{OWN}"\n')
    (rule,) = loaded(file).rules
    assert (rule.name, rule.roles, rule.deadline_seconds, rule.on_failure) == (
        "Own", set(Role), 10.0, OnFailure.DEFER)


@each(
    ("table", "fault"),
    [
        ("", "type: is missing"),
        ('type = "greylist"', 'not \'greylist\': expected "python:package.module:Name", "plugin:NAME" or "given"'),
        (f'type = "{OWN}"\ndeadline = "61s"', 'deadline: expected a duration of "60s" at most'),
        (f'type = "{OWN}"\non_failure = "reject"', "on_failure: expected 'skip', 'defer', 'quarantine'"),
        (f'type = "{OWN}"\nroles = []', "roles: expected at least one"),
        (f'type = "{OWN}"\nname = "two words"', "name: expected a name of up to 64 letters"),
        (f'type = "{OWN}"\nname = "relay"', "name: 'relay' is the name of a rule of the gateway"),
        (f'type = "{OWN}"\nhours = 1', "type: got an unexpected keyword argument 'hours'"),
        ('type = "python:tests.config.test_rules:Lacking"', "lacks judge of mailgw.interfaces.IPolicyRule"),
        ('type = "python:tests.config.test_rules:Worded"',
         "expected stages to be some of mailgw.mail.verdict.Stage, such as {Stage.RCPT}, not 'CONTENT'"),
        ('type = "plugin:none-of-that-name"', "has the name 'none-of-that-name'"),
        ('type = "given"', "name: is missing"),
        ('type = "given"\nname = "a"\nminutes = 1', "minutes: what is given by the application takes no arguments"),
    ],
)
def test_faults(file: Path, table: str, fault: str) -> None:
    file.write_text(f"{SMALL}[[rule]]\n{table}\n")
    (said,) = faults_of(file)
    assert fault in said


class Hears:
    events = ("delivered", "bounced")

    def observe(self, event: Any) -> None: ...


class Mishears(Hears):
    events = ("delivred",)  # type: ignore[assignment]


@each(
    ("events", "why"),
    [
        ((), None),
        ({"delivered"}, None),
        ("delivered", "expected events to be a set of names"),
        (("deliverd",), "there is no fact 'deliverd'; did you mean 'delivered'?"),
    ],
)
def test_an_observer(file: Path, events: Any, why: str | None) -> None:
    file.write_text(
        f'{SMALL}[[observer]]\ntype = "{HEARS}"\n[[observer]]\ntype = "given"\nname = "o"\n'
    )
    first, second = loaded(file).observers
    assert (first.name, second.name) == ("Hears", "o")
    assert isinstance(make_observer(first.plugin), Hears)
    own = Hears()
    own.events = events
    if why is None:
        assert make_observer(second.plugin, {"o": own}) is own
    else:
        with pytest.raises(ConfigError, match=re.escape(why)):
            make_observer(second.plugin, {"o": own})


def test_faults_of_observers(file: Path) -> None:
    file.write_text(
        f'{SMALL}[[observer]]\ntype = "{OWN}"\n[[observer]]\ntype = "{HEARS}"\nname = "Own"\ncolour = 1\n'
    )
    lacking, unknown, twice = faults_of(file)
    file.write_text(f'{SMALL}[[observer]]\ntype = "{HEARS.replace("Hears", "Mishears")}"\n')
    assert faults_of(file)[0].endswith("there is no fact 'delivred'; did you mean 'delivered'?")
    assert "lacks events, observe of mailgw.interfaces.IEventObserver" in lacking
    assert "'Own' is the name of another [[observer]]" in twice
    assert "got an unexpected keyword argument 'colour'" in unknown


def test_a_module_that_ends_the_program_is_a_fault(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / "ends_all.py").write_text("raise SystemExit(7)\n")
    monkeypatch.syspath_prepend(str(file.parent))
    file.write_text(f'{SMALL}[[rule]]\ntype = "python:ends_all:Rule"\n')
    (said,) = faults_of(file)
    assert "rule.type: ends_all cannot be imported: SystemExit: 7" in said


def test_a_module_that_imports_its_names_late_may_fail_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / "late.py").write_text("def __getattr__(name):\n    import no_such_module\n")
    monkeypatch.syspath_prepend(str(file.parent))
    file.write_text(f'{SMALL}[[rule]]\ntype = "python:late:Rule"\n')
    (said,) = faults_of(file)
    assert "rule.type: late:Rule cannot be imported: ModuleNotFoundError: No module named 'no_such_module'" in said


def test_two_rules_of_one_name(file: Path) -> None:
    file.write_text(f'{SMALL}[[rule]]\ntype = "{OWN}"\n[[rule]]\ntype = "{OWN}"\n')
    (said,) = faults_of(file)
    assert "rule.name: 'Own' is the name of another [[rule]]" in said


def test_what_an_application_gives(file: Path) -> None:
    file.write_text(f'{SMALL}[[rule]]\ntype = "given"\nname = "mine"\n')
    (rule,) = loaded(file).rules
    assert rule.plugin.kind is PluginKind.GIVEN
    own = Own()
    assert make_rule(rule.plugin, {"mine": own}) is own
    with pytest.raises(ConfigError, match=r'MailGateway\(config, plugins=\{"mine": \.\.\.\}\); given are other'):
        make_rule(rule.plugin, {"other": own})
    with pytest.raises(ConfigError, match="expected stages to be some of"):
        make_rule(rule.plugin, {"mine": Stageless()})


PLUGIN = """
from twisted.plugin import IPlugin
from zope.interface import implementer

from mailgw.interfaces import IMailgwPlugin
from tests.config.test_rules import Own


@implementer(IPlugin, IMailgwPlugin)
class Package:
    name = "own-package"

    def make(self, minutes=3):
        return Own(minutes)


package = Package()
"""


def test_a_plugin_that_a_package_brings(file: Path) -> None:
    folder = file.parent / "twisted/plugins"
    folder.mkdir(parents=True)
    (folder / "own_package_of_a_test.py").write_text(PLUGIN)
    file.write_text(f'{SMALL}[[rule]]\ntype = "plugin:own-package"\nminutes = 9\n')
    (rule,) = loaded(file).rules
    assert rule.name == "own-package"
    made: Any = make_rule(rule.plugin)
    assert made.minutes == 9
    file.write_text(f'{SMALL}[[rule]]\ntype = "plugin:own-pakage"\n[[rule]]\ntype = "plugin:own-package"\nhours = 9\n')
    misspelt, unknown = faults_of(file)
    assert misspelt.endswith("has the name 'own-pakage'; did you mean 'own-package'?")
    assert unknown.startswith("mailgw.toml:17: rule.type: got an unexpected keyword argument 'hours'")
