"""Zones signed here, and an unbound that serves and validates them: what a domain with DNSSEC looks like to a resolver.

One unbound is authority and validating resolver at once: its auth-zones answer instead of the world's servers
(for-upstream), and what they say is validated as if it had come from there.
"""

import datetime
from collections.abc import Sequence
from pathlib import Path

import attrs

from tests.peers.harness import Running, free_port

DAY = datetime.timedelta(days=1)
SOA = "3600 IN SOA ns.{name} root.{name} 1 3600 600 86400 60"


@attrs.frozen
class Zone:
    """``records`` as in a zone file, relative to ``name`` (``"@ MX 10 mx"``) or in full with the last dot; SOA and NS
    are added, TTLs are 300.

    ``signed``: with a trust anchor, so its answers are secure.  ``broken``: its signatures are zeroes, so its answers
    are bogus.  ``expired``: they are right, and were good until yesterday; bogus, too.
    """

    name: str
    records: Sequence[str]
    signed: bool = True
    broken: bool = False
    expired: bool = False


@attrs.frozen
class Written:
    """The zone as a file has it, and its trust anchor; ``""`` where it is not signed."""

    text: str
    anchor: str


def written(zone: Zone) -> Written:
    # Here, since each process of the unit suite imports the peer tests as well, though it runs none.
    import dns.dnssec
    import dns.name
    import dns.rdatatype
    import dns.zone
    from cryptography.hazmat.primitives.asymmetric import ec
    from dns.dnssectypes import Algorithm

    origin = dns.name.from_text(zone.name)
    lines = [f"@ {SOA.format(name=origin)}", "@ NS ns", "ns A 127.0.0.1", *zone.records]
    made = dns.zone.from_text("$TTL 300\n" + "\n".join(lines) + "\n", origin, relativize=False)
    anchor = ""
    if zone.signed:
        key = ec.generate_private_key(ec.SECP256R1())
        dnskey = dns.dnssec.make_dnskey(key.public_key(), Algorithm.ECDSAP256SHA256, flags=257)
        now = datetime.datetime.now(datetime.UTC)
        end = now - DAY if zone.expired else now + 30 * DAY
        dns.dnssec.sign_zone(made, keys=[(key, dnskey)], inception=now - 8 * DAY, expiration=end, add_dnskey=True)
        signatures = [rdataset for node in made.nodes.values() for rdataset in node.rdatasets
                      if rdataset.rdtype == dns.rdatatype.RRSIG and rdataset.covers != dns.rdatatype.DNSKEY]
        for rdataset in signatures if zone.broken else ():
            zeroes = [signature.replace(signature=bytes(64)) for signature in rdataset]
            rdataset.clear()
            for one in zeroes:
                rdataset.add(one)
        anchor = f"{origin} 300 IN DNSKEY {dnskey}"
    return Written(made.to_text(relativize=False), anchor)


UNBOUND = """server:
  interface: 127.0.0.1@{port}
  do-daemonize: no
  use-syslog: no
  logfile: "{folder}/unbound.log"
  pidfile: "{folder}/unbound.pid"
  directory: "{folder}"
  chroot: ""
  username: ""
  access-control: 127.0.0.0/8 allow
  module-config: "validator iterator"
  ede: yes
  val-log-level: 1
  num-threads: 1
  # Nothing leaves this machine: what is in no zone below does not exist.
  local-zone: "." static
{lines}
remote-control:
  control-enable: no
{zones}
"""

AUTH_ZONE = """auth-zone:
  name: "{name}."
  zonefile: "{folder}/{name}.zone"
  for-upstream: yes
  for-downstream: no
  fallback-enabled: no
"""


class ValidatingUnbound(Running):
    """Serves ``zones`` at ``port`` of 127.0.0.1, with the AD bit where they are signed; SERVFAIL where they are broken.

    For ``[dns] servers``: ``"127.0.0.1:{port}"``, believed since it is on the loopback.
    """

    def __init__(self, logs: Path, folder: Path, zones: Sequence[Zone]) -> None:
        super().__init__("unbound", logs)
        self.folder, self.port = folder, free_port()
        lines, parts = [], []
        for zone in zones:
            made = written(zone)
            (folder / f"{zone.name}.zone").write_text(made.text)
            lines.append(f'  local-zone: "{zone.name}." transparent')
            if made.anchor:
                lines.append(f'  trust-anchor: "{made.anchor}"')
            parts.append(AUTH_ZONE.format(name=zone.name, folder=folder))
        self.config = folder / "unbound.conf"
        text = UNBOUND.format(port=self.port, folder=folder, lines="\n".join(lines), zones="\n".join(parts))
        self.config.write_text(text)

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> "ValidatingUnbound":
        self.launch(["unbound", "-d", "-c", self.config], self.folder, [self.port])
        return self

    def words(self) -> str:
        log = self.folder / "unbound.log"
        return super().words() * (log != self.log) + (log.read_text(errors="replace") if log.exists() else "")
