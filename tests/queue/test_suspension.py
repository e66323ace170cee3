import pytest

from mailgw.queue.suspension import MAX_WORD_CHARACTERS, BackendLane, LaneKind, Suspensions, misses, suspension
from tests.tables import each


@each(
    ("word", "lane", "holds"),
    [
        ("example.net", "internet/example.net", True),
        ("Example.NET", "internet/example.net", True),
        ("müller.example", "internet/xn--mller-kva.example", True),
        ("example.net", "other/example.net", True),
        ("example.net", "internet/a.example.net", False),
        ("example.net", "relay", False),
        ("internet/example.net", "internet/example.net", True),
        ("internet/example.net", "other/example.net", False),
        ("internet/*", "internet/example.net", True),
        ("internet/*", "internet", True),
        ("internet/*", "internet2/example.net", False),
        ("relay", "relay", True),
        ("relay", "relay/example.net", False),
        ("Relay", "relay", False),  # backends' names have their case
    ],
)
def test_which_lanes_a_word_means(word: str, lane: str, holds: bool) -> None:
    assert Suspensions.of([suspension(word), "unrelated.example"]).holds(lane) is holds


def test_nothing_is_suspended() -> None:
    assert not Suspensions.of(()).holds("internet/example.net")


@each("word", ["", "a b", "a\nb", "\x1b", "x" * (MAX_WORD_CHARACTERS + 1)])
def test_words_that_name_nothing(word: str) -> None:
    with pytest.raises(ValueError, match="expected a domain"):
        suspension(word)
    assert suspension("x" * MAX_WORD_CHARACTERS)


ONE, DOMAINS, OWN = BackendLane(LaneKind.ONE), BackendLane(LaneKind.DOMAINS), BackendLane(LaneKind.OWN)
BACKENDS = {"internet": DOMAINS, "relay": ONE, "boxes": ONE, "desk": BackendLane(LaneKind.HANDLERS),
            "both": BackendLane(LaneKind.MEMBERS, ("boxes", "desk")),
            "out": BackendLane(LaneKind.MEMBERS, ("boxes", "internet"))}


@each(
    ("word", "why"),
    [
        ("relay", None),
        ("relay/*", None),
        ("internet/*", None),
        ("internet/example.net", None),
        ("direct.example", None),
        ("nobody.example", None),
        ("both.example", None),
        ("out.example", None),
        ("desk/order", None),
        ("desk/*", None),
        ("bogus", "there is no backend 'bogus'; there are both, boxes, desk, internet, out, relay"),
        ("bogus/*", "there is no backend 'bogus'; there are both, boxes, desk, internet, out, relay"),
        ("internet", 'internet has a lane for each domain: suspend "internet/*", or internet/DOMAIN'),
        ("desk", 'desk has a lane for each handler: suspend "desk/*", or desk/HANDLER'),
        ("both", 'what is for both waits in the lanes of its members: suspend boxes "desk/*"'),
        ("both/*", 'what is for both waits in the lanes of its members: suspend boxes "desk/*"'),
        (
            "relay/example.net",
            "relay has one lane for all domains: suspend relay, or hold --domain example.net",
        ),
        ("example.net", "mail for example.net goes by relay: suspend relay, or hold --domain example.net"),
        (
            "mixed.example",
            "mail for mixed.example goes by boxes, relay: suspend boxes relay, or hold --domain mixed.example",
        ),
        ("shop.example", 'mail for shop.example goes by desk: suspend "desk/*", or hold --domain shop.example'),
        (
            "fan.example",
            'mail for fan.example goes by boxes, desk: suspend boxes "desk/*", or hold --domain fan.example',
        ),
    ],
)
def test_words_that_no_lane_ever_has(word: str, why: str | None) -> None:
    routes = {
        "example.net": ["relay"], "direct.example": ["internet"], "both.example": ["relay", "internet"],
        "mixed.example": ["boxes", "relay"], "shop.example": ["desk"], "fan.example": ["both"], "out.example": ["out"],
    }
    assert misses(word, BACKENDS, lambda domain: routes.get(domain, ())) == why


def test_a_plug_in_s_lanes_may_have_any_name() -> None:
    backends = {"relay": ONE, "own": OWN}
    for word in ("mx.example.net", "own", "own/mx.example.net", "own/*"):
        assert misses(word, backends, lambda domain: ["own"]) is None
    assert misses("mx.example.net", backends, lambda domain: ["relay"]) == (
        "mail for mx.example.net goes by relay: suspend relay, or hold --domain mx.example.net, or own/mx.example.net"
        " for a lane of own")
