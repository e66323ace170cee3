"""``type = "s3"``: what its table comes to, and what stands against it; whether boto3 is there does not matter."""

import importlib.util
from pathlib import Path

import pytest

from mailgw.config.doubts import doubts
from mailgw.deliver.s3_settings import S3Settings
from mailgw.deliver.smtp_settings import Secret
from tests.config.making import faults_of, into, loaded
from tests.tables import each


@pytest.fixture(autouse=True)
def is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)

HOLD = '[trust]\nquarantine = "hold"\n'


def written(folder: Path, more: str) -> Path:
    (folder / "word").write_text("hush\n")
    file = folder / "mailgw.toml"
    file.write_text(into("objects") + f'[backend.objects]\ntype = "s3"\nbucket = "mail"\n{more}\n{HOLD}')
    return file


def test_what_it_comes_to(tmp_path: Path) -> None:
    assert loaded(written(tmp_path, "")).backends["objects"] == S3Settings(
        "mail", "{date}/{queue_id}/{recipient}", None, None, None, None, None, None, 8, 15.0, 60.0)
    more = 'key = "{queue_id}"\nendpoint = "http://127.0.0.1:9000"\naccess_key_id = "me"\nsecret_file = "word"\n'
    assert loaded(written(tmp_path, more)).backends["objects"] == S3Settings(
        "mail", "{queue_id}", "http://127.0.0.1:9000", None, "me", Secret("hush"), f"{tmp_path}/word", None, 8, 15.0,
        60.0)


@each(("more", "fault"), [
    ('key = "{date}"',
     "13: backend.objects.key: expected {queue_id} in it: else one message would take another's place: '{date}'"),
    ('endpoint = "http://objects.example.org"',
     "13: backend.objects.endpoint: would show mail to the network: expected https:, or plain_http = true"),
    ("plain_http = true", "13: backend.objects.plain_http: is for an http: endpoint"),
    ('access_key_id = "me"', "13: backend.objects.access_key_id: needs secret_file, too"),
    ('secret_file = "word"', "13: backend.objects.secret_file: needs access_key_id, too"),
    ('access_key_id = "me"\nsecret_file = "none"',
     "14: backend.objects.secret_file: none: cannot be read: No such file or directory"),
    ('ca_file = "word"', "13: backend.objects.ca_file: word: not a readable PEM file of certificates"),
])
def test_what_stands_against_it(tmp_path: Path, more: str, fault: str) -> None:
    assert faults_of(written(tmp_path, more)) == [f"mailgw.toml:{fault}"]


def test_a_secret_that_everybody_reads_is_doubtful(tmp_path: Path) -> None:
    config = loaded(written(tmp_path, 'access_key_id = "me"\nsecret_file = "word"\n'))
    for mode, count in ((0o640, 0), (0o644, 1)):
        (tmp_path / "word").chmod(mode)
        found = [f"{one.line}: {one.why}" for one in doubts(config)]
        assert found == [f"14: {tmp_path}/word: every user of this machine may read or write it: chmod o-rw"] * count


def test_boto3_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert faults_of(written(tmp_path, "")) == [
        "mailgw.toml:11: backend.objects.type: needs boto3, which is not installed: pip install mailgw[s3]"]
