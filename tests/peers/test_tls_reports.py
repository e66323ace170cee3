"""Reports on TLS by HTTPS (RFC 8460), all of it real: a network of the test's own has public addresses, where DNS, MXs,
MTA-STS policies and who takes the reports are; on the loopback alone nobody would be sent one."""

import gzip
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from mailgw.deliver.daily_reports import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, SPREAD_SECONDS
from tests.peers.harness import (
    LATER,
    TWISTD,
    Gateway,
    Lab,
    free_port,
    letter,
    listener,
    listens,
    maildirs,
    route,
    submit,
    toml,
    wait_until,
)
from tests.peers.network import own_network
from tests.peers.policy_host import Page, PolicyHost, Posted
from tests.peers.test_dane import digest
from tests.peers.zones import ValidatingUnbound, Zone

pytestmark = [pytest.mark.peer, pytest.mark.skipif(os.getuid() != 0, reason="only root makes a network")]

# AS112's (RFC 7535, RFC 7534): public, nobody's own, and here in the test's network alone.
MX, PLAIN, WEB, WEB6 = "192.31.196.25", "192.31.196.26", "192.31.196.80", "2620:4f:8000::80"
INNER, INNER6 = "10.9.8.7", "fd00::7"
HERE = "127.0.0.9"
POLICY = "version: STSv1\nmode: enforce\nmx: mx.{domain}\nmax_age: 86400\n"

# Where each domain wants its reports.  The MX of each is one server, with a certificate for mx.good.test; that of
# plain.test is another, without TLS.
WANTED = {
    "good.test": "https://reports.good.test/v1/tls?from=us",
    "badmx.test": "https://reports.badmx.test/",
    "signed.test": "https://reports.signed.test/",
    "changed.test": "https://reports.changed.test:443/x",
    "plain.test": "https://reports.plain.test/old",
    "mixed.test": "https://reports.mixed.test/",
    "wrongname.test": "https://reports.wrongname.test/",
    # All of them are there, with good certificates, and get none.
    "inner.test": "https://reports.inner.test/",
    "here.test": "https://reports.here.test/",
    "literal.test": f"https://{HERE}/reports",
    "six.test": "https://[::1]/reports",
}
ADDRESSES = {
    "signed.test": [WEB6], "mixed.test": [INNER, WEB], "inner.test": [INNER, INNER6], "here.test": [HERE, "::1"],
}
ENFORCED = ["good.test", "badmx.test"]
WAITING = {"bob@badmx.test", "bob@changed.test"}
NOT_ALLOWED = "has no address that may be connected to"
FAILED = {
    "badmx.test": "https://reports.badmx.test/ answers 500",
    "plain.test": "https://reports.plain.test/old answers 302",
    "wrongname.test": "https://reports.wrongname.test/: its certificate does not name it",
    "inner.test": f"reports.inner.test {NOT_ALLOWED}",
    "here.test": f"reports.here.test {NOT_ALLOWED}",
    "literal.test": f"{HERE} {NOT_ALLOWED}",
    "six.test": f"::1 {NOT_ALLOWED}",
}


def zones(key: str) -> list[Zone]:
    """``key``: the digest of that of the MX."""
    found = []
    for domain, url in WANTED.items():
        records = [
            "@ MX 10 mx", f"mx A {PLAIN if domain == 'plain.test' else MX}",
            f'_smtp._tls TXT "v=TLSRPTv1; rua={url}"',
        ]
        records += [f"reports {'AAAA' if ':' in one else 'A'} {one}" for one in ADDRESSES.get(domain, [WEB])]
        if domain in ENFORCED:
            records += [f"mta-sts A {WEB}", '_mta-sts TXT "v=STSv1; id=1;"']
        if domain in ("signed.test", "changed.test"):
            records.append(f"_25._tcp.mx TLSA 3 1 1 {key if domain == 'signed.test' else 'ee' * 32}")
        found.append(Zone(domain, records, signed=domain in ("signed.test", "changed.test")))
    return found


def pages(lab: Lab) -> dict[str, Page]:
    server = lab.authority.server
    found = {f"reports.{domain}": Page(server(f"reports.{domain}"), b"thanks\n", 201) for domain in WANTED}
    for domain in ENFORCED:
        found[f"mta-sts.{domain}"] = Page(server(f"mta-sts.{domain}"), POLICY.format(domain=domain).encode())

    def change(name: str, **changes: Any) -> None:
        found[name] = attrs.evolve(found[name], **changes)

    change("reports.badmx.test", status=500)
    change("reports.plain.test", status=302, headers={"Location": "https://reports.good.test/moved"})
    change("reports.wrongname.test", pem=server("www.wrongname.test"))
    return found


@pytest.fixture
def host(lab: Lab) -> Iterator[PolicyHost]:
    """All that is outside, and the gateway that is to send there, which is yet to be started."""
    addresses = [*(f"{one}/32" for one in (MX, PLAIN, WEB, INNER)), *(f"{one}/128" for one in (WEB6, INNER6))]
    with own_network(addresses):
        try:
            yield outside(lab)
        finally:
            lab.close()


def outside(lab: Lab) -> PolicyHost:
    pem = lab.authority.server("mx.good.test")
    unbound = ValidatingUnbound(lab.folder, lab.public_folder(), zones(digest(pem.read_bytes())))
    lab.own(unbound)
    unbound.start()
    made = PolicyHost("::", pages(lab))
    lab.callback(made.close)
    boxes = [*[route(f"@{domain}", "boxes") for domain in WANTED], maildirs("boxes")]
    for address, tls in ((MX, f'[tls]\ncertificate = "{pem}"\nprivate_key = "{pem}"'), (PLAIN, "")):
        place = f'[[listen]]\nrole = "mx"\nendpoint = "tcp:25:interface={address}"'
        lab.gateway(toml(place, tls, *boxes).replace("gw.test", "mx.good.test"), []).start()
        wait_until(lambda address=address: listens(25, address), 30, f"the MX at {address} is there")
    port = free_port()
    lab.gateway(
        toml(
            'rotate_after = "30d"',  # of the journal, whose days go by
            listener("mx", port, 'relay_from = ["127.0.0.0/8"]'), f'[dns]\nservers = ["{unbound.server}"]',
            route("*", "internet"), '[backend.internet]\ntype = "smtp"', LATER,
            '[tls_reports]\ncontact = "tls@gw.test"\norganization = "Gate Ltd"',
        ),
        [port],
    )
    return made


def start(lab: Lab) -> Gateway:
    """The sending gateway; the authorities of the system are the tests' own."""
    return lab.gateways[-1].start(under=["env", f"SSL_CERT_FILE={lab.authority.ca}"])


def send(near: Gateway) -> None:
    """One message to each domain, and another one to good.test, behind the first."""
    def tried() -> int:
        return len(near.facts("delivered")) + len(near.facts("deferred"))

    for count, domain in enumerate([*WANTED, "good.test"]):
        if count == len(WANTED):
            wait_until(lambda: tried() == len(WANTED), 60, "every message was tried")
        submit(near.ports[0], "ann@home.test", f"bob@{domain}", letter("hi"))
    wait_until(lambda: tried() == len(WANTED) + 1, 60, "the last one was tried")
    assert {str(fact["recipient"]) for fact in near.facts("deferred")} == WAITING


def told(near: Gateway) -> tuple[list[str], dict[str, str]]:
    """The domains that were told, and why each other one was not, at the last."""
    done = sorted(str(fact["domain"]) for fact in near.facts("tls_report"))
    return done, {str(fact["domain"]): str(fact["why"]) for fact in near.facts("tls_report_failed")}


def report_in(posted: Posted) -> Any:
    return json.loads(gzip.decompress(posted.content))


def test_reports_are_posted_to_public_addresses_alone(lab: Lab, host: PolicyHost) -> None:
    near = start(lab)
    send(near)
    near.stop()
    assert host.posted == []
    # Two days pass.
    tallies = near.folder / "state/tls-reports/tallies.json"
    kept = json.loads(tallies.read_text())
    for one in kept["tallies"]:
        one["day"] -= 2
    tallies.write_text(json.dumps(kept))
    start(lab)
    wait_until(lambda: sum(map(len, told(near))) == len(WANTED), 60, "each report was tried")
    near.stop()
    assert told(near) == (["changed.test", "good.test", "mixed.test", "signed.test"], FAILED)

    # Who was not to get one was not even connected to with the report: all that arrived is in this list.
    came = {one.url: one for one in host.posted}
    answers = {url: host.pages[url.split("/")[2]].status for url in came}
    assert answers == {
        "https://reports.good.test/v1/tls?from=us": 201, "https://reports.signed.test/": 201,
        "https://reports.changed.test/x": 201, "https://reports.mixed.test/": 201,
        "https://reports.badmx.test/": 500, "https://reports.plain.test/old": 302,
    }
    assert len(host.posted) == len(came)
    assert {one.address for one in host.posted} == {WEB, WEB6}
    assert came["https://reports.signed.test/"].address == WEB6
    assert {one.headers["content-type"] for one in host.posted} == {"application/tlsrpt+gzip"}  # RFC 8460 s5.4

    reports = {report["policies"][0]["policy"]["policy-domain"]: report for report in map(report_in, host.posted)}
    day = time.strftime("%Y-%m-%d", time.gmtime(kept["tallies"][0]["day"] * 86_400))
    for domain, report in reports.items():
        assert report["organization-name"] == "Gate Ltd"
        assert report["contact-info"] == "tls@gw.test"
        assert report["date-range"] == {"start-datetime": f"{day}T00:00:00Z", "end-datetime": f"{day}T23:59:59Z"}
        assert report["report-id"].endswith(f".{domain}@gw.test")
        assert len(report["policies"]) == 1
    assert {domain: found(report) for domain, report in reports.items()} == {
        "good.test": ("sts", 1, 0, []),  # the second message went over the first one's session
        "badmx.test": ("sts", 0, 1, ["certificate-host-mismatch"]),
        "signed.test": ("tlsa", 1, 0, []),
        "changed.test": ("tlsa", 0, 1, ["validation-failure"]),
        "plain.test": ("no-policy-found", 0, 1, ["starttls-not-supported"]),
        "mixed.test": ("no-policy-found", 1, 0, []),
    }
    assert reports["badmx.test"]["policies"] == [{
        "policy": {
            "policy-type": "sts", "policy-domain": "badmx.test", "mx-host": ["mx.badmx.test"],
            "policy-string": ["version: STSv1", "mode: enforce", "mx: mx.badmx.test", "max_age: 86400"],
        },
        "summary": {"total-successful-session-count": 0, "total-failure-session-count": 1},
        "failure-details": [{
            "result-type": "certificate-host-mismatch", "sending-mta-ip": MX, "receiving-mx-hostname": "mx.badmx.test",
            "receiving-mx-helo": "mx.good.test", "receiving-ip": MX, "failed-session-count": 1,
            "failure-reason-code": "The certificate does not name mx.badmx.test",
        }],
    }]
    assert reports["changed.test"]["policies"][0]["policy"]["policy-string"] == [f"3 1 1 {'ee' * 32}"]
    # The same octets are kept; what failed is tried again after the next start.
    copies = {path.name.split("!")[1]: path.read_bytes() for path in tallies.parent.glob("gw.test!*.json.gz")}
    assert sorted(copies) == told(near)[0]
    assert copies["good.test"] == came["https://reports.good.test/v1/tls?from=us"].content
    left = {one["domain"] for one in json.loads(tallies.read_text())["tallies"]}
    assert left == set(FAILED)


def found(report: Any) -> tuple[str, int, int, list[str]]:
    """Of a report's first policy: its type, sessions that were good and that were not, and what was wrong."""
    [policy] = report["policies"]
    good, bad = policy["summary"]["total-successful-session-count"], policy["summary"]["total-failure-session-count"]
    return policy["policy"]["policy-type"], good, bad, [x["result-type"] for x in policy.get("failure-details", [])]


# The gateway in an application of its own, but for a clock that the test moves, and more frequent looks at it.
APPLICATION = """
import time
from pathlib import Path

from twisted.application.service import Application

from mailgw.config.load import load
from mailgw.deliver import daily_reports
from mailgw.service import MailGateway

daily_reports.LOOK_SECONDS = 0.5
daily_reports.DOUBT_SECONDS = 0.0  # days pass here by leaps of the clock
ahead = Path("ahead")
application = Application("a mail gateway")
gateway = MailGateway(load("mailgw.toml"), wall_clock=lambda: time.time() + float(ahead.read_text()))
gateway.setServiceParent(application)
"""


class Calendar:
    """The wall clock of a gateway in ``folder``; it is noon of tomorrow."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ahead"
        now = time.time()
        self.midnight = (now // 86_400 + 2) * 86_400
        self._ahead = 0.0
        self.pass_seconds(self.midnight - 43_200 - now)

    @property
    def now(self) -> float:
        return time.time() + self._ahead

    def pass_seconds(self, seconds: float) -> None:
        self._ahead += seconds
        new = self._file.with_suffix(".new")
        new.write_text(repr(self._ahead))
        new.replace(self._file)


def test_what_is_not_taken_is_posted_again_for_a_day(lab: Lab, host: PolicyHost) -> None:
    near = lab.gateways[-1]
    (near.folder / "gateway.tac").write_text(APPLICATION)
    calendar = Calendar(near.folder)
    day = time.strftime("%Y-%m-%d", time.gmtime(calendar.now))
    environment = ["env", f"SSL_CERT_FILE={lab.authority.ca}"]
    near.launch([*environment, TWISTD, "-n", "--pidfile=", "-y", "gateway.tac"], near.folder, near.ports)
    send(near)

    def failures(domain: str) -> list[dict[str, object]]:
        return [x for x in near.facts("tls_report_failed") if (x["domain"], x["day"]) == (domain, day)]

    def posts(domain: str) -> list[Posted]:
        wanted = [one for one in host.posted if one.url.startswith(f"https://reports.{domain}/")]
        return [one for one in wanted if report_in(one)["date-range"]["start-datetime"] == f"{day}T00:00:00Z"]

    calendar.pass_seconds(calendar.midnight - calendar.now - 60)
    time.sleep(2)  # several looks
    assert host.posted == []
    calendar.pass_seconds(60 + SPREAD_SECONDS)
    wait_until(lambda: sum(map(len, told(near))) == len(WANTED), 60, "each report was tried")
    assert told(near) == (["changed.test", "good.test", "mixed.test", "signed.test"], FAILED)
    assert [fact["is_final"] for fact in failures("badmx.test")] == [False]

    host.pages["reports.badmx.test"] = attrs.evolve(host.pages["reports.badmx.test"], status=200)
    calendar.pass_seconds(FIRST_WAIT_SECONDS - 60)
    time.sleep(2)
    assert (len(posts("badmx.test")), len(posts("plain.test"))) == (1, 1)
    calendar.pass_seconds(60)
    wait_until(lambda: len(posts("badmx.test")) + len(failures("plain.test")) == 4, 30, "they were tried again")
    first, second = posts("badmx.test")
    assert first.content == second.content
    wait_until(lambda: "badmx.test" in told(near)[0], 30, "it was taken")

    # The others are tried until a day has passed, then given up.
    tried = 2
    while not failures("plain.test")[-1]["is_final"]:
        calendar.pass_seconds(LONGEST_WAIT_SECONDS)
        tried += 1
        wait_until(lambda tried=tried: len(failures("plain.test")) == tried, 30, f"attempt {tried}")
    others = [domain for domain in FAILED if domain != "badmx.test"]
    wait_until(lambda: all(failures(x)[-1]["is_final"] for x in others), 30, "all of them were given up")
    assert tried == 7  # at 0:00, 0:15, and each fourth hour from then on: the next one would be after 24 hours
    assert {domain: failures(domain)[-1]["why"] for domain in others} == {domain: FAILED[domain] for domain in others}
    assert len(posts("plain.test")) == tried
    assert (len(posts("good.test")), len(posts("badmx.test"))) == (1, 2)
    assert {one.address for one in host.posted} == {WEB, WEB6}
    assert not [one.url for one in host.posted if one.url.endswith("/moved")]
    near.stop()
    left = json.loads((near.folder / "state/tls-reports/tallies.json").read_text())["tallies"]
    assert not [one for one in left if time.strftime("%Y-%m-%d", time.gmtime(one["day"] * 86_400)) == day]
