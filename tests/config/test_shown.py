"""A configuration as it may be shown."""

import datetime
import re
from pathlib import Path
from typing import Any

from mailgw.config.shown import HIDDEN, is_secret, shown
from tests.tables import each

HIDE = ["password", "PASSWORD", "db_password", "secret", "client_secret", "token", "api_key", "apikey", "auth", "key",
        "signing_key", "dsn", "passphrase", "credentials", "tokens"]
SHOW = ["password_file", "secret_file", "token_file", "private_key", "client_key", "keys", "testing_keys", "hostname",
        "authserv_id", "passwd_file", "keyboard", "tokenizer", "author", "access_key_id"]


@each("name", HIDE)
def test_secrets_are_known_by_their_names(name: str) -> None:
    assert is_secret(name)
    assert shown({"backend": {"x": {name: "hunter2", "type": "python:a:b"}}}) == {
        "backend": {"x": {name: HIDDEN, "type": "python:a:b"}}}
    assert shown({name: ["hunter2"]}) == {name: HIDDEN}


@each("name", SHOW)
def test_what_is_no_secret_is_shown(name: str) -> None:
    assert shown({name: "value"}) == {name: "value"}


@each(["value", "said"], [
    ("https://user:hunter2@example.org/x", f"https://user:{HIDDEN}@example.org/x"),
    ("postgresql://mail:hunter2@db/mail?sslmode=require", f"postgresql://mail:{HIDDEN}@db/mail?sslmode=require"),
    ("host=db user=mail password=hunter2 dbname=x", f"host=db user=mail password={HIDDEN} dbname=x"),
    ("host=db password='hunter2 and more'", f"host=db password={HIDDEN}"),
    ("https://hooks.example.org/?token=hunter2&x=1", f"https://hooks.example.org/?token={HIDDEN}&x=1"),
    ("https://example.org/a@b:c", "https://example.org/a@b:c"),
    ("tcp:25:interface=127.0.0.1", "tcp:25:interface=127.0.0.1"),
])
def test_secrets_within_a_value_are_hidden(value: str, said: str) -> None:
    assert shown({"directory": {"x": {"url": value}}})["directory"]["x"]["url"] == said
    assert shown({"words": [value]}) == {"words": [said]}


def test_whatever_toml_has_can_be_shown() -> None:
    document: dict[str, Any] = {
        "a": 1, "b": True, "c": 1.5, "d": datetime.date(2026, 1, 2), "e": [{"secret": "hunter2", "x": [1]}],
        "backend": {"s": {"type": "s3", "key": "{date}/{queue_id}"}, "k": {"key": "hunter2"}},
    }
    assert shown(document) == {
        "a": 1, "b": True, "c": 1.5, "d": "2026-01-02", "e": [{"secret": HIDDEN, "x": [1]}],
        "backend": {"s": {"type": "s3", "key": "{date}/{queue_id}"}, "k": {"key": HIDDEN}},
    }


def test_of_our_own_keys_none_is_hidden_but_those_of_objects() -> None:
    words = (Path(__file__).parents[2] / "etc" / "mailgw.toml").read_text()
    names = set(re.findall(r"(?:^#? ?|[{,] *)([a-z0-9_]+) *=", words, re.M))
    assert len(names) > 150
    assert [name for name in sorted(names) if is_secret(name)] == ["key"]
