"""What a next hop's words do to a message and to its lane, in a real gateway: ours, and those of the operator."""

import pytest

from tests.peers.harness import SOON, Gateway, Lab, letter, maildirs, route, smart_host, submit, wait_until

pytestmark = pytest.mark.peer

OWN = """
[[reply_class]]
name = "mood"
code = "550"
text = 'bad mood'
message = "schedule"

[[reply_class]]
name = "never"
status = "4.9.*"
message = "fail"

[[reply_class]]
name = "crowded"
code = "421"
text = 'crowded'
message = "again"
lane = "slow"
wait = 0.1
"""


def gateway_to(lab: Lab, **script: list[str]) -> Gateway:
    """A gateway whose next hop has this script."""
    hop = lab.hop(script)
    return lab.mx(
        route("@away.test", "out"), smart_host("out", hop.port), route("@home.test", "boxes"), maildirs("boxes"),
        SOON, OWN,
    ).start()


def test_words_decide_where_codes_do_not(lab: Lab) -> None:
    script = [
        "450 4.2.0 Greylisted, please try again in 1 seconds", "550 5.7.1 I am in a bad mood today",
        "451 4.9.1 No, and I mean it", "250 2.1.5 welcome",
    ]
    gateway = gateway_to(lab, RCPT=[script[0], script[1], script[3]])
    submit(gateway.port, "ann@home.test", "bob@away.test", letter("for bob"))
    wait_until(lambda: gateway.facts("delivered"), 30, "it went at the third attempt")
    deferred = [(fact["code"], fact["reply_class"], fact["attempts"]) for fact in gateway.facts("deferred")]
    assert deferred == [(450, "greylisted", 1), (550, "mood", 2)]

    gateway = gateway_to(lab, RCPT=[script[2]])
    submit(gateway.port, "ann@home.test", "bob@away.test", letter("for bob"))
    wait_until(lambda: gateway.facts("bounced"), 30, "a 4yz that the operator takes for a no")
    [bounced] = gateway.facts("bounced")
    assert (bounced["reply_class"], bounced["attempts"]) == ("never", 1)


def test_a_crowded_server_costs_no_attempt(lab: Lab) -> None:
    gateway = gateway_to(lab, CONNECT=["421 4.3.2 it is crowded here", "220 hop.test ESMTP"])
    submit(gateway.port, "ann@home.test", "bob@away.test", letter("for bob"))
    wait_until(lambda: gateway.facts("delivered"), 60, "it went")
    [deferred], [delivered] = gateway.facts("deferred"), gateway.facts("delivered")
    assert (deferred["reply_class"], deferred.get("attempts", 0), delivered["attempts"]) == ("crowded", 0, 1)


def test_a_greeting_that_refuses_us_returns_no_mail(lab: Lab) -> None:
    gateway = gateway_to(lab, CONNECT=["554 5.7.1 Your address is listed by spamhaus", "220 hop.test ESMTP"])
    submit(gateway.port, "ann@home.test", "bob@away.test", letter("for bob"))
    wait_until(lambda: gateway.facts("delivered"), 60, "it went")
    [deferred] = gateway.facts("deferred")
    assert (deferred["code"], deferred["reply_class"]) == (554, "blocked")
