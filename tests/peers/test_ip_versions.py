"""IPv4, IPv6, and IPv4 through an IPv6 listener."""

import re

import pytest

from tests.peers.harness import (
    RELAYS,
    Lab,
    Talk,
    free_port,
    letter,
    listener,
    maildirs,
    route,
    smart_host,
    submit,
    toml,
    wait_for_letters,
    wait_until,
)

pytestmark = pytest.mark.peer


def test_addresses_and_who_may_relay(lab: Lab) -> None:
    hop = lab.hop()
    four, six = free_port(), free_port("::")  # free for IPv4, too, which that one takes as well
    on_all = f"[[listen]]\nrole = \"mx\"\nendpoint = 'tcp:{six}:interface=\\:\\:'\n{RELAYS}"
    gateway = lab.gateway(
        toml(
            listener("mx", four), on_all, route("@home.test", "boxes"), route("*", "out"), maildirs("boxes"),
            smart_host("out", hop.port),
        ),
        [four, six],
    ).start()

    for box, port, host, expected in [
        ("four", four, "127.0.0.1", r"\[127\.0\.0\.1\]"),
        ("six", six, "::1", r"\[IPv6:::1\]"),
        ("mapped", six, "127.0.0.1", r"\[127\.0\.0\.1\]"),
    ]:
        submit(port, "ann@away.test", f"{box}@home.test", letter(box), host)
        arrived, = wait_for_letters(gateway.folder / f"mail/home.test/{box}")
        trace = arrived.partition(b"Received: ")[2].partition(b" by ")[0].partition(b"\tby ")[0].decode()
        assert re.search(expected, trace), trace
        assert "ffff" not in trace

    # relay_from of the v6 listener names v4 clients: they match unmapped, and nobody else does.
    submit(six, "ann@away.test", "bob@far.test", letter("relayed"), "127.0.0.1")
    wait_until(lambda: hop.given, 20, "a v4 client relayed through the v6 listener")
    for port, host in [(six, "::1"), (four, "127.0.0.1")]:
        with Talk(port, host) as stranger:
            assert stranger.say("EHLO stranger.test").startswith("250")
            assert stranger.say("MAIL FROM:<ann@away.test>").startswith("250")
            assert stranger.say("RCPT TO:<bob@far.test>").startswith("550 5.7.1"), host
    assert {fact["peer"] for fact in gateway.facts("connected")} == {"127.0.0.1", "::1"}
