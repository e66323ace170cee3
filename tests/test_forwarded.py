"""A message that two of us forward, with a list between: what ARC promises for it, and what it does not.

An author's host signs; the first hop (an alias, SRS) seals what it hands to a list; the list changes subject and body,
and seals or does not; the second hop judges, and hands on again.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailgw.mail import event as fact
from mailgw.mail.authentication import MethodResult, Property
from mailgw.testing import Gateway
from mailgw.trust.arc_seal import ARC_RULES, arc_set
from mailgw.trust.authres import AuthResults
from mailgw.trust.dkim_canon import body_hash
from mailgw.trust.dkim_sign import BadKey, SigningKey, read_signing_key
from tests.tables import each

DOMAINS = ("author.example", "one.example", "list.example", "two.example")
PEM = generate_private_key(65_537, 1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
# By whom each domain's mail comes.
HOSTS = {domain: f"192.0.2.{number}" for number, domain in enumerate(DOMAINS, 10)}
ALIASES = {
    "one.example": "team@one.example list@list.example\n", "two.example": "ann@two.example ann@three.example\n",
}
LETTER = (
    "Date: Tue, 14 Nov 2023 22:13:20 +0000\nMessage-ID: <1@author.example>\nFrom: Ann <ann@author.example>\n"
    "To: team@one.example\nSubject: Hello\n\nHello!\n"
)
CONFIG = """
hostname = "mx.{domain}"
[[route]]
recipients = ["@{domain}"]
backend = "mailboxes"
[[route]]
recipients = ["*"]
backend = "internet"
[backend.mailboxes]
type = "maildir"
path = "mail/{{domain}}/{{local_part}}"
recipients = "any"
[backend.internet]
type = "smtp"
[aliases]
file = "{folder}/{domain}"
[srs]
domain = "srs.{domain}"
secret_file = "{folder}/secret"
[trust]
trusted_sealers = {trusted}
[dkim]
seal_as = "{domain}"
[dkim.domains."{domain}"]
keys = {{ s = "{folder}/key" }}
"""


def signing_key(domain: str) -> SigningKey:
    key = read_signing_key(PEM, domain, "s")
    assert not isinstance(key, BadKey)
    return key


TEXTS = {
    **{f"s._domainkey.{domain}": signing_key(domain).record() for domain in DOMAINS},
    **{f"_dmarc.{domain}": "v=DMARC1; p=reject" for domain in DOMAINS},
    **{domain: f"v=spf1 ip4:{host} -all" for domain, host in HOSTS.items()},
    **{f"srs.{domain}": f"v=spf1 ip4:{host} -all" for domain, host in HOSTS.items()},
}


class Hops:
    """One gateway for each domain but the list's, where there is Python."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "secret").write_text("one\n")
        (folder / "key").write_bytes(PEM)
        (folder / "key").chmod(0o600)
        for domain in DOMAINS:
            (folder / domain).write_text(ALIASES.get(domain, ""))
        self._made: list[Gateway] = []

    def close(self) -> None:
        for gateway in self._made:
            gateway.close()

    def gateway(self, domain: str, trusted: str = "") -> Gateway:
        accounts = {"ann@author.example": "secret"} if domain == "author.example" else None
        config = CONFIG.format(domain=domain, folder=self._folder, trusted=trusted.split())
        made = Gateway(config, accounts=accounts)
        self._made.append(made)
        for name, text in TEXTS.items():
            made.dns.text(name, text)
        return made

    def passed_on(self, gateway: Gateway, host: str, octets: bytes | str, sender: str, to: str, **how: str) -> bytes:
        """What a host gets of a message that the gateway takes."""
        if host not in {peer.host for peer in gateway.peers.values()}:
            gateway.peer(host)
            gateway.dns.mx(host.removeprefix("mx."), host)
        answer = gateway.receive(octets, sender=sender, to=to, **how)
        assert answer.code == 250, answer
        peer = next(peer for peer in gateway.peers.values() if peer.host == host)
        assert re.fullmatch(r"ann@author\.example|SRS0=.*@srs\.(one|two)\.example", peer.messages[-1].sender)
        return peer.messages[-1].octets


@pytest.fixture
def hops(tmp_path: Path) -> Iterator[Hops]:
    made = Hops(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def at_the_list(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    """What comes to the list."""
    hops = Hops(tmp_path_factory.mktemp("hops"))
    signed = hops.passed_on(
        hops.gateway("author.example"), "mx.one.example", LETTER, "ann@author.example", "team@one.example",
        login="ann@author.example",
    )
    yield hops.passed_on(
        hops.gateway("one.example"), "mx.list.example", signed, "ann@author.example", "team@one.example",
        client=HOSTS["author.example"],
    )
    hops.close()


def by_the_list(message: bytes, seals: bool, says: str = "pass") -> bytes:
    """With a subject and a footer of its own; sealed by what the list found: the author's signature was whole there."""
    changed = message.replace(b"Subject: Hello", b"Subject: [list] Hello") + b"-- \r\nThe list\r\n"
    header, body = changed.split(b"\r\n\r\n", 1)
    header += b"\r\n\r\n"
    if not seals:
        return changed
    results = (
        MethodResult("dmarc", says, "", (Property("header", "from", "author.example"),)), MethodResult("arc", "pass"),
    )
    digest = body_hash(body, ARC_RULES.body_canon)
    made = arc_set(header, digest, AuthResults("list.example", results), signing_key("list.example"), 1_700_000_000)
    assert isinstance(made, bytes), made
    return made + changed


def said(results: tuple[str, ...]) -> Mapping[str, str]:
    """The last word of each method; of SPF that of MAIL FROM; none of iprev, which is of no account here."""
    words = [result.split(maxsplit=1)[0].rstrip(":").partition("=") for result in results if "smtp.helo" not in result]
    words = [word for word in words if word[0] != "iprev"]
    return {method: word for method, _, word in words}


def dkimpy_says(octets: bytes) -> bytes:
    def answer(name: bytes, timeout: int = 5) -> bytes | None:
        return TEXTS.get(name.decode().removesuffix("."), "").encode() or None

    found: bytes = dkim.arc_verify(octets, dnsfunc=answer)[0]
    return found


def test_what_comes_to_the_list(hops: Hops, at_the_list: bytes) -> None:
    message = at_the_list
    assert message.startswith(b"ARC-Seal: i=1; a=rsa-sha256; cv=none;\r\n\td=one.example;")
    (results,) = re.findall(rb"ARC-Authentication-Results: i=1; mx.one.example;\r\n(.*?)\r\n\S", message, re.DOTALL)
    assert {b"spf=pass", b"dkim=pass", b"arc=none", b"dmarc=pass"} <= set(re.split(rb"[ ;\s]+", results))
    assert dkimpy_says(message) == b"pass"
    # a list that changes nothing costs nothing
    answer = hops.gateway("two.example").receive(
        message, sender="bounces@list.example", to="joe@two.example", client=HOSTS["list.example"])
    assert answer.code == 250
    assert said(answer.results) == {"spf": "pass", "dkim": "pass", "arc": "pass", "dmarc": "pass"}


@each(("seals", "says", "trusted", "arc", "vouched"), [
    # the list seals: its word counts where it is trusted, and that of the first hop where all since are
    (True, "pass", "list.example", "pass", "list.example"),
    (True, "pass", ".list.example list.example", "pass", "list.example"),
    (True, "pass", "one.example list.example", "pass", "one.example"),
    (True, "pass", "", "pass", ""),
    (True, "pass", "one.example", "pass", ""),
    (True, "pass", ".example.org", "pass", ""),
    # what it found is not what its name stands for
    (True, "fail", "list.example", "pass", ""),
    (True, "fail", "one.example list.example", "pass", "one.example"),
    # it does not: the first hop's signature is broken, and with it the chain, whoever is trusted
    (False, "", "one.example list.example", "fail", ""),
    (False, "", "", "fail", ""),
])
def test_what_comes_from_the_list(
    hops: Hops, at_the_list: bytes, seals: bool, says: str, trusted: str, arc: str, vouched: str
) -> None:
    message = by_the_list(at_the_list, seals, says)
    gateway = hops.gateway("two.example", trusted)
    to = ["joe@two.example"]
    answer = gateway.receive(message, sender="bounces@list.example", to=to, client=HOSTS["list.example"])
    assert said(answer.results) == {"spf": "pass", "dkim": "fail", "arc": arc, "dmarc": "fail"}
    (judged,) = [one for one in gateway.journal if isinstance(one, fact.Authenticated)]
    assert judged.vouched_by == vouched
    if not vouched:
        assert (answer.code, answer.status) == (550, "5.7.1")
        assert "author.example asks" in answer.text
        assert not gateway.mailbox("joe@two.example")
        return
    assert answer.code == 250
    (letter,) = gateway.mailbox("joe@two.example")
    field = b" ".join(letter.partition(b"Authentication-Results:")[2].partition(b"\nReceived:")[0].split()).decode()
    assert field.startswith("mx.two.example;")
    assert f"{vouched} vouches for it (ARC)" in field
    assert "header.oldest-pass=2" in field


def test_what_is_handed_on_again(hops: Hops, at_the_list: bytes) -> None:
    """The chain has three sets then, and the last one sees that DMARC failed at the third, and why it was taken."""
    message = by_the_list(at_the_list, seals=True)
    last = hops.passed_on(
        hops.gateway("two.example", "list.example"), "mx.three.example", message, "bounces@list.example",
        "ann@two.example", client=HOSTS["list.example"],
    )
    assert last.startswith(b"ARC-Seal: i=3; a=rsa-sha256; cv=pass;\r\n\td=two.example;")
    assert dkimpy_says(last) == b"pass"
    assert dkimpy_says(last.replace(b"The list", b"The lisp")) == b"fail"
    own = b" ".join(last.partition(b"ARC-Authentication-Results: i=3;")[2].partition(b"\r\nARC-")[0].split())
    assert b"dmarc=fail" in own
    assert b"list.example vouches for it (ARC)" in own
