"""Fuzzed: what a request says before anybody knows whose it is: target, host, cookies, query; and names of files."""

from mailgw.web.answers import attachment, headers_of
from mailgw.web.operations import Problem
from mailgw.web.routing import query_of, target_of
from mailgw.web.tokens import cookie_of, digest, host_of, is_ours, network_of

STRANGE = frozenset("/\\") | {chr(code) for code in [*range(32), *range(127, 160)]}


def request(octets: bytes) -> None:
    """The lines of a head, each as what it may be."""
    for line in octets.split(b"\n")[:8]:
        _target(line)
        text = line.decode("latin-1")
        _host(text)
        for name in ("mailgw_session", "a"):
            value = cookie_of([text, text[::-1]], name)
            assert value is None or ";" not in value
        assert len(digest(text)) == 32
        assert network_of(text) is not None
        said = attachment(line.decode("utf-8", "surrogateescape"))
        assert said.isascii(), said
        assert said.isprintable(), said
        assert said.startswith('attachment; filename="'), said
        assert all(value.isprintable() for value in headers_of({"X": text}, False, 0.0).values())


def _target(line: bytes) -> None:
    status = 0
    try:
        found = target_of(line)
    except Problem as problem:
        status = problem.status
    assert status in (0, 400, 414), status
    if status:
        return
    assert found.path.startswith("/"), found
    for segment in found.segments:
        assert segment not in ("", ".", ".."), found
        assert not STRANGE.intersection(segment), found
    try:
        values = query_of(found.query)
    except Problem as problem:
        status = problem.status
    assert status in (0, 400), status
    if status:
        return
    assert "\0" not in "".join([*values, *(one for several in values.values() for one in several)])


def _host(text: str) -> None:
    host = host_of(text)
    if host is None:
        return
    assert host == host.lower(), host
    assert not set(host) & set(" \t@/\\?#,%"), host
    if is_ours(host, frozenset({"mail.example.org"})):
        is_named = host in ("localhost", "mail.example.org") or host.endswith(".localhost")
        assert is_named or host.startswith("127.") or ":" in host, host
