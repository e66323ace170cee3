"""What ``[api]`` comes to: where is listened, by which names, and whose tokens there are."""

from typing import Final

import attrs

from mailgw.web.operations import Scope

LOCAL: Final = "local"
"""Who sends by the maildrop, in place of a token's name and in front of a user's: no token has it."""


@attrs.frozen
class TokenSettings:
    """``digest`` is SHA-256 of the token: the token itself is kept nowhere.  ``senders``: whom it may send as, () for
    anybody."""

    name: str
    scopes: frozenset[Scope]
    digest: bytes = attrs.field(repr=False)
    senders: tuple[str, ...] = ()


@attrs.frozen
class ApiSettings:
    """``endpoint`` as of a listener; ``certificate`` is a name in ``TlsSettings``, None for plain HTTP.  ``hosts`` are
    the names, in lower case, by which browsers may ask, beside those of the loopback.  ``tokens`` () where there is one
    token of all scopes, in ``token_file``, which is made at a start.  ``secret_files`` are what has to be readable."""

    endpoint: str
    certificate: str | None
    hosts: frozenset[str]
    tokens: tuple[TokenSettings, ...]
    token_file: str
    upload_octets: int
    secret_files: tuple[tuple[str, str], ...] = ()
