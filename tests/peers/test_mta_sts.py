"""MTA-STS and reports on TLS, all of it real: DNS, policies over HTTPS at port 443, an MX with STARTTLS at port 25."""

import datetime
import email
import gzip
import json
import socket
from collections.abc import Mapping
from typing import Any

import pytest

from tests.peers.harness import (
    LATER,
    RELAYS,
    Gateway,
    Lab,
    letter,
    listens,
    maildirs,
    route,
    submit,
    wait_for_letters,
    wait_until,
)
from tests.peers.policy_host import Page, PolicyHost
from tests.peers.zones import ValidatingUnbound, Zone

pytestmark = pytest.mark.peer

MX, WEB = "127.0.0.51", "127.0.0.52"
POLICY = "version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n"
# Each is a domain with its MX "mx" at the one server there is, whose certificate is that of mx.good.test alone.
DOMAINS = [
    "good.test", "badmx.test", "testing.test", "unlisted.test", "none.test", "nopolicy.test",
    "wrongname.test", "expired.test", "redirect.test", "large.test", "html.test", "broken.test",
]
REFUSED = ["badmx.test", "unlisted.test"]
NO_POLICY: Mapping[str, str] = {
    "wrongname.test": "sts-webpki-invalid", "expired.test": "sts-webpki-invalid",
    "redirect.test": "sts-policy-fetch-error", "large.test": "sts-policy-fetch-error",
    "html.test": "sts-policy-fetch-error", "broken.test": "sts-policy-invalid",
}


def zone(domain: str) -> Zone:
    records = ["@ MX 10 mx", f"mx A {MX}", f"mta-sts A {WEB}"]
    if domain != "nopolicy.test":
        records.append('_mta-sts TXT "v=STSv1; id=1;"')
    wanted = "https://mta-sts.good.test/reports" if domain == "good.test" else f"mailto:tls@{domain}"
    records.append(f'_smtp._tls TXT "v=TLSRPTv1; rua={wanted}"')
    return Zone(domain, records, signed=False)


def pages(lab: Lab) -> dict[str, Page]:
    server = lab.authority.server

    def page(domain: str, mode: str = "enforce", mx: str | None = None) -> Page:
        text = POLICY.format(mode=mode, mx=mx or f"mx.{domain}")
        return Page(server(f"mta-sts.{domain}"), text.encode())

    found = {domain: page(domain) for domain in ("good.test", "badmx.test")}
    found["testing.test"] = page("testing.test", "testing")
    found["unlisted.test"] = page("unlisted.test", mx="other.unlisted.test")
    found["none.test"] = page("none.test", "none")
    wrong = page("wrongname.test")
    found["wrongname.test"] = Page(server("www.wrongname.test"), wrong.body)
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    expired = page("expired.test")
    found["expired.test"] = Page(server("mta-sts.expired.test", past), expired.body)
    good = "https://mta-sts.good.test/.well-known/mta-sts.txt"
    found["redirect.test"] = Page(server("mta-sts.redirect.test"), b"", 302, {"Location": good})
    found["large.test"] = Page(server("mta-sts.large.test"), page("large.test").body + b"x: y\n" * 20_000)
    found["html.test"] = Page(server("mta-sts.html.test"), page("html.test").body, 200, {"Content-Type": "text/html"})
    found["broken.test"] = Page(server("mta-sts.broken.test"), b"no policy at all\n")
    return {f"mta-sts.{domain}": one for domain, one in found.items()}


@pytest.fixture
def world(lab: Lab) -> PolicyHost:
    """DNS, policies, and an MX that takes mail for all of ``DOMAINS``; a gateway that sends there is yet to be made."""
    for address, port in ((MX, 25), (WEB, 443)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))  # as root, and where nobody has it
    zones = [zone(domain) for domain in DOMAINS]
    unbound = lab.own(ValidatingUnbound(lab.folder, lab.public_folder(), zones)).start()
    host = PolicyHost(WEB, pages(lab))
    lab.callback(host.close)
    pem = lab.authority.server("mx.good.test")
    lab.mx_at(
        MX, "mx.good.test", f'[tls]\ncertificate = "{pem}"\nprivate_key = "{pem}"',
        *[route(f"@{domain}", "boxes") for domain in DOMAINS], maildirs("boxes"),
    ).start()
    wait_until(lambda: listens(25, MX), 30, "the MX is there")
    lab.mx(
        f'[dns]\nservers = ["{unbound.server}"]', route("*", "internet"), '[backend.internet]\ntype = "smtp"', LATER,
        listen=RELAYS,
    )
    return host


def start(lab: Lab) -> Gateway:
    """The sending gateway; the authorities of the system are the tests' own."""
    near = lab.gateways[1]
    return near.start(under=["env", f"SSL_CERT_FILE={lab.authority.ca}"])


def outcomes(near: Gateway, domains: list[str], subject: str) -> dict[str, str]:
    """What became of one message to each domain: by what the MX was known, or why it was not sent."""
    def facts() -> list[dict[str, object]]:
        return [*near.facts("delivered"), *near.facts("deferred"), *near.facts("bounced")]

    before = len(facts())
    for domain in domains:
        submit(near.port, "ann@home.test", f"bob@{domain}", letter(subject))
    wait_until(lambda: len(facts()) - before == len(domains), 60, "every message has an outcome")
    last = {str(fact["recipient"]).partition("@")[2]: fact for fact in facts()}
    return {
        domain: str(last[domain].get("verified", "none")) if last[domain]["event"] == "delivered"
        else f"{last[domain]['status']} {last[domain]['text']}"
        for domain in domains
    }


def test_policies_are_heeded_and_outlive_their_host(lab: Lab, world: PolicyHost) -> None:
    near = start(lab)
    found = outcomes(near, DOMAINS, "one")
    assert found.pop("good.test") == "sts"
    assert found.pop("badmx.test") == "4.7.5 The certificate does not name mx.badmx.test"
    assert found.pop("unlisted.test") == "4.7.5 The MTA-STS policy does not list the host mx.unlisted.test"
    assert set(found.values()) == {"none"}, found
    for domain in found:
        wait_for_letters(lab.gateways[0].folder / f"mail/{domain}/bob")
    failed = {str(fact["domain"]): str(fact["result"]) for fact in near.facts("sts_policy_failed")}
    assert failed == NO_POLICY
    fetched = {str(fact["domain"]): str(fact["mode"]) for fact in near.facts("sts_policy")}
    assert fetched == {
        "good.test": "enforce", "badmx.test": "enforce", "unlisted.test": "enforce", "testing.test": "testing",
        "none.test": "none",
    }
    assert world.asked.count("https://mta-sts.good.test/.well-known/mta-sts.txt") == 1

    # The host is gone, and so is the gateway's memory but for what it wrote down.
    near.stop()
    world.close()
    start(lab)
    found = outcomes(near, ["good.test", "badmx.test", "unlisted.test", "testing.test"], "two")
    assert found.pop("good.test") == "sts"
    assert found.pop("testing.test") == "none"
    assert all(outcome.startswith("4.7.5 ") for outcome in found.values()), found
    assert len(near.queue()) == 4


def test_a_backend_need_not_heed_them(lab: Lab, world: PolicyHost) -> None:
    near = lab.gateways[1]
    near.config.write_text(near.config.read_text().replace('type = "smtp"', 'type = "smtp"\nmta_sts = false'))
    start(lab)
    assert outcomes(near, ["good.test", *REFUSED], "one") == dict.fromkeys(["good.test", *REFUSED], "none")
    assert world.asked == []


def report_in(message: bytes) -> Any:
    """The JSON of a report that came by mail."""
    parts = email.message_from_bytes(message).get_payload()
    assert isinstance(parts, list)
    payload = parts[1].get_payload(decode=True)  # type: ignore[union-attr]
    assert isinstance(payload, bytes)
    return json.loads(gzip.decompress(payload))


def test_domains_are_told_what_tls_with_them_came_to(lab: Lab, world: PolicyHost) -> None:
    near = lab.gateways[1]
    near.config.write_text(near.config.read_text() + '[tls_reports]\ncontact = "tls@gw.test"\n')
    start(lab)
    found = outcomes(near, ["good.test", "badmx.test", "testing.test", "redirect.test"], "one")
    assert found["badmx.test"].startswith("4.7.5 ")
    near.stop()
    # Two days pass.
    tallies = near.folder / "state/tls-reports/tallies.json"
    kept = json.loads(tallies.read_text())
    for one in kept["tallies"]:
        one["day"] -= 2
    tallies.write_text(json.dumps(kept))
    start(lab)
    reports = {
        domain: report_in(wait_for_letters(lab.gateways[0].folder / f"mail/{domain}/tls", seconds=60)[0])
        for domain in ("badmx.test", "testing.test", "redirect.test")  # the first in spite of its own policy
    }
    [policy] = reports["badmx.test"]["policies"]
    assert policy["policy"] == {
        "policy-type": "sts", "policy-domain": "badmx.test", "mx-host": ["mx.badmx.test"],
        "policy-string": ["version: STSv1", "mode: enforce", "mx: mx.badmx.test", "max_age: 86400"],
    }
    [failure] = policy["failure-details"]
    assert (failure["result-type"], failure["receiving-ip"]) == ("certificate-host-mismatch", MX)
    [policy] = reports["testing.test"]["policies"]
    assert policy["summary"] == {"total-successful-session-count": 0, "total-failure-session-count": 1}
    kinds = {one["policy"]["policy-type"]: one for one in reports["redirect.test"]["policies"]}
    assert kinds["sts"]["failure-details"][0]["result-type"] == "sts-policy-fetch-error"
    assert kinds["no-policy-found"]["summary"]["total-successful-session-count"] == 1
    wait_until(lambda: near.facts("tls_report_failed"), 30, "the report to good.test has failed")
    [failed] = near.facts("tls_report_failed")
    assert failed["why"].endswith("has no address that may be connected to"), failed  # type: ignore[attr-defined]
    assert len(near.facts("tls_report")) == 3
    assert len(list(tallies.parent.glob("gw.test!*.json.gz"))) == 3
    wait_until(lambda: len(near.queue()) == 1, 30, "the reports have gone, the letter to badmx.test has not")
    near.stop()
    # The report to good.test is tried again.  Of the sessions with reports nothing is counted.
    left = {(one["domain"], one["policies"][0]["policy_type"]) for one in json.loads(tallies.read_text())["tallies"]}
    assert left == {("good.test", "sts"), ("redirect.test", "sts")}
