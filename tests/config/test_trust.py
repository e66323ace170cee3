"""``[trust]``: what of it is no configuration, and what will be regretted."""

import sys
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

import attrs
import pytest

from mailgw.config.doubts import doubts
from mailgw.config.settings import TrustSettings
from mailgw.policy.rules.authentic import DEFAULTS, WORDS, Action
from mailgw.receive.authenticity_settings import AuthenticitySettings, Upstream
from tests.config.making import SMALL, faults_of, loaded
from tests.tables import each

EVERYTHING = """
[trust]
authserv_id = "results.example.org"
quarantine = "hold"
trusted_sealers = ["lists.example.net", ".google.com"]
dns_timeout = "10s"
signatures = 100
partial_body = true
testing_keys = false
pct = false
[trust.dmarc]
fail_quarantine = "tag"
temperror = "defer"
[trust.spf]
fail = "quarantine"
[[trust.upstream]]
address = ["192.0.2.7", "2001:db8::/64"]
authserv_id = ["filter.example.org"]
"""
USUAL = AuthenticitySettings(
    judges=True, authserv_id="mx1.example.org", seconds=30.0, signatures=10, header_octets=256 * 1024,
    takes_partial_body=False, heeds_testing=False, trusted_sealers=frozenset(), heeds_pct=True,
)


def written(folder: Path, table: str) -> Path:
    file = folder / "mailgw.toml"
    file.write_text(SMALL + table)
    return file


def test_without_a_table_strangers_are_judged(tmp_path: Path) -> None:
    found = loaded(written(tmp_path, "")).trust
    nothing: dict[str, Action] = {}
    assert found == TrustSettings(USUAL, {name: DEFAULTS.get(name, nothing) for name in WORDS}, True)


def test_all_that_can_be_said(tmp_path: Path) -> None:
    found = loaded(written(tmp_path, EVERYTHING)).trust
    assert found.judging == attrs.evolve(
        USUAL, authserv_id="results.example.org", seconds=10.0, signatures=100, takes_partial_body=True,
        heeds_testing=True, trusted_sealers=frozenset({"lists.example.net", ".google.com"}), heeds_pct=False,
        upstreams=(Upstream((ip_network("192.0.2.7"), ip_network("2001:db8::/64")), ("filter.example.org",)),),
    )
    assert found.actions["dmarc"] == {
        "fail_reject": Action.REJECT, "fail_quarantine": Action.TAG, "unclear_author": Action.QUARANTINE,
        "temperror": Action.DEFER,
    }
    assert (found.actions["spf"], found.actions["dkim"], found.files_junk) == ({"fail": Action.QUARANTINE}, {}, False)
    assert not loaded(written(tmp_path, "[trust]\nverify = false\n")).trust.judging.judges


UPSTREAM = '[[trust.upstream]]\naddress = ["192.0.2.7"]\nauthserv_id = ["filter.example.net"]\n'


@each(("table", "fault"), [
    ("verify = 1", "trust.verify: expected true or false"),
    ("verfy = true", "did you mean 'verify'?"),
    ('authserv_id = "a b"', "trust.authserv_id: expected"),
    ('quarantine = "Junk folder"', "trust.quarantine: expected"),
    ('quarantine = "held"', "did you mean 'hold'?"),
    ('trusted_sealers = ["*.example.net"]', "trust.trusted_sealers: expected"),
    ('trusted_sealers = "example.net"', "trust.trusted_sealers: expected"),
    ('dns_timeout = "0.9s"', 'trust.dns_timeout: expected "1s" to "180s"'),
    ('dns_timeout = "181s"', 'trust.dns_timeout: expected "1s" to "180s"'),
    ("dns_timeout = 10", "trust.dns_timeout: expected"),
    ("signatures = 0", "trust.signatures: expected"),
    ("signatures = 101", "trust.signatures: expected 1 to 100"),
    ('partial_body = "no"', "trust.partial_body: expected true or false"),
    ("testing_keys = 0", "trust.testing_keys: expected true or false"),
    ("pct = 50", "trust.pct: expected true or false"),
    ('spf = "reject"', "trust.spf: expected a table, [trust.spf]"),
    ('[trust.spf]\nhardfail = "reject"', "trust.spf.hardfail: is no result of spf; did you mean 'fail'?"),
    ('[trust.spf]\nquite = "reject"', "trust.spf.quite: is no result of spf; expected one of pass, fail, softfail"),
    ('[trust.dmarc]\nfail = "reject"', "trust.dmarc.fail: is no result of dmarc"),
    ('[trust.dkim]\nfail = "refuse"', "trust.dkim.fail: expected 'pass', 'tag', 'quarantine', 'defer', 'reject'"),
    ('[trust.dkim]\nfail = "rejct"', "did you mean 'reject'?"),
    ("[trust.dkim]\nfail = true", "trust.dkim.fail: expected 'pass'"),
    ('[trust.spd]\nfail = "tag"', "did you mean 'spf'?"),
    *((f'[trust.{name}]\ntemperror = "reject"', f"trust.{name}.temperror: is trouble that may pass") for name in WORDS),
    (UPSTREAM.replace("192.0.2.7", "192.0.2.7/8"), "bits are set right of the prefix"),
    (UPSTREAM.replace("address", "adress"), "did you mean 'address'?"),
    (UPSTREAM.replace("filter.example.net", "mx1.example.org"), "authserv_id: is our own name, or covers it"),
    (UPSTREAM.replace("filter.example.net", "MX1.example.org"), "authserv_id: is our own name, or covers it"),
    (UPSTREAM.replace("filter.example.net", ".example.org"), "authserv_id: is our own name, or covers it"),
    ('authserv_id = "filter.example.net"\n' + UPSTREAM, "authserv_id: is our own name, or covers it"),
])
def test_faults(tmp_path: Path, table: str, fault: str) -> None:
    head = "" if table.startswith("[") else "[trust]\n"
    found = faults_of(written(tmp_path, f"{head}{table}\n"))
    assert any(fault in one for one in found), found


@each("table", [
    UPSTREAM.replace("filter.example.net", "example.org"), UPSTREAM.replace("filter.example.net", ".mx1.example.org"),
    'authserv_id = "other.example"\n' + UPSTREAM, 'dns_timeout = "1s"', 'dns_timeout = "180s"', "signatures = 1",
    'quarantine = "junk"', "trusted_sealers = []",
])
def test_what_is_none(tmp_path: Path, table: str) -> None:
    assert faults_of(written(tmp_path, table if table.startswith("[") else f"[trust]\n{table}\n")) == []


# --- what will be regretted -------------------------------------------------------------------------------

def said(folder: Path, table: str, is_start: bool = False, listen: str = "") -> Sequence[str]:
    file = written(folder, table)
    file.write_text(file.read_text().replace('endpoint = "tcp:25"\n', f'endpoint = "tcp:25"\n{listen}'))
    found = [str(one).removeprefix(f"{file}:").partition(" ")[2] for one in doubts(loaded(file), is_start)]
    return [one for one in found if one.startswith("trust")]


def actions(method: str, **words: str) -> str:
    return f"[trust.{method}]\n" + "".join(f'{word} = "{action}"\n' for word, action in words.items())


@each("table", [
    "", EVERYTHING, actions("spf", fail="tag", softfail="quarantine"), actions("dmarc", fail_quarantine="reject"),
    actions("dkim", temperror="defer", none="quarantine"), actions("iprev", permerror="quarantine", fail="tag"),
    actions("spf", permerror="quarantine"), actions("dmarc", **{"pass": "tag"}), UPSTREAM,
    '[trust]\ntrusted_sealers = ["example.co.uk", ".google.com"]\n',
])
def test_what_a_careful_admin_may_have(tmp_path: Path, table: str) -> None:
    assert said(tmp_path, table) == []


@each(("table", "doubt"), [
    ("[trust]\nverify = false\n", "trust.verify: nobody looks at who sent what strangers bring"),
    (actions("spf", fail="reject"), "trust.spf.fail: mail that is forwarded fails SPF, and is refused with it"),
    (actions("spf", permerror="reject"), "trust.spf.permerror: one typing error in a domain's record"),
    (actions("dmarc", permerror="reject"), "trust.dmarc.permerror: one typing error in a domain's record"),
    (actions("iprev", fail="reject"), "trust.iprev.fail: good hosts have names that do not lead back"),
    (actions("iprev", permerror="reject"), "trust.iprev.permerror: good hosts have no name"),
    (actions("spf", none="reject"), "trust.spf.none: many domains"),
    (actions("dkim", fail="reject"), "trust.dkim.fail: a signature that fails is worth as much as none"),
    (actions("dkim", none="reject"), "trust.dkim.none: much of all good mail is not signed"),
    (actions("dmarc", fail_none="reject"), "trust.dmarc.fail_none: the domain asks that nothing is done"),
    (actions("dmarc", vouched="reject"), "trust.dmarc.vouched: it refuses what trusted_sealers let pass"),
    (actions("arc", fail="reject"), "trust.arc.fail: a chain that is broken is worth as much as none"),
    (actions("dmarc", **{"pass": "reject"}), "trust.dmarc.pass: is what good mail comes to: reject is for other"),
    (actions("spf", **{"pass": "quarantine"}), "trust.spf.pass: is what good mail comes to: quarantine is for other"),
    (actions("spf", fail="defer"), "trust.spf.fail: is the same at the next try"),
    (actions("dmarc", fail_reject="defer"), "trust.dmarc.fail_reject: is the same at the next try"),
    ('[trust]\ntrusted_sealers = ["example.net", ".com"]\n', "trust.trusted_sealers: '.com' is a top-level domain"),
    ('[trust]\ntrusted_sealers = ["com"]\n', "trust.trusted_sealers: 'com' is a top-level domain"),
    ('[trust]\ntrusted_sealers = ["co.uk"]\n', "trust.trusted_sealers: 'co.uk' is a public suffix"),
    ('[trust]\ntrusted_sealers = [".co.uk"]\n', "trust.trusted_sealers: '.co.uk' is a public suffix"),
    (UPSTREAM.replace('"filter', '".filter'), "trust.upstream.authserv_id: takes the word of all these names"),
])
def test_what_may_be_meant_and_is_told_once(tmp_path: Path, table: str, doubt: str) -> None:
    [found] = said(tmp_path, table)
    assert found.startswith(doubt)
    assert said(tmp_path, table, is_start=True) == []


def test_of_what_is_not_judged_no_more_is_told(tmp_path: Path) -> None:
    [found] = said(tmp_path, "[trust]\nverify = false\n" + actions("spf", fail="reject"))
    assert found.startswith("trust.verify")


@each(("networks", "relay_from", "doubt"), [
    (["0.0.0.0/0"], [], "trust.upstream.address: is everybody, whose own word of who he is is then believed"),
    (["::/0"], [], "trust.upstream.address: is everybody"),
    (["192.0.2.7"], ["192.0.2.0/24"], "trust.upstream.address: is in relay_from of listener 1, too: who may"),
    (["192.0.2.0/24"], ["10.0.0.0/8", "192.0.2.7"], "trust.upstream.address: is in relay_from of listener 1"),
    (["192.0.2.7"], ["192.0.2.8", "2001:db8::/32"], None),
    (["2001:db8::7"], ["192.0.2.0/24"], None),
    (["0.0.0.0/1"], [], "trust.upstream.address: is a large part of all addresses (less than /8), whose own word"),
    (["12.0.0.0/7"], [], "trust.upstream.address: is a large part"),
    (["12.0.0.0/8"], [], None),
    (["2000::/15"], [], "trust.upstream.address: is a large part of all addresses (less than /16)"),
    (["2000::/16"], [], None),
])
def test_upstreams(tmp_path: Path, networks: list[str], relay_from: list[str], doubt: str | None) -> None:
    table = UPSTREAM.replace('["192.0.2.7"]', str(networks).replace("'", '"'))
    listen = "relay_from = {}\n".format(str(relay_from).replace("'", '"'))
    for is_start in (False, True):
        found = said(tmp_path, table, is_start, listen)
        assert len(found) == (doubt is not None)
        assert all(one.startswith(str(doubt)) for one in found)


def test_without_the_list_of_public_suffixes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "publicsuffixlist", None)
    assert said(tmp_path, '[trust]\ntrusted_sealers = ["co.uk"]\n') == []
    assert len(said(tmp_path, '[trust]\ntrusted_sealers = ["uk"]\n')) == 1


@each(("first", "second", "is_doubted"), [
    (["192.0.2.0/24"], ["192.0.2.7"], True),
    (["198.51.100.1", "192.0.2.0/24"], ["192.0.2.0/24"], True),
    (["2001:db8::/32"], ["2001:db8::7"], True),
    (["192.0.2.7"], ["192.0.2.0/24"], False),  # the narrower one is asked for first
    (["192.0.2.0/25"], ["192.0.2.128/25", "2001:db8::7"], False),
])
def test_upstreams_that_nobody_looks_for(
    tmp_path: Path, first: list[str], second: list[str], is_doubted: bool
) -> None:
    table = "".join(
        UPSTREAM.replace('["192.0.2.7"]', str(one).replace("'", '"')) for one in (first, second)
    )
    for is_start in (False, True):
        found = said(tmp_path, table, is_start)
        assert len(found) == is_doubted
        assert all(one.startswith("trust.upstream.address: is in that of upstream 1, whose") for one in found)


@each(("seconds", "rules", "is_doubted"), [
    (60, 3, False), (61, 3, True), (30, 4, True), (30, 5, False), (180, 1, False),
])
def test_what_keeps_a_client_waiting(tmp_path: Path, seconds: int, rules: int, is_doubted: bool) -> None:
    own = 'type = "python:tests.config.test_rules:Own"\ndeadline = "60s"'
    table = "".join(f'[[rule]]\n{own}\nname = "r{n}"\n' for n in range(rules))
    found = said(tmp_path, f'[trust]\ndns_timeout = "{seconds}s"\n{table}')
    assert [one.partition(":")[0] for one in found] == ["trust.dns_timeout"] * is_doubted


ROUTE = "[[route]]\nrecipients = [\"@there.example\"]\nbackend = \"there\"\n[backend.there]\n"
FAN_OUT = 'type = "fan-out"\nbackends = ["one", "two"]\n[backend.one]\ntype = "discard"\n[backend.two]\n'
NO_QUARANTINE = '[trust.dmarc]\nfail_quarantine = "tag"\nunclear_author = "reject"\n'
HELD = "trust.quarantine: of mail for backends that have no place for junk it is held, until somebody looks"


@each(("table", "backends"), [
    ('type = "lmtp"\nhosts = ["unix:/run/lmtp"]\n', ['there (junk = "mark" lets its own filter file it)']),
    ('type = "lmtp"\nhosts = ["unix:/run/lmtp"]\njunk = "mark"\n', []),
    ('type = "smtp"\njunk = "hold"\n', ['there (junk = "mark" lets its own filter file it)']),
    ('type = "smtp"\njunk = "mark"\n', []),
    ('type = "maildir"\npath = "mail/{address}"\nrecipients = "any"\n', []),
    ('type = "maildir"\npath = "mail/{address}"\nrecipients = "any"\njunk = ""\n', ['there (junk = ".Junk" is one)']),
    ('type = "discard"\n', []),
    ('type = "command"\narguments = ["/bin/cat"]\n', ["there"]),
    ('type = "webhook"\nurl = "https://there.example/mail"\n', ["there"]),
    (FAN_OUT + 'type = "discard"\n', []),
    (FAN_OUT + 'type = "smtp"\n',
     ['there (junk = "mark" lets its own filter file it)']),
    ('type = "smtp"\n[trust]\nquarantine = "hold"\n', []),
    ('type = "smtp"\n[trust]\nverify = false\n', []),
    (f'type = "smtp"\n{NO_QUARANTINE}', []),
    (f'type = "smtp"\n{NO_QUARANTINE}[trust.spf]\nfail = "quarantine"',
     ['there (junk = "mark" lets its own filter file it)']),
])
def test_where_quarantined_mail_is_held(tmp_path: Path, table: str, backends: list[str]) -> None:
    found = [one for one in said(tmp_path, ROUTE + table) if one.startswith("trust.quarantine")]
    assert [one.startswith(HELD) for one in found] == [True] * len(backends)
    assert all(f"These are {name}; " in one for one, name in zip(found, backends, strict=True)), found


@each("junk", ["marked", "Mark", ".Junk"])
def test_what_a_server_cannot_do_with_junk(tmp_path: Path, junk: str) -> None:
    found = faults_of(written(tmp_path, f'{ROUTE}type = "lmtp"\nhosts = ["unix:/run/lmtp"]\njunk = "{junk}"\n'))
    assert any("backend.there.junk: expected 'hold', 'mark'" in one for one in found), found
