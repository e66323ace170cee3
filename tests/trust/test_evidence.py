"""All the evidence on one message: who vouches, what a name is worth, who is asked for whom."""

from collections.abc import Callable

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.authentication import Authentication
from mailgw.mail.envelope import NO_NAME, UNKNOWN_NAME, ReverseName
from mailgw.testing import FakeResolver
from mailgw.testing.driving import result_of
from mailgw.trust.arc_seal import arc_set
from mailgw.trust.authres import AuthResults, read_field, written
from mailgw.trust.dkim import RANKED, DkimRules, nearness
from mailgw.trust.dkim_canon import Canon, body_hash
from mailgw.trust.dkim_key import LoadedKeys
from mailgw.trust.evidence import Bringer, Evidence, EvidenceRules, Gathering, Means
from mailgw.trust.together import go_on, one_by_one
from tests.tables import each
from tests.trust.dkim_mail import ED25519_RECORD, NOW, ed25519_key, signed

ANN = Mailbox("ann", "example.net")
HEADER = b"From: ann@example.net\r\nTo: bob@example.org\r\nSubject: hello\r\n\r\n"
BODY = b"hi\r\n"
RULES = EvidenceRules(
    "mx.example.org", DkimRules(10, 10_000, takes_partial_body=False, heeds_testing=True),
    frozenset({"lists.example", ".trusted.example"}), heeds_pct=True,
)
STRANGER = Bringer("192.0.2.1", "client.example.net", ANN, None)
ZONE = {
    "_dmarc.example.net": [b"v=DMARC1; p=reject"],
    **{f"brisbane._domainkey.{domain}": [ED25519_RECORD] for domain in (
        "example.net", "lists.example", "other.example", "a.trusted.example", "trusted.example")},
}


def gathered(
    message: bytes = HEADER + BODY, bringer: Bringer = STRANGER, rules: EvidenceRules = RULES,
    zone: dict[str, list[bytes]] | None = None, chance: Callable[[], float] = lambda: 0.0,
    failing: str = "",
) -> Evidence:
    end = message.index(b"\r\n\r\n") + 4
    gathering = Gathering(message[:end], rules, LoadedKeys(10), NOW)
    gathering.feed(message[end:])
    gathering.end()
    dns = FakeResolver(text_records={**ZONE, **(zone or {})}, failing=frozenset(failing.split()))
    return result_of(gathering.evidence(bringer, Means(dns, dns, dns, one_by_one, go_on, chance)))


def words(authentication: Authentication) -> list[str]:
    return [str(one) for one in authentication]


def sealed(message: bytes, domain: str, said: str) -> bytes:
    """By a host that found this."""
    results = read_field(f"{domain}; {said}".encode())
    assert isinstance(results, AuthResults)
    end = message.index(b"\r\n\r\n") + 4
    key = attrs.evolve(ed25519_key(), domain=domain)
    fields = arc_set(message[:end], body_hash(message[end:], Canon.RELAXED), results, key, NOW)
    assert isinstance(fields, bytes), fields
    return fields + message


PASSED = "dmarc=pass header.from=example.net"
MESSAGE = HEADER + BODY
LIST = sealed(MESSAGE, "lists.example", PASSED)


@each(("message", "vouched_by"), [
    (MESSAGE, ""),
    (LIST, "lists.example"),
    (sealed(MESSAGE, "lists.example", "spf=fail; dmarc=pass header.from=Example.NET."), "lists.example"),
    (sealed(MESSAGE, "lists.example", "dmarc=pass"), "lists.example"),                         # names nobody
    (sealed(MESSAGE, "lists.example", "dmarc=pass header.from=other.example"), ""),            # another author
    (sealed(MESSAGE, "lists.example", "dmarc=pass header.from=sub.example.net"), ""),
    (sealed(MESSAGE, "lists.example", "dmarc=fail header.from=example.net"), ""),
    (sealed(MESSAGE, "lists.example", "dkim=pass header.d=example.net"), ""),
    (sealed(MESSAGE, "lists.example", "none"), ""),
    (sealed(MESSAGE, "lists.example", f"{PASSED}; dmarc=fail header.from=example.net"), ""),   # contradicts itself
    (sealed(MESSAGE, "lists.example", f"dmarc=fail header.from=example.net; {PASSED}"), ""),
    (sealed(MESSAGE, "lists.example", f"{PASSED}; dmarc=fail"), ""),
    (sealed(MESSAGE, "lists.example", f"{PASSED}; dmarc=fail header.from=other.example"), "lists.example"),
    (sealed(MESSAGE, "other.example", PASSED), ""),                                            # nobody trusts him
    (sealed(MESSAGE, "a.trusted.example", PASSED), "a.trusted.example"),
    (sealed(MESSAGE, "trusted.example", PASSED), ""),                                          # ".x" is all below x
    (LIST + b"a footer\r\n", ""),                                                              # the chain is broken
    (LIST.replace(b"dmarc=pass", b"dmarc=none"), ""),
    (sealed(LIST, "a.trusted.example", f"arc=pass; {PASSED}"), "lists.example"),
    (sealed(LIST, "other.example", f"arc=pass; {PASSED}"), ""),                                # the last is a stranger
    (sealed(sealed(MESSAGE, "other.example", PASSED), "lists.example", f"arc=pass; {PASSED}"), "lists.example"),
    (sealed(sealed(MESSAGE, "other.example", PASSED), "lists.example", "arc=pass; dmarc=fail"), ""),
    (sealed(sealed(MESSAGE, "lists.example", "dmarc=fail"), "a.trusted.example", f"arc=pass; {PASSED}"), ""),
])
def test_who_vouches_for_what_fails(message: bytes, vouched_by: str) -> None:
    found = gathered(message)
    assert found.authentication.vouched_by == vouched_by
    dmarc = found.authentication.of("dmarc")
    assert dmarc is not None
    assert dmarc.result == "fail"
    assert dmarc.value("policy", "vouched-by") == vouched_by
    assert dmarc.reason.endswith("; " + vouched_by + " vouches for it (ARC)") == bool(vouched_by)


OTHER_PASSED = "dmarc=pass header.from=bank.example"


@each(("said", "vouched_by"), [
    (f"{PASSED}; {OTHER_PASSED}", "lists.example"),
    (PASSED, ""),
    (OTHER_PASSED, ""),
    ("dmarc=pass", ""),                      # whose was it?
    ("dmarc=pass; dmarc=pass", ""),
    (f"{PASSED}; dmarc=pass", ""),
    (f"{PASSED}; {OTHER_PASSED}; dmarc=fail", ""),
    (f"{PASSED}; dmarc=fail header.from=bank.example", ""),
    (f"{PASSED}; {OTHER_PASSED}; dmarc=fail header.from=bank.example", ""),
])
def test_who_vouches_for_one_author_lets_no_other_in(said: str, vouched_by: str) -> None:
    for authors in (b"ann@example.net, ceo@bank.example", b"ceo@bank.example, ann@example.net"):
        message = MESSAGE.replace(b"ann@example.net", authors)
        found = gathered(sealed(message, "lists.example", said), zone={"_dmarc.bank.example": [b"v=DMARC1; p=reject"]})
        assert found.authentication.word("dmarc") == "fail"
        assert found.authentication.vouched_by == vouched_by


def test_who_needs_nobody_is_not_vouched_for() -> None:
    message = MESSAGE.replace(b"ann@example.net", b"ann@example.net, ceo@bank.example")
    zone = {"_dmarc.bank.example": [b"v=DMARC1; p=reject"], "example.net": [b"v=spf1 ip4:192.0.2.1 -all"]}
    assert gathered(sealed(message, "lists.example", OTHER_PASSED), zone=zone).authentication.vouched_by
    assert not gathered(sealed(message, "lists.example", PASSED), zone=zone).authentication.vouched_by


@each("zone", [
    {"example.net": [b"v=spf1 ip4:192.0.2.1 -all"]},   # passes
    {"_dmarc.example.net": []},                          # nobody asks for anything
    {"_dmarc.example.net": [b"v=DMARC1; p=perhaps"]},
])
def test_of_what_does_not_fail_nobody_vouches(zone: dict[str, list[bytes]]) -> None:
    found = gathered(LIST, zone=zone)
    assert found.authentication.word("arc") == "pass"
    assert found.authentication.vouched_by == ""


@each(("sealers", "domain", "is_trusted"), [
    ({"lists.example"}, "lists.example", True),
    ({"lists.example"}, "a.lists.example", False),
    ({".lists.example"}, "a.lists.example", True),
    ({".lists.example"}, "a.b.lists.example", True),
    ({".lists.example"}, "lists.example", False),
    ({".lists.example"}, "evillists.example", False),
    (set(), "example", False),
])
def test_whom_the_operator_trusts(sealers: set[str], domain: str, is_trusted: bool) -> None:
    assert attrs.evolve(RULES, trusted_sealers=frozenset(sealers)).trusts(domain) is is_trusted


@each(("reverse", "said"), [
    (None, None),
    (ReverseName("client.example.net", True), "pass: "),
    (ReverseName("client.example.net", False), "fail: client.example.net is not at this address"),
    (NO_NAME, "permerror: the address has no name"),
    (UNKNOWN_NAME, "temperror: no answer in time"),
    (ReverseName("client.example.net", False, is_known=False), "temperror: no answer in time"),
    (ReverseName("a; dmarc=pass.example", False), "fail: a, dmarc:pass.example is not at this address"),
])
def test_what_the_address_s_name_is_worth(reverse: ReverseName | None, said: str | None) -> None:
    found = gathered(bringer=attrs.evolve(STRANGER, reverse=reverse)).authentication.of("iprev")
    assert (None if found is None else f"{found.result}: {found.reason}") == said
    if found is not None:
        assert found.value("policy", "iprev") == "192.0.2.1"


@each(("heeds", "draw", "policy"), [
    (True, 0.0, "reject"), (True, 0.2999, "reject"), (True, 0.3, "quarantine"), (True, 0.99, "quarantine"),
    (False, 0.99, "reject"),
])
def test_a_part_is_spared_by_lot(heeds: bool, draw: float, policy: str) -> None:
    drawn: list[float] = []

    def chance() -> float:
        drawn.append(draw)
        return draw

    zone = {"_dmarc.example.net": [b"v=DMARC1; p=reject; pct=30"]}
    found = gathered(rules=attrs.evolve(RULES, heeds_pct=heeds), zone=zone, chance=chance)
    dmarc = found.authentication.of("dmarc")
    assert dmarc is not None
    assert dmarc.value("policy", "dmarc") == policy
    assert len(drawn) == int(heeds)


def spf_of(found: Evidence) -> list[str]:
    return [one for one in words(found.authentication) if one.startswith("spf")]


CLIENT_ZONE = {"client.example.net": [b"v=spf1 ip4:192.0.2.1 -all"], "example.net": [b"v=spf1 -all"]}


@each(("reverse_path", "helo", "said"), [
    (ANN, "client.example.net", ["spf=fail smtp.mailfrom=ann@example.net", "spf=pass smtp.helo=client.example.net"]),
    (None, "client.example.net", ["spf=pass smtp.helo=client.example.net"]),
    (ANN, "client.example.net.", ["spf=fail smtp.mailfrom=ann@example.net", "spf=pass smtp.helo=client.example.net"]),
    (ANN, "[192.0.2.1]", ["spf=fail smtp.mailfrom=ann@example.net", "spf=none"]),
    (ANN, "a b", ["spf=fail smtp.mailfrom=ann@example.net", "spf=none"]),
    (None, "[192.0.2.1]", ["spf=none"]),
    (None, "localhost", ["spf=none smtp.helo=localhost"]),
    # Readers who know no quotes would find a result in them.
    (Mailbox("a; dmarc=pass", "example.net"), "a b", ["spf=fail smtp.mailfrom=example.net", "spf=none"]),
    (Mailbox("a=b", "example.net"), "a b", ["spf=fail smtp.mailfrom=a=b@example.net", "spf=none"]),
])
def test_whose_word_spf_is(reverse_path: Mailbox | None, helo: str, said: list[str]) -> None:
    found = gathered(bringer=attrs.evolve(STRANGER, reverse_path=reverse_path, helo=helo), zone=CLIENT_ZONE)
    assert spf_of(found) == said
    assert (found.helo is None) == (reverse_path is None)
    assert found.authentication.word("spf") == said[0].split()[0].removeprefix("spf=")


def test_strangers_words_look_like_no_results() -> None:
    zone = {
        "example.net": [b"v=spf1 x; dmarc=pass"],
        "client.example.net": [b"v=spf1 redirect=_spf.client.example.net"],
        "_spf.client.example.net": [b"v=spf1 ?exists:%{l=}.example -all"],
    }
    header = HEADER.replace(b"From:", b'DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=x; h=from; b=AAAA;\r\n'
                            b' bh=' + b"A" * 43 + b'=; i=a=3B=20dmarc=3Dpass@example.net\r\nFrom:')
    found = gathered(header + BODY, zone=zone).authentication
    reasons = [one.reason for one in found if one.method == "spf"]
    assert reasons[0] == "example.net has no such term: x,"
    assert "redirect:_spf.client.example.net" in reasons[1]
    signature = found.of("dkim")
    assert signature is not None
    assert signature.value("header", "i") == "@example.net"
    field = written(AuthResults("mx.example.org", found.results), smtputf8=True)
    assert b"dmarc=pass" not in field
    assert field.count(b";") == len(found)


def test_who_sends_reports_stands_behind_them_by_his_name() -> None:
    found = gathered(
        HEADER.replace(b"ann@example.net", b"mailer-daemon@example.net"),
        attrs.evolve(STRANGER, reverse_path=None), zone=CLIENT_ZONE,
    )
    assert found.authentication.passes("dmarc")


def test_whose_helo_passes_stands_behind_nothing_else() -> None:
    found = gathered(zone=CLIENT_ZONE)
    assert not found.authentication.passes("dmarc")
    assert not found.authentication.passes("spf")


@each(("above", "word"), [(9, "pass"), (10, "pass"), (RANKED - 1, "pass"), (RANKED, "fail")])
def test_the_author_s_signature_is_found_below_those_of_others(above: int, word: str) -> None:
    message = signed(HEADER, BODY, key=attrs.evolve(ed25519_key(), domain="example.net"))
    foreign = signed(HEADER, BODY, key=attrs.evolve(ed25519_key(), domain="other.example"))
    field = foreign[:len(foreign) - len(HEADER + BODY)]
    rules = attrs.evolve(RULES, dkim=attrs.evolve(RULES.dkim, header_octets=100_000))
    found = gathered(field * above + message, rules=rules)
    assert found.authentication.word("dmarc") == word
    assert len(found.dkim) == min(above + 1, 10 + 1)  # the last one is of those that were passed over
    assert sum(one.domain == "other.example" for one in found.dkim) == min(above, 9 if word == "pass" else 10)


@each(("domain", "authors", "rank"), [
    ("example.net", ["example.net"], 0),
    ("example.net", ["a.example", "example.net"], 0),
    ("a.example.net", ["example.net"], 1),
    ("example.net", ["a.b.example.net"], 1),
    ("net", ["example.net"], 1),
    ("b.example.net", ["a.example.net"], 2),
    ("bexample.net", ["example.net"], 3),
    ("other.net", ["example.net"], 3),
    ("", ["example.net"], 3),
    ("example.net", [], 3),
])
def test_how_near_a_signature_is(domain: str, authors: list[str], rank: int) -> None:
    assert nearness(domain, authors) == rank


def test_trouble_is_that_of_the_methods_that_needed_the_answer() -> None:
    message = signed(HEADER, BODY, key=attrs.evolve(ed25519_key(), domain="example.net"))
    found = gathered(message, failing="brisbane._domainkey.example.net").authentication
    assert [found.word(one) for one in ("spf", "dkim", "dmarc", "arc")] == ["none", "temperror", "temperror", "none"]
    found = gathered(message, failing="example.net").authentication
    assert [found.word(one) for one in ("spf", "dkim", "dmarc", "arc")] == ["temperror", "pass", "pass", "none"]
