"""Tests of ``signup`` against a gateway that runs: MAILGW_INBOX is its API, MAILGW_TOKEN a token, MAILGW_SMTP its port.

    MAILGW_INBOX=http://127.0.0.1:8025 MAILGW_SMTP=2525 MAILGW_TOKEN=$(cat mailgw-data/api-token) pytest test_signup.py
"""

import json
import os
import urllib.request
import uuid
from typing import Any
from urllib.parse import urlencode

import pytest
from signup import sign_up

API, TOKEN = os.environ.get("MAILGW_INBOX", ""), os.environ.get("MAILGW_TOKEN", "")
PORT = int(os.environ.get("MAILGW_SMTP", "2525"))
pytestmark = pytest.mark.skipif(not API, reason="no gateway runs: MAILGW_INBOX says where its API is")


def api(path: str, **query: object) -> Any:
    request = urllib.request.Request(f"{API}/api/v1/{path}?{urlencode(query)}")  # noqa: S310
    request.add_header("Authorization", f"Bearer {TOKEN}")
    with urllib.request.urlopen(request, timeout=70) as answer:  # noqa: S310
        return json.load(answer)


def somebody(tag: str = "") -> str:
    """An address that no other test has."""
    return f"user-{uuid.uuid4().hex[:8]}{tag}@example.com"


def test_who_signs_up_gets_a_code() -> None:
    address = somebody()
    assert sign_up(address, "1234", "127.0.0.1", PORT)
    [found] = api("inbox", to=address, wait=10)["items"]
    letter = api(f"inbox/{found['id']}")
    assert letter["subject"] == "Your code"
    assert [link["target"] for link in letter["links"]] == ["https://example.org/confirm?code=1234"]


def test_it_tries_again_where_the_server_is_busy() -> None:
    address = somebody("+greylist")
    assert sign_up(address, "1234", "127.0.0.1", PORT)
    assert len(api("inbox", to=address, wait=10)["items"]) == 1


def test_it_says_so_where_there_is_no_such_mailbox() -> None:
    address = somebody("+550")
    assert not sign_up(address, "1234", "127.0.0.1", PORT)
    assert api("inbox", to=address)["items"] == []
