"""A configuration as it may be shown: what was written, without its secrets.

Passwords and keys stand in files of their own, whose names may be seen; but arguments of plug-ins, and addresses with
a login in them, are anything.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

HIDDEN: Final = "(hidden)"
# Words of a key's name, as people make them.  "key" alone: private_key and client_key are files.
_SECRET: Final = re.compile(
    r"(?:\A|_)(?:password|passwords|passwd|passphrase|pass|secret|secrets|token|tokens|credential|credentials|apikey|"
    r"api_key|auth|authorization|key|dsn|cookie|signature|salt|hash|hmac|pin)\Z", re.IGNORECASE
)
# Keys of ours that end in such a word, and are no secrets.
_PLAIN: Final = frozenset({"private_key", "client_key", "testing_keys", "access_key_id", "dovecot_auth"})
# user:password@ in a URL, or password=... in a connection's words (libpq)
_USERINFO: Final = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]*@")
_IN_WORDS: Final = re.compile(
    r"\b(password|passwd|pwd|secret|token|key|signature|sig)\s*=\s*('[^']*'|\"[^\"]*\"|[^\s&;]+)", re.IGNORECASE
)


def shown(written: Mapping[str, Any]) -> dict[str, Any]:
    """``written`` is a document as TOML comes to; what is shown can be encoded as JSON."""
    return {name: _value(name, value, (name,)) for name, value in written.items()}


def is_secret(name: str) -> bool:
    """Whether the value of a key of that name is to be hidden."""
    return name not in _PLAIN and _SECRET.search(name) is not None


def _value(name: str, value: Any, path: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return {str(inner): _value(str(inner), one, (*path, str(inner))) for inner, one in value.items()}
    if is_secret(name) and not _is_place(value, path):
        return HIDDEN
    if isinstance(value, list | tuple):
        return [_value(name, one, path) for one in value]
    if isinstance(value, str):
        return _IN_WORDS.sub(rf"\1={HIDDEN}", _USERINFO.sub(rf"\1:{HIDDEN}@", value))
    return value if isinstance(value, bool | int | float | None) else str(value)


def _is_place(value: Any, path: tuple[str, ...]) -> bool:
    """The key of an object, with its places to fill in."""
    return path[0] == "backend" and path[-1] == "key" and isinstance(value, str) and "{" in value
