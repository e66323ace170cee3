"""docs/api.rst tells what holds."""

import re
from pathlib import Path

from mailgw.web import channel, problems, routing, server, tokens, uploads
from mailgw.web.operations import EVERYWHERE, JSON_OCTETS, WITH_BODY, Scope
from mailgw.web.ready_api import WORDS
from tests.tables import each

PAGE = (Path(__file__).parent.parent.parent / "docs/api.rst").read_text()
ROWS = dict(re.findall(r"^   \* - (.+)\n     - (\d+)$", PAGE, re.MULTILINE))
LIMITS = {
    "connections": channel.CONNECTIONS,
    "... with a good token": channel.KNOWN,
    "... without a good token yet": channel.STRANGERS,
    "... of one address (IPv6: its /64)": channel.STRANGERS_PER_ADDRESS,
    "header fields": channel.HEADERS,
    "octets of the header": channel.HEADER_OCTETS,
    "octets of path and query": routing.TARGET_OCTETS,
    "query parameters": routing.QUERY_PARAMETERS,
    "octets of JSON": JSON_OCTETS,
    "seconds for the head": channel.HEAD_SECONDS,
    "seconds between two requests": channel.IDLE_SECONDS,
    "seconds in which nothing of a body comes": channel.BODY_SECONDS,
    f"seconds that a body is behind {channel.BODY_OCTETS_PER_SECOND} octets a second, however fast it began":
        channel.BODY_SECONDS,
    "uploads of one token under way": uploads.UPLOADS_OF_A_TOKEN,
    "octets of all uploads under way": uploads.UPLOADS_OCTETS,
    "seconds in which nothing of an answer is taken": channel.STUCK_SECONDS,
    f"wrong tokens of an address in {tokens.TRIES_SECONDS:.0f} seconds": tokens.TRIES,
    "sessions of the page": tokens.SESSIONS,
    "hours of a session": tokens.SESSION_SECONDS / 3600,
    "who watches live": server.LIVE_AT_ONCE,
}


def test_every_limit_is_told() -> None:
    assert {name: float(value) for name, value in ROWS.items()} == {name: float(one) for name, one in LIMITS.items()}


@each("scope", list(Scope))
def test_every_scope_is_told(scope: Scope) -> None:
    assert f"\n``{scope.value}``\n" in PAGE


@each("word", WORDS)
def test_every_word_of_readyz_is_told(word: str) -> None:
    assert f"``{word}``" in PAGE


@each("status", sorted({*EVERYWHERE, *WITH_BODY}))
def test_every_status_is_told(status: int) -> None:
    assert re.search(rf"^   \* - .*\b{status}\b", PAGE, re.MULTILINE), status
    assert status in problems.PHRASES
