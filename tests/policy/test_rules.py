
from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.envelope import Client, Role
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import PASS, Facts, Stage, Verdict
from mailgw.policy.chain import Chain
from mailgw.policy.rules.loop import MAX_RECEIVED, LoopRule
from mailgw.policy.rules.qualified import QualifiedRule
from mailgw.policy.rules.relay import Reach, RelayRule, RoutingRule
from mailgw.policy.rules.sender import OWN_ADDRESS, AuthorRule, SenderRule, Senders, SenderSettings
from mailgw.testing.driving import result_of
from tests.tables import each

BOB = Mailbox("bob", "example.org")


def client(role: Role = Role.MX, may_relay: bool = False, login: str | None = None) -> Client:
    return Client("s1", role, "192.0.2.1", 1, may_relay, "x", True, None, login)


@each(
    ("reach", "may_relay", "login", "code"),
    [
        (Reach.ANYONE, False, None, None),
        (Reach.CLIENTS, False, None, 550),
        (Reach.CLIENTS, True, None, None),
        (Reach.CLIENTS, False, "a@example.org", None),
        (Reach.NOBODY, False, None, 550),
        (Reach.NOBODY, True, None, 550),
    ],
)
def test_who_may_send_where(reach: Reach, may_relay: bool, login: str | None, code: int | None) -> None:
    rule = RelayRule(lambda recipient: reach)
    facts = Facts(client(may_relay=may_relay, login=login), None, BOB)
    verdict = result_of(rule.judge(Stage.RCPT, facts))
    assert (verdict.reply.code if verdict and verdict.reply else None) == code


def test_strangers_are_told_relaying_and_clients_the_missing_route() -> None:
    rule = RelayRule(lambda recipient: Reach.NOBODY)
    for may_relay, status in [(False, "5.7.1"), (True, "5.1.2")]:
        verdict = result_of(rule.judge(Stage.RCPT, Facts(client(may_relay=may_relay), None, BOB)))
        assert verdict
        assert verdict.reply
        assert verdict.reply.status == status


@each(
    ("local_part", "passes_on", "may_relay", "passes"),
    [
        ("x%evil.test", True, False, False),
        ("x@evil.test", True, False, False),
        ("evil.test!x", True, False, False),
        ("x%evil.test", True, True, True),
        ("x%evil.test", False, False, True),
        ("bob", True, False, True),
    ],
)
def test_strangers_name_no_route_behind_the_next_hop(
    local_part: str, passes_on: bool, may_relay: bool, passes: bool
) -> None:
    facts = Facts(client(may_relay=may_relay), None, Mailbox(local_part, "example.org"))
    verdict = result_of(RoutingRule(lambda recipient: passes_on).judge(Stage.RCPT, facts))
    assert (verdict is None) is passes


@each(
    ("role", "sender", "status"),
    [
        (Role.MX, Mailbox("eve", "elsewhere.test"), None),
        (Role.SUBMISSION, None, None),
        (Role.SUBMISSION, Mailbox("Alice", "example.org"), None),
        (Role.SUBMISSIONS, Mailbox("eve", "example.org"), "5.7.1"),
        (Role.SUBMISSION, Mailbox("\u212aate", "example.org"), "5.7.1"),
        (Role.SUBMISSION, Mailbox("alice", "localhost"), "5.1.7"),
        (Role.SUBMISSION, Mailbox("alice", "[192.0.2.1]"), "5.1.7"),
    ],
)
def test_a_login_sends_under_its_own_address(role: Role, sender: Mailbox | None, status: str | None) -> None:
    facts = Facts(client(role, login="alice@example.org"), sender)
    verdict = result_of(SenderRule(OWN_ADDRESS).judge(Stage.MAIL, facts))
    assert (verdict.reply.status if verdict and verdict.reply else None) == status


@each(("hops", "passes"), [(0, True), (MAX_RECEIVED, True), (MAX_RECEIVED + 1, False)])
def test_loops_end(hops: int, passes: bool) -> None:
    facts = Facts(client(), None, None, b"Received: x\r\n" * hops + b"\r\n")
    verdict = result_of(LoopRule().judge(Stage.CONTENT, facts))
    assert (verdict is None) is passes
    if verdict is not None:
        assert verdict.reply is not None
        assert (verdict.reply.code, verdict.reply.status) == (554, "5.4.6")


class Says:
    """A rule that is data."""

    def __init__(self, name: str, stage: Stage, verdict: Verdict | None) -> None:
        self.name, self.stages, self.verdict, self.asked = name, frozenset({stage}), verdict, 0

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        self.asked += 1
        return self.verdict


def test_the_first_objection_decides_and_the_rest_is_not_asked() -> None:
    no = Verdict("two", "why", Reply(550, "5.7.1", ("no",)))
    rules = [Says("one", Stage.MAIL, PASS), Says("two", Stage.MAIL, no), Says("three", Stage.MAIL, None)]
    assert result_of(Chain(rules).judge(Stage.MAIL, Facts(client()))) is no
    assert [r.asked for r in rules] == [1, 1, 0]


def test_nobody_objects() -> None:
    chain = Chain([Says("one", Stage.MAIL, None)])
    assert result_of(chain.judge(Stage.MAIL, Facts(client()))).passes
    assert chain.has_rules(Stage.MAIL)
    assert not chain.has_rules(Stage.RCPT)


# --- what a login may send as -------------------------------------------------------------------------------

SENDERS = Senders(
    [
        SenderSettings("Alice@example.org", ("Sales@example.org", "@shop.example.org", "@.lists.example.org")),
        SenderSettings("robot@example.org", ("*",)),
    ],
    lambda account: "+" if account.domain == "example.org" else "",
    lambda address: address == Mailbox("alice+boss", "example.org"),
)


@each(("login", "sender", "may"), [
    ("alice@example.org", "ALICE@example.org", True),
    ("alice@example.org", "alice+tag@example.org", True),
    ("alice@example.org", "Alice+a+b@example.org", True),
    ("alice@example.org", "alice+@example.org", True),
    ("alice@example.org", "alice+boss@example.org", False),      # an account of its own
    ("alice+boss@example.org", "alice+boss+x@example.org", False),  # delivered to alice
    ("alice+boss@example.org", "alice+boss@example.org", True),
    ("alice@example.org", "alicex@example.org", False),
    ("alice@example.org", "alice-tag@example.org", False),
    ("alice@example.org", "alice+tag@other.example", False),
    ("alice@example.org", "sales@EXAMPLE.org", True),
    ("alice@example.org", "sales+tag@example.org", False),
    ("alice@example.org", "anybody@shop.example.org", True),
    ("alice@example.org", "anybody@x.shop.example.org", False),
    ("alice@example.org", "x@a.b.lists.example.org", True),
    ("alice@example.org", "x@lists.example.org", False),
    ("bob@example.org", "sales@example.org", False),
    ("bob@elsewhere.example", "bob+tag@elsewhere.example", False),  # nothing divides there
    ("robot@example.org", "anybody@anywhere.example", True),
    ("", "alice@example.org", False),
    ("user", "user@example.org", False),
])
def test_what_a_login_may_send_as(login: str, sender: str, may: bool) -> None:
    address = parse_mailbox(sender)
    assert address is not None
    assert SENDERS.may_send(login, address) is may


@each(("header", "status"), [
    (b"Subject: no author yet\r\n\r\n", None),
    (b"From: Alice <alice+tag@example.org>\r\n\r\n", None),
    (b"From: sales@example.org, alice@example.org\r\nSender: alice@example.org\r\n\r\n", None),
    (b"From: eve@example.org\r\n\r\n", "5.7.1"),
    (b"From: alice@example.org, eve@example.org\r\n\r\n", "5.7.1"),
    (b"From: alice@example.org\r\nSender: eve@example.org\r\n\r\n", "5.7.1"),
    (b"From: alice@example.org\r\nFrom: alice@example.org\r\n\r\n", "5.6.0"),
    (b"From: Alice\r\n\r\n", "5.6.0"),
])
def test_the_author_is_the_login_as_well(header: bytes, status: str | None) -> None:
    facts = Facts(client(Role.SUBMISSION, login="alice@example.org"), None, None, header)
    verdict = result_of(AuthorRule(SENDERS).judge(Stage.CONTENT, facts))
    assert (verdict.reply.status if verdict and verdict.reply else None) == status
    facts = Facts(client(Role.MX), None, None, header)
    assert result_of(AuthorRule(SENDERS).judge(Stage.CONTENT, facts)) is None


@each(("role", "domain", "passes_on", "status"), [
    (Role.SUBMISSION, "mail", True, "5.1.2"),
    (Role.SUBMISSIONS, "localhost", True, "5.1.2"),
    (Role.SUBMISSION, "mail", False, None),
    (Role.SUBMISSION, "example.org", True, None),
    (Role.SUBMISSION, "[IPv6:2001:db8::1]", True, None),
    (Role.MX, "mail", True, None),
])
def test_who_submits_names_whole_domains(role: Role, domain: str, passes_on: bool, status: str | None) -> None:
    facts = Facts(client(role, login="alice@example.org"), None, Mailbox("bob", domain))
    verdict = result_of(QualifiedRule(lambda recipient: passes_on).judge(Stage.RCPT, facts))
    assert (verdict.reply.status if verdict and verdict.reply else None) == status
