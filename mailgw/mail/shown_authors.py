"""The domains of whom a message may be shown to be from, where nobody can say for sure: read as leniently as the most
lenient of readers.

For those who judge the worst case of a field that ``mail.from_field`` does not read; nothing here is anybody's address.
Where there are more than there is room for, what most readers show comes first: the first address of each field, then
the last.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TypeVar

from mailgw.mail.address import parse_domain
from mailgw.mail.encoded_words import decoded

T = TypeVar("T")

DOMAINS = 5
"""Of one message; each may need a walk in DNS."""
FIELDS = 4
"""The first and the last ones."""
PLACES = 10
"""Of an "@" in one field, the first and the last ones."""
PARSED = 20
"""Of one message."""
BEYOND_ASCII = 8
"""Of these: to map one may take a millisecond."""
FIELD_OCTETS = 32 * 1024
"""Of one field that are looked at as a whole; of a longer one, without its folds, what stands behind an "@"."""
# Behind an "@": a domain has 253 octets, and some comments.
_CHARACTERS = 500
_DEEPEST_COMMENT = 20

_WHITE = re.compile(r"\s+")
_COMMENT = re.compile(r"\([^()]*\)")
_AT = re.compile("[@\uff20\ufe6b]")  # the other two are compatibility forms of it, which some map (UTS 46)
# RFC 5322 s4.4: obs-domain = atom *("." atom), where each atom may have white space and comments around it.
_DOMAIN = re.compile(r'\s*+([^\s@<>()\[\],;:"\\.]++(?:\s*+\.\s*+[^\s@<>()\[\],;:"\\.]++)*+)')


def shown_domains(bodies: Sequence[bytes]) -> tuple[str, ...]:
    """Of the bodies of fields, folded or not, from the top: A-labels, lower case, with two labels at least, each once,
    ``DOMAINS`` at most."""
    texts: list[str] = []
    for body in first_and_last(bodies, FIELDS):
        texts.append(_text(body) if len(body) <= FIELD_OCTETS else _shorter(_text(body)))
        if b"=?" in body:
            texts.append(decoded(body))  # for people's eyes an encoded address is one, too
    return domains_in(texts)


def domains_in(texts: Iterable[str]) -> tuple[str, ...]:
    """The same, of texts."""
    by_rank = zip_longest(*map(_places, texts), fillvalue="")
    words = dict.fromkeys(word for rank in by_rank for place in rank for word in _words(place))
    beyond_ascii = frozenset([word for word in words if not word.isascii()][BEYOND_ASCII:])
    parsed = [word for word in words if word not in beyond_ascii][:PARSED]
    found = dict.fromkeys(domain for domain in map(parse_domain, parsed) if domain and "." in domain)
    return tuple(found)[:DOMAINS]


def first_and_last(found: Sequence[T], most: int) -> Sequence[T]:
    """At most so many of the first and of the last, more of the first."""
    last = most // 2
    return found if len(found) <= most else [*found[:most - last], *found[len(found) - last:]]


def _shorter(text: str) -> str:
    """Not cut in the middle: blanks, comments or a name of any length may stand around the one address that is
    shown."""
    # Without patterns, which take their time for hundreds of thousands of blanks.
    parts = " ".join(text.split()).replace("\uff20", "@").replace("\ufe6b", "@").split("@")
    return "@".join(part[:_CHARACTERS] for part in [parts[0], *first_and_last(parts[1:], PLACES)])


def _places(text: str) -> Sequence[str]:
    """What stands behind each "@": the first, the last, then the others."""
    places = first_and_last(_AT.split(_WHITE.sub(" ", text))[1:], PLACES)
    return [*places[:1], *places[1:][-1:], *places[1:-1]]


def _words(place: str) -> Iterable[str]:
    """The domain at the beginning, without spaces, and the same where comments are passed over."""
    place = bare = place[:_CHARACTERS]
    for _ in range(_DEEPEST_COMMENT):
        bare = _COMMENT.sub("", bare)
    for one in (place, bare):
        found = _DOMAIN.match(one)
        if found is not None:
            yield _WHITE.sub("", found[1]).lower()


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("latin-1")
