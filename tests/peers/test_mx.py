"""Delivery by MX, asked of a real DNS server, to port 25 of addresses in 127.0.0.0/8."""

import socket

import pytest

from tests.peers.harness import (
    SOON,
    Gateway,
    Lab,
    Talk,
    free_port,
    letter,
    listener,
    maildirs,
    route,
    submit,
    toml,
    wait_for_letters,
    wait_until,
)
from tests.peers.servers import Unbound

pytestmark = pytest.mark.peer

# On port 25 there, and on no other, the far gateway listens.
FAR = "127.0.0.42"
NOBODY = "127.0.0.43"
UNCHECKED = "check_domains = false"
RECORDS = [
    "two.test. MX 10 dead.two.test.",
    "two.test. MX 20 alive.two.test.",
    f"dead.two.test. A {NOBODY}",
    f"alive.two.test. A {FAR}",
    f"plain.test. A {FAR}",
    "null.test. MX 0 .",
    f"null.test. A {FAR}",
    "xn--mller-kva.test. MX 10 alive.two.test.",
]


@pytest.fixture
def gateway(lab: Lab) -> Gateway:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((FAR, 25))  # as root, and where nobody has it
    unbound = Unbound(lab.folder, lab.public_folder(), RECORDS)
    lab.own(unbound)
    unbound.start()
    far = lab.gateway(
        toml(
            f'[[listen]]\nrole = "mx"\nendpoint = "tcp:25:interface={FAR}"', lab.authority.toml(),
            *[route(f"@{domain}", "boxes") for domain in ("two.test", "plain.test", "null.test", "müller.test")],
            maildirs("boxes"),
        ).replace("gw.test", "alive.two.test"),
        [],
    )
    far.start()
    port = free_port()
    near = lab.gateway(
        toml(
            listener("mx", port, 'relay_from = ["127.0.0.0/8"]'), f'[dns]\nservers = ["127.0.0.1:{unbound.port}"]',
            route("@home.test", "boxes"), route("*", "internet"), maildirs("boxes"), SOON,
            '[backend.internet]\ntype = "smtp"\n',
        ),
        [port],
    )
    return near.start()


def test_delivery_by_mx(lab: Lab, gateway: Gateway) -> None:
    port, = gateway.ports
    for recipient in ("bob@two.test", "bob@plain.test", "bob@xn--mller-kva.test"):
        submit(port, "ann@home.test", recipient, letter(f"to {recipient}"))
    boxes = lab.gateways[0].folder / "mail"
    for domain in ("two.test", "plain.test", "xn--mller-kva.test"):
        arrived, = wait_for_letters(boxes / domain / "bob")
        assert f"Subject: to bob@{domain}".encode() in arrived
    wait_until(lambda: len(gateway.facts("delivered")) == 3, 5, "three facts in the journal")
    hops = {str(fact["hop"]).partition(" ")[0] for fact in gateway.facts("delivered")}
    assert hops == {"alive.two.test", "plain.test"}


def test_domains_that_take_no_mail_are_refused(gateway: Gateway) -> None:
    port, = gateway.ports
    with Talk(port) as talk:
        assert talk.say("EHLO client.test").startswith("250")
        assert talk.say("MAIL FROM:<ann@home.test>").startswith("250")
        assert talk.say("RCPT TO:<bob@null.test>").startswith("556 5.1.10 "), "RFC 7505 s4.2"
        assert talk.say("RCPT TO:<bob@nowhere.test>").startswith("550 5.1.2 ")
        assert talk.say("RCPT TO:<bob@two.test>").startswith("250")


def test_domains_that_take_no_mail(gateway: Gateway) -> None:
    """Where they are not refused, their mail comes back."""
    gateway.stop()
    told = gateway.config.read_text()
    gateway.config.write_text(told.replace("[backend.internet]", f"[backend.internet]\n{UNCHECKED}"))
    gateway.start()
    port, = gateway.ports
    for recipient in ("bob@null.test", "bob@nowhere.test"):
        submit(port, "ann@home.test", recipient, letter(f"to {recipient}"))
    bounces = wait_for_letters(gateway.folder / "mail/home.test/ann", 2)
    statuses = {bounce.partition(b"Final-Recipient: rfc822; bob@")[2].partition(b"\n")[0].decode(): bounce
                for bounce in bounces}
    assert b"\nStatus: 5.1.10\n" in statuses["null.test"], "RFC 7505 s4.1"
    assert b"\nStatus: 5.1.2\n" in statuses["nowhere.test"]
