"""The session on a fake transport: order, responsibility, trouble, time limits."""

import itertools

import attrs
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred

from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType, Role
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Destination, Query
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Stage
from mailgw.policy.rules.relay import Reach, RelayRule
from mailgw.testing.driving import result_of
from mailgw.wire.content import BareLineEnds
from tests.logged import LoggedFailures
from tests.receive.listening import CONTENT_RULES, Listener, Objects, Session
from tests.tables import each

RELAYING = IPv4Address("TCP", "198.51.100.7", 4711)
ENVELOPE = ("EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<bob@example.org>")
NO = Reply(550, "5.7.1", ("no",))


def start(listener: Listener | None = None) -> tuple[Listener, Session]:
    listener = listener or Listener()
    session = listener.connect()
    assert session.take().startswith("220 mx.example.org ESMTP")
    return listener, session


def test_a_message_is_queued_with_its_trace_on_top() -> None:
    listener, session = start()
    assert session.codes(*ENVELOPE, "DATA") == ["250", "250", "250", "354"]
    said = session.say("Subject: hi", "", "..dot", ".")
    [row] = result_of(listener.spool.search(Query(), 10))
    assert said == f"250 2.0.0 OK, queued as {row.queue_id}\r\n"
    [content] = listener.stored()
    trace, rest = content.split(b"Subject:", 1)
    assert rest == b" hi\r\n\r\n.dot\r\n"
    assert trace.startswith(b"Received: from client.test ([192.0.2.1])\r\n\tby mx.example.org with ESMTP id ")
    assert b"for <bob@example.org>;" in trace
    assert (row.sender, row.recipient, row.lane) == ("a@client.test", "bob@example.org", "out")
    assert [c.recipients[0].recipient.local_part for c in listener.intake.claims] == ["bob"]
    assert listener.journal.names() == ["connected", "queued"]


def test_pipelined_commands_are_answered_in_order_in_one_write() -> None:
    _, session = start()
    said = session.say(*ENVELOPE[1:], "DATA")
    assert said.startswith("503")
    assert session.codes(*ENVELOPE, "RCPT TO:<x@elsewhere.test>", "DATA") == ["250", "250", "250", "550", "354"]
    assert session.codes("hello", ".", "QUIT") == ["250", "221"]
    assert session.transport.disconnecting


def test_no_250_leaves_before_the_commit() -> None:
    listener, session = start()
    gate = slow_commits(listener)
    session.say(*ENVELOPE, "DATA")
    assert session.say("x", ".", "NOOP") == ""
    assert session.transport.paused
    assert session.send(b"NOOP\r\n") == ""
    gate.callback(None)
    assert [line[:3] for line in session.take().splitlines()] == ["250", "250", "250"]
    assert not session.transport.paused
    assert len(listener.stored()) == 1


def slow_commits(listener: Listener) -> Deferred[None]:
    """What all commits wait for."""
    gate: Deferred[None] = Deferred()
    draft_of = listener.spool.draft

    def slow() -> object:
        draft = draft_of()
        commit = draft.commit

        async def wait(*args: object) -> object:
            await gate
            return await commit(*args)  # type: ignore[arg-type]

        draft.commit = wait  # type: ignore[method-assign, assignment]
        return draft

    listener.spool.draft = slow  # type: ignore[method-assign, assignment]
    return gate


def test_a_lost_connection_does_not_cancel_a_commit() -> None:
    listener, session = start()
    gate = slow_commits(listener)
    session.say(*ENVELOPE, "DATA")
    session.say("x", ".")
    session.lose()
    gate.callback(None)
    assert len(listener.stored()) == 1


def test_a_connection_lost_while_a_rule_judges_leaves_nothing() -> None:
    # Its client comes again: nobody was told that the message is ours.
    listener, session = start()
    gate: Deferred[None] = Deferred()
    listener.factory.chain = type(listener.factory.chain)([Objects(Stage.CONTENT, None, gate)])
    session.say(*ENVELOPE, "DATA")
    session.say("x", ".")
    session.lose()
    assert gate.called
    assert listener.stored() == []


@each("octets", [b"", b"Subject: x\r\n\r\nbo", b"Subject"])
def test_a_connection_lost_in_the_content_leaves_nothing(octets: bytes) -> None:
    listener, session = start()
    session.say(*ENVELOPE, "DATA")
    session.send(octets)
    session.lose()
    assert listener.stored() == []
    assert listener.journal.events[-1] == fact.Disconnected("s1", "192.0.2.1", "lost", 0.0, 0)


def test_a_connection_may_be_lost_at_any_octet() -> None:
    said = "".join(f"{line}\r\n" for line in [*ENVELOPE, "DATA", "Subject: x", "", "y", "."]).encode()
    for end in range(len(said) + 1):
        listener, session = start()
        session.send(said[:end])
        session.lose()
        assert len(listener.stored()) == (1 if end == len(said) else 0), said[:end]
        assert len(listener.sessions) == 0
        assert listener.clock.getDelayedCalls() == []


@each("end", ["RSET", "EHLO again.test"])
def test_a_reset_forgets_the_envelope(end: str) -> None:
    _, session = start()
    session.say(*ENVELOPE)
    session.say(end)
    assert session.codes("DATA") == ["503"]


def test_bad_content_is_refused_and_nothing_is_queued() -> None:
    listener, session = start()
    session.say(*ENVELOPE, "DATA")
    assert session.send(b"Subject: x\r\n\r\nbare\nline\r\n.\r\n").startswith("550 5.6.0")
    assert listener.stored() == []
    assert isinstance(listener.journal.events[-1], fact.Rejected)
    assert session.codes(*ENVELOPE[1:], "DATA") == ["250", "250", "354"]


@each(("octets", "code"), [(1000, "250"), (1001, "552")])
def test_the_size_limit_is_kept(octets: int, code: str) -> None:
    _, session = start(Listener(message_octets=1000))
    session.say(*ENVELOPE, "DATA")
    head = b"Subject: x\r\n\r\n"
    said = session.send(head + b"y" * (octets - len(head) - 2) + b"\r\n.\r\n")
    assert said.startswith(code)


def test_a_message_without_a_header_gets_an_empty_line() -> None:
    listener, session = start()
    session.say(*ENVELOPE, "DATA")
    session.say("just words", ".")
    assert listener.stored()[0].endswith(b"+0000\r\n\r\njust words\r\n")


@each("line", ["From alice Mon Jan  1 00:00:00 2026", ">From alice x"])
def test_an_mbox_line_on_top_does_not_end_the_header(line: str) -> None:
    listener, session = start()
    session.say(*ENVELOPE, "DATA", line, "Subject: x", "", "From here on", ".")
    trace, rest = listener.stored()[0].split(b"X-Mailbox-Line: ")
    assert trace.endswith(b"+0000\r\n")
    assert rest == f"{line}\r\nSubject: x\r\n\r\nFrom here on\r\n".encode()


@each("line", ["From : alice@example.org", "From \t: alice@example.org"])
def test_an_obsolete_field_on_top_is_no_mbox_line(line: str) -> None:
    listener, session = start()
    session.say(*ENVELOPE, "DATA", line, "Subject: x", "", "text", ".")
    assert listener.stored()[0].endswith(f"+0000\r\n{line}\r\nSubject: x\r\n\r\ntext\r\n".encode())


@each("split", range(1, 60, 7))
def test_the_header_may_come_in_pieces(split: int) -> None:
    listener, session = start()
    content = b"Subject: a long one that goes on\r\nTo: b\r\n\r\nbody\r\n.\r\n"
    session.say(*ENVELOPE, "DATA")
    for at in range(0, len(content), split):
        session.send(content[at : at + split])
    assert listener.stored()[0].endswith(content[:-3])


@each(("hops", "code"), [(100, "250"), (101, "554")])
def test_loops_end(hops: int, code: str) -> None:
    listener, session = start()
    session.say(*ENVELOPE, "DATA")
    assert session.say(*["Received: from a by b"] * hops, "", "x", ".").startswith(code)
    assert len(listener.stored()) == (1 if code == "250" else 0)


def test_the_bare_postmaster_is_somebody() -> None:
    listener, session = start()
    assert session.codes(*ENVELOPE[:2], "RCPT TO:<PostMaster>", "DATA", "x", ".")[2:] == ["250", "354", "250"]
    [row] = result_of(listener.spool.search(Query(), 10))
    assert row.recipient == "admin@example.org"


def test_every_domain_of_ours_has_a_postmaster() -> None:
    listener, session = start()
    listener.intake.aliases = dict.fromkeys(
        [Mailbox("PostMaster", "example.org"), Mailbox("else", "example.org")],
        Reply(550, "5.1.1", ("no such mailbox",)),
    )
    assert session.codes(*ENVELOPE[:2], "RCPT TO:<PostMaster@example.org>")[-1] == "250"
    assert session.codes("RCPT TO:<else@example.org>", "RCPT TO:<postmaster@elsewhere.test>") == ["550", "550"]
    session.say("DATA", "x", ".")
    assert [row.recipient for row in result_of(listener.spool.search(Query(), 9))] == ["admin@example.org"]


@each("reply", [Reply(550, "5.1.1", ("no",)), Reply(451, "4.3.0", ("later",))])
def test_the_backends_word_on_a_recipient_is_final(reply: Reply) -> None:
    listener, session = start()
    listener.intake.aliases[Mailbox("bob", "example.org")] = reply
    assert session.say(*ENVELOPE).endswith(f"{reply}\r\n")
    [rejected] = [event for event in listener.journal.events if isinstance(event, fact.Rejected)]
    assert (rejected.rule, rejected.code) == ("recipient", reply.code)


@each("path", ["Postmaster", "postmaster@mx.example.org", "MAILER-DAEMON@MX.example.org"])
def test_the_postmaster_is_reached_by_any_route(path: str) -> None:
    listener, session = start(Listener(rules=[RelayRule(lambda recipient: Reach.CLIENTS)]))
    assert session.codes(*ENVELOPE[:2], f"RCPT TO:<{path}>", "RCPT TO:<x@elsewhere.test>")[2:] == ["250", "550"]
    session.say("DATA", "x", ".")
    assert [row.recipient for row in result_of(listener.spool.search(Query(), 9))] == ["admin@example.org"]


def test_a_recipient_named_twice_gets_one_copy() -> None:
    listener, session = start()
    session.say(*ENVELOPE, ENVELOPE[2], "DATA", "x", ".")
    assert len(result_of(listener.spool.search(Query(), 10))) == 1


@each(
    ("peer", "codes"),
    [
        (IPv4Address("TCP", "192.0.2.1", 1), "550"),
        (RELAYING, "250"),
        (IPv6Address("TCP", "::ffff:198.51.100.7", 1), "250"),
        (IPv6Address("TCP", "2001:db8::1", 1), "550"),
        (UNIXAddress("/tmp/client"), "550"),
    ],
)
def test_relaying_is_for_relay_from(peer: object, codes: str) -> None:
    session = Listener().connect(peer)  # type: ignore[arg-type]
    assert session.codes(*ENVELOPE[:2], "RCPT TO:<x@elsewhere.test>")[-1] == codes


def test_a_mapped_address_is_shown_unmapped() -> None:
    listener = Listener()
    session = listener.connect(IPv6Address("TCP", "::ffff:198.51.100.7", 1))
    session.say(*ENVELOPE, "DATA", "x", ".")
    assert b"([198.51.100.7])" in listener.stored()[0]


@each(
    ("stage", "objection"),
    itertools.product(
        [Stage.RCPT, Stage.MAIL, Stage.HELO, Stage.CONTENT],
        [(NO, "550 5.7.1"), (TemporaryFault("db"), "451 4.3.0"), (ValueError("bug"), "451 4.3.0")],
    ),
)
def test_an_objection_is_told_and_trouble_is_temporary(
    stage: Stage, objection: tuple[Reply | Exception, str], logged_failures: LoggedFailures
) -> None:
    says, code = objection
    listener, session = start(Listener(rules=[Objects(stage, says)]))
    lines = [*ENVELOPE, "DATA", "Subject: x", "", "y", "."]
    told = session.say(*lines)
    assert code in told
    assert listener.stored() == []
    if isinstance(says, ValueError):
        assert logged_failures.take() == [says]
        assert session.transport.disconnecting
        assert "421 4.3.0 Local problem" in told


def test_the_spool_is_full() -> None:
    listener, session = start()
    listener.spool.is_full = True
    assert session.codes(*ENVELOPE, "DATA")[-1] == "452"
    listener.spool.is_full = False
    assert session.codes("DATA") == ["354"]


def test_a_client_that_goes_on_while_we_think_is_paused() -> None:
    gate: Deferred[None] = Deferred()
    _, session = start(Listener(rules=[Objects(Stage.RCPT, None, gate)]))
    session.say(*ENVELOPE)
    assert not session.transport.paused
    session.send(b"NOOP\r\n")
    assert session.transport.paused
    gate.callback(None)
    assert not session.transport.paused
    assert len(session.take().splitlines()) == 2


def test_a_client_that_does_not_read_is_not_read() -> None:
    _, session = start()
    session.protocol.pauseProducing()
    assert session.transport.paused
    session.protocol.resumeProducing()
    assert not session.transport.paused


def test_a_rule_that_never_answers_is_given_up() -> None:
    gate: Deferred[None] = Deferred()
    listener, session = start(Listener(rules=[Objects(Stage.RCPT, None, gate)]))
    session.say(*ENVELOPE)
    for _ in range(20):
        listener.clock.advance(30)
    assert session.take().startswith("451 4.3.0")


def test_silence_is_ended_with_421() -> None:
    listener, session = start()
    session.say("EHLO x")
    listener.clock.advance(299)
    session.say("NOOP")
    listener.clock.advance(299)
    assert not session.transport.disconnecting
    listener.clock.advance(2)
    assert session.take().startswith("421 4.4.2")
    assert session.transport.disconnecting
    listener.clock.advance(11)
    assert session.transport.aborting


def test_silence_in_the_content_is_ended_sooner() -> None:
    listener, session = start()
    session.say(*ENVELOPE, "DATA")
    session.send(b"Subject: x\r\n")
    listener.clock.advance(179)
    assert not session.transport.disconnecting
    listener.clock.advance(2)
    assert session.take().startswith("421 4.4.2")
    assert listener.stored() == []


def test_a_session_too_many_is_told_so() -> None:
    listener = Listener(sessions=1)
    first = listener.connect()
    second = listener.connect()
    assert first.take().startswith("220")
    assert second.take().startswith("421 4.7.0")
    assert second.transport.disconnecting
    second.lose()
    first.lose()
    assert listener.connect().take().startswith("220")


def test_too_many_errors_end_the_session() -> None:
    listener, session = start()
    assert session.codes(*["WAT"] * 10)[-1] == "421"
    assert session.transport.disconnecting
    session.lose()
    assert listener.journal.names()[-2:] == ["rejected", "disconnected"]
    assert rejections(listener) == [("CONNECT", "errors", 421, "", "")]


def rejections(listener: Listener) -> list[tuple[str, str, int, str, str]]:
    return [
        (one.stage, one.rule, one.code, one.reverse_path, one.recipient)
        for one in listener.journal.events
        if isinstance(one, fact.Rejected)
    ]


def test_a_size_and_recipients_beyond_the_limits_are_written_down() -> None:
    listener = Listener(message_octets=100)
    session = listener.connect()
    session.say("EHLO c")
    assert session.codes("MAIL FROM:<a@example.net> SIZE=101", "MAIL FROM:<> SIZE=101") == ["552", "552"]
    assert session.codes("MAIL FROM:<a@example.net> SIZE=100") == ["250"]
    assert session.codes(*(f"RCPT TO:<{n}@example.org>" for n in range(11))) == ["250"] * 10 + ["452"]
    assert rejections(listener) == [
        ("MAIL", "size", 552, "a@example.net", ""),
        ("MAIL", "size", 552, "", ""),
        ("RCPT", "recipients", 452, "a@example.net", "10@example.org"),
    ]


def test_a_stop_lets_a_message_end_and_sends_the_idle_home() -> None:
    listener, idle = start()
    _, busy = start(listener)
    idle.say("EHLO x")
    busy.say(*ENVELOPE, "DATA")
    ended = Deferred.fromCoroutine(listener.sessions.end(listener.clock, 30.0))
    assert idle.take().startswith("421 4.3.2")
    assert busy.take() == ""
    said = busy.say("x", ".").splitlines()
    assert [line[:3] for line in said] == ["250", "421"]
    idle.lose()
    busy.lose()
    assert ended.called
    assert len(listener.stored()) == 1


def test_a_stop_has_a_limit() -> None:
    listener, session = start()
    session.say(*ENVELOPE, "DATA")
    Deferred.fromCoroutine(listener.sessions.end(listener.clock, 30.0))
    listener.clock.advance(31)
    assert session.transport.aborting


def test_a_message_may_come_in_chunks() -> None:
    listener, session = start()
    session.say(*ENVELOPE)
    assert session.send(b"BDAT 13\r\nSubject: hi\r\n") == "250 2.0.0 13 octets received\r\n"
    said = session.send(b"BDAT 4\r\n\r\n.xBDAT 2 LAST\r\n\r\n")
    assert [line[:9] for line in said.splitlines()] == ["250 2.0.0", "250 2.0.0"]
    [content] = listener.stored()
    assert content.endswith(b"Subject: hi\r\n\r\n.x\r\n")
    assert listener.journal.names() == ["connected", "queued"]


@each("end", [b"RSET\r\n", b"EHLO x\r\n", b"QUIT\r\n", b""])
def test_half_of_a_message_in_chunks_leaves_nothing(end: bytes) -> None:
    listener, session = start()
    session.say(*ENVELOPE)
    session.send(b"BDAT 13\r\nSubject: hi\r\n" + end)
    session.lose()
    assert listener.stored() == []
    assert "queued" not in listener.journal.names()


def test_a_refused_chunk_is_in_the_journal_and_its_transaction_over() -> None:
    listener, session = start()
    session.say(*ENVELOPE)
    assert session.send(b"BDAT 4\r\nhi\n!")[:9] == "550 5.6.0"
    assert session.send(b"BDAT 2 LAST\r\n\r\n")[:9] == "503 5.5.1"
    assert listener.journal.names() == ["connected", "rejected"]
    assert session.codes(*ENVELOPE[1:], "DATA") == ["250", "250", "354"]
    assert session.codes("hi", ".") == ["250"]
    assert len(listener.stored()) == 1


def test_trouble_with_one_recipient_leaves_the_others() -> None:
    listener = Listener()
    destination = listener.intake.destination

    def trouble(recipient: Mailbox, for_client: bool) -> Destination:
        if recipient.local_part == "carol":
            raise TemporaryFault("no route")
        return destination(recipient, for_client)

    listener.intake.destination = trouble  # type: ignore[method-assign] # as a route that is being changed would do
    _, session = start(listener)
    assert session.codes(*ENVELOPE, "RCPT TO:<carol@example.org>") == ["250", "250", "250", "451"]
    assert session.codes("RCPT TO:<carol@example.org>", "DATA") == ["451", "354"]
    assert session.codes("hi", ".") == ["250"]


def test_a_spool_without_room_refuses_the_first_chunk_behind_its_octets() -> None:
    listener, session = start()
    session.say(*ENVELOPE)

    def draft() -> None:
        raise TemporaryFault("full", Reply(452, "4.3.1", ("No room",)))

    listener.intake.draft = draft  # type: ignore[assignment, method-assign] # as a full disk would have it
    assert session.send(b"BDAT 6\r\nQUI") == ""
    assert session.send(b"T\r\nNOOP\r\n") == "452 4.3.1 No room\r\n250 2.0.0 OK\r\n"


def test_silence_in_a_chunk_is_ended_sooner() -> None:
    listener, session = start()
    session.say(*ENVELOPE)
    session.send(b"BDAT 13\r\nSubject")
    listener.clock.advance(179)
    assert session.take() == ""
    listener.clock.advance(2)
    assert session.take().startswith("421 4.4.2")
    assert session.transport.disconnecting


@each(("octets", "code"), [
    (b"Subject: x\r\n\r\n\0\n\r\xff", "250"),
    (b"\0\n\r\xff", "250"),  # no header at all
    (b"Subject: x\nBcc: y\r\n\r\nz", "550"),
    (b"Subject: \0\r\n\r\nz", "550"),
    (b"Subject: x\ry", "550"),
])
def test_binary_content_has_a_header_of_lines(octets: bytes, code: str) -> None:
    listener, session = start()
    session.say(ENVELOPE[0], "MAIL FROM:<a@client.test> BODY=BINARYMIME", ENVELOPE[2])
    assert session.send(b"BDAT %d LAST\r\n%b" % (len(octets), octets))[:3] == code
    assert [content.endswith(octets) for content in listener.stored()] == [True] * (code == "250")
    if code == "250":
        [claim] = listener.intake.claims
        assert claim.message.body_type is BodyType.BINARY


@each("split", [1, 3, 100])
def test_bare_line_ends_are_stored_as_line_ends_where_that_is_wanted(split: int) -> None:
    listener = Listener(content=attrs.evolve(CONTENT_RULES, bare_line_ends=BareLineEnds.NORMALISE))
    _, session = start(listener)
    session.say(*ENVELOPE, "DATA")
    octets = b"Subject: hi\n\none\n.\nMAIL FROM:<smuggled@client.test>\r\n.\r\n"
    said = "".join(session.send(octets[i:i + split]) for i in range(0, len(octets), split))
    assert said.count("\r\n") == 1
    assert said.startswith("250")
    [content] = listener.stored()
    assert content.endswith(b"Subject: hi\r\n\r\none\r\n.\r\nMAIL FROM:<smuggled@client.test>\r\n")


@each(("limit", "code"), [(15, "250"), (14, "552")])
def test_the_header_has_a_limit(limit: int, code: str) -> None:
    listener = Listener(content=attrs.evolve(CONTENT_RULES, header_octets=limit))
    _, session = start(listener)
    session.say(*ENVELOPE, "DATA")
    assert session.codes("Subject: hi", "", "a long, long body", ".") == [code]
    assert len(listener.stored()) == (code == "250")


def test_lmtp_answers_for_each_recipient() -> None:
    listener = Listener(Role.LMTP)
    session = listener.connect(UNIXAddress("/x"))
    assert "LMTP" in session.take()
    codes = session.codes("LHLO x", *ENVELOPE[1:], "RCPT TO:<eve@example.org>", "DATA", "x", ".")
    assert codes == ["250", "250", "250", "250", "354", "250", "250"]
    assert b"with LMTP id" in listener.stored()[0]


@each("full", [False, True])
def test_the_journal_says_whose_mail_was_refused_at_its_end(full: bool) -> None:
    listener, session = start()
    if not full:
        listener.factory.chain = type(listener.factory.chain)([Objects(Stage.CONTENT, NO)])
    session.say(*ENVELOPE, "RCPT TO:<carl@example.org>", "DATA")
    if full:
        def refuse(lanes: object, sender: str) -> bool:
            raise TemporaryFault("full")

        listener.intake.has_room = refuse  # type: ignore[method-assign, assignment] # as a full disk would
    answer = session.say("Message-ID: <1@client.test>", "", "x", ".")
    assert answer[:3] == ("451" if full else "550")
    [rejected] = [one for one in listener.journal.events if isinstance(one, fact.Rejected)]
    assert (rejected.stage, rejected.reverse_path, rejected.recipient) == ("CONTENT", "a@client.test", "")
    assert rejected.recipients == ("bob@example.org", "carl@example.org")
    assert rejected.message_id == "<1@client.test>"
    assert rejected.queue_id
