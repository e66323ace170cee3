"""What a directory of recipients is told, and the sources that mailgw brings along."""

from collections.abc import Mapping

import attrs

from mailgw.policy.remembered import MemorySettings
from mailgw.queue.tags import TagRules


@attrs.frozen
class DirectorySettings:
    """``timeout_seconds`` for one answer, with the wait for its turn; ``concurrency`` questions at once;
    ``backends`` are the names that an answer may have."""

    timeout_seconds: float
    concurrency: int
    memory: MemorySettings
    tags: TagRules
    backends: frozenset[str]


@attrs.frozen
class SqlSettings:
    """``module`` of the DB-API (PEP 249), whose ``connect`` gets ``arguments``, and the first line of ``password_file``
    as ``password``; ``query`` as ``store.sql_query`` reads it; ``connections`` at most."""

    module: str
    arguments: Mapping[str, object] = attrs.field(repr=False)
    password_file: str | None
    query: str
    connections: int


@attrs.frozen
class HttpSettings:
    """``url`` with ``{recipient}``, ``{local_part}``, ``{domain}``; the first line of ``token_file`` is sent as a
    bearer token; ``ca_file`` (PEM) takes the place of the system's authorities; ``connections`` are kept at most."""

    url: str
    token_file: str | None
    ca_file: str | None
    timeout_seconds: float
    connections: int
