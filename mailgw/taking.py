"""Messages that stand in files, brought into the queue of this process: the HTTP API's, and those of the maildrop.

    sending.take      {"path"}: what ``Taking.take`` says; {"trouble": why} where nothing came of it
    sending.release   {"queue_id", "record"}: let go what waited for its record

Rules:
    Where a slip says so (``tells_refusals``), who is refused for good is told of to the sender by a bounce, and the
    others get it: nobody waits for an answer.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Protocol

import attrs
import msgspec

from mailgw.deliver.bounce import Notices
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.mail.message import Message
from mailgw.mail.parameters import MailParameters
from mailgw.mail.ports import Desk, Request
from mailgw.mail.reply import Reply
from mailgw.mail.slip import MOST_OCTETS, BadSlip, Slip, address_of, path_of, read_slip, returns_of
from mailgw.queue.dsn import MAX_RETURNED_OCTETS
from mailgw.queue.dsn_fields import Report
from mailgw.receive.factory import EsmtpFactory
from mailgw.receive.submitted import Refused, Taken, hand_in
from mailgw.spool.content import MemoryContent
from mailgw.store.state_file import Workshop

CHUNK_OCTETS: Final = 256 * 1024


class Release(Protocol):
    """The spool and its dispatcher."""

    async def __call__(self, queue_id: str, record: str) -> None: ...


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
        """{"taken": ...}, or {"refused": {"field", "reply", "recipients"}}; TemporaryFault, and then nothing is queued.
        """
        disk = self._workshop.disk
        try:
            head = await self._workshop.do(disk.read, path, 0, MOST_OCTETS + 1)
            slip, start = read_slip(head)
            size = (await self._workshop.do(disk.facts, path)).st_size - start
            found = await hand_in(self._factory(), slip, self._chunks(path, start), size)
            if isinstance(found, Refused) and slip.tells_refusals and found.reply.is_permanent:
                return await self._told(slip, found, path, start, size)
        except OSError as fault:
            raise TemporaryFault(f"{path}: {fault.strerror or fault}") from fault
        except BadSlip as fault:
            found = Refused("", Reply(550, "5.6.0", (str(fault),)))
        if isinstance(found, Refused):
            replies = {one: reply_told(reply) for one, reply in found.recipients.items()}
            return {"refused": {"field": found.field, "reply": reply_told(found.reply), "recipients": replies}}
        return {"taken": attrs.asdict(found)}

    async def _told(self, slip: Slip, refused: Refused, path: str, start: int, size: int) -> Mapping[str, Any]:
        """Those who were not refused get it, and the sender hears of the others."""
        factory = self._factory()
        why = {one: reply for one, reply in refused.recipients.items() if reply.is_permanent}
        rest = tuple(one for one in slip.recipients if str(address_of(one)) not in refused.recipients)
        if len(why) != len(refused.recipients):
            raise TemporaryFault(f"whether {', '.join(refused.recipients.keys() - why.keys())} exist is not known now")
        why = why or dict.fromkeys(map(str, map(address_of, slip.recipients)), refused.reply)
        found: Taken | Refused | None = None
        if refused.recipients and rest:
            left = msgspec.structs.replace(slip, recipients=rest)
            found = await hand_in(factory, left, self._chunks(path, start), size)
            if isinstance(found, Refused):
                if not found.reply.is_permanent:
                    raise TemporaryFault(found.reply.text)
                why |= dict.fromkeys(map(str, map(address_of, rest)), found.reply)
        octets = await self._workshop.do(self._workshop.disk.read, path, start, MAX_RETURNED_OCTETS)
        notice_id = await self._bounced(factory, slip, why, octets)
        if isinstance(found, Taken):
            return {"taken": attrs.asdict(found)}
        if not notice_id:
            return {"refused": {"field": refused.field, "reply": reply_told(refused.reply), "recipients": {}}}
        return {"returned": notice_id}

    async def _bounced(self, factory: EsmtpFactory, slip: Slip, why: Mapping[str, Reply], octets: bytes) -> str:
        """The queue id of the notice, ``""`` where nobody can be told.  TemporaryFault."""
        intake, now = factory.intake, factory.wall_clock()
        message = Message(
            slip.record or "drop", path_of(slip.reverse_path), BodyType.EIGHT_BIT, now, MemoryContent(octets),
            MailParameters(ret=returns_of(slip.returns), smtputf8=slip.smtputf8),
        )
        reports = [Report(address_of(one), reply, "", 0, None, None, is_ours=True) for one, reply in why.items()]
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


def reply_told(reply: Reply) -> Mapping[str, Any]:
    return {"code": reply.code, "status": reply.status, "text": reply.text}


def text_of(request: Request, name: str) -> str:
    """RefusedRequest where it is not there."""
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise RefusedRequest(f"{name} is missing")
    return value
