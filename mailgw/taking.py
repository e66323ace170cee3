"""Messages that stand in files, brought into the queue of this process: the HTTP API's, and those of the maildrop.

    sending.take      {"path"}: what ``Taking.take`` says; {"trouble": why} where nothing came of it
    sending.release   {"queue_id", "record"}: let go what waited for its record

Rules:
    Where a slip says so (``tells_refusals``), who is refused for good is told of to the sender by a bounce, where he
    wants that (RFC 3461 s4.1), and the others get it: nobody waits for an answer.  Where it ``gives_up``, who cannot be
    told of now is refused for good (RFC 5321 s4.5.4.1).
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Protocol

import attrs
import msgspec
from twisted.logger import Logger

from mailgw.deliver.bounce import Notices
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.mail.message import Message
from mailgw.mail.parameters import MailParameters, Notify, Ret
from mailgw.mail.ports import Desk, Request
from mailgw.mail.reply import Reply
from mailgw.mail.slip import (
    MOST_OCTETS,
    BadSlip,
    Slip,
    address_of,
    envid_of,
    notify_of,
    path_of,
    read_slip,
    returns_of,
)
from mailgw.maildrop import some
from mailgw.queue.dsn import MAX_RETURNED_OCTETS
from mailgw.queue.dsn_fields import Report
from mailgw.receive.factory import EsmtpFactory
from mailgw.receive.submitted import Refused, Taken, hand_in, too_large
from mailgw.spool.content import MemoryContent
from mailgw.store.state_file import Workshop

CHUNK_OCTETS: Final = 256 * 1024
log = Logger()


class Release(Protocol):
    """The spool and its dispatcher."""

    async def __call__(self, queue_id: str, record: str) -> None: ...


@attrs.frozen
class _Given:
    """A file: its slip, where its message begins, and how many octets that has."""

    slip: Slip
    path: str
    start: int
    size: int


class Taking:
    """Takes messages into the queue of this process; ``factory`` and ``notices`` are by the configuration in force."""

    def __init__(
        self, factory: Callable[[], EsmtpFactory], notices: Callable[[], Notices], workshop: Workshop, release: Release
    ) -> None:
        self._factory = factory
        self._notices = notices
        self._workshop = workshop
        self._release = release

    def desk(self) -> Desk:
        """For the parent of several processes."""
        return {"sending.take": self._answer_take, "sending.release": self._answer_release}

    async def take(self, path: str) -> Mapping[str, Any]:
        """{"taken": ...}, or {"refused": {"field", "reply", "recipients"}}.  Where the slip ``tells_refusals``, also
        {"returned": queue id}: nobody gets it, and the sender was told, or does not want to be (``""``); or {"unknown":
        recipients}: of these it cannot be told now whether they get it, of the others it can, and nothing was done.
        TemporaryFault, and then nothing is queued."""
        disk = self._workshop.disk
        try:
            head = await self._workshop.do(disk.read, path, 0, MOST_OCTETS + 1)
            slip, start = read_slip(head)
            size = (await self._workshop.do(disk.facts, path)).st_size - start
            given = _Given(slip, path, start, slip.too_large or size)
            if slip.tells_refusals:
                return await self._taken_or_told(given)
            found = await self._handed_in(given, slip)
        except OSError as fault:
            raise TemporaryFault(f"{path}: {fault.strerror or fault}") from fault
        except BadSlip as fault:
            found = Refused("", Reply(550, "5.6.0", (str(fault),)))
        return {"taken": attrs.asdict(found)} if isinstance(found, Taken) else _refusal_told(found)

    async def _handed_in(self, given: "_Given", slip: Slip) -> Taken | Refused:
        """``slip`` is ``given``'s, or the same for fewer.  As ``hand_in``; of what is given up nothing is temporary."""
        factory = self._factory()
        if slip.too_large:
            return too_large(slip.too_large, factory.settings.message_octets)
        try:
            return await hand_in(factory, slip, self._chunks(given.path, given.start), given.size)
        except TemporaryFault as fault:
            if not slip.gives_up:
                raise
            return Refused("content", Reply(451, "4.3.0", (fault.why,)))

    async def _taken_or_told(self, given: "_Given") -> Mapping[str, Any]:
        """Those who were not refused get it, and the sender hears of the others."""
        slip, left, why = given.slip, given.slip, dict[str, Reply]()
        while True:
            found = await self._handed_in(given, left)
            if isinstance(found, Taken):
                break
            everybody = {str(address_of(one)): one for one in left.recipients}
            replies = found.recipients or dict.fromkeys(everybody, found.reply)
            final = {one: reply for one, reply in replies.items() if reply.is_permanent or slip.gives_up}
            if unknown := [one for one in replies if one not in final]:
                return {"unknown": unknown} if len(unknown) < len(slip.recipients) else _refusal_told(found)
            why |= final
            left = msgspec.structs.replace(
                left, recipients=tuple(one for address, one in everybody.items() if address not in replies))
            if not left.recipients:
                break
        notify = notify_of(slip.notify)
        is_wanted = notify is None or Notify.FAILURE in notify  # RFC 3461 s4.1
        notice_id = await self._bounced(given, why) if why and is_wanted else ""
        if isinstance(found, Taken):
            if why and is_wanted and not notice_id:
                log.error("{queue_id}, which {login} left, cannot be sent to {recipients}, and nobody is told: {why}",
                          queue_id=found.queue_id, login=slip.by, recipients=some(list(why)),
                          why=str(next(iter(why.values()))))
            return {"taken": attrs.asdict(found)}
        if notice_id or not is_wanted:
            return {"returned": notice_id}
        return _refusal_told(attrs.evolve(found, reply=_final(found.reply)))

    async def _bounced(self, given: "_Given", why: Mapping[str, Reply]) -> str:
        """The queue id of the notice, ``""`` where nobody can be told.  TemporaryFault."""
        factory, slip = self._factory(), given.slip
        intake, now = factory.intake, factory.wall_clock()
        octets = await self._workshop.do(self._workshop.disk.read, given.path, given.start, MAX_RETURNED_OCTETS)
        ret = returns_of(slip.returns) if given.size <= MAX_RETURNED_OCTETS else Ret.HDRS
        message = Message(
            slip.record or "drop", path_of(slip.reverse_path), BodyType.EIGHT_BIT, slip.since or now,
            MemoryContent(octets), MailParameters(ret=ret, envid=envid_of(slip.envid), smtputf8=slip.smtputf8),
        )
        reports = [
            Report(
                address_of(one), _final(reply), "", 0, None, None, said=None if reply.is_permanent else reply,
                is_ours=True,
            )
            for one, reply in why.items()
        ]
        notice = await self._notices().bounce(message, 0, reports, now)
        if notice is None:
            return ""
        draft = intake.draft()
        try:
            draft.write(notice.octets)
            claim = intake.has_room([one.lane for one in notice.destinations], "")
            claims = await draft.commit(notice.arrival, notice.destinations, claim)
        except BaseException:
            draft.discard()
            raise
        intake.accept(claims)
        return draft.queue_id

    async def release(self, queue_id: str, record: str) -> None:
        await self._release(queue_id, record)

    async def _chunks(self, path: str, start: int) -> AsyncIterator[bytes]:
        disk = self._workshop.disk
        while chunk := await self._workshop.do(disk.read, path, start, CHUNK_OCTETS):
            start += len(chunk)
            yield chunk

    async def _answer_take(self, request: Request) -> object:
        try:
            return await self.take(text_of(request, "path"))
        except TemporaryFault as fault:
            return {"trouble": fault.why}

    async def _answer_release(self, request: Request) -> object:
        await self.release(text_of(request, "queue_id"), text_of(request, "record"))
        return None


def _refusal_told(refused: Refused) -> Mapping[str, Any]:
    replies = {one: reply_told(reply) for one, reply in refused.recipients.items()}
    return {"refused": {"field": refused.field, "reply": reply_told(refused.reply), "recipients": replies}}


def _final(reply: Reply) -> Reply:
    """RFC 3463 s3.5: x.4.7, delivery time expired."""
    if reply.is_permanent:
        return reply
    return Reply(550, "5.4.7", (f"It could not be taken for too long; the last answer: {reply}",))


def reply_told(reply: Reply) -> Mapping[str, Any]:
    return {"code": reply.code, "status": reply.status, "text": reply.text}


def text_of(request: Request, name: str) -> str:
    """RefusedRequest where it is not there."""
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise RefusedRequest(f"{name} is missing")
    return value
