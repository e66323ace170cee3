"""RFC 9990's reports, read as strictly as its tables of elements (s3.1.1) and its schema (appendix A) have them.

The schema itself, and a program that knows schemas, would be one more thing to install; these tables say the same.
"""

import re
import xml.sax
import zlib
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET
from xml.sax.handler import ContentHandler

import attrs

NAMESPACE = "{urn:ietf:params:xml:ns:dmarc-2.0}"
MANY = 1 << 30
INTEGER = r"[-+]?[0-9]+"
POLICY = "none|quarantine|reject"
ALIGNED = "pass|fail"
DKIM = "none|pass|fail|policy|neutral|temperror|permerror"
TEXT = r"[\s\S]*"


@attrs.frozen
class Kind:
    """An element: its text, or its children, each with the least and the most times that it is there; in any order, or
    ``in_order``."""

    text: str | None = None
    children: Mapping[str, tuple[int, int]] = attrs.Factory(dict)
    in_order: bool = False
    has_language: bool = False


def of(required: str, optional: str = "", many: str = "", in_order: bool = False) -> Kind:
    """``many``: any number, but where it is required, too: then at least one."""
    children = {}
    for name in dict.fromkeys(f"{required} {optional} {many}".split()):
        children[name] = (int(name in required.split()), MANY if name in many.split() else 1)
    return Kind(None, children, in_order)


KINDS = {
    "feedback": Kind(None, {
        "version": (0, 1), "report_metadata": (1, 1), "policy_published": (1, 1), "extension": (0, 1),
        "record": (1, MANY),
    }, in_order=True),
    "feedback/version": Kind(r"1\.0"),
    "report_metadata": of("org_name email report_id date_range", "extra_contact_info error generator"),
    "date_range": of("begin end"),
    "policy_published": of("domain p", "sp np fo adkim aspf discovery_method testing"),
    "record": of("row identifiers auth_results", in_order=True),
    "row": of("source_ip count policy_evaluated"),
    "policy_evaluated": Kind(
        None, {"disposition": (1, 1), "dkim": (1, 1), "spf": (1, 1), "reason": (0, MANY)}, in_order=True
    ),
    "reason": of("type", "comment"),
    "identifiers": of("header_from", "envelope_from envelope_to"),
    "auth_results": Kind(None, {"dkim": (0, MANY), "spf": (0, 1)}, in_order=True),
    "auth_results/dkim": of("domain selector result", "human_result"),
    "auth_results/spf": of("domain result", "scope human_result"),
    "begin": Kind(INTEGER), "end": Kind(INTEGER), "count": Kind(INTEGER),
    "discovery_method": Kind("psl|treewalk"),
    "p": Kind(POLICY), "sp": Kind(POLICY), "np": Kind(POLICY),
    "adkim": Kind("[rs]"), "aspf": Kind("[rs]"), "testing": Kind("[ny]"),
    "disposition": Kind("pass|" + POLICY),
    "policy_evaluated/dkim": Kind(ALIGNED), "policy_evaluated/spf": Kind(ALIGNED),
    "type": Kind("local_policy|mailing_list|other|policy_test_mode|trusted_forwarder"),
    "scope": Kind("mfrom"),
    "dkim/result": Kind(DKIM), "spf/result": Kind(DKIM + "|softfail"),
    **{name: Kind(TEXT) for name in (
        "org_name", "email", "report_id", "generator", "domain", "fo", "source_ip", "header_from", "envelope_from",
        "envelope_to", "selector",
    )},
    **{name: Kind(TEXT, has_language=True) for name in ("extra_contact_info", "error", "comment", "human_result")},
}


def read_report(content: bytes) -> ET.Element:
    """A report by gzip; AssertionError where it is not what RFC 9990 says."""
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    octets = unpacker.decompress(content)
    assert unpacker.eof
    assert unpacker.unused_data == b""
    xml.sax.parseString(octets, ContentHandler())  # namespaces aside, a second reader
    root = ET.fromstring(octets)
    _check(root, "")
    return root


def _check(element: ET.Element, parent: str) -> None:
    assert element.tag.startswith(NAMESPACE), element.tag
    name = element.tag.removeprefix(NAMESPACE)
    kind = KINDS.get(f"{parent}/{name}") or KINDS[name]
    assert set(element.attrib) <= ({"lang"} if kind.has_language else set())
    children = [child.tag.removeprefix(NAMESPACE) for child in element]
    if kind.text is not None:
        assert children == []
        assert re.fullmatch(kind.text, element.text or ""), (name, element.text)
        return
    assert not (element.text or "").strip()
    for child in element:
        assert not (child.tail or "").strip()
        _check(child, name)
    assert set(children) <= set(kind.children), (name, children)
    for child_name, (least, most) in kind.children.items():
        assert least <= children.count(child_name) <= most, (name, child_name)
    if kind.in_order:
        order = list(kind.children)
        assert children == sorted(children, key=order.index), (name, children)


def texts(element: ET.Element, path: str) -> Sequence[str]:
    """The texts of all elements at a path without namespaces."""
    return [one.text or "" for one in element.findall("/".join(NAMESPACE + name for name in path.split("/")))]
