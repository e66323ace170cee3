"""``[[webhook]]``: who is told of events."""

from pathlib import Path

import pytest

from mailgw.config.checks import owner_faults
from mailgw.config.doubts import doubts
from tests.config.making import SMALL, faults_of, loaded
from tests.tables import each

HOOK = """
[[webhook]]
name = "shop"
url = "https://shop.example/hook/x"
"""
LINES = SMALL.count("\n")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hooks")
    for name, text in (("good", "s" * 24), ("two", f"whsec_{'A' * 32}\n{'b' * 24}\n"), ("short", "s" * 23),
                       ("broken", "whsec_%%%")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    return folder / "mailgw.toml"


def test_what_a_hook_comes_to(file: Path) -> None:
    file.write_text(f'{SMALL}{HOOK}secret_file = "two"\nevents = ["bounced"]\nschedule = ["1s", "1m"]\n')
    [hook] = loaded(file).event_hooks
    assert (hook.name, hook.origin, hook.events) == ("shop", "https://shop.example", {"bounced"})
    assert hook.secrets == (b"\0" * 24, b"b" * 24)
    assert hook.schedule == (1.0, 60.0)
    assert hook.give_up_seconds == 3 * 86400
    assert "hook/x" not in repr(hook)
    assert "bbb" not in repr(hook)
    file.write_text(SMALL)
    assert loaded(file).event_hooks == ()


@each(("line", "key", "why"), [
    ('events = ["delivred"]', "events", 'expected one of'),
    ('events = []', "events", "expected"),
    ('schedule = []', "schedule", "expected"),
    ('concurrency = 17', "concurrency", "expected a number from 1 to 16, not 17"),
    ('events_per_post = 1001', "events_per_post", "from 1 to 1000"),
    ('secret_file = "short"', "secret_file", "of 24 octets at least"),
    ('secret_file = "broken"', "secret_file", "base64"),
    ('secret_file = "none"', "secret_file", "cannot be read"),
    ('ca_file = "good"', "ca_file", "not a readable PEM file"),
    ('plain_http = true', "plain_http", "is for an http: URL"),
])
def test_faults(file: Path, line: str, key: str, why: str) -> None:
    file.write_text(f"{SMALL}{HOOK}{line}\n")
    said = faults_of(file)[0]
    assert f"webhook.{key}" in said
    assert why in said


def test_two_of_a_name_and_urls_in_clear(file: Path) -> None:
    file.write_text(f"{SMALL}{HOOK}{HOOK}")
    assert "is the name of another web hook" in faults_of(file)[0]
    file.write_text(SMALL + HOOK.replace("https:", "http:"))
    assert "would show mail to the network" in faults_of(file)[0]
    file.write_text(SMALL + HOOK.replace("https:", "http:") + "plain_http = true\n")
    assert faults_of(file) == []


def doubts_of(file: Path) -> list[str]:
    return [str(one) for one in doubts(loaded(file))]


def test_what_will_be_regretted(file: Path) -> None:
    file.write_text(SMALL + HOOK)
    assert any("secret_file: is not there" in one for one in doubts_of(file))
    file.write_text(f'{SMALL}{HOOK}secret_file = "good"\n')
    assert not any("webhook" in one for one in doubts_of(file))
    (file.parent / "good").chmod(0o644)
    assert any("every user of this machine" in one for one in doubts_of(file))
    (file.parent / "good").chmod(0o600)


def test_the_secret_has_to_be_readable_for_who_runs_it(file: Path) -> None:
    file.write_text(f'{SMALL}{HOOK}secret_file = "good"\n')
    keys = [fault.key for fault in owner_faults(loaded(file), (65534, 65534))]
    assert "webhook.0.secret_file" in keys
