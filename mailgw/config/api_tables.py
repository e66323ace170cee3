"""The shape of ``[api]``."""

import attrs

from mailgw.config import values
from mailgw.config.reader import Table, each, key, part, tables
from mailgw.web.operations import Scope

DEFAULT_ENDPOINT = "tcp:8025:interface=127.0.0.1"


@attrs.frozen
class TokenTable(Table):
    name: str = key(values.name, stand_in="")
    scopes: tuple[Scope, ...] = part(each(values.choice(Scope), '"read"'), stand_in=())
    secret_file: str = key(values.text, stand_in="")
    senders: tuple[str, ...] | None = part(each(values.pattern, '"@example.org"'), None)


@attrs.frozen
class ApiTable(Table):
    endpoint: str = key(values.endpoint, DEFAULT_ENDPOINT)
    tls: str | None = key(values.text, None)
    hosts: tuple[str, ...] = part(each(values.web_host), ())
    token: tuple[TokenTable, ...] = part(tables(TokenTable), ())
