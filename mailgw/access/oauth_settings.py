"""What is configured of the issuer of bearer tokens."""

import attrs


@attrs.frozen
class OAuthSettings:
    """``endpoint`` is the issuer's introspection URL (RFC 7662), https; ``client_id`` and ``client_secret`` are ours
    there.  ``login_claims`` are looked at in this order: the first that holds an address is the login.  ``scope`` are
    words that a token has to have, all of them; ``audience`` whom it has to be for, ``""`` for anybody.  ``ca_file`` is
    a PEM file of authorities, None for the system's."""

    endpoint: str
    client_id: str
    client_secret: str = attrs.field(repr=False)
    login_claims: tuple[str, ...]
    scope: frozenset[str]
    audience: str
    ca_file: str | None
