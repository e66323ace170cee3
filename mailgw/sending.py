"""Messages that the HTTP API sends: from what was posted to a record of what became of each recipient.

    send          {"path", "media_type", "token", "peer", "key", "options"}: the file's message, in JSON or as it is;
                  {"problem": ...} where it is not sent
    sent.show     one message, and what became of each recipient; null where there is none
    sent.list     many
    sent.cancel   take out of the queue whom nobody has tried yet, or tries now

Rules:
    The record is written before the message is committed; the message is committed so that nobody tries it; the record
    says so; then it is let go.  A crash between any two of these is settled at the next start, or with the next request
    of that key: a message that is in the queue is let go once it is in the book, and what is not there never was.
    Who sent without a key and was told that it failed has it in no queue: what was committed all the same is removed.
    Bodies stand in files, and are read, decoded and composed in a thread, one at a time.
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgw.mail import header
from mailgw.mail.address import Mailbox
from mailgw.mail.dropped import BadDrop
from mailgw.mail.envelope import path_text
from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.mail.message import RowState
from mailgw.mail.ports import Answering, Desk, Request, WallClock
from mailgw.mail.posted import Composed, RawOptions, Unsendable, composed, composed_raw, posted_of
from mailgw.mail.slip import BadSlip, Slip, head_of
from mailgw.maildrop import Dropped, Split, digest_of, posted_drop
from mailgw.net.tasks import TaskGroup
from mailgw.sending_facts import Facts
from mailgw.sending_words import Problem, answered, is_key, message_told, refused, rows_told
from mailgw.spool.rows import UNRECORDED, record_of, recorded
from mailgw.store import sent
from mailgw.store.ledger import Ledger
from mailgw.store.sent import Recipient, Sent
from mailgw.store.state_file import Workshop
from mailgw.taking import text_of
from mailgw.web.settings import LOCAL

FOLDER: Final = "sending"
"""Below the state folder: messages on their way into the queue; emptied at a start."""
JSON, RAW = "application/json", "message/rfc822"
MOST_AT_ONCE: Final = 200
"""Messages on their way."""
SETTLE_SECONDS: Final = 10.0
"""After trouble what is not settled is looked at again."""
LOOK_SECONDS: Final = 300.0
"""And without: a worker may be slower than that.  In a queue of 1,000,000 a look takes some 0.1 s of a reader."""
FACTS_SECONDS: Final = 2.0
"""Who is not in the queue any more is told of by then, if by anybody."""
LOST_AT_ONCE: Final = 500
"""Recipients in one job of the book."""
MOST_LISTED: Final = 1000
log = Logger()


class FateUnknown(TemporaryFault):
    """Whether the message was committed cannot be told now."""


class Takes(Protocol):
    """Who brings a file's message into the queue."""

    async def take(self, path: str) -> Mapping[str, Any]:
        """What ``Taking.take`` says.  TemporaryFault where nothing came of it; FateUnknown."""

    async def release(self, queue_id: str, record: str) -> None:
        """Let go what waits for its record.  TemporaryFault."""


# --- the owner of the book -----------------------------------------------------------------------------------

@attrs.frozen
class SendingLimits:
    """Those that are in force."""

    hostname: str
    message_octets: int
    hold_seconds: int
    give_up_seconds: float


@attrs.frozen
class _Prepared:
    """``sent`` as it is known before the queue has it; ``path``: of the file with slip and message."""

    sent: Sent
    recipients: Sequence[Mailbox]
    path: str


class Sending:
    """``follow`` is told of each message whose facts are wanted, and ``complete`` is called when those of earlier
    starts are all told; ``door`` answers about the queue."""

    def __init__(
        self, ledger: Ledger, takes: Takes, door: Answering, workshop: Workshop, tasks: TaskGroup,
        wall_clock: WallClock, state: str, limits: Callable[[], SendingLimits],
        follow: Callable[[Sequence[str]], None], complete: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._takes = takes
        self._door = door
        self._workshop = workshop
        self._tasks = tasks
        self._wall_clock = wall_clock
        self._folder = os.path.join(state, FOLDER)
        self._limits = limits
        self._follow = follow
        self._complete = complete
        self._under_way: set[str] = set()
        self._settling: Any = None
        self._facts = Facts(ledger, tasks, self._settle_soon)
        self._doubtful: dict[str, set[str]] = {}  # as ``sent.under_way``: to be looked for in the queue
        self._lost: list[tuple[str, str]] = []  # these are not in it
        self._losing: Any = None
        self._has_started = self._is_looking = self._is_stopping = self._is_closed = False

    def desk(self) -> Desk:
        return {
            "send": self._answer_send, "sent.show": self._answer_show, "sent.list": self._answer_list,
            "sent.cancel": self._answer_cancel,
        }

    async def start(self) -> None:
        """Settle what a crash left, and follow what is under way; tried again until all of it went through.  Where
        there is no book none is made."""
        try:
            await self._workshop.do(self._empty_folder)
            if await self._ledger.is_there():
                self._doubtful |= await self._ledger.look(sent.under_way)
                self._follow(list(self._doubtful))
        except (TemporaryFault, OSError) as fault:
            log.error("what was sent by the API cannot be read: {why}", why=str(fault))
            self._settle_soon()
            return
        self._has_started = True
        self._complete()
        await self._settle_all()

    def look_again(self) -> None:
        """A process that moved mail was killed: of whom it told nobody is looked for in the queue."""
        self._tasks.spawn("looking for recipients that nobody told of", self._look_again())

    async def _look_again(self) -> None:
        try:
            if await self._ledger.is_there():
                self._doubtful |= await self._ledger.look(sent.under_way)
                await self._look_for_lost()
        except TemporaryFault as fault:
            log.warn("what was sent by the API cannot be looked for now: {why}", why=fault.why)
            self._settle_soon()

    async def about(self, queue_ids: Sequence[str]) -> Mapping[str, Sent]:
        """What is known of messages, by their queue ids.  TemporaryFault."""
        if not queue_ids or not await self._ledger.is_there():
            return {}
        return await self._ledger.look(sent.about(queue_ids))

    def stop(self) -> None:
        """What may take long ends: a stop waits for what was begun."""
        self._is_stopping = True

    async def close(self) -> None:
        self._is_stopping = self._is_closed = True
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
        if self._losing is not None:
            self._losing.cancel()
            self._losing = None
        await self._facts.write()
        await self._ledger.close()

    def hear(self, outcomes: Sequence[sent.Outcome]) -> None:
        """What became of recipients, in order."""
        self._facts.hear(outcomes)

    # --- sending ----------------------------------------------------------------------------------------------

    async def _answer_send(self, request: Request) -> object:
        if len(self._under_way) >= MOST_AT_ONCE:
            answer: object = Problem(503, "Busy", f"{MOST_AT_ONCE} messages are on their way", retry_after=5)
        else:
            # It ends, whoever waits for it.
            answer = await self._in_background("a message of the API", self._send(request))
        return {"problem": msgspec.to_builtins(answer)} if isinstance(answer, Problem) else answer

    def _in_background(self, what: str, work: Coroutine[Deferred[Any], Any, Any]) -> "Deferred[Any]":
        done: Deferred[Any] = Deferred()

        async def do() -> None:
            try:
                result = await work
            except BaseException:  # noqa: BLE001 - it is handed on
                if not done.called:
                    done.errback(Failure())  # type: ignore[no-untyped-call] # Twisted has no types there
                return
            if not done.called:
                done.callback(result)

        self._tasks.spawn(what, do())
        return done

    async def _send(self, request: Request) -> object:
        key = request.get("key")
        if key is not None and not is_key(key):
            return Problem(400, "Bad request", f"expected 1 to {sent.LONGEST_KEY} printable characters of ASCII",
                           "Idempotency-Key")
        record = f"m{secrets.token_hex(12)}"
        self._under_way.add(record)
        path = os.path.join(self._folder, record)
        try:
            try:
                prepared = await self._workshop.do(self._prepared, request, record, path)
            except Unsendable as fault:
                return Problem(422, "Unprocessable message", str(fault), fault.field)
            except OSError as fault:
                raise TemporaryFault(f"{self._folder}: {fault.strerror or fault}") from fault
            return await self._once(key, prepared)
        finally:
            self._under_way.discard(record)
            self._workshop.do(self._workshop.disk.remove, path).addErrback(  # type: ignore[unused-awaitable]
                lambda failure: log.failure("removing a message's file", failure=failure)
            )

    def _prepared(self, request: Request, record: str, path: str) -> _Prepared:
        """In a thread.  Unsendable; OSError."""
        disk = self._workshop.disk
        kind = text_of(request, "media_type")
        limits = self._limits()
        most = limits.message_octets * 4 // 3 + (1 << 20)
        octets = disk.read(text_of(request, "path"), 0, most + 1)
        if len(octets) > most:
            raise Unsendable("", f"more than {most} octets")
        options = request.get("options") or {}
        known = msgspec.json.encode([kind, options, path_text(None)])
        digest = hashlib.sha256(known + b"\n" + octets).hexdigest()
        message_id = f"{secrets.token_hex(12)}@{limits.hostname}"
        now = self._wall_clock()
        if kind == JSON:
            found = composed(posted_of(octets), now, message_id)
        elif kind == RAW:
            found = composed_raw(octets, RawOptions(**options), now, message_id)
        else:
            raise RefusedRequest(f"media_type: {JSON} or {RAW}")
        wishes = found.wishes
        if wishes.send_at is not None and wishes.send_at > now + limits.hold_seconds:
            days = limits.hold_seconds / 86400
            raise Unsendable("send_at", f"is farther ahead than messages are held here, {days:g} days")
        slip = Slip(
            f"api:{text_of(request, 'token')}", str(request.get("peer") or "local"), "HTTP",
            path_text(found.reverse_path), tuple(map(str, found.recipients)), wishes.send_at, wishes.notify,
            wishes.returns, wishes.envid, found.needs_utf8, record,
        )
        return self._kept(path, slip, found, digest, text_of(request, "token"))

    async def _once(self, key: str | None, prepared: _Prepared) -> object:
        for _ in range(2):
            try:
                before = await self._ledger.do(sent.begun(prepared.sent, key, self._wall_clock()))
            except sent.NoRoom:
                return Problem(503, "Too many keys", f"{sent.MOST} messages are remembered already", retry_after=600)
            if before is None:
                return await self._take(prepared)
            if before.digest != prepared.sent.digest:
                return Problem(409, "Key used before", "this key came with another message", "Idempotency-Key")
            if before.state != sent.PENDING:
                return await self._answer_again(before)
            if before.id in self._under_way:
                return Problem(409, "Under way", "the first request with this key has not ended yet",
                               "Idempotency-Key", retry_after=2)
            await self._settle(before)
        raise TemporaryFault("what became of the first request with this key cannot be told now")

    async def take_drop(self, dropped: Dropped) -> str | Split:
        """``maildrop.Take``."""
        record = f"m{secrets.token_hex(12)}"
        self._under_way.add(record)
        path = os.path.join(self._folder, record)
        try:
            try:
                prepared = await self._workshop.do(self._prepared_drop, dropped, record, path)
            except (BadSlip, BadDrop) as fault:
                return str(fault)
            except OSError as fault:
                raise TemporaryFault(f"{self._folder}: {fault.strerror or fault}") from fault
            answer = await self._once(dropped.name, prepared)
        finally:
            self._under_way.discard(record)
            await self._workshop.do(self._workshop.disk.remove, path)
        if isinstance(answer, Mapping) and (unknown := answer.get("unknown")):
            everybody = map(str, prepared.recipients)
            return Split(tuple(one for one in everybody if one not in unknown), tuple(unknown))
        if not isinstance(answer, Problem):
            return ""
        if answer.status == 422:
            return answer.detail
        if answer.status == 409 and not answer.retry_after:  # once its key is forgotten, that would be sent again
            return "another message came by this name before"
        raise TemporaryFault(answer.detail)

    def _prepared_drop(self, dropped: Dropped, record: str, path: str) -> _Prepared:
        """In a thread.  BadSlip, BadDrop; OSError."""
        limits = self._limits()
        message_id = f"{secrets.token_hex(12)}@{limits.hostname}"
        slip, found = posted_drop(
            dropped, record, limits.hostname, limits.give_up_seconds, self._wall_clock(), message_id)
        return self._kept(path, slip, found, digest_of(dropped), LOCAL)

    def _kept(self, path: str, slip: Slip, found: Composed, digest: str, token: str) -> _Prepared:
        disk = self._workshop.disk
        disk.make_folder(self._folder)
        descriptor = disk.create(path)
        try:
            disk.write(descriptor, [head_of(slip), found.octets])
        finally:
            disk.close(descriptor)
        wishes = found.wishes
        known = Sent(
            slip.record, token, digest, sent.PENDING, False, "", self._wall_clock(), wishes.send_at, slip.reverse_path,
            header.message_id(found.octets[:header.header_end(found.octets)]), found.subject, 0, wishes.tags,
            wishes.metadata,
        )
        return _Prepared(known, found.recipients, path)

    async def _take(self, prepared: _Prepared) -> object:
        record, token = prepared.sent.id, prepared.sent.token
        try:
            answer = await self._takes.take(prepared.path)
        except FateUnknown:
            self._settle_soon()
            raise
        except TemporaryFault:
            if token == LOCAL:  # those who were not refused may have it already; what is held of it is removed
                self._settle_soon()
            else:
                await self._ledger.do(sent.forgotten(record))
            raise
        try:
            return await self._recorded(prepared, answer)
        except TemporaryFault:  # the book cannot be written; what was committed waits for its record
            self._settle_soon()
            raise

    async def _recorded(self, prepared: _Prepared, answer: Mapping[str, Any]) -> object:
        if "refused" in answer:
            await self._ledger.do(sent.forgotten(prepared.sent.id))
            return refused(answer["refused"])
        if "returned" in answer or "unknown" in answer:
            await self._ledger.do(sent.forgotten(prepared.sent.id))
            return answer
        made = self._made(prepared, answer["taken"])
        if not made.is_released:  # before it is written down, which may take long: who is removed meanwhile is told of
            self._follow([made.queue_id])
        await self._ledger.do(sent.taken(made))
        if not made.is_released:
            self._tasks.spawn("letting a message go", self._let_go(made))
        return answered(made, False)

    def _made(self, prepared: _Prepared, taken: Mapping[str, Any]) -> Sent:
        now, send_at = self._wall_clock(), prepared.sent.send_at
        is_later = send_at is not None and send_at > now
        is_discarded = bool(taken["is_discarded"])
        state = sent.SCHEDULED if is_later else sent.QUEUED
        if taken["held"] or is_discarded:
            state = sent.DISCARDED if is_discarded else sent.HELD
        recipients = tuple(
            Recipient(recipient, lane, state, 0, "", taken["held"], "", 0, send_at if is_later else None, now)
            for recipient, lane in taken["recipients"]
        )
        if is_discarded:
            recipients = tuple(
                Recipient(str(one), "", state, 0, "", "", "", 0, None, now) for one in prepared.recipients)
        return attrs.evolve(
            prepared.sent, state=sent.DISCARDED if is_discarded else sent.TAKEN,
            is_released=is_discarded, queue_id=taken["queue_id"], at=now,
            message_id=taken["message_id"], size_octets=taken["size_octets"], recipients=recipients,
        )

    async def _answer_again(self, before: Sent) -> object:
        found = await self._ledger.look(sent.shown(before.id))
        return answered(found or before, True)

    # --- what a crash, or trouble, left ---------------------------------------------------------------------------

    async def _let_go(self, one: Sent) -> None:
        try:
            await self._takes.release(one.queue_id, one.id)
            await self._ledger.do(sent.released([one.id]))
        except TemporaryFault as fault:
            log.warn("{queue_id} waits on: {why}", queue_id=one.queue_id, why=fault.why)
            self._settle_soon()

    def _settle_soon(self) -> None:
        self._settle_in(SETTLE_SECONDS)

    def _settle_in(self, seconds: float) -> None:
        """Then, or sooner."""
        reactor = self._workshop.reactor
        if self._settling is not None and self._settling.getTime() > reactor.seconds() + seconds:
            self._settling.cancel()
            self._settling = None
        if self._settling is None and not self._is_closed:
            self._settling = reactor.callLater(seconds, self._settle_now)

    def _settle_now(self) -> None:
        self._settling = None
        self._tasks.spawn("settling what was sent", self._settle_all())

    async def _settle_all(self) -> None:
        if not self._has_started:
            await self.start()
            return
        await self._facts.write()
        try:
            if await self._ledger.is_there():
                if self._facts.has_missed:
                    self._doubtful |= await self._ledger.look(sent.under_way)
                    self._facts.has_missed = False
                found = await self._ledger.look(sent.unsettled)
                # Said of all of them now: whose request ends meanwhile is not as it was found.
                for one in [one for one in found if one.id not in self._under_way]:
                    await self._settle(one)
            await self._adopt_orphans()
            await self._look_for_lost()
        except TemporaryFault as fault:
            log.warn("what was sent by the API cannot be settled now: {why}", why=fault.why)
            self._settle_soon()
        self._settle_in(LOOK_SECONDS)

    async def _look_for_lost(self) -> None:
        """TemporaryFault where not all of the queue can be seen now; what was not looked for yet is kept."""
        if self._is_looking:  # one by one, and there may be many: what comes meanwhile has its turn
            return
        self._is_looking = True
        try:
            while self._doubtful and not self._is_stopping:
                queue_id = next(iter(self._doubtful))
                there = await self._recipients(queue_id)
                gone = self._doubtful.pop(queue_id, set()) - there
                self._lost += [(queue_id, recipient) for recipient in gone]
        finally:
            self._is_looking = False
        if self._lost and self._losing is None and not self._is_stopping:
            self._losing = self._workshop.reactor.callLater(FACTS_SECONDS, self._lose)

    async def _recipients(self, queue_id: str) -> set[str]:
        """Those of a message who are in the queue.  TemporaryFault."""
        return {row["recipient"] for row in await self._rows(queue_id)}

    def _lose(self) -> None:
        self._losing = None
        self._tasks.spawn("recipients that nobody told of", self._write_lost())

    async def _write_lost(self) -> None:
        while self._lost:
            some, self._lost = self._lost[:LOST_AT_ONCE], self._lost[LOST_AT_ONCE:]
            try:
                # Once more: what changed its process meanwhile was in none of them for a moment.
                gone = [one for one in some if one[1] not in await self._recipients(one[0])]
                count = await self._ledger.do(sent.lost(gone, self._wall_clock()))
            except TemporaryFault as fault:
                log.warn("what was sent by the API cannot be settled now: {why}", why=fault.why)
                self._lost += some
                self._settle_soon()
                return
            if count:
                log.warn("what became of {count} recipients of the API's messages is not known", count=count)

    async def _settle(self, one: Sent) -> None:
        """TemporaryFault where that cannot be told now."""
        query = {"state": RowState.HELD, "reason": one.id}
        rows: Any = await self._door.answer({"command": "queue.list", "query": query, "limit": 100_000})
        # What comes by the maildrop is there still, and comes again.
        if one.state == sent.PENDING and rows and (not one.has_key or one.token == LOCAL):
            await self._door.answer({"command": "queue.remove", "query": query})
            rows = []
        if one.state == sent.PENDING and not rows:
            await self._ledger.do(sent.buried(one.id))
            self._settle_soon()  # who was given up may commit it yet: then it is an orphan
            return
        told = rows_told(rows)
        if one.state == sent.PENDING:
            one = self._found(one, told)
            self._follow([one.queue_id])
            await self._ledger.do(sent.taken(one))
        # Whether a row was seen or not: what changes its process just now is in none of them.
        await self._order("release", one.queue_id, one.id)
        await self._ledger.do(sent.released([one.id]))

    async def _adopt_orphans(self) -> None:
        """What waits for a record that is buried, since a worker was slow, is removed.  Let go is what waits for one
        that was let go, since the queue is older than the book, or that is in no book, since that was taken away."""
        query = {"state": RowState.HELD, "reason": UNRECORDED}
        rows: Any = await self._door.answer({"command": "queue.list", "query": query, "limit": 100_000})
        # Without others' words, behind what holds it.
        waiting = {(row["queue_id"], record) for row in rows_told(rows) if (record := record_of(str(row["reason"])))}
        for queue_id, record in sorted(one for one in waiting if one[1] not in self._under_way):
            known = await self._ledger.look(sent.shown(record)) if await self._ledger.is_there() else None
            if known is not None and not known.is_released:  # it is settled by itself
                continue
            order = "remove" if known is not None and known.state == sent.BURIED else "release"
            log.warn("{queue_id} waits for a record that needs it no more: {order}", queue_id=queue_id, order=order)
            if known is not None:
                self._follow([queue_id])
            await self._order(order, queue_id, record)

    async def _order(self, order: str, queue_id: str, record: str) -> None:
        await self._door.answer({"command": f"queue.{order}", "query": {"queue_id": queue_id, "record": record}})

    def _found(self, one: Sent, rows: Sequence[Mapping[str, Any]]) -> Sent:
        """A message that was committed, and whose record does not have it yet."""
        now, first = self._wall_clock(), rows[0]
        is_later = one.send_at is not None and one.send_at > now
        held, state = recorded(str(first["reason"])), sent.SCHEDULED if is_later else sent.QUEUED
        recipients = tuple(
            Recipient(row["recipient"], row["lane"], sent.HELD if held else state, 0, "", held, "", 0,
                      one.send_at if is_later else None, now)
            for row in rows
        )
        return attrs.evolve(
            one, state=sent.TAKEN, queue_id=first["queue_id"], reverse_path=first["sender"],
            size_octets=first["size_octets"], recipients=recipients,
        )

    def _empty_folder(self) -> None:
        """Of what nobody is about."""
        disk = self._workshop.disk
        for name in disk.names(self._folder) if disk.is_folder(self._folder) else ():
            if name not in self._under_way:
                disk.remove(os.path.join(self._folder, name))

    # --- what became of it --------------------------------------------------------------------------------------

    async def _answer_show(self, request: Request) -> object:
        found = await self._ledger.look(sent.shown(text_of(request, "id")))
        if found is None or not _may_see(request, found):
            return None
        return message_told(found, await self._rows(found.queue_id), self._wall_clock())

    async def _answer_list(self, request: Request) -> object:
        limit = request.get("limit", 100)
        if type(limit) is not int or not 1 <= limit <= MOST_LISTED:
            raise RefusedRequest(f"limit must be a number from 1 to {MOST_LISTED}")
        words = {name: request.get(name) for name in ("token", "state", "tag", "recipient")}
        if words["state"] is not None and words["state"] not in sent.STATES:
            raise RefusedRequest(f"state: expected one of {', '.join(sent.STATES)}")
        try:
            found, more = await self._ledger.look(sent.listed(**words, after=request.get("after") or "", limit=limit))
        except ValueError:
            raise RefusedRequest("after: no cursor of a list like this") from None
        now = self._wall_clock()
        return {"items": [message_told(one, None, now) for one in found], "next": more}

    async def _answer_cancel(self, request: Request) -> object:
        """What is being tried now is left alone."""
        found = await self._ledger.look(sent.shown(text_of(request, "id")))
        if found is None or not _may_see(request, found):
            return None
        query = {"queue_id": found.queue_id}
        if found.queue_id and await self._rows(found.queue_id):
            await self._door.answer({"command": "queue.hold", "query": query})
            rows = [row for row in await self._rows(found.queue_id) if row["state"] == RowState.HELD]
            if rows:
                await self._door.answer({"command": "queue.remove", "query": {**query, "state": RowState.HELD}})
        else:
            rows = []
        now = self._wall_clock()
        gone = [sent.Outcome(now, found.queue_id, row["recipient"], row["lane"], sent.REMOVED) for row in rows]
        if gone:
            await self._ledger.do(sent.noted(gone))
        after = await self._ledger.look(sent.shown(found.id))
        told = message_told(after or found, await self._rows(found.queue_id), now)
        return {"cancelled": sorted({row["recipient"] for row in rows}), "message": told}

    async def _rows(self, queue_id: str) -> list[Mapping[str, Any]]:
        """What of a message is in the queue; nothing of one that has no id there."""
        if not queue_id:
            return []
        request = {"command": "queue.list", "query": {"queue_id": queue_id}, "limit": 100_000}
        rows: Any = await self._door.answer(request)
        return rows_told(rows)


def _may_see(request: Request, one: Sent) -> bool:
    """A token that may only send sees what it sent."""
    token = request.get("token")
    return one.state in (sent.TAKEN, sent.DISCARDED) and token in (None, one.token)
