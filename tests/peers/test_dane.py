"""What a domain publishes, obeyed: DANE from a validating unbound, REQUIRETLS, and Postfix behind all of it.

One Postfix listens at port 25 of many addresses in 127.0.0.0/8, at each with another certificate.
"""

import datetime
import hashlib
import smtplib
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mailgw.trust.dane import public_key_info
from tests.peers.harness import (
    LATER,
    RELAYS,
    Gateway,
    Lab,
    Postfix,
    letter,
    listens,
    maildirs,
    route,
    runtime_user,
    submit,
    wait_for_letters,
    wait_until,
)
from tests.peers.zones import ValidatingUnbound, Zone

pytestmark = pytest.mark.peer

LONG_AGO = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
OTHER = "ee" * 32


@attrs.frozen
class Mx:
    """A host and its certificate; ``options`` of its smtpd."""

    address: str
    pem: str
    key: str
    issuer: str
    options: Sequence[str] = ()


class Issuer:
    """An authority, and what it issued, as PEM files that Postfix reads (``smtpd_tls_chain_files``)."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._made = folder, trustme.CA()
        self.ca = folder / "authority.pem"
        self._made.cert_pem.write_to_path(str(self.ca))
        self._count = 60

    def mx(self, name: str, expired: bool = False, options: Sequence[str] = ()) -> Mx:
        self._count += 1
        end = LONG_AGO + datetime.timedelta(days=1)
        cert = self._made.issue_cert(name, not_before=LONG_AGO, not_after=end) if expired else (
            self._made.issue_cert(name)
        )
        file = self._folder / f"{self._count}.pem"
        pem = cert.cert_chain_pems[0].bytes()
        file.write_bytes(cert.private_key_pem.bytes() + pem + self._made.cert_pem.bytes())
        return Mx(f"127.0.0.{self._count}", str(file), digest(pem), digest(self._made.cert_pem.bytes()), options)


def digest(pem: bytes) -> str:
    """SHA-256 of the public key, as TLSA records have it."""
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    return hashlib.sha256(public_key_info(der)).hexdigest()


@attrs.frozen
class Site:
    gateway: Gateway
    port: int
    postfix: Postfix
    far: Gateway

    def send(self, recipient: str, require_tls: bool = False, head: bytes = b"") -> None:
        if not require_tls:
            submit(self.port, "ann@home.test", recipient, head + letter(f"to {recipient}"))
            return
        with smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.test", timeout=60) as client:
            client.starttls()
            client.sendmail("ann@home.test", [recipient], letter(f"to {recipient}"), mail_options=["REQUIRETLS"])

    def result(self, recipient: str) -> str:
        """``"dane"``, ``"none"`` ... where it was delivered under TLS, ``"clear"``, or why it waits or went back."""
        words: list[str] = []

        def is_over() -> bool:
            for kind in ("delivered", "deferred", "bounced"):
                for fact in self.gateway.facts(kind):
                    if fact["recipient"] == recipient:
                        words.append(str(fact.get("verified", "clear")) if kind == "delivered" else (
                            f"{kind} {fact['status']} {fact['text']}"
                        ))
            return bool(words)

        wait_until(is_over, 30, f"a result for {recipient}")
        return words[-1]


@pytest.fixture
def site(lab: Lab) -> Site:
    keys = lab.public_folder()
    issuer = Issuer(keys)
    names = ("good", "other", "old", "plain", "ta", "unusable", "broken", "mixed", "far")
    hosts = {name: issuer.mx(f"{name}.signed.test", expired=name == "old") for name in names}
    hosts["other"] = attrs.evolve(hosts["other"], pem=issuer.mx("someone.else.test").pem)
    # It takes mail from those alone who show a certificate of the tests' authority.
    asking = ["-o smtpd_tls_req_ccert=yes", "-o smtpd_tls_security_level=encrypt",
              f"-o smtpd_tls_CAfile={lab.authority.ca}"]
    hosts["asks"] = issuer.mx("asks.signed.test", options=asking)
    hosts["plain"] = attrs.evolve(hosts["plain"], options=["-o smtpd_tls_security_level=none"])
    zones = [
        Zone("signed.test", [
            *(f"{name} A {mx.address}\nd-{name} MX 10 {name}" for name, mx in hosts.items()),
            f"_25._tcp.good TLSA 3 1 1 {hosts['good'].key}",
            f"_25._tcp.other TLSA 3 1 1 {hosts['other'].key}",  # it shows another certificate
            f"_25._tcp.old TLSA 3 1 1 {hosts['old'].key}",
            f"_25._tcp.plain TLSA 3 1 1 {hosts['plain'].key}",
            f"_25._tcp.ta TLSA 2 1 1 {hosts['ta'].issuer}",
            f"_25._tcp.unusable TLSA 1 1 1 {OTHER}",
            "none A 127.0.0.61\nd-none MX 10 none", "alias CNAME good\nd-alias MX 10 alias",
            "d-two MX 10 other\nd-two MX 20 good",
        ]),
        Zone("broken.test", ["@ MX 10 mx", f"mx A {hosts['good'].address}"], broken=True),
        Zone("plain.test", [
            "@ MX 10 good.signed.test.", "bad MX 10 other.signed.test.",
            f"own MX 10 own\nown A {hosts['good'].address}",
            f"_25._tcp.own TLSA 3 1 1 {OTHER}",
        ], signed=False),
    ]
    unbound = lab.own(ValidatingUnbound(lab.folder, lab.public_folder(), zones)).start()
    mx = hosts.pop("far")
    far = lab.mx_at(
        mx.address, "far.signed.test", f'[tls]\ncertificate = "{mx.pem}"\nprivate_key = "{mx.pem}"',
        route("@d-far.signed.test", "boxes"), maildirs("boxes"),
    ).start()
    postfix = _postfix(lab, hosts.values())
    gateway = lab.mx(
        lab.authority.toml(), f'[dns]\nservers = ["{unbound.server}"]', route("@home.test", "boxes"),
        route("*", "internet"), maildirs("boxes"), LATER,
        f'[backend.internet]\ntype = "smtp"\nmta_sts = false\ncheck_domains = false\nca_file = "{issuer.ca}"\n'
        f'client_certificate = "{lab.authority.certificate}"\nclient_key = "{lab.authority.private_key}"\n'
        '[[backend.internet.destination]]\ndomains = ["d-mixed.signed.test"]\ntls = "verify"\n'
        '[[backend.internet.destination]]\ndomains = ["d-broken.signed.test"]\ntls = "dane"\n',
        listen=RELAYS,
    )
    wait_until(lambda: listens(25, mx.address), 30, "the far gateway listens")
    return Site(gateway.start(), gateway.port, postfix, far)


def _postfix(lab: Lab, hosts: Iterable[Mx]) -> Postfix:
    _, _, uid, gid = runtime_user()
    made = Postfix(
        lab.public_folder(),
        f"""smtpd_tls_security_level = may
smtpd_tls_received_header = yes
virtual_mailbox_domains = static:ok
virtual_mailbox_base = @DIR@/mail
virtual_mailbox_maps = static:box/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
""",
    )
    with (made.folder / "etc/master.cf").open("a") as master:
        for mx in hosts:
            options = " ".join([f"-o smtpd_tls_chain_files={mx.pem}", *mx.options])
            master.write(f"{mx.address}:25 inet n - n - - smtpd {options}\n")
    lab.callback(made.stop)
    lab._logs.append(("postfix", made.words))
    return made.start()


def test_domains_are_served_as_they_publish(site: Site) -> None:
    expected = {
        "d-good.signed.test": "dane",
        "d-old.signed.test": "dane",  # expired: with usage 3 that means nothing
        "d-ta.signed.test": "dane",
        "d-alias.signed.test": "dane",
        "d-two.signed.test": "dane",  # by the second host
        "d-unusable.signed.test": "none",
        "d-asks.signed.test": "none",
        "d-none.signed.test": "none",
        "plain.test": "dane",  # an MX that is not signed, to a host that is
        "broken.test": "deferred",  # its signatures are wrong
        "own.plain.test": "none",  # records that nobody signed
        "d-mixed.signed.test": "ca",  # verify, by a destination table
        "d-other.signed.test": "deferred 4.7.5 No TLSA record matches the certificate",
        "bad.plain.test": "deferred 4.7.5 No TLSA record matches the certificate",
        "d-plain.signed.test": "deferred",  # it offers no TLS
        "d-broken.signed.test":
            "deferred 4.7.5 DANE is demanded of broken.signed.test, but it has no usable TLSA record",
    }
    for domain in expected:
        site.send(f"bob@{domain}")
    found = {domain: site.result(f"bob@{domain}") for domain in expected}
    assert found.pop("d-plain.signed.test").startswith("deferred 4.7.")
    assert found.pop("broken.test").startswith("deferred 4.4.3 ")
    assert found == {domain: words for domain, words in expected.items() if words != "deferred"}
    sent = [domain for domain, words in expected.items() if not words.startswith("deferred")]
    arrived = wait_for_letters(site.postfix.folder / "mail/box", len(sent))
    assert len(arrived) == len(sent)
    assert all(b"using TLSv1." in message for message in arrived), "none in clear"
    facts = site.gateway.facts("delivered")
    assert {str(fact["tls"])[:5] for fact in facts} == {"TLSv1"}


def test_messages_say_what_they_want(lab: Lab, site: Site) -> None:
    site.send("bob@d-other.signed.test", head=b"TLS-Required: No\r\n")
    assert site.result("bob@d-other.signed.test") == "none"
    site.send("bob@d-plain.signed.test", head=b"TLS-Required: No\r\n")
    assert site.result("bob@d-plain.signed.test") == "clear"
    # Postfix does not offer REQUIRETLS; another gateway does.
    site.send("bob@d-good.signed.test", require_tls=True)
    assert site.result("bob@d-good.signed.test").startswith("bounced 5.7.30 ")
    site.send("bob@own.plain.test", require_tls=True)
    assert site.result("bob@own.plain.test").startswith("bounced 5.7.10 "), "nobody vouches for the MX"
    site.send("bob@d-far.signed.test", require_tls=True)
    assert site.result("bob@d-far.signed.test") == "ca"
    arrived, = wait_for_letters(site.far.folder / "mail/d-far.signed.test/bob")
    assert b"with ESMTPS" in arrived
