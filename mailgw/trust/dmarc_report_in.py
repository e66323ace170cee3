"""A DMARC aggregate report of somebody else's, read (RFC 9990; RFC 7489 appendix C, as most still write it).

Read as senders really write them: with a namespace or without one, with a prefix, in any case, with empty elements
where others leave them out.  Not done: extensions (passed over), what is said for people (``human_result``,
``extra_contact_info``), a check against the schema.

By expat, of the standard library, with handlers that refuse: a document type, and with it every entity of its own or
from elsewhere, ends it.  It feeds on pieces, so there is never a tree.  defusedxml was left: it sets the same handlers
around the same expat, and has none of the limits; parsedmarc, too, which has no limits either, and brings what speaks
to a dozen data bases.

What is no XML is read a second time, mended (``report_mending``): real reporters send such.

Rules:
    Of an answer's limits each is a fault with a reason: nothing is read half and kept as whole.
    A message's reports share one ``Room``, which is smaller for whom DMARC does not vouch for.
    Rows that are alike but for their number of messages are one, as they are read.
    Expat reads a token that has not ended again with each piece, and holds the interpreter meanwhile; so none is longer
    than ``TOKEN_OCTETS``.
"""

import ipaddress
import re
from collections.abc import Callable, Hashable, Mapping
from typing import Final
from xml.parsers import expat

import attrs

from mailgw.trust.report_mending import mended
from mailgw.trust.report_words import COMMENT, TEXT, Fault, Unreadable, check_range, count_of, domain_of, line_of

OCTETS: Final = 16 * 1024 * 1024
"""Of the XML.  Reports of large senders on large domains have some MiB."""
RECORDS: Final = 50_000
ELEMENTS: Final = 1_500_000
"""Some 30 for each record; so many take 2 s."""
STRANGERS_OCTETS: Final = 4 * 1024 * 1024
STRANGERS_RECORDS: Final = 2000
STRANGERS_ELEMENTS: Final = 100_000
"""These three of a message that DMARC does not vouch for: anybody may send one; 0.2 s."""
DEPTH: Final = 20  # RFC 9990's own elements are 5 deep
AUTH_RESULTS: Final = 100
"""Of one record, which is what RFC 9990 appendix A allows of DKIM; of more these are kept."""
REASONS: Final = 10
TOKEN_OCTETS: Final = 64 * 1024
_PIECE_OCTETS: Final = 4 * 1024
"""So much is parsed in a millisecond, and nothing else runs meanwhile."""
ENCODINGS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "utf-16", "windows-1252"})
"""That a report may declare: Python has others, which nobody needs to be made to load."""

_ROOT = "feedback"
# Of a record; RFC 7489 appendix C has "identifiers", "identities" is in use, too.
_TEXTS: dict[tuple[str, ...], None] = dict.fromkeys((
    ("row", "source_ip"), ("row", "count"), ("row", "policy_evaluated", "disposition"),
    ("row", "policy_evaluated", "dkim"), ("row", "policy_evaluated", "spf"),
    *((place, f"{who}_{way}") for place in ("identifiers", "identities")
      for who, way in (("header", "from"), ("envelope", "from"), ("envelope", "to"))),
))
_WITH_PARTS = frozenset({"reason", "dkim", "spf"})
_SECONDS = re.compile(r"(-?[0-9]{1,18})(?:\.[0-9]{1,9})?\Z", re.ASCII)
# RFC 9990 appendix A: what the policy was, as the reporter saw it.
_POLICY = ("p", "sp", "np", "pct", "adkim", "aspf", "fo", "testing", "discovery_method")


@attrs.frozen
class Limits:
    """What the reports of one message may come to; ``words`` say for whom, behind what is beyond one."""

    octets: int
    records: int
    elements: int
    words: str = ""


KNOWN: Final = Limits(OCTETS, RECORDS, ELEMENTS)
STRANGERS: Final = Limits(
    STRANGERS_OCTETS, STRANGERS_RECORDS, STRANGERS_ELEMENTS, ", the most of a sender whom DMARC does not vouch for")


class Room:
    """What the reports of one message may still come to.  ``pause`` is called between pieces of a large one, where
    others may run; ``is_beyond``: something did not fit."""

    def __init__(self, limits: Limits = KNOWN, pause: Callable[[], None] = lambda: None) -> None:
        self.limits = limits
        self.pause = pause
        self.octets = limits.octets
        self.records = limits.records
        self.elements = limits.elements
        self.is_beyond = False

    def beyond(self, what: str) -> str:
        self.is_beyond = True
        return f"{what}{self.limits.words}"


@attrs.frozen
class AuthResult:
    """What SPF or DKIM came to, alignment aside.  ``name``: of DKIM the selector, of SPF the scope; "" where not said.
    ``result`` in lower case."""

    method: str
    domain: str
    name: str
    result: str


@attrs.frozen
class DmarcRow:
    """``count`` messages of one source.  ``source``: an IP address, "" where it is none.  ``dkim`` and ``spf`` say
    whether an aligned one passed: "pass", "fail", or "".  ``reasons``: why the policy was not followed, "type: words".
    """

    source: str
    count: int
    disposition: str
    dkim: str
    spf: str
    reasons: tuple[str, ...]
    header_from: str
    envelope_from: str
    envelope_to: str
    auth: tuple[AuthResult, ...]

    @property
    def passes(self) -> bool:
        """RFC 9989 s5.3.5: one of both suffices."""
        return "pass" in (self.dkim, self.spf)


@attrs.frozen
class DmarcReportIn:
    """``begin`` and ``end`` in seconds since the epoch, UTC.  ``policy``: names and values, as they were published."""

    organization: str
    contact: str
    report_id: str
    begin: int
    end: int
    domain: str
    policy: tuple[tuple[str, str], ...]
    rows: tuple[DmarcRow, ...]


def read_dmarc_report(octets: bytes, room: Room | None = None) -> DmarcReportIn | Unreadable:
    """The report, which takes its records and elements from ``room``.  ``Unreadable`` where it is none, or beyond a
    limit; never raises."""
    if len(octets) > OCTETS:
        return Unreadable(f"it has more than {OCTETS} octets")
    room = Room() if room is None else room
    records, elements = room.records, room.elements
    found = _read(octets, room)
    if not isinstance(found, _Malformed):
        return found
    second = mended(octets, room.pause)
    if second is not None:
        room.records, room.elements = records, elements
        again = _read(second, room)
        if isinstance(again, DmarcReportIn) or room.is_beyond:
            return again
    return found


class _Malformed(Unreadable):
    """It is no XML as it stands, and may be mended."""


class _UnknownEncoding(Fault):
    pass


def _read(octets: bytes, room: Room) -> DmarcReportIn | Unreadable:
    document = _Document(room)
    try:
        _parse(octets, document, room)
        return document.report()
    except _UnknownEncoding as fault:
        return _Malformed(str(fault))
    except Fault as fault:
        return Unreadable(str(fault))
    except expat.ExpatError as fault:
        return _Malformed(f"it is no XML that can be read ({expat.ErrorString(fault.code)}, line {fault.lineno})")
    except (ValueError, LookupError) as fault:  # of an encoding, which expat leaves to Python
        return _Malformed(f"it is no XML that can be read ({type(fault).__name__})")


def _parse(octets: bytes, document: "_Document", room: Room) -> None:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.XmlDeclHandler = _declared
    parser.StartDoctypeDeclHandler = _refuse("it has a document type")
    # Behind a document type alone; should an expat ever have another way there.
    parser.EntityDeclHandler = _refuse("it declares an entity")
    parser.UnparsedEntityDeclHandler = _refuse("it declares an entity")
    parser.ExternalEntityRefHandler = _refuse("it refers to what is elsewhere")
    parser.SkippedEntityHandler = _refuse("it refers to an entity")
    parser.StartElementHandler = document.start
    parser.EndElementHandler = document.end
    parser.CharacterDataHandler = document.text
    for start in range(0, len(octets), _PIECE_OCTETS):
        piece = octets[start:start + _PIECE_OCTETS]
        parser.Parse(piece, False)
        if start + len(piece) - parser.CurrentByteIndex > TOKEN_OCTETS:
            raise Fault(f"a tag or a comment has more than {TOKEN_OCTETS} octets")
        room.pause()
    parser.Parse(b"", True)


def _declared(version: str, encoding: str | None, standalone: int) -> None:
    if encoding is not None and encoding.lower() not in ENCODINGS:
        raise _UnknownEncoding(f"its encoding is {line_of(encoding, 40)!r}")


def _refuse(why: str) -> Callable[..., int]:
    def refuse(*_: object) -> int:
        raise Fault(why)

    return refuse


class _Document:
    """What was read so far: texts by the path of their elements, below the root, in one record at a time."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._path: list[str] = []
        self._text: list[str] = []
        self._characters = 0
        self._head: dict[tuple[str, ...], str] = {}
        self._record: _Record | None = None
        self._known: dict[Hashable, DmarcRow] = {}
        self._rows: dict[DmarcRow, int] = {}

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        local = name.rpartition(":")[2].lower()
        path, room = self._path, self._room
        if not path and local != _ROOT:
            raise Fault(f"it is no DMARC report, but {line_of(local, 40)!r}")
        path.append(local)
        room.elements -= 1
        if room.elements < 0:
            raise Fault(room.beyond(f"it has more than {room.limits.elements} elements"))
        if len(path) > DEPTH:
            raise Fault(f"its elements are more than {DEPTH} deep")
        if len(path) == 2 and local == "record":
            room.records -= 1
            if room.records < 0:
                raise Fault(room.beyond(f"it has more than {room.limits.records} records"))
            self._record = _Record()
        elif self._record is not None and len(path) > 3 and local in _WITH_PARTS:
            self._record.begin()
        self._clear()

    def text(self, text: str) -> None:
        self._characters += len(text)
        # A little more than is allowed, to tell that it is.
        if self._characters - len(text) <= TEXT:
            self._text.append(text)

    def end(self, name: str) -> None:
        path = tuple(self._path[1:])
        text = "".join(self._text).strip()
        self._clear()
        self._path.pop()
        if path == ("record",) and self._record is not None:
            self._take(self._record)
            self._record = None
        elif self._record is not None:
            self._record.take(path[1:], text)
        elif text:
            self._head.setdefault(path, text)

    def _take(self, record: "_Record") -> None:
        count, key = record.count(), record.key()
        row = self._known.get(key)
        if row is None:
            row = self._known[key] = record.row()
        self._rows[row] = self._rows.get(row, 0) + count

    def _clear(self) -> None:
        self._text.clear()
        self._characters = 0

    def report(self) -> DmarcReportIn:
        organization = self._word("report_metadata", "org_name")
        contact = self._word("report_metadata", "email")
        report_id = self._word("report_metadata", "report_id")
        domain = self._word("policy_published", "domain")
        if not (organization or contact):
            raise Fault("it does not say whose it is")
        if not report_id:
            raise Fault("it has no report_id")
        if not domain:
            raise Fault("it is of no domain")
        begin, end = self._seconds("begin"), self._seconds("end")
        check_range(begin, end)
        policy = tuple((name, value) for name in _POLICY if (value := self._word("policy_published", name)))
        return DmarcReportIn(
            organization or contact, contact, report_id, begin, end, domain_of(domain), policy,
            tuple([attrs.evolve(row, count=count) for row, count in self._rows.items()]),
        )

    def _word(self, *path: str) -> str:
        return _checked(self._head.get(path, ""), path[-1])

    def _seconds(self, name: str) -> int:
        text = self._head.get(("report_metadata", "date_range", name), "")
        found = _SECONDS.match(text)
        if found is None:
            raise Fault(f"the {name} of its days is {line_of(text, 40)!r}")
        return int(found[1])


class _Record:
    def __init__(self) -> None:
        self._texts: dict[tuple[str, ...], str] = {}
        self._reasons: list[str] = []
        self._auth: list[AuthResult] = []
        self._inner: dict[str, str] = {}

    def begin(self) -> None:
        self._inner = {}

    def count(self) -> int:
        found = self._texts.pop(("row", "count"), None)
        if found is None:
            raise Fault("a record has no count")
        return count_of(found)

    def key(self) -> Hashable:
        """The same of records that are written alike but for their count, which is taken by then."""
        return tuple(map(self._texts.get, _TEXTS)), tuple(self._reasons), tuple(self._auth)

    def take(self, path: tuple[str, ...], text: str) -> None:
        match path:
            case ("row", "policy_evaluated", "reason"):
                words = ": ".join(filter(None, (self._part("type"), line_of(self._inner.get("comment", ""), COMMENT))))
                if words and len(self._reasons) < REASONS:
                    self._reasons.append(words)
            case ("row", "policy_evaluated", "reason", name) | ("auth_results", "dkim" | "spf", name):
                if text:
                    self._inner.setdefault(name, text)
            case ("auth_results", "dkim" | "spf" as method):
                if len(self._auth) < AUTH_RESULTS and self._inner:
                    name = self._part("selector" if method == "dkim" else "scope")
                    self._auth.append(
                        AuthResult(method, domain_of(self._inner.get("domain", "")), name, self._part("result").lower())
                    )
            case _:
                if text and path in _TEXTS:
                    self._texts.setdefault(path, text)

    def row(self) -> DmarcRow:
        """Without its count."""
        evaluated = ("row", "policy_evaluated")
        return DmarcRow(
            _address(self._texts.get(("row", "source_ip"), "")), 0, self._word(*evaluated, "disposition"),
            self._word(*evaluated, "dkim"), self._word(*evaluated, "spf"), tuple(self._reasons),
            self._domain("header_from"), self._domain("envelope_from"), self._domain("envelope_to"), tuple(self._auth),
        )

    def _part(self, name: str) -> str:
        return _checked(self._inner.get(name, ""), name)

    def _word(self, *path: str) -> str:
        return _checked(self._texts.get(path, ""), path[-1]).lower()

    def _domain(self, name: str) -> str:
        text = self._texts.get(("identifiers", name)) or self._texts.get(("identities", name), "")
        return domain_of(_checked(text, name))


def _checked(text: str, name: str) -> str:
    if len(text) > TEXT:
        raise Fault(f"its {name} has more than {TEXT} characters")
    return line_of(text)


def _address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return ""
        address = address.ipv4_mapped or address
    return str(address)
