"""``type = "webhook"``: what its table comes to, what stands against it, what is doubtful."""

import os
from pathlib import Path

import trustme

from mailgw.config.doubts import doubts
from mailgw.deliver.webhook_settings import HookFormat, JsonLimits, WebhookSettings
from tests.config.making import faults_of, into, loaded
from tests.tables import each

URL = "https://hooks.example.org/mail"

HOLD = '[trust]\nquarantine = "hold"\n'


def written(folder: Path, more: str, url: str = URL) -> Path:
    file = folder / "mailgw.toml"
    file.write_text(into("hook") + f'[backend.hook]\ntype = "webhook"\nurl = "{url}"\n' + f"{more}\n{HOLD}")
    return file


def settings(folder: Path, more: str = "", url: str = URL) -> WebhookSettings:
    found = loaded(written(folder, more, url)).backends["hook"]
    assert isinstance(found, WebhookSettings)
    return found


def test_the_least(tmp_path: Path) -> None:
    assert settings(tmp_path) == WebhookSettings(
        url=URL, format=HookFormat.RAW, secret=None, secret_file=None, one_each=False, recipients=100, concurrency=10,
        ca_file=None, json=JsonLimits(10 << 20, 100, 20), answer_octets=256 << 10, idle_seconds=1.0,
        connect_seconds=15.0, send_seconds=60.0, answer_seconds=60.0,
    )


def test_all_that_may_be_said(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("sixteen octets, no less\n")
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    found = settings(tmp_path, """format = "json"
secret_file = "word"
ca_file = "ca.pem"
one_each = true
concurrency = 3
most_octets = "1MiB"
most_parts = 5
most_nesting = 4
answer_octets = 1000
idle_timeout = "2s"
connect_timeout = "3s"
send_timeout = "4s"
answer_timeout = "5s"
""")
    assert found.secret is not None
    assert found.secret.value == "sixteen octets, no less"
    assert (found.secret_file, found.ca_file) == (f"{tmp_path}/word", f"{tmp_path}/ca.pem")
    assert (found.format, found.one_each, found.concurrency) == (HookFormat.JSON, True, 3)
    assert found.json == JsonLimits(1 << 20, 5, 4)
    assert found.origin == "https://hooks.example.org"


@each(("url", "more", "fault"), [
    (URL, "plain_http = true", "13: backend.hook.plain_http: is for an http: URL"),
    ("http://hooks.example.org/", "",
     "12: backend.hook.url: would show mail to the network: expected https:, or plain_http = true"),
    ("http://hooks.example.org:8080/", "plain_http = true", None), ("http://127.0.0.1:8080/x", "", None),
    ("http://localhost", "", None), ("http://[::1]/", "", None), ("http://127.0.0.1.example.org/", "",
     "12: backend.hook.url: would show mail to the network: expected https:, or plain_http = true"),
    ("https://user:word@hooks.example.org/", "",
     '12: backend.hook.url: expected a URL such as "https://hooks.example.org/mail", without a login or a fragment'),
    (URL, "most_parts = 5",
     '13: backend.hook.most_parts: is for format = "json": raw messages are sent as they come'),
    (URL, "one_each = true\nrecipients_per_post = 5",
     "14: backend.hook.recipients_per_post: beside one_each, which says 1"),
    (URL, 'secret_file = "none"', "13: backend.hook.secret_file: none: cannot be read: No such file or directory"),
    (URL, 'secret_file = "short"', "13: backend.hook.secret_file: short: expected the secret in its first line, of 16 "
     "octets at least"),
    (URL, 'secret_file = "long"', None),
    (URL, 'ca_file = "short"', "13: backend.hook.ca_file: short: not a readable PEM file of certificates"),
    ("http://127.0.0.1/", 'ca_file = "short"', "13: backend.hook.ca_file: is for an https: URL"),
])
def test_what_stands_against_it(tmp_path: Path, url: str, more: str, fault: str | None) -> None:
    (tmp_path / "short").write_text("x" * 15 + "\n")
    (tmp_path / "long").write_text("x" * 16 + "\n")
    found = faults_of(written(tmp_path, more, url))
    assert [one.removeprefix("mailgw.toml:") for one in found][:1] == ([] if fault is None else [fault])


def test_what_is_doubtful(tmp_path: Path) -> None:
    file = written(tmp_path, "")
    assert [one.why for one in doubts(loaded(file)) if one.key.startswith("backend")] == [
        "is not there: whoever finds the URL can post mail of his own there"]
    (tmp_path / "word").write_text("x" * 16)
    os.chmod(tmp_path / "word", 0o644)
    file = written(tmp_path, 'secret_file = "word"\nformat = "json"\n')
    assert [f"{one.line}: {one.why}".replace(f"{tmp_path}/", "") for one in doubts(loaded(file))] == [
        "10: is below [limits] message_octets: what is larger is taken, and then returned to its sender",
        "13: word: every user of this machine may read or write it: chmod o-rw",
    ]
    os.chmod(tmp_path / "word", 0o640)
    assert doubts(loaded(written(tmp_path, 'secret_file = "word"'))) == []
