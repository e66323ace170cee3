"""SPF as pyspf has it: made-up records that include each other, with the same DNS for both.

Where the two are known to differ nothing is made: pyspf counts each look-up that finds nothing, not each term; takes
trouble with a client's own names for a temperror (s5.5 does not); refuses unknown modifiers that stand twice (s6) and
records that name their own domain in an include, before they come to it; and reads ``%{d0}``.
"""

import ipaddress
import os
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import spf as pyspf

from mailgw.mail.address import Mailbox
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from mailgw.trust import spf
from mailgw.trust.spf import SpfQuestion, check_mail_from

CASES = max(4 * int(os.environ.get("MAILGW_EXAMPLES", "10")), int(os.environ.get("MAILGW_DIFFERENTIAL", "0")))
DOMAINS = ("a.example", "b.example", "c.example", "d.example")
HOSTS = ("mx1.example", "mx2.example", "h.a.example", "none.example", *DOMAINS)
CLIENTS = ("192.0.2.1", "192.0.2.2", "192.0.3.9", "2001:db8::1", "2001:db8::2", "cafe::1")
FAILING = ("TXT d.example", "A mx2.example", "AAAA mx2.example", "MX c.example")
SPECS = (
    *HOSTS, "%{d}", "%{o}", "h.%{d2}", "%{l}.example", "%{lr-}.example", "%{l1r-}.example", "%{i}.example", "%{h}",
    "%{ir}.%{v}.example", "%{p}", "%{S}.example", "a.example.", ".example", "a..example", "%%.example", "%_.example",
    "%{x}.example", "foo", "%",
)
LENGTHS = ("", "", "", "/24", "//64", "/24//64", "/0", "//0", "/16//32", "/33", "//129", "/024", "/")


def made_term(chance: random.Random, domain: str) -> str:
    qualifier = chance.choice(("", "", "+", "-", "~", "?"))
    spec, length = chance.choice(SPECS[:chance.choice((8, 16, len(SPECS)))]), chance.choice(LENGTHS)
    other = chance.choice([name for name in HOSTS if name > domain] or ["none.example"])
    match chance.randrange(11):
        case 0 | 1:
            return f"{qualifier}include:{other}"
        case 2:
            return f"{qualifier}a{chance.choice(('', f':{spec}'))}{length}"
        case 3:
            return f"{qualifier}MX{chance.choice(('', f':{spec}'))}{length}"
        case 4:
            return f"{qualifier}ptr{chance.choice(('', f':{spec}'))}"
        case 5:
            network = chance.choice(("192.0.2.1", "192.0.2.0/24", "192.0.2.1/33", "192.0.2", "0.0.0.0/0"))
            return f"{qualifier}ip4:{network}"
        case 6:
            network = chance.choice(("2001:db8::1", "2001:db8::/32", "::/0", "2001:db8::/129", "192.0.2.1", "::1"))
            return f"{qualifier}ip6:{network}"
        case 7 | 8:
            return f"{qualifier}exists:{spec}"
        case 9:
            return f"redirect={other}"
        case _:
            return chance.choice(("all", "-ALL", "~all", "all:", "ptr/24", "moo", "include", "redirect=", "-x=y"))


def made_record(chance: random.Random, domain: str) -> bytes:
    terms = [made_term(chance, domain) for _ in range(chance.randrange(1, 6))]
    version = chance.choice(("v=spf1", "v=spf1", "v=spf1", "V=SPF1 ", "v=spf10"))
    return " ".join([version, *terms, chance.choice(("-all", "~all", "x=%{d}", ""))]).encode()


def made_dns(chance: random.Random) -> FakeResolver:
    counts = {name: chance.choice((0, 1, 1, 1, 1, 1, 2)) for name in DOMAINS}
    made = ("user.example", "bad.strong.example", "1.2.0.192.in-addr.example", "192.0.2.1.example")  # of macros
    hosts = (*HOSTS[:3], *DOMAINS, *made)
    claims = ("h.a.example", "a.example", "mx1.example", "none.example")
    return FakeResolver(
        text_records={name: [made_record(chance, name) for _ in range(counts[name])] for name in DOMAINS},
        mx_records={
            name: [(n, f"m{n}.example" if n > 7 else chance.choice(HOSTS)) for n in range(chance.choice((0, 1, 2, 11)))]
            for name in DOMAINS
        },
        address_records={name: chance.sample(CLIENTS, 2) for name in hosts if chance.random() < 0.7},
        name_records={client: chance.sample(claims, 2) for client in CLIENTS if chance.random() < 0.6},
        failing=frozenset(chance.sample(FAILING, chance.choice((0, 0, 1)))),
    )


def answers(dns: FakeResolver, name: str, kind: str) -> Iterator[Any]:
    """As pyspf wants them."""
    name = name.lower()
    if f"{kind} {name}" in dns.failing:
        raise pyspf.TempError("no answer")
    addresses = dns.address_records.get(name, ())
    match kind:
        case "TXT":
            yield from ((text,) for text in dns.text_records.get(name, ()))
        case "MX":
            yield from dns.mx_records.get(name, ())
        case "A":
            yield from (address for address in addresses if ":" not in address)
        case "AAAA":
            yield from (socket.inet_pton(socket.AF_INET6, address) for address in addresses if ":" in address)
        case "PTR":
            for client, names in dns.name_records.items():
                if ipaddress.ip_address(client).reverse_pointer == name:
                    yield from names


def test_pyspf_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spf, "VOID_TERMS", 1000)
    monkeypatch.setattr(pyspf, "MAX_VOID_LOOKUPS", 1000)
    differing = []
    seen = set()
    for seed in range(CASES):
        chance = random.Random(seed)
        dns, client = made_dns(chance), chance.choice(CLIENTS)
        local_part, domain, helo = chance.choice(("user", "strong-bad")), chance.choice(DOMAINS[:2]), "b.example"
        monkeypatch.setattr(
            pyspf, "DNSLookup",
            lambda name, kind, *_, dns=dns: [((name, kind), answer) for answer in answers(dns, name, kind)],
        )
        theirs = pyspf.query(i=client, s=f"{local_part}@{domain}", h=helo).check()[0]
        ours = result_of(check_mail_from(dns, SpfQuestion(client, helo, Mailbox(local_part, domain), "", 0.0)))
        seen.add(theirs)
        if ours.result.value != theirs:
            differing.append((seed, client, theirs, ours, dns.text_records))
    assert differing == []
    assert {"pass", "fail", "softfail", "neutral", "none", "permerror"} <= seen
