"""Patterns, their precedence, and that no order of the routes makes an open relay."""

from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.queue.route import RouteSettings, RouteTable
from mailgw.queue.schedule import RetrySettings
from tests.tables import each


def table(*routes: tuple[str, str]) -> RouteTable:
    """Each route as its patterns, divided by spaces, and its backend."""
    return RouteTable([RouteSettings(tuple(patterns.split()), backend) for patterns, backend in routes])


def mailbox(text: str) -> Mailbox:
    parsed = parse_mailbox(text)
    assert parsed is not None
    return parsed


@each(
    ("pattern", "recipient", "matches"),
    [
        ("bob@example.org", "bob@example.org", True),
        ("bob@example.org", "BOB@EXAMPLE.org", True),
        ("Bob@Example.ORG", "bob@example.org", True),
        ("bob@example.org", "bobby@example.org", False),
        ("bob@example.org", "bob@sub.example.org", False),
        ("bob@example.org", '"bob"@example.org', True),
        ("@example.org", "bob@example.org", True),
        ("@xn--mller-kva.example", "bob@müller.example", True),
        ("@xn--mller-kva.example", "bob@XN--MLLER-KVA.example", True),
        ("grün@example.org", "grün@example.org", True),
        ("grün@example.org", "GRün@example.org", True),
        ("grün@example.org", "grÜn@example.org", False),
        ("kate@example.org", "\u212aate@example.org", False),
        ("@Example.ORG", "bob@example.org", True),
        ("@example.org", "bob@sub.example.org", False),
        ("@example.org", "bob@notexample.org", False),
        ("@example.org", "bob@org", False),
        ("@.example.org", "bob@example.org", False),
        ("@.example.org", "bob@a.example.org", True),
        ("@.example.org", "bob@a.b.example.org", True),
        ("@.example.org", "bob@notexample.org", False),
        ("@.org", "bob@example.org", True),
        ("@[192.0.2.1]", "bob@[192.0.2.1]", True),
        ("@.0.2.1]", "bob@example.org", False),
        # A quoted local part that looks like a pattern is none.
        ("bob@example.org", '"bob@example.org"@elsewhere.test', False),
        ("@example.org", '"@example.org"@elsewhere.test', False),
        ("*", '"*"@elsewhere.test', False),
    ],
)
def test_what_a_pattern_matches(pattern: str, recipient: str, matches: bool) -> None:
    expected = "here" if matches else None
    assert table((pattern, "here")).backend_for(mailbox(recipient), for_client=False) == expected


def test_the_first_route_that_matches_wins() -> None:
    wide_first = table(("@.example.org @example.org", "wide"), ("bob@a.example.org", "narrow"))
    narrow_first = table(("bob@a.example.org", "narrow"), ("@.example.org @example.org", "wide"))
    assert wide_first.backend_for(mailbox("bob@a.example.org"), False) == "wide"
    assert narrow_first.backend_for(mailbox("bob@a.example.org"), False) == "narrow"
    assert narrow_first.backend_for(mailbox("eve@a.example.org"), False) == "wide"


def test_a_pattern_that_stands_twice_belongs_to_the_first() -> None:
    assert table(("@example.org", "one"), ("@EXAMPLE.org", "two")).backend_for(mailbox("a@example.org"), True) == "one"


def test_the_wildcard_is_there_for_clients_alone() -> None:
    routes = table(("@example.org", "home"), ("*", "out"))
    assert routes.backend_for(mailbox("a@elsewhere.test"), for_client=False) is None
    assert routes.backend_for(mailbox("a@elsewhere.test"), for_client=True) == "out"
    assert routes.backend_for(mailbox("a@example.org"), for_client=True) == "home"


def test_a_wildcard_in_front_takes_everything_of_clients_and_nothing_of_strangers() -> None:
    routes = table(("*", "out"), ("@example.org", "home"))
    assert routes.backend_for(mailbox("a@example.org"), for_client=True) == "out"
    assert routes.backend_for(mailbox("a@example.org"), for_client=False) == "home"
    assert routes.backend_for(mailbox("a@elsewhere.test"), for_client=False) is None


def test_the_bare_postmaster_has_no_route_of_its_own() -> None:
    routes = table(("@example.org", "home"), ("*", "out"))
    assert routes.backend_for(Mailbox("Postmaster", ""), for_client=False) is None


def test_no_routes() -> None:
    assert table().backend_for(mailbox("a@example.org"), for_client=True) is None


LABEL = st.sampled_from(["a", "b", "example", "org", "test"])
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
LOCAL = st.sampled_from(["bob", "Eve", "*", "@", "@a", "bob@a.org", "@.org"])
PATTERN = st.one_of(
    DOMAIN.map("@{}".format), DOMAIN.map("@.{}".format), DOMAIN.map("bob@{}".format), st.just("*")
)
ROUTE = st.builds(RouteSettings, st.lists(PATTERN, max_size=3).map(tuple), st.sampled_from("xyz"))
ROUTES = st.lists(ROUTE, max_size=5)


def names(pattern: str, recipient: Mailbox) -> bool:
    """The patterns' meaning, word for word and slow."""
    local, _, domain = pattern.rpartition("@")
    if pattern == "*":
        return False
    if domain.startswith("."):
        return recipient.domain.endswith(domain) and recipient.domain != domain
    return recipient.domain == domain and (not local or recipient.local_part.lower() == local)


@given(ROUTES, LOCAL, DOMAIN)
def test_no_order_makes_an_open_relay(routes: list[RouteSettings], local: str, domain: str) -> None:
    recipient = Mailbox(local, domain)
    matching = [r.backend for r in routes if any(names(p, recipient) for p in r.patterns)]
    stranger = RouteTable(routes).backend_for(recipient, for_client=False)
    assert stranger == (matching[0] if matching else None)
    without = [RouteSettings(tuple(p for p in r.patterns if p != "*"), r.backend) for r in routes]
    assert stranger == RouteTable(without).backend_for(recipient, for_client=True)
    wider = [r.backend for r in routes if "*" in r.patterns or any(names(p, recipient) for p in r.patterns)]
    assert RouteTable(routes).backend_for(recipient, for_client=True) == (wider[0] if wider else None)


def test_each_route_may_have_a_schedule_of_its_own() -> None:
    usual = RetrySettings((300.0,), 3600.0, 86400.0, 0.1)
    quick = RetrySettings((10.0,), 60.0, 600.0, 0.1)
    routes = RouteTable([
        RouteSettings(("@quick.example",), "a", quick),
        RouteSettings(("@usual.example",), "a"),
        RouteSettings(("*",), "b"),
    ])
    retries = routes.retries(usual)
    found = {one: retries.of(mailbox(one)) for one in ("x@quick.example", "x@usual.example", "x@other.example")}
    assert found == {"x@quick.example": quick, "x@usual.example": usual, "x@other.example": usual}
    assert retries.every == (usual, quick)
    assert table(("*", "b")).retries(usual).every == (usual,)


@each(
    ("routes", "names"),
    [
        ([("@example.org", "boxes"), ("*", "relay")], ("boxes",)),
        ([("*", "relay"), ("@example.org", "boxes")], ("relay", "boxes")),  # strangers' mail does not see the first
        ([("Ann@Example.org", "own"), ("@.org", "boxes"), ("*", "relay")], ("own", "boxes")),
        ([("bob@other.org @.example.org", "own"), ("*", "relay"), ("ann@example.org", "relay")], ("relay",)),
        ([("@example.net", "boxes")], ()),
    ],
)
def test_all_backends_of_a_domain(routes: list[tuple[str, str]], names: tuple[str, ...]) -> None:
    assert table(*routes).backends_of("example.org") == names
