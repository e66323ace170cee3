"""What the configuration says of judging who sent a message; apart, so that reading it takes no cryptography along."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

import attrs


@attrs.frozen
class Upstream:
    """Hosts that have judged what they bring, and write what they found under one of ``authserv_ids`` (``.example.org``
    for all names below)."""

    networks: Sequence[IPv4Network | IPv6Network]
    authserv_ids: tuple[str, ...]


@attrs.frozen
class AuthenticitySettings:
    """``judges`` False: nobody is asked, and nothing said.  ``seconds``: of all questions to DNS for one message
    (RFC 7208 s4.6.4: at least 20).

    ``signatures``, ``header_octets``, ``takes_partial_body`` and ``heeds_testing`` are ``trust.dkim.DkimRules``';
    ``trusted_sealers`` and ``heeds_pct`` ``trust.evidence.EvidenceRules``'.
    """

    judges: bool
    authserv_id: str
    seconds: float
    signatures: int
    header_octets: int
    takes_partial_body: bool
    heeds_testing: bool
    trusted_sealers: frozenset[str]
    heeds_pct: bool
    upstreams: tuple[Upstream, ...] = ()
