"""Authentication-Results: read, written, and taken away where a stranger speaks in our name (RFC 8601; RFC 6532 for
UTF-8 in it).

Rules:
    A field whose authserv-id cannot be read with certainty goes as one that bears our name does, and so does one that
    has none: another reader might find our name in it, or take what stands on top for our word.
    What is written reads back as what it was made of; what cannot stand in a field is left out, not changed, but for
    reasons, which are words for people.  What could not be written again is not read, but for values, which are left
    out when they are.
Not done: comments, which are passed over, but for what DMARC's policy is, and never written; versions other than 1 of
the field and of methods, which are read as if they were not there (s2.6).
"""

import functools
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence

import attrs

from mailgw.mail.address import folded, is_shapely, parse_domain, parse_mailbox
from mailgw.mail.authentication import MethodResult, Property
from mailgw.mail.errors import LocalProtocolError

NAME = b"Authentication-Results"

# Of one field's body; RFC 8601 has no limit, and what hosts write has a few hundred.
FIELD_OCTETS = 16 * 1024
DEEPEST_COMMENT = 20
# Of characters in one field, since each costs a step: hosts write some tens.
MOST = {"(": 100, ";": 100, "=": 500}
# Of one header: with more than these all go, whosever they are, and of the topmost so many one host's are looked for;
# of those, the topmost so many are read.
FIELDS = 100
FIELDS_OF_A_HOST = 10
# Of one header, authserv-ids that are not ASCII: to map one may take a millisecond.  Whose the others are nobody can
# say.
BEYOND_ASCII = 5
# Of one header, in all fields together: each takes two microseconds to find out whose a field is.
COMMENTS = 1000
# Of an authserv-id as it is written; a name has 255 octets, and with quotes each may take two.
ID_CHARACTERS = 600
# RFC 5322 s2.1.1: 998 octets a line; what stands before a value, and the property's name, have room beside it.
VALUE_OCTETS = 800
REASON_CHARACTERS = 200
# So that a method's and a result's, or a property's two, fit into a line beside their value; those in use have ten.
KEYWORD_CHARACTERS = 60
_LINE_OCTETS = 78  # RFC 5322 s2.1.1: what a line should have at most

# s2.2:
#   authres-payload  = [CFWS] authserv-id [ CFWS authres-version ] ( no-result / 1*resinfo ) [CFWS] CRLF
#   authres-version  = 1*DIGIT [CFWS]
#   no-result        = [CFWS] ";" [CFWS] "none"
#   resinfo          = [CFWS] ";" methodspec [ CFWS reasonspec ] [ CFWS 1*propspec ]
#   methodspec       = [CFWS] method [CFWS] "=" [CFWS] result
#   reasonspec       = "reason" [CFWS] "=" [CFWS] value
#   propspec         = ptype [CFWS] "." [CFWS] property [CFWS] "=" pvalue
#   method           = Keyword [ [CFWS] "/" [CFWS] method-version ]
#   pvalue           = [CFWS] ( ( value / [ [ local-part ] "@" ] domain-name ) ) [CFWS]
# RFC 5321 s4.1.2: Keyword = Ldh-str; RFC 2045 s5.1: value = token / quoted-string, beyond ASCII by RFC 6532 s3.2.
_KEYWORD = re.compile(r"[A-Za-z0-9-]*[A-Za-z0-9]")
_TCHAR = r"[!#-'*+\-.0-9A-Z^-~\x80-\U0010ffff]"
_TOKEN = re.compile(rf"{_TCHAR}+")
_QUOTED = re.compile(r'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*)"')
_DIGITS = re.compile(r"[0-9]{1,9}")
# More than the grammar has: "header.b=a/b+c", "smtp.remote-ip=2001:db8::1" and the like are in use, and clear.
_RUN = re.compile(r'[^\x00-\x20\x7f;()"\\]+')
_AT_DOMAIN = re.compile("@" + _RUN.pattern)
# RFC 5321 s4.1.2: Dot-string = Atom *("." Atom), as it may stand without quotes.
_ATEXT = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\x80-\U0010ffff]"
_BARE = re.compile(rf"(?:{_TCHAR}+|(?:{_ATEXT}+(?:\.{_ATEXT}+)*)?@[A-Za-z0-9\-_.\x80-\U0010ffff]+)")
# As OpenDMARC and others write it, "dmarc=fail (p=reject dis=none) header.from=a.example", and rspamd, behind
# header.from: "(policy=reject)".
_POLICY = re.compile(r"[( ,;]p(?:olicy)?=(none|quarantine|reject)\b", re.IGNORECASE)
_SPACE = re.compile(r"[ \t]*")
_TO_PAREN = re.compile(r"(?:[^()\\]++|\\.)*+([()])", re.DOTALL)

# A name that is folded before its colon is none, but there are readers who take it for one.
# In a header in lower case: what begins with its own octets is found many times faster than in any case, or behind a
# choice of places.
_FIELD = re.compile(
    rb"authentication-results(?<![^\n]authentication-results)(?:[ \t]|\r?\n[ \t])*:([^\n]*(?:\n[ \t][^\n]*)*)(?:\n|\Z)"
)


@attrs.frozen
class AuthResults:
    """One field: who says it, and what; () where nothing was tried (``none``)."""

    authserv_id: str
    results: tuple[MethodResult, ...]


@attrs.frozen
class Unreadable:
    """Why a field says nothing, in a few words."""

    why: str


# --- whose they are -----------------------------------------------------------------------------------

def without_ours(header: bytes, ids: Collection[str]) -> tuple[bytes, int]:
    """``header`` without the fields that claim to be ours, and how many those were (s5).

    ``ids``: authserv-ids; one that begins with a dot stands for all names below.  For what comes from outside; it also
    takes fields of which nobody can say whose they are, those that begin with their results and so name nobody, as
    Microsoft's do, which are worth nothing behind other hosts, and all where there are more than ``FIELDS``.
    """
    fields = list(_FIELD.finditer(header.lower()))
    if not fields:
        return header, 0
    wanted = frozenset(map(_normal, ids))
    goes = fields
    if len(fields) <= FIELDS:
        found = _ids([header[slice(*one.span(1))] for one in fields])
        goes = [one for one, its in zip(fields, found, strict=True) if not its or _is_one_of(its, wanted)]
    kept = []
    start = 0
    for field in goes:
        kept.append(header[start:field.start()])
        start = field.end()
    return b"".join([*kept, header[start:]]), len(goes)


def results_by(header: bytes, ids: Collection[str]) -> tuple[AuthResults | Unreadable, ...]:
    """The fields that bear one of ``ids`` (as ``without_ours`` has them), the topmost first, ``FIELDS_OF_A_HOST`` at
    most, among the topmost ``FIELDS``: what came before stands below.  What DMARC asks for is read in comments, too.

    They are worth what the host is from which they come directly: ask only where that one is trusted, and takes away
    forged ones itself.
    """
    bodies = [header[slice(*one.span(1))] for one in itertools.islice(_FIELD.finditer(header.lower()), FIELDS)]
    wanted = frozenset(map(_normal, ids)) if bodies else frozenset()
    theirs = [body for body, its in zip(bodies, _ids(bodies), strict=True) if its and _is_one_of(its, wanted)]
    return tuple(read_field(body, reads_policy=True) for body in theirs[:FIELDS_OF_A_HOST])


def authserv_id(body: bytes) -> str | None:
    """Who a field (its body, folded or not) claims to be of, whatever its version and its results.

    "" where results stand there at once; None where that cannot be read, the field has more comments than ``MOST``, or
    the authserv-id more than ``ID_CHARACTERS``.
    """
    if body.count(b"(", 0, FIELD_OCTETS) > MOST["("]:
        return None
    text = _unfolded(body[:FIELD_OCTETS]).decode("utf-8", "surrogateescape")
    return _head(text)[0]


def _ids(bodies: Sequence[bytes]) -> Sequence[str | None]:
    """The ``authserv_id`` of each; None also for what is not ASCII, beyond the first ``BEYOND_ASCII``, and from the one
    on with which there are more than ``COMMENTS``."""
    comments = itertools.accumulate(body.count(b"(", 0, FIELD_OCTETS) for body in bodies)
    found = [authserv_id(body) if count <= COMMENTS else None for body, count in zip(bodies, comments, strict=True)]
    odd = [place for place, one in enumerate(found) if one is not None and not one.isascii()]
    for place in odd[BEYOND_ASCII:]:
        found[place] = None
    return found


def _is_one_of(found: str, wanted: frozenset[str]) -> bool:
    name = _normal(found)
    return name in wanted or any(one.startswith(".") and name.endswith(one) for one in wanted)


def _normal(name: str) -> str:
    """Equal for what is meant to be equal: case, U-labels and A-labels, a dot at the end."""
    dot = "." if name.startswith(".") else ""
    bare = name.removeprefix(".").removesuffix(".")
    return dot + (parse_domain(bare) or folded(bare))


def _head(text: str) -> tuple[str | None, int]:
    """The authserv-id, and where it ends."""
    at = _behind_space(text, 0)
    if at < 0:
        return None, 0
    quoted, token = _QUOTED.match(text, at), _TOKEN.match(text, at)
    written_as = quoted or token
    if written_as is not None and len(written_as[0]) > ID_CHARACTERS:
        return None, 0
    if quoted is not None:
        found, end = _unquoted(quoted[1]), quoted.end()
    elif token is not None:
        found, end = token[0], token.end()
    else:
        return None, 0
    behind = _behind_space(text, end)
    if quoted is None and _KEYWORD.fullmatch(found) and behind >= 0 and text[behind:behind + 1] == "=":
        return "", at
    if behind > end and (digits := _DIGITS.match(text, behind)) is not None:
        behind = _behind_space(text, digits.end())
    if behind < 0 or (behind < len(text) and text[behind] != ";") or not found or not is_shapely(found):
        return None, 0
    return found, end


# --- reading ------------------------------------------------------------------------------------------

def read_field(body: bytes, is_ours: bool = False, reads_policy: bool = False) -> AuthResults | Unreadable:
    """What a field (its body, folded or not) says.  ``Unreadable`` where its grammar is none, over ``FIELD_OCTETS`` or
    ``MOST``, or of another version than 1.  ``is_ours``: it was written here, and may be larger.  ``reads_policy``: a
    policy that stands in a comment of a ``dmarc=fail`` is its ``policy.dmarc``.

    Let through: values that should have quotes, empty results (a ";" too many), and words without a property's type
    (``action=none``), which are passed over.  So are results and properties with a keyword of more than
    ``KEYWORD_CHARACTERS``.
    """
    if len(body) > FIELD_OCTETS and not is_ours:
        return Unreadable(f"more than {FIELD_OCTETS} octets")
    try:
        text = _unfolded(body).decode("utf-8")
    except UnicodeDecodeError:
        return Unreadable("not UTF-8")
    for character, most in MOST.items():
        if text.count(character) > most and not is_ours:
            return Unreadable(f'more than {most} "{character}"')
    found, at = _head(text)
    if not found:
        return Unreadable("no authserv-id")
    try:
        return AuthResults(found, tuple(_results(_Reader(text, at), reads_policy)))
    except _Fault as fault:
        return Unreadable(str(fault))


class _Fault(Exception):
    """Why a field cannot be read; goes no further than ``read_field``."""


class _Reader:
    """A place in a text, always behind white space and comments."""

    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at
        self.comments: list[str] = []  # with the white space around them; whoever wants them clears it
        self._skip()

    def is_at_end(self) -> bool:
        return self.at == len(self.text)

    def has(self, character: str) -> bool:
        """Goes behind ``character`` where it is next."""
        if self.text[self.at:self.at + 1] != character:
            return False
        self.at += 1
        self._skip()
        return True

    def take(self, pattern: re.Pattern[str], what: str) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise _Fault(f"no {what} where one has to be")
        self.at = match.end()
        self._skip()
        return match[0]

    def keyword(self, what: str) -> str:
        return self.take(_KEYWORD, what).lower()

    def value(self) -> str:
        quoted = _QUOTED.match(self.text, self.at)
        if quoted is None:
            return self.take(_RUN, "value")
        if self.text[quoted.end():quoted.end() + 1] == "@":  # a local part
            self.at = quoted.end()
            return quoted[0] + self.take(_AT_DOMAIN, "domain")
        self.at = quoted.end()
        self._skip()
        return _unquoted(quoted[1])

    def _skip(self) -> None:
        start = self.at
        self.at = _behind_space(self.text, start)
        if self.at < 0:
            raise _Fault("a comment that does not end, or is too deep")
        if "(" in self.text[start:self.at]:
            self.comments.append(self.text[start:self.at])


def _results(reader: _Reader, reads_policy: bool) -> Iterator[MethodResult]:
    digits = _DIGITS.match(reader.text, reader.at)
    if digits is not None and reader.take(_DIGITS, "version").lstrip("0") != "1":
        raise _Fault(f"version {digits[0]}")
    count = 0
    is_none = False
    while not reader.is_at_end():
        if not reader.has(";"):
            raise _Fault('no ";" before a result')
        if reader.is_at_end() or reader.text[reader.at] == ";":
            continue
        if is_none:
            raise _Fault('a result beside "none"')
        method = reader.keyword("method")
        if method == "none" and not count and (reader.is_at_end() or reader.text[reader.at] == ";"):
            is_none = True
            continue
        count += 1
        reader.comments.clear()
        is_known = not reader.has("/") or reader.take(_DIGITS, "version").lstrip("0") == "1"
        found = _result(reader, method)
        if reads_policy and (method, found.result) == ("dmarc", "fail") and not found.values("policy", "dmarc"):
            found = attrs.evolve(found, properties=(*found.properties, *_policy_in(reader.comments)))
        if is_known and max(len(method), len(found.result)) <= KEYWORD_CHARACTERS:
            yield found
    if not count and not is_none:
        raise _Fault("no result")


def _result(reader: _Reader, method: str) -> MethodResult:
    if not reader.has("="):
        raise _Fault(f'no "=" behind {method}')
    result = reader.keyword("result")
    reasons: list[str] = []
    properties: list[Property] = []
    while not reader.is_at_end() and reader.text[reader.at] != ";":
        word = reader.keyword("property")
        if reader.has("."):
            name = reader.keyword("property")
            if not reader.has("="):
                raise _Fault(f'no "=" behind {word}.{name}')
            value = reader.value()
            if max(len(word), len(name)) <= KEYWORD_CHARACTERS:
                properties.append(Property(word, name, value))
        elif not reader.has("="):
            raise _Fault(f'no "=" behind {word}')
        elif word == "reason":
            reasons.append(reader.value())
        else:
            reader.value()
    return MethodResult(method, result, (*reasons, "")[0], tuple(properties))


def _policy_in(comments: Iterable[str]) -> list[Property]:
    """What the first comment says that has one."""
    found = map(_POLICY.search, comments)
    return [Property("policy", "dmarc", one[1].lower()) for one in found if one is not None][:1]


def _behind_space(text: str, at: int) -> int:
    """The index behind white space and comments (CFWS of RFC 5322 s3.2.2, unfolded); -1 where a comment does not end,
    or lies deeper than ``DEEPEST_COMMENT``."""
    while True:
        space = _SPACE.match(text, at)
        at = space.end() if space is not None else at
        if text[at:at + 1] != "(":
            return at
        depth = 0
        while True:
            paren = _TO_PAREN.match(text, at)
            if paren is None:
                return -1
            at = paren.end()
            depth += 1 if paren[1] == "(" else -1
            if depth > DEEPEST_COMMENT:
                return -1
            if not depth:
                break


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _unfolded(body: bytes) -> bytes:
    return re.sub(rb"\r?\n(?=[ \t])", b"", body).strip(b" \t\r\n")


# --- writing ------------------------------------------------------------------------------------------

def written(results: AuthResults, smtputf8: bool) -> bytes:
    """The whole field, folded, with its line end.

    Without ``smtputf8`` it is ASCII: domains as A-labels, reasons with "?".  Properties are left out whose value cannot
    stand there: controls, what has no shape, local parts beyond ASCII, more than ``VALUE_OCTETS``.  Of a reason the
    first ``REASON_CHARACTERS`` are told.  LocalProtocolError where a keyword is none, or the authserv-id cannot stand
    there.
    """
    name = _value(results.authserv_id, smtputf8, _TOKEN)
    if not results.authserv_id or name is None:
        raise LocalProtocolError(f"{results.authserv_id!r} can be no authserv-id")
    groups = [_words(result, smtputf8) for result in results.results] or [["none"]]
    lines = [NAME.decode("ascii") + ": " + name]
    for group in groups:
        lines[-1] += ";"
        line = "\t" + group[0]
        for word in group[1:]:
            longer = f"{line} {word}"
            if len(longer.encode()) < _LINE_OCTETS:
                line = longer
            else:
                lines.append(line)
                line = "\t  " + word
        lines.append(line)
    return ("\r\n".join(lines) + "\r\n").encode()


def _words(result: MethodResult, smtputf8: bool) -> list[str]:
    words = [f"{_keyword(result.method)}={_keyword(result.result)}"]
    if result.reason:
        reason = result.reason[:REASON_CHARACTERS]
        if not is_shapely(reason):
            reason = "".join([c if is_shapely(c) else "?" for c in reason])
        words.append("reason=" + _quoted(reason if smtputf8 else reason.encode("ascii", "replace").decode("ascii")))
    for one in result.properties:
        value = _value(one.value, smtputf8)
        if value is not None:
            words.append(f"{_keyword(one.ptype)}.{_keyword(one.name)}={value}")
    return words


@functools.lru_cache(100)
def _keyword(word: str) -> str:
    if not _KEYWORD.fullmatch(word) or len(word) > KEYWORD_CHARACTERS:
        raise LocalProtocolError(f"{word!r} is no keyword")
    return word


def _value(text: str, smtputf8: bool, bare: re.Pattern[str] = _BARE) -> str | None:
    """As it stands in the field, with quotes unless it is ``bare``; None where it cannot stand there."""
    if not is_shapely(text):
        return None
    if not smtputf8 and not text.isascii():
        # RFC 8601 s5, RFC 6532: outside internationalised messages domains are A-labels
        mailbox = parse_mailbox(text.removeprefix("@"))
        domain = parse_domain(text.removeprefix("@"))
        at = "@" if text.startswith("@") else ""
        if domain is not None:
            text = at + domain
        elif not at and mailbox is not None and mailbox.is_ascii:
            text = str(mailbox)
        else:
            return None
    value = text if bare.fullmatch(text) else _quoted(text)
    return value if len(value.encode()) <= VALUE_OCTETS else None


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
