"""A message's header as rules want it (RFC 5322 s2.2): fields are added, replaced and removed whole, the others stay as
they came, octet by octet."""

import re
from collections.abc import Sequence

from mailgw.mail.effect import AddHeader, Effect, RemoveHeader, ReplaceContent, SetHeader, field_of
from mailgw.mail.header import header_end, starts_with_field

# A line, with the lines that continue it; the last one may lack its end.
_FIELD = re.compile(rb"[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)")


def rewrites(effect: Effect) -> bool:
    """Whether it is of what the message says."""
    return isinstance(effect, (AddHeader, SetHeader, RemoveHeader, ReplaceContent))


def rewritten(head: bytes, effects: Sequence[Effect]) -> tuple[bytes, bytes | None]:
    """The head (the fields, and the empty line behind them where there is one), and the body in place of the message's
    own; None where that stays.

    ``head`` of a message without a header is its empty line alone, and gets one where it has none and needs it.
    """
    body: bytes | None = None
    for effect in effects:
        match effect:
            case ReplaceContent(octets):
                head, body = _parted(octets)
            case AddHeader(name, value, at_end):
                fields, end = _fields(head)
                fields.insert(len(fields) if at_end else 0, field_of(name, value))
                head = b"".join(fields) + (end or b"\r\n")
            case SetHeader(name, value):
                fields, end = _fields(head)
                places = [at for at, field in enumerate(fields) if _is(field, name)]
                kept = [field for at, field in enumerate(fields) if at not in places[1:]]
                if places:
                    kept[places[0]] = field_of(name, value)
                else:
                    kept.insert(0, field_of(name, value))
                head = b"".join(kept) + (end or b"\r\n")
            case RemoveHeader(name):
                fields, end = _fields(head)
                head = b"".join([field for field in fields if not _is(field, name)]) + (end or b"\r\n")
            case _:
                pass
    return head, body


def _parted(content: bytes) -> tuple[bytes, bytes]:
    if not starts_with_field(content):
        return (b"\r\n", content.removeprefix(b"\r\n"))
    end = header_end(content)
    return (content, b"") if end < 0 else (content[:end], content[end:])


def _fields(head: bytes) -> tuple[list[bytes], bytes]:
    """The fields, each with its line end, and the empty line (``b""`` where there is none)."""
    end = b"\r\n" if head == b"\r\n" or head.endswith(b"\r\n\r\n") else b""
    fields = [found[0] for found in _FIELD.finditer(head[: len(head) - len(end)]) if found[0]]
    if fields and not fields[-1].endswith(b"\n"):
        fields[-1] += b"\r\n"
    return fields, end


def _is(field: bytes, name: str) -> bool:
    # RFC 5322 s4.5: white space may stand before the colon
    return field.partition(b":")[0].rstrip(b" \t").lower() == name.lower().encode()
