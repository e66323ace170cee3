"""Delivery by MX, asked of a real DNS server, to port 25 of addresses in 127.0.0.0/8."""

import contextlib
import socket

import pytest

from tests.peers.harness import (
    RELAYS,
    SOON,
    Gateway,
    Lab,
    Talk,
    letter,
    maildirs,
    route,
    submit,
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
    "race.test. MX 10 both.two.test.",
    "both.two.test. AAAA ::1",
    f"both.two.test. A {FAR}",
]


@pytest.fixture
def gateway(lab: Lab) -> Gateway:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((FAR, 25))  # as root, and where nobody has it
    unbound = lab.own(Unbound(lab.folder, lab.public_folder(), RECORDS)).start()
    lab.mx_at(
        FAR, "alive.two.test", lab.authority.toml(),
        *[route(f"@{name}.test", "boxes") for name in ("two", "plain", "null", "müller", "race")], maildirs("boxes"),
    ).start()
    return lab.mx(
        f'[dns]\nservers = ["127.0.0.1:{unbound.port}"]', route("@home.test", "boxes"), route("*", "internet"),
        maildirs("boxes"), SOON, '[backend.internet]\ntype = "smtp"\nidle_timeout = "60s"\n',
        listen=RELAYS,
    ).start()


def test_delivery_by_mx(lab: Lab, gateway: Gateway) -> None:
    for recipient in ("bob@two.test", "bob@plain.test", "bob@xn--mller-kva.test"):
        submit(gateway.port, "ann@home.test", recipient, letter(f"to {recipient}"))
    boxes = lab.gateways[0].folder / "mail"
    for domain in ("two.test", "plain.test", "xn--mller-kva.test"):
        arrived, = wait_for_letters(boxes / domain / "bob")
        assert f"Subject: to bob@{domain}".encode() in arrived
    wait_until(lambda: len(gateway.facts("delivered")) == 3, 5, "three facts in the journal")
    hops = {str(fact["hop"]).partition(" ")[0] for fact in gateway.facts("delivered")}
    assert hops == {"alive.two.test", "plain.test"}


def test_two_domains_of_one_host_share_a_session(lab: Lab, gateway: Gateway) -> None:
    far = lab.gateways[0]
    for at, recipient in enumerate(("bob@two.test", "bob@xn--mller-kva.test"), 1):
        submit(gateway.port, "ann@home.test", recipient, letter(f"to {recipient}"))
        wait_until(lambda at=at: len(gateway.facts("delivered")) == at, 20, f"{at} delivered")
    assert len(far.facts("connected")) == 1


def test_an_address_that_does_not_answer_is_overtaken(lab: Lab, gateway: Gateway) -> None:
    # A listener whose queue is full: the kernel drops what else would connect, as a firewall does.
    with socket.socket(socket.AF_INET6) as silent, contextlib.ExitStack() as crowd:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silent.bind(("::1", 25))
        silent.listen(0)
        for _ in range(4):
            one = crowd.enter_context(socket.socket(socket.AF_INET6))
            one.setblocking(False)
            one.connect_ex(("::1", 25))
        submit(gateway.port, "ann@home.test", "bob@race.test", letter("to whom answers"))
        wait_until(lambda: gateway.facts("delivered"), 20, "delivered")
    fact, = gateway.facts("delivered")
    assert (fact["hop"], fact["attempts"]) == (f"both.two.test [{FAR}]:25", 1)


def test_domains_that_take_no_mail_are_refused(gateway: Gateway) -> None:
    with Talk(gateway.port) as talk:
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
    for recipient in ("bob@null.test", "bob@nowhere.test"):
        submit(gateway.port, "ann@home.test", recipient, letter(f"to {recipient}"))
    bounces = wait_for_letters(gateway.folder / "mail/home.test/ann", 2)
    statuses = {bounce.partition(b"Final-Recipient: rfc822; bob@")[2].partition(b"\n")[0].decode(): bounce
                for bounce in bounces}
    assert b"\nStatus: 5.1.10\n" in statuses["null.test"], "RFC 7505 s4.1"
    assert b"\nStatus: 5.1.2\n" in statuses["nowhere.test"]
