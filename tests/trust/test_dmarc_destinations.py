"""Who gets a domain's reports: the check of addresses at other organizations."""

from collections.abc import Sequence

from mailgw.mail.address import Mailbox
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from mailgw.trust.dmarc_destinations import PERMISSIONS, Destinations, destinations, permission_name
from mailgw.trust.dmarc_record import REPORT_ADDRESSES, ReportAddress, read_record
from tests.tables import each

PERMISSION = "a.example._report._dmarc.b.test"
YES = b"v=DMARC1;"


def found(
    rua: str, records: dict[str, Sequence[bytes]] | None = None, failing: Sequence[str] = (), domain: str = "a.example"
) -> Destinations:
    resolver = FakeResolver(text_records=records or {}, failing=frozenset(failing))
    record = read_record(b"v=DMARC1; p=none; rua=" + rua.encode())
    return result_of(destinations(domain, record, resolver))


def to(*addresses: str) -> tuple[ReportAddress, ...]:
    parts = [address.partition("@") for address in addresses]
    return tuple(ReportAddress(Mailbox(local_part, domain), None) for local_part, _, domain in parts)


@each(("rua", "addresses"), [
    ("mailto:r@a.example", to("r@a.example")),
    ("mailto:r@A.example,mailto:s@a.example", to("r@a.example", "s@a.example")),
    # RFC 9990 s4: organizational domains are compared
    ("mailto:r@reports.a.example", to("r@reports.a.example")),
    ("mailto:r@b.test!5k", (ReportAddress(Mailbox("r", "b.test"), 5120),)),
    ("https://a.example/, mailto:r, mailto:s@b.test", to("s@b.test")),
])
def test_who_gets_it(rua: str, addresses: tuple[ReportAddress, ...]) -> None:
    records = {PERMISSION: [YES], "_dmarc.a.example": [b"v=DMARC1; p=none"]}
    assert found(rua, records) == Destinations(addresses, (), ())


def test_other_organizations_below_a_public_suffix() -> None:
    records = {
        "_dmarc.a.bank": [b"v=DMARC1; p=none"], "_dmarc.b.bank": [b"v=DMARC1; p=none"],
        "_dmarc.bank": [b"v=DMARC1; p=none; psd=y"],
    }
    it = found("mailto:r@b.bank", records, domain="a.bank")
    assert (it.addresses, it.unknown) == ((), ())
    # a subdomain's record, and its organization's address
    assert found("mailto:r@a.bank", records, domain="x.a.bank").addresses == to("r@a.bank")


@each(("texts", "why"), [
    ([], "no record at"),
    ([b"v=spf1 -all", b"v=DMARC2;", b"v=DMARC10", b"p=none; v=DMARC1"], "no record at"),
    ([b"v=DMARC1; rua=mailto:x@c.test"], "to another host"),
    # step 9: neither the one nor the other
    ([b"v=DMARC1; rua=mailto:s@b.test,mailto:x@c.test"], "to another host"),
    ([b"v=DMARC1; rua=mailto:s@sub.b.test"], "to another host"),
    ([b"v=DMARC1; rua=mailto:s@b.test", b"v=DMARC1; rua=mailto:s@c.test"], "to another host"),
    ([b"v=DMARC1; rua=mailto:" + b",mailto:".join(b"s%d@b.test" % n for n in range(9)) + b",mailto:x@c.test"],
     "to another host"),
    ([b"v=DMARC1; rua=https://b.test/"], "no address in its place"),
    ([b"v=DMARC1; rua="], "no address in its place"),
])
def test_who_gets_none(texts: Sequence[bytes], why: str) -> None:
    it = found("mailto:r@b.test", {PERMISSION: texts})
    assert (it.addresses, it.unknown) == ((), ())
    [words] = it.refused
    assert words.startswith("r@b.test: ")
    assert why in words


@each(("texts", "addresses"), [
    ([b"v=DMARC1"], to("r@b.test")),
    ([b"v=DMARC1; p=none"], to("r@b.test")),
    ([b"v=spf1 -all", YES], to("r@b.test")),
    ([YES, YES], to("r@b.test")),
    ([b"v=DMARC1; rua=mailto:s@b.test"], to("s@b.test")),
    ([YES, b"v=DMARC1; rua=mailto:s@b.test,x"], to("s@b.test")),
    ([b"v=DMARC1; rua=mailto:s@b.test!1k"], (ReportAddress(Mailbox("s", "b.test"), 1024),)),
])
def test_who_agrees(texts: Sequence[bytes], addresses: tuple[ReportAddress, ...]) -> None:
    assert found("mailto:r@b.test", {PERMISSION: texts}) == Destinations(addresses, (), ())


def test_what_dns_does_not_say_is_asked_again() -> None:
    it = found("mailto:r@b.test,mailto:s@a.example", failing=[PERMISSION])
    assert (it.addresses, it.refused) == (to("s@a.example"), ())
    assert [words.partition(":")[0] for words in it.unknown] == ["r@b.test"]
    it = found("mailto:r@x.a.example", {"_dmarc.a.example": [YES]}, failing=["_dmarc.x.a.example"])
    assert (it.addresses, it.refused, len(it.unknown)) == ((), (), 1)


def test_names_that_are_too_long() -> None:
    domain = ".".join(["a" * 60] * 3)
    host = ".".join(["b" * 53, "test"])
    assert len(permission_name(domain, host)) == 256
    assert "too long" in found(f"mailto:r@{host}", domain=domain).refused[0]
    host = host[3:]
    name = permission_name(domain, host)
    assert len(name) == 253
    assert found(f"mailto:r@{host}", {name: [YES]}, domain=domain).addresses == to(f"r@{host}")
    host = "b" + host
    assert "too long" in found(f"mailto:r@{host}", {permission_name(domain, host): [YES]}, domain=domain).refused[0]


@each("more", [0, 1])
def test_addresses_have_a_limit(more: int) -> None:
    names = [f"r{number}@a.example" for number in range(REPORT_ADDRESSES + more)]
    assert found(",".join(f"mailto:{name}" for name in names)).addresses == to(*names[:REPORT_ADDRESSES])
    # ... and so have those that another host names in place of one
    instead = [f"s{number}@b.test" for number in range(REPORT_ADDRESSES + more)]
    text = b"v=DMARC1; rua=" + b",".join(b"mailto:" + name.encode() for name in instead)
    assert found("mailto:r@b.test", {PERMISSION: [text]}).addresses == to(*instead[:REPORT_ADDRESSES])


@each(("before", "addresses"), [(PERMISSIONS - 1, to("x@b.test")), (PERMISSIONS, to("r@b.test"))])
def test_of_many_records_the_first_ones_are_looked_at(before: int, addresses: tuple[ReportAddress, ...]) -> None:
    texts = [YES] * before + [b"v=DMARC1; rua=mailto:x@b.test"]
    assert found("mailto:r@b.test", {PERMISSION: texts}).addresses == addresses
