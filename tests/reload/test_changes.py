"""What is said of two configurations that differ."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

from mailgw.config.changes import OTHERS_COUNT, OURS_COUNTS, changes
from mailgw.config.lines import locate
from mailgw.config.load import configure
from mailgw.config.reader import Faults
from mailgw.config.settings import Config
from tests.tables import each

BASE = """
hostname = "mx.example.org"
state = "/tmp/mailgw-in-memory"
[[listen]]
role = "mx"
endpoint = "tcp:25"
[[route]]
recipients = ["@example.org"]
backend = "relay"
[[route]]
recipients = ["@example.com"]
backend = "relay"
[[route]]
recipients = ["@example.net"]
backend = "nowhere"
[backend.relay]
type = "smtp"
hosts = ["one.example.org"]
[backend.nowhere]
type = "discard"
[backend.hook]
type = "webhook"
url = "https://old.hooks.example.org/?key=oldkey"
[[rule]]
type = "python:tests.reload.plugged:Quiet"
word = "oldsecret"
"""


def config_of(text: str) -> Config:
    return configure(tomllib.loads(text), Faults("x", dict(locate(text))), "/")


def changed(*swaps: tuple[str, str]) -> Sequence[str]:
    text = BASE
    for old, new in swaps:
        assert old in text
        text = text.replace(old, new)
    before, after = config_of(BASE).document, config_of(text).document
    assert before is not None
    assert after is not None
    return changes(before, after)


FIRST_ROUTE = '[[route]]\nrecipients = ["@example.org"]\nbackend = "relay"\n'
SECOND_ROUTE = '[[route]]\nrecipients = ["@example.com"]\nbackend = "relay"\n'


@each(
    ("swaps", "expected"),
    [
        ([], []),
        ([("mx.example.org", "mx2.example.org")], ["changed hostname: mx.example.org -> mx2.example.org"]),
        ([("[backend.relay]", "[limits]\nrecipients = 500\n[backend.relay]")],
         ["changed limits.recipients: 1000 -> 500"]),
        ([("[backend.relay]", '[limits]\nrecipients = 1000\nstop_timeout = "20s"\n[backend.relay]')], []),
        ([("[backend.relay]", '[limits]\ncommand_timeout = "90s"\nmessages_per_login = "5/2h"\n[backend.relay]')],
         ["changed limits.messages_per_login: 10000/1h -> 5/2h", "changed limits.command_timeout: 5m -> 90s"]),
        ([("[backend.relay]", '[retry]\njitter = 0.5\nschedule = ["1m", "90s"]\n[backend.relay]')],
         ["changed retry.schedule: 5m, 15m, 30m, 1h, 2h, 4h -> 1m, 90s", "changed retry.jitter: 0.1 -> 0.5"]),
        ([('"one.example.org"', '"two.example.org", "one.example.org"')],
         ["changed backend.relay.hosts: one.example.org:25 -> two.example.org:25, one.example.org:25"]),
        ([("old.hooks.example.org/?key=oldkey", "new.hooks.example.org/?key=newkey")],
         ["changed backend.hook.url"]),
        ([("oldsecret", "newsecret")], ["changed [[rule]] Quiet: word"]),
        ([('type = "discard"', 'type = "reports"\nothers = "relay"')], ["changed [backend.nowhere]: another type"]),
        ([('[[rule]]\ntype = "python:tests.reload.plugged:Quiet"\nword = "oldsecret"\n', "")],
         ["removed [[rule]] Quiet"]),
        ([("[[rule]]", '[backend.new]\ntype = "discard"\n[[rule]]')], ["added [backend.new]"]),
        ([(FIRST_ROUTE, "")], ["removed [[route]] @example.org"]),
        ([(FIRST_ROUTE, FIRST_ROUTE.replace("@example.org", "@new.example"))],
         ["removed [[route]] @example.org", "added [[route]] @new.example -> relay"]),
        ([(FIRST_ROUTE, FIRST_ROUTE.replace('"relay"', '"nowhere"'))],
         ["changed [[route]] @example.org: backend: relay -> nowhere"]),
        ([(FIRST_ROUTE, ""), (SECOND_ROUTE, SECOND_ROUTE + FIRST_ROUTE)], ["moved [[route]] @example.com"]),
        ([('endpoint = "tcp:25"', 'endpoint = "tcp:26"')], ["removed [[listen]] tcp:25", "added [[listen]] tcp:26"]),
        ([('endpoint = "tcp:25"', 'endpoint = "tcp:25"\nrelay_from = ["192.0.2.0/24"]')],
         ["changed [[listen]] tcp:25: relay_from: nothing -> 192.0.2.0/24"]),
    ],
)
def test_what_has_changed_is_said_in_lines(swaps: list[tuple[str, str]], expected: list[str]) -> None:
    assert list(changed(*swaps)) == expected


def test_the_same_file_makes_the_same_configuration() -> None:
    assert config_of(BASE) == config_of(BASE)


def test_the_first_token_of_others_and_the_last(tmp_path: Path) -> None:
    secret = tmp_path / "grafana"
    secret.write_text("s" * 32)
    secret.chmod(0o600)
    token = f'[[api.token]]\nname = "grafana"\nscopes = ["read"]\nsecret_file = "{secret}"\n'
    without, with_one = config_of(BASE + "[api]\n"), config_of(f"{BASE}[api]\n{token}")
    assert changes(without.document, with_one.document) == (OTHERS_COUNT, "added [[api.token]] grafana")
    assert changes(with_one.document, without.document) == (OURS_COUNTS, "removed [[api.token]] grafana")
