"""Rules that are plugged in, by whole dialogs."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.effect import (
    MAX_EFFECTS,
    MAX_TAGS,
    AddHeader,
    AddRecipient,
    ChangeRecipient,
    Discard,
    DropRecipient,
    Effect,
    Hold,
    Junk,
    Quarantine,
    RemoveHeader,
    ReplaceContent,
    Reroute,
    SetHeader,
    Tag,
)
from mailgw.mail.envelope import Role
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Query, QueueRow
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Facts, Stage, Verdict, change, defer, reject
from mailgw.net.supervised import Supervisor
from mailgw.policy.failing import OnFailure
from mailgw.policy.rules.relay import Reach, RelayRule
from mailgw.queue.aliases import EXPANDED
from mailgw.receive.plugged import PluginRule, Surroundings, verdict_fault
from mailgw.testing.driving import result_of
from tests.logged import LoggedFailures
from tests.receive.listening import Listener, Session
from tests.tables import each

BOB, CAT, DAN = (Mailbox(name, "example.org") for name in ("bob", "cat", "dan"))
HELLO = ("EHLO client.test", "MAIL FROM:<ann@example.net>")
TO_BOB = (*HELLO, "RCPT TO:<bob@example.org>", "DATA")
HEADER = b"From: ann@example.net\r\nSubject: hello\r\n\r\n"
AROUND = Surroundings(("out", "archive"), lambda recipient: recipient.domain == "example.org", 1000)

Judges = Callable[[Stage, Facts], Any]


class Own:
    def __init__(self, judges: Judges, *stages: Stage) -> None:
        self.stages = stages
        self.judge = judges


class Bench:
    def __init__(
        self, judges: Judges, *stages: Stage, on_failure: OnFailure = OnFailure.DEFER, role: Role = Role.MX
    ) -> None:
        self.listener = Listener(role, rules=())
        listener = self.listener
        supervisor = Supervisor("rule own", 10.0, listener.clock, listener.journal.note)
        own: Any = Own(judges, *stages)
        rule = PluginRule("own", own, list(Role), on_failure, supervisor, AROUND)
        relay = RelayRule(lambda recipient: Reach.ANYONE if recipient.domain == "example.org" else Reach.NOBODY)
        listener.factory.chain = type(listener.factory.chain)([relay, rule])
        self.session = Session(listener, listener_client())
        self.greeting = self.session.take()

    def deliver(self, body: bytes = b"hi\r\n", head: bytes = HEADER) -> str:
        self.session.say(*TO_BOB)
        return self.session.send(head + body + b".\r\n").strip()

    def rows(self) -> list[QueueRow]:
        return list(result_of(self.listener.spool.search(Query(), 10)))

    def stored(self) -> bytes:
        """Without our trace."""
        (content,) = self.listener.stored()
        trace, date, rest = content.partition(b"+0000\r\n")
        assert trace.startswith(b"Received: ")
        assert date
        return rest

    def facts(self, kind: type[fact.Event]) -> list[Any]:
        return [one for one in self.listener.journal.events if isinstance(one, kind)]


def listener_client() -> Any:
    from tests.receive.listening import CLIENT

    return CLIENT


def at(stage: Stage, *effects: Effect) -> Bench:
    return Bench(lambda at, facts: change(*effects, why="because"), stage)


# --- content ---------------------------------------------------------------------------------------------

@each("body", [b"hi\r\n", b"x" * 70 + b"\r\n", b"0123456789abcd\r\n" * 40_000])
def test_the_header_is_changed_and_the_body_stays(body: bytes) -> None:
    bench = at(
        Stage.CONTENT, AddHeader("X-Seen", "yes"), SetHeader("Subject", "new"), AddHeader("X-End", "1", at_end=True)
    )
    assert bench.deliver(body).startswith("250 2.0.0 OK, queued as")
    head = b"X-Seen: yes\r\nFrom: ann@example.net\r\nSubject: new\r\nX-End: 1\r\n\r\n"
    assert bench.stored() == head + body
    (row,) = bench.rows()
    (queued,), (changed,) = bench.facts(fact.Queued), bench.facts(fact.Changed)
    assert queued.queue_id == changed.queue_id == row.queue_id
    assert f"id {row.queue_id}".encode() in bench.listener.stored()[0]
    assert queued.size_octets == row.size_octets == len(bench.listener.stored()[0])
    assert changed.effects == ("add_header X-Seen", "set_header Subject", "add_header X-End")
    assert changed.why == "because"
    assert len(bench.listener.intake.claims) == 1


@each(
    ("head", "effect", "stored"),
    [
        (HEADER, RemoveHeader("subject"), b"From: ann@example.net\r\n\r\nhi\r\n"),
        (HEADER, ReplaceContent(b"A: 1\r\n\r\nnew\r\n"), b"A: 1\r\n\r\nnew\r\n"),
        (b"", AddHeader("X", "1"), b"X: 1\r\n\r\nhi\r\n"),
        (b"\r\n", AddHeader("X", "1"), b"X: 1\r\n\r\nhi\r\n"),
    ],
)
def test_other_changes_of_the_content(head: bytes, effect: Effect, stored: bytes) -> None:
    bench = at(Stage.CONTENT, effect)
    assert bench.deliver(head=head).startswith("250")
    assert bench.stored() == stored


def test_what_is_not_ascii_any_more_is_labelled() -> None:
    bench = at(Stage.CONTENT, AddHeader("X", "é"))
    bench.deliver()
    (claim,) = bench.listener.intake.claims
    assert claim.message.body_type.value == "8BIT"


def test_a_rule_reads_all_of_the_message() -> None:
    seen: list[object] = []

    async def judge(stage: Stage, facts: Facts) -> None:
        content = await facts.content()
        chunks = [chunk async for chunk in content.chunks()]
        seen.extend([facts.header, facts.recipients, facts.size_octets == content.size_octets, facts.queue_id])
        seen.append(b"".join(chunks).endswith(HEADER + b"body\r\n"))

    bench = Bench(judge, Stage.CONTENT)
    bench.deliver(b"body\r\n")
    (row,) = bench.rows()
    assert seen == [HEADER, (BOB,), True, row.queue_id, True]


# --- what becomes of the message ---------------------------------------------------------------------------

@each(
    ("effect", "reason"),
    [
        (Hold("odd"), "held by rule own: odd"), (Quarantine(""), "quarantined by rule own"),
        (Junk("spam"), "quarantined by rule own: spam"),
    ],
)
def test_a_message_that_is_held(effect: Effect, reason: str) -> None:
    bench = at(Stage.CONTENT, effect)
    assert bench.deliver().startswith("250")
    (row,) = bench.rows()
    assert (row.state, row.reason) == ("held", reason)
    assert bench.listener.intake.claims == []


@each("stage", [Stage.CONNECT, Stage.HELO, Stage.MAIL, Stage.RCPT, Stage.CONTENT])
def test_junk_goes_to_where_it_is_filed_with_its_tag(stage: Stage) -> None:
    bench = at(stage, Junk("spam"), Tag("a"))
    bench.listener.intake.filing = {"out"}
    assert bench.deliver().startswith("250")
    (row,) = bench.rows()
    assert (row.state, row.reason, row.parameters) == ("active", "", "TAGS=a,junk")
    (claim,) = bench.listener.intake.claims
    assert claim.message.is_junk
    (changed,) = bench.facts(fact.Changed)
    assert (changed.effects, changed.held) == (("junk", "tag a"), "")


@each(
    ("filing", "effects", "reason", "parameters"),
    [
        ("", (Junk("spam"), Tag("a")), "quarantined by rule own: spam", "TAGS=a"),
        # One recipient's backend does not file it: neither has it.
        ("out", (Junk("spam"), Reroute("archive", CAT)), "quarantined by rule own: spam", ""),
        ("archive/example.org", (Junk("spam"), Reroute("archive", CAT)), "quarantined by rule own: spam", ""),
        # It would be filed, but is held all the same: who releases it has looked at it.
        ("out", (Hold("odd"), Junk("spam")), "quarantined by rule own: spam", ""),
        ("out", (Junk("spam"), Quarantine("harm")), "quarantined by rule own: harm", ""),
        ("out", (Hold("odd"), Tag("junk")), "held by rule own: odd", "TAGS=junk"),
    ],
)
def test_junk_that_is_held(filing: str, effects: tuple[Effect, ...], reason: str, parameters: str) -> None:
    bench = at(Stage.CONTENT, *effects)
    bench.listener.intake.filing = {filing}
    bench.session.say(*HELLO, "RCPT TO:<bob@example.org>", "RCPT TO:<cat@example.org>", "DATA")
    assert bench.session.send(HEADER + b".\r\n").startswith("250")
    rows = bench.rows()
    assert {(row.state, row.reason, row.parameters) for row in rows} == {("held", reason, parameters)}
    (changed,) = bench.facts(fact.Changed)
    assert changed.held == reason


def test_a_tag_of_a_rule_holds_nothing_back() -> None:
    bench = at(Stage.CONTENT, Tag("junk"))
    bench.deliver()
    (claim,) = bench.listener.intake.claims
    assert claim.message.is_junk


def test_a_report_to_the_sender_is_no_place_for_junk_to_go() -> None:
    bench = at(Stage.CONTENT, Junk("spam"))
    bench.listener.intake.filing = {"out"}
    bench.listener.intake.aliases[BOB] = (CAT, DAN)
    bench.session.say(*HELLO, "RCPT TO:<bob@example.org> NOTIFY=SUCCESS", "DATA")
    assert bench.session.send(HEADER + b".\r\n").startswith("250")
    assert {row.lane for row in bench.rows()} == {"out", EXPANDED}
    assert {row.parameters for row in bench.rows()} == {"TAGS=junk"}


@each("stage", [Stage.MAIL, Stage.RCPT, Stage.CONTENT, Stage.HELO, Stage.CONNECT])
def test_a_message_that_is_discarded(stage: Stage) -> None:
    bench = at(stage, Discard())
    assert bench.deliver().startswith("250 2.0.0 OK, taken as ")
    assert bench.rows() == []
    (discarded,) = bench.facts(fact.Discarded)
    assert discarded.recipients == ("bob@example.org",)
    assert discarded.why.startswith("discard")
    assert bench.facts(fact.Queued) == []


@each("stage", [Stage.CONNECT, Stage.HELO, Stage.MAIL, Stage.RCPT, Stage.CONTENT])
def test_tags_stay_with_the_message(stage: Stage) -> None:
    bench = at(stage, Tag("a"), Tag("b:c"), Tag("a"))
    bench.deliver()
    (claim,) = bench.listener.intake.claims
    assert claim.message.tags == ("a", "b:c")
    assert bench.rows()[0].parameters == "TAGS=a,b:c"


def test_what_the_session_was_given_holds_for_each_of_its_messages() -> None:
    bench = at(Stage.HELO, Tag("a"))
    bench.deliver()
    bench.session.say(*TO_BOB[1:])
    bench.session.send(HEADER + b".\r\n")
    assert [claim.message.tags for claim in bench.listener.intake.claims] == [("a",), ("a",)]


# --- recipients ----------------------------------------------------------------------------------------------

@each(
    ("effects", "recipients"),
    [
        ([AddRecipient(CAT)], {"bob@example.org": "out", "cat@example.org": "out"}),
        ([AddRecipient(BOB)], {"bob@example.org": "out"}),
        ([ChangeRecipient(BOB, DAN)], {"dan@example.org": "out"}),
        ([ChangeRecipient(BOB, DAN), AddRecipient(DAN)], {"dan@example.org": "out"}),
        ([DropRecipient(BOB), AddRecipient(CAT)], {"cat@example.org": "out"}),
        ([Reroute("archive")], {"bob@example.org": "archive/example.org"}),
        ([Reroute("archive", BOB), ChangeRecipient(BOB, DAN)], {"dan@example.org": "archive/example.org"}),
        ([AddRecipient(CAT), Reroute("archive", BOB)],
         {"bob@example.org": "archive/example.org", "cat@example.org": "out"}),
    ],
)
def test_recipients_and_routes(effects: list[Effect], recipients: dict[str, str]) -> None:
    bench = at(Stage.CONTENT, *effects)
    assert bench.deliver().startswith("250")
    assert {row.recipient: row.lane for row in bench.rows()} == recipients


def test_reports_speak_of_the_address_that_was_named() -> None:
    bench = at(Stage.CONTENT, ChangeRecipient(BOB, DAN))
    bench.deliver()
    assert bench.rows()[0].recipient_parameters == "ORCPT=rfc822;bob@example.org"


@each("effect", [AddRecipient(CAT), ChangeRecipient(BOB, CAT)])
def test_what_a_rule_sends_elsewhere_is_forwarded(effect: Effect) -> None:
    bench = at(Stage.CONTENT, effect)
    bench.listener.intake.is_forwarded = lambda recipient: recipient == CAT  # type: ignore[method-assign]
    bench.deliver()
    assert {row.recipient: "FORWARDED" in row.recipient_parameters for row in bench.rows()} in (
        {"bob@example.org": False, "cat@example.org": True}, {"cat@example.org": True},
    )


def test_a_message_that_nobody_is_left_for() -> None:
    bench = at(Stage.CONTENT, DropRecipient(BOB))
    assert bench.deliver().startswith("250 2.0.0 OK, taken")
    assert bench.rows() == []


def test_a_recipient_is_changed_when_it_is_named_and_need_not_exist() -> None:
    bench = at(Stage.RCPT, ChangeRecipient(BOB, DAN))
    bench.listener.intake.aliases[BOB] = Reply(550, "5.1.1", ("no such user",))
    bench.listener.intake.aliases[DAN] = (DAN, CAT)
    assert bench.deliver().startswith("250")
    assert {row.recipient for row in bench.rows()} == {"dan@example.org", "cat@example.org"}


def test_what_is_said_of_any_recipient_is_done() -> None:
    bench = Bench(lambda stage, facts: change(Tag(facts.recipient.local_part)), Stage.RCPT)
    bench.listener.intake.aliases |= {BOB: (CAT,), Mailbox("postmaster", "example.org"): Reply(550, "5.1.1", ("none",))}
    bench.session.say(*HELLO)
    for name in ("bob", "BOB", "postmaster"):
        assert bench.session.codes(f"RCPT TO:<{name}@example.org>") == ["250"]
    bench.session.say("DATA")
    bench.session.send(HEADER + b".\r\n")
    assert {claim.message.tags for claim in bench.listener.intake.claims} == {("bob", "BOB", "postmaster")}


def test_trouble_with_new_recipients_is_the_clients_to_repeat() -> None:
    bench = at(Stage.CONTENT, AddRecipient(CAT))
    bench.listener.intake.aliases[CAT] = TemporaryFault("no database", Reply(451, "4.4.3", ("later",)))
    assert bench.deliver() == "451 4.4.3 later"
    assert bench.rows() == []


# --- each stage ------------------------------------------------------------------------------------------------

@each(
    ("stage", "codes"),
    [
        (Stage.CONNECT, ["550"]),
        (Stage.HELO, ["220", "550"]),
        (Stage.MAIL, ["220", "250", "550"]),
        (Stage.RCPT, ["220", "250", "250", "550"]),
        (Stage.CONTENT, ["220", "250", "250", "250", "354", "550"]),
    ],
)
def test_it_objects_at_any_stage(stage: Stage, codes: list[str]) -> None:
    bench = Bench(lambda at, facts: reject("not you", why="a hunch"), stage)
    said = [bench.greeting[:3]]
    for line in (*TO_BOB, "."):
        if len(said) < len(codes):
            said += bench.session.codes(line)
    assert said == codes
    (rejected,) = bench.facts(fact.Rejected)
    assert (rejected.stage, rejected.rule, rejected.text, rejected.why) == (stage.value, "own", "not you", "a hunch")


def test_a_login_is_judged_and_may_be_refused() -> None:
    seen: list[str | None] = []

    def judge(stage: Stage, facts: Facts) -> Verdict | None:
        seen.append(facts.client.login)
        return defer("come in the morning", code=454, status="4.7.0")

    bench = Bench(judge, Stage.AUTH, role=Role.SUBMISSION)
    from mailgw.wire.sasl import Password
    from mailgw.wire.smtp_server import Credentials

    session = bench.session.protocol._session
    claim = Password("", "alice@example.org", "secret")
    answers: list[Any] = []
    Deferred.fromCoroutine(session.react(Credentials("PLAIN", claim))).addCallback(answers.append)
    assert [str(answer) for answer in answers] == ["454 4.7.0 come in the morning"]
    assert seen == ["alice@example.org"]
    assert session.client.login is None


def test_a_hello_that_is_refused_leaves_the_one_before() -> None:
    def judge(stage: Stage, facts: Facts) -> Verdict:
        return reject("not you") if facts.client.helo == "bad.test" else change(Tag(facts.client.helo))

    bench = Bench(judge, Stage.HELO)
    bench.session.say("EHLO good.test", "HELO bad.test")
    assert bench.session.codes(*TO_BOB[1:], "Subject: x", "", ".")[-1] == "250"
    assert bench.listener.stored()[0].startswith(b"Received: from good.test (")
    assert b"with ESMTP id" in bench.listener.stored()[0]
    assert bench.listener.intake.claims[0].message.tags == ("good.test",)


def test_it_is_asked_behind_the_gateway_s_own_rules() -> None:
    asked: list[Stage] = []
    bench = Bench(lambda stage, facts: asked.append(stage), Stage.RCPT)
    assert bench.session.codes(*HELLO, "RCPT TO:<x@elsewhere.example>")[-1] == "550"
    assert asked == []


# --- what it does wrong ------------------------------------------------------------------------------------------

def hangs(stage: Stage, facts: Facts) -> Any:
    return Deferred()


def raises(stage: Stage, facts: Facts) -> Any:
    raise ValueError("its own")


def lies(stage: Stage, facts: Facts) -> Any:
    return "250 OK"


@each(
    ("does", "on_failure", "reply", "reason"),
    [
        (does, on_failure, reply, reason)
        for does in (hangs, raises, lies)
        for on_failure, reply, reason in (
            (OnFailure.SKIP, "250", ""),
            (OnFailure.DEFER, "451 4.3.0", None),
            (OnFailure.QUARANTINE, "250", "quarantined by rule own: gave no answer: "),
        )
    ],
)
def test_no_failure_loses_a_message_or_refuses_it_for_good(
    logged_failures: LoggedFailures, does: Judges, on_failure: OnFailure, reply: str, reason: str | None
) -> None:
    bench = Bench(does, Stage.CONTENT, on_failure=on_failure)
    said = bench.deliver()
    if does is hangs:
        assert said == ""
        bench.listener.clock.advance(10)
        said = bench.session.take()
    assert said.startswith(reply)
    assert [row.reason.startswith(reason) for row in bench.rows()] == ([] if reason is None else [True])
    assert len(logged_failures.take()) == (1 if does is raises else 0)
    (trouble,) = bench.facts(fact.Trouble)
    assert (trouble.what, trouble.session_id) == ("rule own", "s1")
    assert bench.session.codes("NOOP") == ["250"]  # the session goes on


@each(
    ("stage", "error"),
    [(stage, error) for stage in (Stage.CONNECT, Stage.RCPT, Stage.CONTENT) for error in (CancelledError, SystemExit)],
)
def test_what_is_not_its_own_to_raise_is_a_failure_like_others(
    logged_failures: LoggedFailures, stage: Stage, error: type[BaseException]
) -> None:
    async def judge(stage: Stage, facts: Facts) -> None:
        raise error

    bench = Bench(judge, stage, on_failure=OnFailure.SKIP)
    assert bench.greeting.startswith("220 ")
    assert bench.deliver().startswith("250 2.0.0 OK, queued")
    assert bench.facts(fact.Trouble)[0].why == f"raised {error.__name__}"
    assert len(logged_failures.take()) == 1


def test_who_is_gone_is_not_judged_any_more() -> None:
    gate: Deferred[None] = Deferred()
    bench = Bench(lambda stage, facts: gate, Stage.CONNECT)
    assert bench.greeting == ""
    bench.session.lose()
    assert gate.called
    assert bench.facts(fact.Trouble) == []


def test_nobody_waits_for_a_greeting_for_ever(logged_failures: LoggedFailures) -> None:
    class Broken:
        name = "broken"
        stages = frozenset({Stage.CONNECT})

        async def judge(self, stage: Stage, facts: Facts) -> None:
            raise ValueError

    bench = Bench(lambda stage, facts: None, Stage.RCPT)
    bench.listener.factory.chain = type(bench.listener.factory.chain)([Broken()])
    assert Session(bench.listener, listener_client()).take() == "421 4.3.0 Local problem, closing the connection\r\n"
    assert len(logged_failures.take()) == 1


def test_its_own_4yz_is_not_a_failure() -> None:
    def judge(stage: Stage, facts: Facts) -> None:
        raise TemporaryFault("no database", Reply(450, "4.7.1", ("greylisted",)))

    bench = Bench(judge, Stage.RCPT)
    assert bench.session.say(*TO_BOB[:3]).splitlines()[-1] == "450 4.7.1 greylisted"
    assert bench.facts(fact.Trouble) == []


@each("stage", [Stage.RCPT, Stage.CONTENT])
def test_a_4yz_that_is_none_neither_takes_a_message_nor_refuses_it_for_good(stage: Stage) -> None:
    for reply in (Reply(250, "2.0.0", ("fine",)), Reply(550, "5.0.0", ("no",)), Reply(451, "4.0.0\r\n250 ", ("x",))):
        def judge(stage: Stage, facts: Facts, reply: Reply = reply) -> None:
            raise TemporaryFault("no database", reply)

        bench = Bench(judge, stage)
        bench.session.say(*HELLO)
        said = bench.session.say(*TO_BOB[2:3] if stage is Stage.RCPT else (*TO_BOB[2:], "."))
        assert said.splitlines()[-1] == "451 4.3.0 Temporary local problem, please try again"
        assert bench.session.codes("NOOP") == ["250"]


def test_the_code_counts_where_the_status_says_something_else() -> None:
    bench = Bench(lambda stage, facts: reject("greylisted", code=450), Stage.RCPT)
    assert bench.session.say(*TO_BOB[:3]).splitlines()[-1] == "450 4.7.1 greylisted"


@each(
    ("said", "why"),
    [
        (None, None),
        (reject("no"), None),
        (True, "a bool is no Verdict"),
        (Reply(550, "5.7.1", ("no",)), "a Reply is no Verdict"),
        (Verdict("", "", Reply(250, "", ("ok",))), "is no Reply of 400 to 599"),
        (Verdict("", "", "550 no"), "is no Reply"),  # type: ignore[arg-type]
        (Verdict("", "", Reply(550, "", ())), "the reply has no text"),
        (Verdict("", "", Reply(550, "", (7,))), "the reply has no text"),  # type: ignore[arg-type]
        (Verdict("", "", Reply(550, "5.7.1\r\n250 ok", ("no",))), "is no status as 5.7.1"),
        (Verdict("", "", Reply(550, None, ("no",))), "None is no status"),  # type: ignore[arg-type]
        (Verdict("", "", Reply(550.5, "", ("no",))), "is no Reply of 400 to 599"),  # type: ignore[arg-type]
        (Verdict("", None, None), "why is no text"),  # type: ignore[arg-type]
        (Verdict("", "", None, [Tag("a")]), "effects are no tuple"),  # type: ignore[arg-type]
        (change("tag"), "a str is no effect"),  # type: ignore[arg-type]
        (change(AddRecipient(Mailbox("x", "elsewhere.example"))), "no route serves x@elsewhere.example"),
        (change(ChangeRecipient(CAT, BOB)), "cat@example.org is no recipient of this message"),
        (change(ChangeRecipient(BOB, Mailbox("x", "elsewhere.example"))), "no route serves"),
        (change(DropRecipient(CAT)), "cat@example.org is no recipient of this message"),
        (change(DropRecipient(DAN)), None),
        (change(Reroute("nowhere")), "there is no backend 'nowhere'"),
        (change(Reroute("out", CAT)), "is no recipient"),
        (change(ReplaceContent(b"a" * 1000)), None),
        (change(ReplaceContent(b"a" * 1001)), "more than 1000 octets"),
        (change(ReplaceContent(b"a\nb")), "bare CR, LF or NUL"),
        (change(*[RemoveHeader("X")] * MAX_EFFECTS), None),
        (change(*[RemoveHeader("X")] * (MAX_EFFECTS + 1)), f"more than {MAX_EFFECTS} effects"),
        (change(*(Tag(f"t{n}") for n in range(MAX_TAGS))), None),
        (change(*(Tag(f"t{n}") for n in range(MAX_TAGS + 1))), f"more than {MAX_TAGS} tags"),
    ],
)
def test_verdicts_that_make_no_sense(said: object, why: str | None) -> None:
    client = Bench(lambda stage, facts: None, Stage.RCPT).session.protocol._session.client
    facts = Facts(client, None, DAN, recipients=(BOB,))
    fault = verdict_fault(said, facts, AROUND)
    assert fault is None if why is None else why in (fault or "")
