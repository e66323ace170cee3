"""A resolver that says whatever can come out of DNS: in its port's own terms, at random, the same each time."""

import random
from collections import Counter
from collections.abc import Sequence

import attrs

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.names import MxRecord, Records, TlsaRecord

# What names of answers can be (``net.dns_wire.text_of``): the longest, none, octets that stand in no host's name.
NAMES = (
    "a.test", "b.test", "c.test", "a.a.test", "", ".", "..", "\\000.test", "a\\255.test", "-", "_x.test",
    "x" * 63 + ".test", ".".join(["y" * 63] * 3 + ["z" * 59]), "z" * 300, "192.0.2.1", "[192.0.2.1]",
    "xn--mnchen-3ya.test", "xn--.test", "%{p}.test", "a..test", "test", "localhost", "a test", "A.TEST", "*.test",
    "'; drop", "a.test.",
)
PIECES = (
    b"v=spf1", b"V=SPF1", b" ", b"  ", b"\t", b"all", b"-all", b"~all", b"include:", b"redirect=", b"exp=", b"a",
    b"mx", b"ptr", b"exists:", b"ip4:192.0.2.0/24", b"ip6:::/0", b"a:", b"mx:", b"ptr:", b"%{p}", b"%{d}", b"%{l1r-}",
    b"%{i}", b"%{h}", b"%{S}", b"%{d99999999999999999999}", b"%", b"%{", b"%%", b"%_", b"%-", b"/24", b"//64", b"/99",
    b"a.test", b"b.test", b"c.test", b"%{o}", b".", b":", b"=", b"-include:a.test", b"mx:c.test", b"a:b.test/0//0",
    b"x" * 64, b"redirect=a.test", b"v=DKIM1;", b"v=DKIM1; p=", b"p=", b"k=rsa;", b"k=ed25519;",
    b"p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", b"t=y:s;", b"h=sha256;", b"s=*;", b"s=email", b"AAAA", b"====",
    b"v=DMARC1;", b"v=DMARC1; p=reject;", b"p=reject;", b"sp=none;", b"np=reject;", b"psd=y;", b"psd=n;", b"adkim=s;",
    b"aspf=r;", b"rua=mailto:a@b.test!10m,", b"rua=", b"pct=1;", b"pct=101;", b"\0", b"\r\n", b"\n", b"\x7f", b"\x80",
    b"\xff\xfe", b"\xc3\xbc", b"\xe2\x80\xa8", b"\xc2\x85", b";", b",", b"!", b"\"", b"\\",
)
WHOLE = (
    b"v=spf1 include:a.test include:b.test include:c.test redirect=a.test", b"v=spf1 " + b"include:a.test " * 20,
    b"v=spf1 " + b"mx:a.test " * 10 + b"exp=a.test",
    b"v=spf1 mx:%{p}.test mx a:b.test ptr exists:%{ir}.%{p}.test -all exp=c.test",
    b"v=spf1 ptr:a.test " + b"mx:b.test " * 9, b"%{p} %{c} %{r} %{t} %{s}" * 40, b"v=spf1 " + b"a:%{d}" * 400,
    b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", b"v=DKIM1; p=" + b"A" * 5000,
    b"v=DMARC1; p=reject; sp=quarantine; np=reject", b"v=DMARC1; p=x", b"v=DMARC1; p=reject; psd=y",
    b"v=DMARC1; psd=n", b"v=DMARC1; p=none; rua=" + b"mailto:a@b.test," * 500,
)


@attrs.define
class HostileResolver:
    """``asked`` counts the questions of each type; one of another name is another question."""

    seed: int
    asked: Counter[str] = attrs.field(factory=Counter)
    names_asked: list[str] = attrs.field(factory=list)

    async def mx(self, domain: str) -> Records[MxRecord]:
        chance = self._chance("MX", domain)
        count = chance.choice((0, 1, 2, 9, 10, 11, 2000))
        return self._records(chance, [MxRecord(chance.randrange(65_536), chance.choice(NAMES)) for _ in range(count)])

    async def a(self, host: str) -> Records[str]:
        chance = self._chance("A", host)
        count = chance.choice((0, 1, 2, 2, 1000))
        return self._records(chance, [chance.choice(("192.0.2.1", f"10.0.0.{n % 256}")) for n in range(count)])

    async def aaaa(self, host: str) -> Records[str]:
        chance = self._chance("AAAA", host)
        count = chance.choice((0, 1, 2, 2, 1000))
        return self._records(chance, [chance.choice(("2001:db8::1", f"fe80::{n:x}")) for n in range(count)])

    async def addresses(self, host: str) -> Records[str]:
        chance = self._chance("A", host)
        return self._records(chance, ["192.0.2.1", "2001:db8::1"][:chance.randrange(3)])

    async def text(self, domain: str) -> Records[bytes]:
        chance = self._chance("TXT", domain)
        return self._records(chance, [self._text(chance) for _ in range(chance.choice((0, 1, 1, 1, 2, 5, 300)))])

    async def tlsa(self, host: str, port: int) -> Records[TlsaRecord]:
        return self._records(self._chance("TLSA", host), [])

    async def alias(self, host: str) -> Records[str]:
        chance = self._chance("CNAME", host)
        return self._records(chance, [chance.choice(NAMES)][:chance.randrange(2)])

    async def names(self, address: str) -> Sequence[str]:
        chance = self._chance("PTR", address)
        return [chance.choice(NAMES) for _ in range(chance.choice((0, 1, 2, 10, 11, 2000)))]

    async def exists(self, domain: str) -> bool:
        return self._chance("?", domain).random() < 0.5

    def _chance(self, kind: str, name: str) -> random.Random:
        self.asked[kind] += 1
        self.names_asked.append(f"{kind} {name}")
        chance = random.Random(f"{self.seed} {kind} {name.lower()}")
        if chance.random() < 0.05:
            raise TemporaryFault(f"no answer for {name}")
        return chance

    def _text(self, chance: random.Random) -> bytes:
        if chance.random() < 0.5:
            return chance.choice(WHOLE)
        text = chance.choice((b"", b"v=spf1 ", b"v=DMARC1; ", b"v=DKIM1; "))
        pieces = chance.choices(PIECES, k=chance.choice((0, 1, 3, 8, 30)))
        return text + b"".join(pieces) * chance.choice((1, 1, 1, 100))

    def _records(self, chance: random.Random, items: Sequence[object]) -> Records:  # type: ignore[type-arg]
        return Records(tuple(items), bool(items) or chance.random() < 0.5, chance.random() < 0.5, chance.choice(NAMES))
