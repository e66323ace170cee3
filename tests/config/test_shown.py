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
    assert shown({"limits": {name: {"x": "hunter2"}}}) == {"limits": {name: HIDDEN}}


@each("name", SHOW)
def test_what_is_no_secret_is_shown(name: str) -> None:
    assert shown({name: "value"}) == {name: "value"}


@each(["value", "said"], [
    ("https://user:hunter2@example.org/x", f"https://example.org/{HIDDEN}"),
    ("https://u:hun/ter2@example.org", HIDDEN),
    ("https://hunter2@api.example.org", f"https://api.example.org/{HIDDEN}"),
    ("https://example.org:8443", "https://example.org:8443"),
    ("https://example.org/", "https://example.org"),
    ("https://[2001:db8::1]:8443/hunter2", f"https://[2001:db8::1]:8443/{HIDDEN}"),
    ("postgresql://mail:hunter2@db/mail?sslmode=require", f"postgresql://db/{HIDDEN}"),
    ("https://hooks.example.org/services/T0/hunter2", f"https://hooks.example.org/{HIDDEN}"),
    ("https://hooks.example.org?access_token=hunter2", f"https://hooks.example.org/{HIDDEN}"),
    ("https://[hunter2", HIDDEN),
    ("see https://x.example.org/hunter2", HIDDEN),
    ("host=db user=mail password=hunter2 dbname=x", f"host=db user=mail password={HIDDEN} dbname=x"),
    ("host=db password='hunter2 and more'", f"host=db password={HIDDEN}"),
    ("access_token=hunter2", f"access_token={HIDDEN}"),
    ("tcp:25:interface=127.0.0.1", "tcp:25:interface=127.0.0.1"),
])
def test_secrets_within_a_value_are_hidden(value: str, said: str) -> None:
    assert "hunter2" not in said
    assert shown({"directory": {"x": {"url": value}}})["directory"]["x"]["url"] == said
    assert shown({"words": [value]}) == {"words": [said]}


@each(["written", "said"], [
    ({"arguments": ["/usr/bin/curl", "-u", "user:hunter2"]}, {"arguments": ["/usr/bin/curl", HIDDEN]}),
    ({"arguments": ["/usr/bin/true"]}, {"arguments": ["/usr/bin/true"]}),
    ({"arguments": []}, {"arguments": []}),
    ({"publish": ["/bin/x", "--header", "Authorization: Bearer hunter2"]}, {"publish": ["/bin/x", HIDDEN]}),
    ({"environment": {"X": "hunter2"}}, {"environment": {"X": HIDDEN}}),
    ({"connect": {"database": "people", "port": 5}}, {"connect": {"database": HIDDEN, "port": 5}}),
    ({"headers": {"X-Auth-Key": "hunter2", "X-Sig": "hunter2"}}, {"headers": {"X-Auth-Key": HIDDEN, "X-Sig": HIDDEN}}),
    ({"type": "python:a:b", "flavour": "hunter2", "path": "/x", "count": 3},
     {"type": "python:a:b", "flavour": HIDDEN, "path": "/x", "count": 3}),
    ({"type": "plugin:a", "deep": {"flavour": ["hunter2"]}}, {"type": "plugin:a", "deep": {"flavour": [HIDDEN]}}),
    ({"type": "maildir", "schedule": ["5m"]}, {"type": "maildir", "schedule": ["5m"]}),
])
def test_what_is_anything_is_hidden(written: dict[str, Any], said: dict[str, Any]) -> None:
    assert shown({"backend": {"x": written}}) == {"backend": {"x": said}}


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
