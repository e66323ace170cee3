"""What docs/webhooks.rst has for others to copy works."""

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailgw.deliver.event_hook_signing import secrets_in, signed
from tests.tables import each

PAGE = (Path(__file__).parent.parent / "docs/webhooks.rst").read_text()
WRITTEN = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PLAIN = "a secret of no alphabet at all"
BODY = b'[{"id": "evt_1"}]'
NOW = 1_700_000_000


@pytest.fixture
def is_genuine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """The function of the page, at the time NOW."""
    [sample] = re.findall(r"^    import base64.*\n(?:(?:    .*)?\n)+", PAGE, re.M)
    names: dict[str, Any] = {}
    exec(compile(textwrap.dedent(sample), "docs/webhooks.rst", "exec"), names)
    monkeypatch.setattr(names["time"], "time", lambda: NOW + 0.9)
    return names["is_genuine"]  # type: ignore[no-any-return] # it has no types


def posted(*secrets: str, at: int = NOW) -> dict[str, str]:
    return signed(BODY, [1], at, secrets_in("\n".join(secrets).encode()))


@each("secrets", [(WRITTEN,), (PLAIN,), ("x" * 24, WRITTEN), (PLAIN, "x" * 24)])
def test_our_signatures_are_genuine(is_genuine: Callable[..., bool], secrets: tuple[str, ...]) -> None:
    for secret in secrets:
        for at in (NOW - 300, NOW, NOW + 300):
            assert is_genuine(secret, posted(*secrets, at=at), BODY)
    assert not is_genuine("y" * 24, posted(*secrets), BODY)
    assert not is_genuine(secrets[0], posted(*secrets), BODY + b" ")


@each("at", [NOW - 301, NOW + 301, 0])
def test_what_was_recorded_is_not(is_genuine: Callable[..., bool], at: int) -> None:
    assert not is_genuine(WRITTEN, posted(WRITTEN, at=at), BODY)


@each(("name", "value"), [
    ("webhook-timestamp", ""), ("webhook-timestamp", "now"), ("webhook-timestamp", "-1"), ("webhook-id", "x"),
    ("webhook-signature", ""), ("webhook-signature", "v1,\u00e9"), ("webhook-signature", "v1,"),
])
def test_what_others_write_is_not(is_genuine: Callable[..., bool], name: str, value: str) -> None:
    assert not is_genuine(WRITTEN, {**posted(WRITTEN), name: value}, BODY)
    assert not is_genuine(WRITTEN, {key: one for key, one in posted(WRITTEN).items() if key != name}, BODY)
