"""Who gets a domain's aggregate reports: the addresses of its record that want them, too (RFC 9990 s3.5, s4).

Rules:
    Another organization's address gets none unless that organization says, in DNS, that it takes reports on the domain:
    else a record could name somebody to be flooded.  Where it names another address in its place, that must be at the
    same host.
    At most ``REPORT_ADDRESSES`` of the record are looked at, and as many get the report.
Not done: other schemes than ``mailto:``.
"""

import itertools
from collections.abc import Sequence

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Resolver
from mailgw.trust.dmarc import organizational_domain
from mailgw.trust.dmarc_record import REPORT_ADDRESSES, DmarcRecord, ReportAddress, is_record, report_override

# RFC 1035 s3.1: 255 octets, of which the first length and the root's have no character.
NAME_CHARACTERS = 253
# By which a host agrees; it needs one, and what stands behind these is not looked at.
PERMISSIONS = 4


@attrs.frozen
class Destinations:
    """``addresses`` get the report; of ``refused`` and ``unknown`` each says in words why one does not, or not yet."""

    addresses: tuple[ReportAddress, ...]
    refused: tuple[str, ...]
    unknown: tuple[str, ...]


def permission_name(domain: str, host: str) -> str:
    """Where a host says that it takes reports on a domain (s4, steps 1 to 3)."""
    return f"{domain}._report._dmarc.{host}"


async def destinations(domain: str, record: DmarcRecord, resolver: Resolver) -> Destinations:
    """Who gets the reports on ``domain``, where ``record`` stands."""
    found: dict[Mailbox, ReportAddress] = {}
    refused: list[str] = []
    unknown: list[str] = []
    for address in record.aggregate_to[:REPORT_ADDRESSES]:
        try:
            wanted = await _wanted(domain, address, resolver)
        except TemporaryFault as fault:
            unknown.append(f"{address.mailbox}: {fault.why}")
            continue
        if isinstance(wanted, str):
            refused.append(f"{address.mailbox}: {wanted}")
            continue
        for one in wanted:
            found.setdefault(one.mailbox, one)
    return Destinations(tuple(found.values())[:REPORT_ADDRESSES], tuple(refused), tuple(unknown))


async def _wanted(domain: str, address: ReportAddress, resolver: Resolver) -> Sequence[ReportAddress] | str:
    """The address, or those that its host names in its place; or why it gets nothing, in words."""
    host = address.mailbox.domain
    if await _is_same_organization(domain, host, resolver):
        return [address]
    name = permission_name(domain, host)
    if len(name) > NAME_CHARACTERS:
        return "the name where its host would agree is too long"  # step 4
    texts = (await resolver.text(name)).items
    records = list(itertools.islice(filter(is_record, texts), PERMISSIONS))
    if not records:
        return f"its host takes no reports on {domain}: no record at {name}"  # step 7
    overrides = [found for text in records if (found := report_override(text)) is not None]
    if not overrides:
        return [address]
    # Step 9.  Of several records the first that names somebody counts, but none may name another host.
    if any(one.mailbox.domain != host for found in overrides for one in found):
        return f"its host wants them to go to another host: {name}"
    return overrides[0] or f"its host names no address in its place that can be read: {name}"


async def _is_same_organization(domain: str, host: str, resolver: Resolver) -> bool:
    if domain == host:
        return True
    # An organizational domain is its domain's own name or one above: without a label in common there is none in common.
    if domain.rpartition(".")[2] != host.rpartition(".")[2]:
        return False
    return await organizational_domain(domain, resolver) == await organizational_domain(host, resolver)
