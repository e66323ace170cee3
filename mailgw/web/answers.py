"""What every answer has: headers against what browsers might do with it, and its form on the wire.  Pure."""

from collections.abc import Mapping
from email.utils import formatdate
from typing import Final

from mailgw.web.operations import Octets, Problem
from mailgw.web.problems import MEDIA_TYPE, PHRASES, document

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    # The page makes no markup of a text, nor code; a browser that knows of it refuses what would.
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
SECURITY: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
    "Cache-Control": "no-store",
}
# RFC 6797: a year.
HSTS: Final = "max-age=31536000"


def headers_of(own: Mapping[str, str], by_tls: bool, now: float) -> dict[str, str]:
    """``own`` in place of the usual ones, and the usual ones; "" leaves one out.  ``now`` by the wall clock: RFC 9110
    s6.6.1."""
    found = {"Date": formatdate(now, usegmt=True), **SECURITY}
    if by_tls:
        found["Strict-Transport-Security"] = HSTS
    names = {name.lower(): name for name in found}
    for name, value in own.items():
        found.pop(names.get(name.lower(), name), None)
        if value:
            found[name] = _clean(value)
    return found


def problem_headers(problem: Problem) -> dict[str, str]:
    return {"Content-Type": MEDIA_TYPE, **problem.headers}


def refusal(problem: Problem, by_tls: bool, now: float) -> bytes:
    """The whole answer, after which the connection is closed."""
    body = document(problem)
    fields = headers_of({
        **problem_headers(problem), "Content-Length": str(len(body)), "Connection": "close",
    }, by_tls, now)
    lines = [f"HTTP/1.1 {problem.status} {PHRASES.get(problem.status, 'Refused')}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


def octets_headers(octets: Octets, media_type: str) -> dict[str, str]:
    """Of an answer that is no JSON."""
    found = {"Content-Type": octets.media_type or media_type}
    if octets.name is not None:
        found["Content-Disposition"] = attachment(octets.name)
    return {**found, **octets.headers}


def attachment(name: str) -> str:
    """Content-Disposition for a file of that name (RFC 6266 s4.1, RFC 8187): the name alone, without a folder."""
    name = "".join(char for char in name.replace("\\", "/").rpartition("/")[2] if char.isprintable())[:200] or "file"
    plain = "".join(char if char.isascii() and char not in '"\\%' else "_" for char in name)
    if plain == name:
        return f'attachment; filename="{plain}"'
    encoded = "".join(
        chr(octet) if chr(octet).isascii() and (chr(octet).isalnum() or chr(octet) in "!#$&+-.^_`|~")
        else f"%{octet:02X}" for octet in name.encode("utf-8", "replace")
    )
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


def _clean(value: str) -> str:
    """No header of ours has a line end in it, whoever its words are from."""
    return "".join(char if char.isprintable() else " " for char in value)
