"""A configuration as it may be shown: what was written, without its secrets.

Rules:
    Passwords and keys stand in files of their own, whose names may be seen.
    Of a URL its origin is shown: a login, a path and a query may each be the secret.
    Arguments of programs and of connections, and texts that a plug-in is given, are anything: they are hidden, but for
    what ``changes.PLAIN`` knows to be none.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from mailgw.config.changes import PLAIN, PLAIN_ENDS

HIDDEN: Final = "(hidden)"
# Words in a key's name, as people make them.  "key" alone: private_key and client_key are files.
_SECRET: Final = re.compile(
    r"(?:\A|[_-])(?:password|passwords|passwd|passphrase|pass|pwd|secret|secrets|token|tokens|credential|credentials|"
    r"apikey|api_key|auth|authorization|key|dsn|cookie|signature|sig|salt|hash|hmac|pin|bearer|jwt)\Z", re.IGNORECASE
)
# Keys of ours that end in such a word, and are no secrets.
_NO_SECRETS: Final = frozenset({"private_key", "client_key", "testing_keys", "access_key_id", "dovecot_auth"})
# Of these lists the first word is a program.
_PROGRAMS: Final = frozenset({"arguments", "publish", "command"})
# Tables whose texts are for somebody else's code.
_ANYTHING: Final = frozenset({"environment", "connect", "headers"})
_PLUGGED: Final = ("python:", "plugin:", "twisted:", "app:")
_IN_WORDS: Final = re.compile(
    r"([\w-]*(?:password|passwd|pwd|secret|token|key|signature|sig|auth))\s*=\s*('[^']*'|\"[^\"]*\"|[^\s&;]+)",
    re.IGNORECASE,
)


def shown(written: Mapping[str, Any]) -> dict[str, Any]:
    """``written`` is a document as TOML comes to; what is shown can be encoded as JSON."""
    return _table(written, is_ours=True)


def is_secret(name: str) -> bool:
    """Whether the value of a key of that name is to be hidden."""
    return name not in _NO_SECRETS and _SECRET.search(name) is not None


def _table(table: Mapping[str, Any], is_ours: bool) -> dict[str, Any]:
    kind = table.get("type")
    is_ours = is_ours and not (isinstance(kind, str) and (kind.startswith(_PLUGGED) or kind == "given"))
    return {str(name): _value(str(name), value, is_ours) for name, value in table.items()}


def _value(name: str, value: Any, is_ours: bool) -> Any:
    if is_secret(name) and not _is_place(name, value, is_ours):
        return HIDDEN
    match value:
        case bool() | int() | float() | None:
            return value
        case Mapping():
            return _table(value, is_ours and name not in _ANYTHING)
        case list() | tuple() if name in _PROGRAMS:
            return [_text(name, str(value[0]), True), *([HIDDEN] if len(value) > 1 else [])] if value else []
        case list() | tuple():
            return [_value(name, one, is_ours) for one in value]
        case str():
            return _text(name, value, is_ours)
        case _:  # a date, a time
            return str(value)


def _text(name: str, value: str, is_ours: bool) -> str:
    if not (is_ours or name in PLAIN or name.endswith(PLAIN_ENDS)):
        return HIDDEN
    if "://" in value:
        return _origin(value)
    return _IN_WORDS.sub(rf"\1={HIDDEN}", value)


def _origin(value: str) -> str:
    """``"https://example.org/(hidden)"``: where it leads, and not how one gets in."""
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return HIDDEN
    if not parts.scheme or not re.fullmatch(r"[A-Za-z0-9.:_{}-]*", host):
        return HIDDEN
    where = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"
    has_more = parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc
    return f"{where}/{HIDDEN}" if has_more else where


def _is_place(name: str, value: Any, is_ours: bool) -> bool:
    """The key of an object in an object store, with its places to fill in."""
    return is_ours and name == "key" and isinstance(value, str) and "{" in value
