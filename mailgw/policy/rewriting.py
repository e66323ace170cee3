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
    fields: _Fields | None = None
    for effect in effects:
        if isinstance(effect, ReplaceContent):
            head, body = _parted(effect.octets)
            fields = None
        elif isinstance(effect, (AddHeader, SetHeader, RemoveHeader)):
            # A stranger's header may have 60,000 fields: it is taken apart once, and not to add to it.
            if fields is None and isinstance(effect, AddHeader) and _is_ended(head):
                place = len(head) - 2 if effect.at_end else 0
                head = head[:place] + field_of(effect.name, effect.value) + head[place:]
            else:
                fields = fields or _Fields(head)
                fields.change(effect)
    return (head if fields is None else fields.head()), body


class _Fields:
    """The fields of a head, each with its line end, and their names."""

    def __init__(self, head: bytes) -> None:
        self._end = b"\r\n" if _is_ended(head) else b""
        self._fields = [found[0] for found in _FIELD.finditer(head[: len(head) - len(self._end)]) if found[0]]
        if self._fields and not self._fields[-1].endswith(b"\n"):
            self._fields[-1] += b"\r\n"
        self._names = list(map(_name_of, self._fields))

    def change(self, effect: AddHeader | SetHeader | RemoveHeader) -> None:
        name = effect.name.lower().encode()
        match effect:
            case AddHeader(_, value, at_end):
                self._insert(len(self._fields) if at_end else 0, name, field_of(effect.name, value))
            case SetHeader(_, value):
                at = self._names.index(name) if name in self._names else 0
                self._remove(name)
                self._insert(at, name, field_of(effect.name, value))
            case RemoveHeader():
                self._remove(name)

    def head(self) -> bytes:
        return b"".join(self._fields) + (self._end or b"\r\n")

    def _insert(self, at: int, name: bytes, field: bytes) -> None:
        self._names.insert(at, name)
        self._fields.insert(at, field)

    def _remove(self, name: bytes) -> None:
        if name in self._names:
            self._fields = [field for field, known in zip(self._fields, self._names, strict=True) if known != name]
            self._names = [known for known in self._names if known != name]


def _parted(content: bytes) -> tuple[bytes, bytes]:
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"  # as a message that comes by BDAT gets it: what takes lines wants the last one's end
    if not starts_with_field(content):
        return (b"\r\n", content.removeprefix(b"\r\n"))
    end = header_end(content)
    return (content, b"") if end < 0 else (content[:end], content[end:])


def _is_ended(head: bytes) -> bool:
    """Whether the empty line is there."""
    return head == b"\r\n" or head.endswith(b"\r\n\r\n")


def _name_of(field: bytes) -> bytes:
    # RFC 5322 s4.5: white space may stand before the colon
    return field.partition(b":")[0].rstrip(b" \t").lower()
