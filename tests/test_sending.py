"""What the HTTP API sends, by its commands: a whole gateway in memory, whose power fails at each write."""

import json
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.mail.message import RowState
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Stage
from mailgw.sending import SETTLE_SECONDS, FateUnknown
from mailgw.sending_words import Problem
from mailgw.spool.rows import UNRECORDED
from mailgw.store import sent
from mailgw.testing import Gateway, PowerFailed
from mailgw.testing.crash import missing
from tests.tables import each

CONFIG = """
postmaster = "root@example.org"
[[route]]
recipients = ["@example.org"]
backend = "box"
[[route]]
recipients = ["*"]
backend = "out"
[backend.box]
type = "maildir"
path = "/mail/{domain}/{local_part}"
recipients = "any"
[backend.out]
type = "smtp"
hosts = ["hop.example.net"]
"""
KNOWN = CONFIG.replace('recipients = "any"\n', "")
LETTER = {"from": "Ann <ann@example.org>", "to": ["bob@example.org"], "subject": "hi", "text": "Hello there"}
UPLOAD = "/uploads/1"


class Desk:
    """A gateway, and what its desk answers."""

    def __init__(self, config: str = CONFIG, **named: Any) -> None:
        self.gateway = Gateway(config, **named)
        self.gateway.disk.make_folder("/uploads")

    def ask(self, command: str, **request: Any) -> Any:
        got: list[Any] = []
        asked = Deferred.fromCoroutine(self.gateway.service.answer({"command": command, **request}))
        asked.addBoth(got.append)  # type: ignore[unused-awaitable] # it is waited for below
        self.gateway._wait(lambda: got)
        assert got, f"{command} is not answered"
        if isinstance(got[0], Failure):
            got[0].raiseException()
        return got[0]

    def put(self, octets: bytes, path: str = UPLOAD) -> str:
        disk = self.gateway.disk
        disk._files.pop(path, None)  # no write of the gateway's
        writes = len(self.gateway.power.writes)
        descriptor = disk.create(path)
        disk.write(descriptor, [octets])
        disk.close(descriptor)
        del self.gateway.power.writes[writes:]
        return path

    def send(self, letter: Mapping[str, Any] | bytes = LETTER, key: str | None = None, **request: Any) -> Any:
        is_raw = isinstance(letter, bytes)
        path = self.put(letter if isinstance(letter, bytes) else json.dumps(letter).encode())
        kind = "message/rfc822" if is_raw else "application/json"
        request = {"token": "shop", **request}
        answer = self.ask("send", path=path, media_type=kind, key=key, **request)
        return Problem(**answer["problem"]) if "problem" in answer else answer

    def deferred(self) -> Any:
        """Sent to Cy, whose server has no time yet."""
        self.gateway.peer("hop.example.net", replies={"RCPT": "450 4.2.0 not now"})
        answer = self.send({**LETTER, "to": "cy@example.net"})
        self.gateway.advance(minutes=1)
        return answer

    def stop_while_the_hop_recovers(self) -> None:
        self.gateway.stop()
        self.gateway.peers.clear()
        self.gateway.peer("hop.example.net")

    def states(self, id: str) -> dict[str, str]:
        self.gateway.advance(0.2)
        return {one["recipient"]: one["state"] for one in self.ask("sent.show", id=id)["recipients"]}


@pytest.fixture
def desk() -> Desk:
    return Desk()


def refusal(answer: Any) -> tuple[int, str]:
    assert isinstance(answer, Problem), answer
    return answer.status, answer.field


# --- sending ------------------------------------------------------------------------------------------------

def test_a_letter_is_delivered_and_its_sender_can_see_that(desk: Desk) -> None:
    answer = desk.send()
    assert answer["recipients"] == [{"recipient": "bob@example.org", "state": "queued"}]
    assert answer["idempotent_replay"] is False
    assert [one.way for one in desk.gateway.journal if one.name == "queued"] == ["HTTP"]  # type: ignore[attr-defined]
    desk.gateway.advance(1)
    [letter] = desk.gateway.mailbox("bob@example.org")
    assert b"Received: by mx.example.org with HTTP id " + answer["queue_id"].encode() in letter
    assert b"Subject: hi\n" in letter
    assert b"Hello there" in letter
    shown = desk.ask("sent.show", id=answer["id"])
    assert shown["message_id"].encode() in letter
    [recipient] = shown["recipients"]
    assert (recipient["state"], recipient["attempts"], recipient["lane"]) == ("delivered", 1, "box")
    assert desk.states(answer["queue_id"]) == {"bob@example.org": "delivered"}, "by its queue id, too"
    assert not desk.gateway.queue
    assert desk.gateway.disk.names(f"{desk.gateway.config.state}/sending") == []


def test_nobody_in_bcc_stands_in_the_message(desk: Desk) -> None:
    desk.send({**LETTER, "cc": "Cy <cy@example.org>", "bcc": ["dee@example.org"]})
    desk.gateway.settle()
    for who in ("bob", "cy", "dee"):
        [letter] = desk.gateway.mailbox(f"{who}@example.org")
        assert b"dee@" not in letter.split(b"Received:")[1]
        assert b"Cc: Cy <cy@example.org>" in letter


def test_a_raw_message_goes_as_it_is_without_its_bcc(desk: Desk) -> None:
    raw = b"From: ann@example.org\nTo: bob@example.org\nBcc: dee@example.org,\n cy@example.org\nX-Own: 1\n\nhi\n"
    answer = desk.send(raw)
    assert [one["recipient"] for one in answer["recipients"]] == ["bob@example.org", "dee@example.org",
                                                                  "cy@example.org"]
    desk.gateway.settle()
    [letter] = desk.gateway.mailbox("cy@example.org")
    assert b"X-Own: 1\n\nhi\n" in letter
    assert b"dee@" not in letter
    assert b"Message-ID: <" in letter


def test_an_envelope_overrides_the_header(desk: Desk) -> None:
    desk.send({**LETTER, "envelope": {"reverse_path": "bounces@example.org", "recipients": ["cy@example.org"]}})
    desk.send(b"From: ann@example.org\nTo: bob@example.org\n\nhi\n",
              options={"reverse_path": "", "recipients": ["dee@example.org"]})
    desk.gateway.settle()
    assert not desk.gateway.mailbox("bob@example.org")
    assert [(one.sender, one.recipient) for one in desk.gateway.delivered] == [
        ("bounces@example.org", "cy@example.org"), ("", "dee@example.org")]


@each(("letter", "field"), [
    ({}, "from"),
    ({"to": "ann@example.org"}, "from"),
    ({"from": "ann@example.org"}, "to"),
    ({**LETTER, "metadata": {"a": "x", "b": 1}}, "metadata.b"),
    ({**LETTER, "headers": {"X-A": "x", "X-B": "x" * 999, "X-C": None}}, "headers.X-B"),
    ({**LETTER, "metadata": 1}, "metadata"),
    ({**LETTER, "attachments": [{"filename": "a"}]}, "attachments[0].content"),
    ({**LETTER, "from": "ann"}, "from"),
    ({**LETTER, "to": ["bob@example.org", "no address"]}, "to[1]"),
    ({**LETTER, "subject": 1}, "subject"),
    ({**LETTER, "subject": "hi\r\nBcc: x@example.org"}, "subject"),
    ({**LETTER, "headers": {"X-A": "b\nBcc: x@example.org"}}, "headers.X-A"),
    ({**LETTER, "headers": {"Bcc": "x@example.org"}}, "headers.Bcc"),
    ({**LETTER, "headers": {"Content-Type": "text/x"}}, "headers.Content-Type"),
    ({**LETTER, "headers": {"A b": "c"}}, ""),
    ({**LETTER, "sujbect": "hi"}, "sujbect"),
    ({**LETTER, "attachments": [{"filename": "a", "content": "%%%"}]}, "attachments[0].content"),
    ({**LETTER, "attachments": [{"filename": "a", "content": "aGk=", "media_type": "none"}]}, ""),
    ({**LETTER, "attachments": [{"filename": "a", "content": "aGk=", "content_id": "a b"}]},
     "attachments[0].content_id"),
    ({**LETTER, "attachments": [{"content": "aGk="}] * 101}, "attachments"),
    ({**LETTER, "headers": {f"X-{n}": "1" for n in range(101)}}, "headers"),
    ({**LETTER, "send_at": "tomorrow"}, "send_at"),
    ({**LETTER, "send_at": "2026-11-28 10:00"}, "send_at"),
    ({**LETTER, "send_at": 1_700_000_000 + 31 * 86400}, "send_at"),
    ({**LETTER, "tags": ["a b"]}, "tags[0]"),
    ({**LETTER, "tags": [f"t{n}" for n in range(11)]}, "tags"),
    ({**LETTER, "metadata": {"a": "x" * 513}}, "metadata.a"),
    ({**LETTER, "metadata": {f"a{n}": "x" for n in range(21)}}, "metadata"),
    ({**LETTER, "envelope": {"recipients": []}}, "envelope.recipients"),
    ({**LETTER, "envelope": {"recipients": ["x"]}}, "envelope.recipients[0]"),
    ({**LETTER, "envelope": {"notify": ["sometimes"]}}, "envelope.notify"),
    ({**LETTER, "envelope": {"returns": "all"}}, "envelope.returns"),
    ({**LETTER, "envelope": {"envid": "ä"}}, "envelope.envid"),
    ({**LETTER, "reply_to": "x@example.org", "headers": {"reply-to": "y@example.org"}}, "headers"),
    (b"no header\n\nhi\n", ""),
    (b"To: bob@example.org\n\nhi\n", "From"),
    (b"From: ann@example.org\n\nhi\n", "to"),
    (b"From: ann@example.org\nTo: bob@@example.org\n\nhi\n", "To"),
    (b"From: ann@example.org\nTo: bob@example.org\n\nhi\0\n", ""),
])
def test_what_cannot_be_sent_names_its_field(letter: Any, field: str) -> None:
    desk = Desk()
    assert refusal(desk.send(letter)) == (422, field)
    assert not desk.gateway.stored


def test_limits_hold_at_n_and_at_one_more() -> None:
    desk = Desk('[limits]\nrecipients = 2\nmessage_octets = "4KiB"\n'.join(["", CONFIG.replace("postmaster", "#")]))
    two = [f"{n}@example.org" for n in range(2)]
    assert "id" in desk.send({**LETTER, "to": two})
    assert refusal(desk.send({**LETTER, "to": [*two, "2@example.org"]})) == (422, "recipients")
    head = b"From: ann@example.org\r\nTo: bob@example.org\r\nDate: x\r\nMessage-ID: <x@y>\r\n\r\n"
    line = b"x" * 62 + b"\r\n"
    body = line * ((4096 - len(head)) // 64)
    rest = 4096 - len(head) - len(body)
    body += b"y" * (rest - 2) + b"\r\n"
    assert "id" in desk.send(head + body)
    assert refusal(desk.send(head + body.replace(b"\r\n", b"z\r\n", 1))) == (422, "content")


def test_recipients_are_refused_as_rcpt_would_be_and_all_of_them() -> None:
    desk = Desk(KNOWN, accounts={"cy@example.org": "secret"})
    answer = desk.send({**LETTER, "to": ["bob@example.org", "cy@elsewhere.test", "dee@example.org"]})
    assert refusal(answer) == (422, "recipients")
    assert [(one["recipient"], one["code"], one["status"]) for one in answer.recipients] == [
        ("bob@example.org", 550, "5.1.1"), ("dee@example.org", 550, "5.1.1")]
    assert not desk.gateway.stored


def test_a_rate_of_its_own_counts_for_a_token() -> None:
    desk = Desk(f'[limits]\nmessages_per_login = "2/1h"\n{CONFIG.replace("postmaster", "#")}')
    assert "id" in desk.send()
    assert "id" in desk.send()
    answer = desk.send()
    assert refusal(answer) == (429, "reverse_path")
    assert answer.retry_after
    assert "id" in desk.send(token="other")


def test_what_cannot_be_told_now_is_no_refusal_for_good(desk: Desk) -> None:
    desk.gateway.fill_up()
    answer = desk.send(key="k")
    assert refusal(answer)[0] == 503
    desk.gateway.fill_up(False)
    assert desk.send(key="k")["idempotent_replay"] is False


# --- keys ---------------------------------------------------------------------------------------------------

def test_a_key_makes_one_message(desk: Desk) -> None:
    first = desk.send(key="order-1")
    desk.gateway.advance(1)
    second = desk.send(key="order-1")
    assert (second["id"], second["queue_id"], second["message_id"]) == (
        first["id"], first["queue_id"], first["message_id"])
    assert second["idempotent_replay"] is True
    assert second["recipients"] == [{"recipient": "bob@example.org", "state": "delivered"}]
    assert len(desk.gateway.mailbox("bob@example.org")) == 1
    assert refusal(desk.send({**LETTER, "subject": "other"}, key="order-1")) == (409, "Idempotency-Key")
    assert desk.send(key="order-1", token="other")["idempotent_replay"] is False, "each token has keys of its own"
    assert desk.send(key="order-2")["idempotent_replay"] is False
    desk.gateway.restart()
    assert desk.send(key="order-1")["idempotent_replay"] is True


@each(("key", "is_one"), [
    ("x" * 128, True), ("x" * 129, False), ("", False), ("a b", False), ("ä", False), ("a\n", False),
])
def test_a_key_is_128_printable_characters(key: str, is_one: bool) -> None:
    answer = Desk().send(key=key)
    assert "id" in answer if is_one else refusal(answer) == (400, "Idempotency-Key")


def test_a_second_request_while_the_first_is_under_way_is_told_so(desk: Desk) -> None:
    path = desk.put(json.dumps(LETTER).encode())
    request = {"command": "send", "path": path, "media_type": "application/json", "token": "shop", "key": "k"}
    answers: list[Any] = []
    for _ in range(2):
        asked = Deferred.fromCoroutine(desk.gateway.service.answer(request))
        asked.addBoth(answers.append)  # type: ignore[unused-awaitable] # they are waited for below
    desk.gateway._wait(lambda: len(answers) == 2)
    [problem] = [one["problem"] for one in answers if "problem" in one]
    assert (problem["status"], problem["title"]) == (409, "Under way")
    assert problem["retry_after"]
    desk.gateway.settle()
    assert len(desk.gateway.mailbox("bob@example.org")) == 1


def test_a_refusal_leaves_the_key_free(desk: Desk) -> None:
    assert refusal(desk.send({**LETTER, "to": "x@@"}, key="k"))[0] == 422
    assert refusal(desk.send({**LETTER, "to": "x@nowhere"}, key="k"))[0] == 422
    assert desk.send(key="k")["idempotent_replay"] is False


def test_keys_are_kept_for_a_week_and_then_free(desk: Desk) -> None:
    desk.send(key="k")
    desk.gateway.advance(days=6.9)
    assert desk.send(key="k")["idempotent_replay"] is True
    desk.gateway.advance(days=0.2)
    desk.send()  # what is old goes as others come
    assert desk.send(key="k")["idempotent_replay"] is False


def all_crashes(
    scenario: Callable[[Desk], object], meanwhile: Callable[[Desk], object] = lambda desk: None,
    make: Callable[[], Desk] = Desk,
) -> Sequence[Desk]:
    """Gateways that started again, after a crash at each write of the scenario, before it and after it, and what was
    done to each of them before it started."""
    whole = make()
    whole.gateway.power.writes.clear()
    scenario(whole)
    whole.gateway.settle()
    found = []
    for number in range(len(whole.gateway.power.writes)):
        for is_after in (False, True):
            desk = make()
            desk.gateway.power.writes.clear()
            desk.gateway.power.fails_at, desk.gateway.power.is_after = number, is_after
            try:
                scenario(desk)
                desk.gateway.settle()
            except (PowerFailed, AssertionError):
                pass
            assert desk.gateway.power.is_off
            meanwhile(desk)
            desk.gateway.restart()
            desk.gateway.disk.make_folder("/uploads")
            found.append(desk)
    assert len(found) >= 20
    return found


def test_no_crash_makes_two_messages_of_one_key_or_loses_one_that_was_answered() -> None:
    answers: dict[int, Any] = {}

    def scenario(desk: Desk) -> None:
        answers[id(desk)] = desk.send(key="k")

    for desk in all_crashes(scenario):
        known = answers.get(id(desk))
        answer = desk.send(key="k")
        assert isinstance(answer, dict), answer
        if known is not None:
            assert answer["idempotent_replay"]
            assert answer["id"] == known["id"]
        desk.gateway.advance(minutes=1)
        desk.gateway.drain()
        assert not desk.gateway.queue
        made = [one for one in desk.gateway.stored.values() if one.arrival.login == "api:shop"]
        assert len(made) == 1, made
        letters = desk.gateway.mailbox("bob@example.org")
        assert len({letter.split(b"Message-ID:")[1].split(b"\n")[0] for letter in letters}) == 1
        assert desk.states(answer["id"]) in ({"bob@example.org": "delivered"}, {"bob@example.org": "unknown"})
        assert missing(desk.gateway) == []


def test_without_a_key_what_was_answered_is_there_after_each_crash_and_nothing_is_left_held() -> None:
    answers: dict[int, Any] = {}

    def scenario(desk: Desk) -> None:
        answers[id(desk)] = desk.send()

    for desk in all_crashes(scenario):
        desk.gateway.advance(minutes=1)
        desk.gateway.drain()
        assert not desk.gateway.queue
        known = answers.get(id(desk))
        letters = desk.gateway.mailbox("bob@example.org")
        if known is not None:
            assert letters
            assert desk.states(known["id"]).keys() == {"bob@example.org"}


def test_no_crash_takes_from_a_record_what_was_posted() -> None:
    letter = {**LETTER, "tags": ["bill"], "metadata": {"order": "4711"}, "send_at": 1_700_000_060}

    for desk in all_crashes(lambda desk: desk.send(letter, key="k")):
        answer = desk.send(letter, key="k")
        assert isinstance(answer, dict), answer
        [row] = desk.gateway.queue
        assert answer["recipients"] == [{"recipient": "bob@example.org", "state": "scheduled"}]
        [item] = desk.ask("sent.list", tag="bill")["items"]
        assert item["message_id"] == answer["message_id"] != ""
        assert (item["tags"], item["metadata"], item["subject"], item["send_at"], item["reverse_path"]) == (
            ["bill"], {"order": "4711"}, "hi", 1_700_000_060, "ann@example.org")
        [to] = item["recipients"]
        assert (to["state"], to["due"], row.queue_id) == ("scheduled", 1_700_000_060, item["queue_id"])
        desk.gateway.advance(minutes=2)
        [sent_letter] = desk.gateway.mailbox("bob@example.org")
        assert b"Message-ID: " + item["message_id"].encode() in sent_letter


# --- later ----------------------------------------------------------------------------------------------------

@each("at", [1_700_003_600, 1_700_003_600.0, "2023-11-14T23:13:20Z", "2023-11-15T00:13:20+01:00"])
def test_scheduled_mail_goes_when_it_is_time(at: Any) -> None:
    desk = Desk()
    answer = desk.send({**LETTER, "send_at": at})
    assert answer["send_at"] == 1_700_003_600
    assert answer["recipients"] == [{"recipient": "bob@example.org", "state": "scheduled"}]
    [recipient] = desk.ask("sent.show", id=answer["id"])["recipients"]
    assert (recipient["state"], recipient["due"]) == ("scheduled", 1_700_003_600)
    desk.gateway.advance(minutes=59)
    assert not desk.gateway.mailbox("bob@example.org")
    desk.gateway.advance(minutes=2)
    assert len(desk.gateway.mailbox("bob@example.org")) == 1
    assert desk.states(answer["id"]) == {"bob@example.org": "delivered"}


def test_a_time_that_is_past_is_none(desk: Desk) -> None:
    desk.send({**LETTER, "send_at": 1})
    desk.gateway.settle()
    assert desk.gateway.mailbox("bob@example.org")


def test_cancelled_mail_is_not_sent(desk: Desk) -> None:
    answer = desk.send({**LETTER, "to": ["bob@example.org", "cy@example.net"], "send_at": 1_700_003_600})
    desk.gateway.settle()
    told = desk.ask("sent.cancel", id=answer["id"])
    assert told["cancelled"] == ["bob@example.org", "cy@example.net"]
    assert not desk.gateway.queue
    desk.gateway.advance(hours=2)
    assert not desk.gateway.mailbox("bob@example.org")
    assert desk.states(answer["id"]) == {"bob@example.org": "removed", "cy@example.net": "removed"}
    assert desk.ask("sent.cancel", id=answer["id"])["cancelled"] == []


def test_who_has_it_already_is_not_cancelled(desk: Desk) -> None:
    peer = desk.gateway.peer("hop.example.net", replies={"RCPT": "450 4.2.0 not now"})
    answer = desk.send({**LETTER, "to": ["bob@example.org", "cy@example.net"]})
    desk.gateway.advance(minutes=1)
    assert desk.states(answer["id"]) == {"bob@example.org": "delivered", "cy@example.net": "deferred"}
    told = desk.ask("sent.cancel", id=answer["id"])
    assert told["cancelled"] == ["cy@example.net"]
    assert {one["recipient"]: one["state"] for one in told["message"]["recipients"]} == {
        "bob@example.org": "delivered", "cy@example.net": "removed"}
    assert not peer.messages


# --- what became of it ----------------------------------------------------------------------------------------

def test_each_recipient_is_told_of_with_its_last_answer(desk: Desk) -> None:
    def says(argument: str) -> str:
        return "450 4.2.0 not now" if "late@" in argument else "550 5.1.1 nobody" if "no@" in argument else "250 ok"

    desk.gateway.peer("hop.example.net", replies={"RCPT": says})
    answer = desk.send({**LETTER, "to": ["bob@example.org", "late@example.net", "no@example.net", "yes@example.net"]})
    desk.gateway.advance(minutes=1)
    found = {one["recipient"]: one for one in desk.ask("sent.show", id=answer["id"])["recipients"]}
    assert {who: one["state"] for who, one in found.items()} == {
        "bob@example.org": "delivered", "late@example.net": "deferred", "no@example.net": "bounced",
        "yes@example.net": "delivered"}
    late, no = found["late@example.net"], found["no@example.net"]
    assert (late["code"], late["text"], late["attempts"]) == (450, "not now", 1)
    assert 250 < late["due"] - 1_700_000_000 < 400
    assert (no["code"], no["status"], no["text"]) == (550, "5.1.1", "nobody")


def test_what_an_operator_holds_or_removes_shows(desk: Desk) -> None:
    answer = desk.deferred()
    desk.ask("queue.hold", query={"queue_id": answer["queue_id"]})
    assert desk.states(answer["id"]) == {"cy@example.net": "held"}
    desk.ask("queue.release", query={"queue_id": answer["queue_id"]})
    desk.gateway.advance(minutes=1)
    assert desk.states(answer["id"]) == {"cy@example.net": "deferred"}
    desk.ask("queue.remove", query={"queue_id": answer["queue_id"]})
    assert desk.states(answer["id"]) == {"cy@example.net": "removed"}


def test_what_nobody_told_of_is_unknown(desk: Desk) -> None:
    answer = desk.deferred()
    desk.ask("queue.remove", query={"domain": "example.net"})
    assert desk.states(answer["id"]) == {"cy@example.net": "unknown"}


def test_rerouted_mail_is_told_of_once(desk: Desk) -> None:
    answer = desk.deferred()
    desk.ask("queue.reroute", to="box", query={"queue_id": answer["queue_id"]})
    desk.gateway.advance(minutes=1)
    assert desk.states(answer["id"]) == {"cy@example.net": "delivered"}
    assert len(desk.ask("sent.show", id=answer["id"])["recipients"]) == 1


def test_an_alias_shows_as_those_that_it_came_to(tmp_path: Any) -> None:
    aliases = tmp_path / "aliases"
    aliases.write_text("team@example.org bob@example.org, cy@example.org\n")
    desk = Desk(f'[aliases]\nfile = "{aliases}"\n{CONFIG.replace("postmaster", "#")}')
    answer = desk.send({**LETTER, "to": "team@example.org"})
    assert desk.states(answer["id"]) == {"bob@example.org": "delivered", "cy@example.org": "delivered"}


def test_lists_are_narrowed_and_paged(desk: Desk) -> None:
    ids = []
    for number in range(5):
        tag = "odd" if number % 2 else "even"
        ids.append(desk.send({**LETTER, "tags": [tag], "metadata": {"n": str(number)}})["id"])
        desk.gateway.advance(1)
    other = desk.send({**LETTER, "to": "cy@example.org", "send_at": 1_700_009_999}, token="other")["id"]
    first = desk.ask("sent.list", limit=4)
    second = desk.ask("sent.list", limit=4, after=first["next"])
    assert [one["id"] for one in (*first["items"], *second["items"])] == [other, *reversed(ids)]
    assert second["next"] is None
    listed = lambda **which: [one["id"] for one in desk.ask("sent.list", **which)["items"]]  # noqa: E731
    assert listed(tag="odd") == [ids[3], ids[1]]
    assert listed(token="other") == listed(state="scheduled") == listed(recipient="CY@example.org") == [other]
    assert listed(state="delivered", tag="even") == [ids[4], ids[2], ids[0]]
    assert first["items"][1]["metadata"] == {"n": "4"}
    for wrong in ({"limit": 0}, {"limit": 1001}, {"state": "sad"}, {"after": "x"}):
        with pytest.raises(RefusedRequest):
            desk.ask("sent.list", **wrong)


def test_a_token_that_may_only_send_sees_its_own(desk: Desk) -> None:
    answer = desk.send()
    assert desk.ask("sent.show", id=answer["id"], token="shop")["id"] == answer["id"]
    for command in ("sent.show", "sent.cancel"):
        assert desk.ask(command, id=answer["id"], token="other") is None
        assert desk.ask(command, id="m0") is None


def test_facts_that_come_while_the_book_is_read_at_a_start_are_kept(desk: Desk) -> None:
    answer = desk.deferred()
    desk.stop_while_the_hop_recovers()
    desk.gateway.advance(hours=6)
    desk.gateway.restart()
    desk.gateway.advance(minutes=10)
    assert desk.states(answer["id"]) == {"cy@example.net": "delivered"}


# --- rules ----------------------------------------------------------------------------------------------------

def test_rules_of_submission_are_asked_and_what_they_hold_stays_held() -> None:
    from zope.interface import implementer

    from mailgw.interfaces import IPolicyRule
    from mailgw.mail.effect import Discard, Hold
    from mailgw.mail.verdict import Facts, Verdict

    @implementer(IPolicyRule)
    class Careful:
        name = "careful"
        stages = frozenset({Stage.CONTENT})

        async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
            if b"Subject: hold" in facts.header:
                return Verdict("careful", "", None, (Hold("careful"),))
            if b"Subject: drop" in facts.header:
                return Verdict("careful", "", None, (Discard(),))
            if b"Subject: no" in facts.header:
                return Verdict("careful", "", Reply(550, "5.7.1", ("no",)))
            return None

    desk = Desk(rules=[Careful()])
    held = desk.send({**LETTER, "subject": "hold"}, key="h")
    assert held["recipients"] == [{"recipient": "bob@example.org", "state": "held"}]
    dropped = desk.send({**LETTER, "subject": "drop"}, key="d")
    assert dropped["recipients"] == [{"recipient": "bob@example.org", "state": "discarded"}]
    assert refusal(desk.send({**LETTER, "subject": "no"})) == (422, "content")
    desk.gateway.restart()
    desk.gateway.advance(minutes=5)
    [row] = desk.gateway.queue
    assert row.state == RowState.HELD
    assert "held by rule" in row.reason
    assert desk.states(held["id"]) == {"bob@example.org": "held"}
    assert desk.send({**LETTER, "subject": "drop"}, key="d")["idempotent_replay"] is True
    assert desk.states(dropped["id"]) == {"bob@example.org": "discarded"}


# --- the book -------------------------------------------------------------------------------------------------

def test_what_waits_for_a_book_that_is_gone_is_let_go(desk: Desk) -> None:
    answer = desk.send({**LETTER, "send_at": 1_700_003_600})
    desk.send()
    desk.gateway.settle()
    [_row] = desk.gateway.queue
    kept = desk.gateway._lasting.spool
    assert kept is not None
    [waiting] = kept._queue[answer["queue_id"]].rows.values()
    kept._waiting.remove(waiting)
    waiting.due, waiting.reason = None, f"{UNRECORDED}m0"
    assert desk.gateway.queue[0].state == RowState.HELD
    desk.gateway.restart()
    desk.gateway.advance(1)
    assert desk.gateway.queue[0].state == RowState.WAITING


def test_who_asks_before_it_is_let_go_hears_no_words_of_ours(desk: Desk) -> None:
    answer = desk.send({**LETTER, "send_at": 1_700_003_600})
    assert desk.gateway.queue[0].reason == f"{UNRECORDED}{answer['id']}"
    [told] = desk.ask("sent.show", id=answer["id"])["recipients"]
    assert (told["state"], told["due"], told["text"]) == ("scheduled", 1_700_003_600, "")
    desk.gateway.settle()
    assert desk.gateway.queue[0].reason.startswith("not before ")


def test_a_full_book_refuses_no_message_while_there_is_something_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent.begun, "__defaults__", (3,))
    desk = Desk()
    ids = [desk.send()["id"] for _ in range(5)]
    assert [one["id"] for one in desk.ask("sent.list")["items"]] != ids
    assert len(desk.ask("sent.list")["items"]) <= 4
    desk = Desk()
    for number in range(3):
        assert "id" in desk.send(key=f"k{number}")
    answer = desk.send(key="k3")
    assert refusal(answer)[0] == 503
    assert answer.retry_after
    desk.gateway.advance(days=1.1)
    assert "id" in desk.send(key="k3")


def test_a_book_that_cannot_be_written_is_temporary_trouble(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from mailgw.testing.world import _LivingLedger

    def full(self: object, work: object) -> object:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(_LivingLedger, "commit", full)
        with pytest.raises(TemporaryFault, match="full"):
            desk.send(key="k")
    assert desk.send(key="k")["idempotent_replay"] is False
    assert os.path.basename(UPLOAD) == "1"


def test_what_was_committed_while_the_book_could_not_be_written_is_settled_without_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = sent.taken

    def full(one: sent.Sent) -> Any:
        def work(connection: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        return work

    for key, copies in ((None, 0), ("k", 1)):
        desk = Desk()
        with monkeypatch.context() as patched:
            patched.setattr(sent, "taken", full)
            with pytest.raises(TemporaryFault, match="full"):
                desk.send(key=key)
        assert sent.taken is taken
        assert [row.state for row in desk.gateway.queue] == [RowState.HELD]
        desk.gateway.advance(SETTLE_SECONDS + 1)
        assert not desk.gateway.queue, "nothing is left held"
        assert len(desk.gateway.mailbox("bob@example.org")) == copies, "who has no key was told that it failed"


def test_what_is_committed_after_its_worker_was_given_up_is_removed_without_a_restart(
    desk: Desk, monkeypatch: pytest.MonkeyPatch,
) -> None:
    takes, disk = desk.gateway.service.sending._owner._sending._takes, desk.gateway.disk
    take, octets = takes.take, b""

    async def silent(path: str) -> Mapping[str, Any]:
        nonlocal octets
        octets = disk.read(path, 0, 1 << 20)
        raise FateUnknown("worker 1 does not answer: try again")

    with monkeypatch.context() as patched:
        patched.setattr(takes, "take", silent)
        with pytest.raises(FateUnknown):
            desk.send(key="k")
    desk.gateway.advance(SETTLE_SECONDS + 1)
    assert desk.send(key="k")["idempotent_replay"] is False, "nothing of the first one is in the queue"
    desk.gateway.settle()
    Deferred.fromCoroutine(take(desk.put(octets, "/uploads/late")))
    desk.gateway.settle()
    assert [row.state for row in desk.gateway.queue] == [RowState.HELD]
    desk.gateway.advance(SETTLE_SECONDS + 1)
    assert not desk.gateway.queue
    assert len(desk.gateway.mailbox("bob@example.org")) == 1
