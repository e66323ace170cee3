"""``[trust]`` into who judges where mail comes from, and what that comes to."""

from mailgw.config.document import Document
from mailgw.config.settings import TrustSettings
from mailgw.config.trust_tables import Quarantined
from mailgw.receive.authenticity_settings import AuthenticitySettings, Upstream


def trust_settings(document: Document, hostname: str) -> TrustSettings:
    table = document.trust
    authserv_id = table.authserv_id or hostname
    ours = {authserv_id.lower(), hostname.lower()}
    for at, one in enumerate(table.upstream):
        if any(_covers(pattern, name) for pattern in one.authserv_id for name in ours):
            # Its results are read before those in our name are taken away: it may not have taken away forged ones.
            table.spot.inner("upstream", at, "authserv_id").fault(
                "is our own name, or covers it: nobody could tell its results from ours; let it have another one, or"
                " set [trust] authserv_id"
            )
    judging = AuthenticitySettings(
        judges=table.verify,
        authserv_id=authserv_id,
        seconds=table.dns_timeout,
        signatures=table.signatures,
        header_octets=document.limits.header_octets,
        takes_partial_body=table.partial_body,
        heeds_testing=not table.testing_keys,
        trusted_sealers=frozenset(table.trusted_sealers),
        heeds_pct=table.pct,
        upstreams=tuple(Upstream(one.address, one.authserv_id) for one in table.upstream),
    )
    actions = {name: getattr(table, name) for name in ("spf", "dkim", "dmarc", "arc", "iprev")}
    return TrustSettings(judging, actions, table.quarantine is Quarantined.JUNK)


def _covers(pattern: str, name: str) -> bool:
    return name.endswith(pattern) if pattern.startswith(".") else name == pattern
