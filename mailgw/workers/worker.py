"""A worker: the gateway on the sockets and the shards that the parent handed it."""

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from mailgw.config.settings import Config
from mailgw.deliver.key_rotation import KeyRotation
from mailgw.deliver.passes import Register
from mailgw.dmarc_reporting import DmarcReporting
from mailgw.following import Told
from mailgw.generation import Generation
from mailgw.ground import Ground
from mailgw.lookouts import reporter
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Counters
from mailgw.mail.tls_result import TlsResult
from mailgw.net import garbage
from mailgw.net.listen import adopt
from mailgw.peer_tls import PeerTls
from mailgw.reloading import lines_of
from mailgw.sending_here import SendingHere
from mailgw.service import Gate, MailGateway, Prepared
from mailgw.store import sts_policies
from mailgw.trust.dmarc_tallies import Counted
from mailgw.web.reporter import Reporter
from mailgw.workers import handed, recordings
from mailgw.workers.calls import Wire
from mailgw.workers.changing import config_at
from mailgw.workers.counters import AskedCounters
from mailgw.workers.handed import Handed, share
from mailgw.workers.launching import adopt_wire
from mailgw.workers.passes import AskedPasses
from mailgw.workers.sending import in_calls

log = Logger()


class WorkerGeneration(Generation):
    """Worker 0 looks after the keys, for all of them."""

    def _started_rotation(self) -> KeyRotation | None:
        return super()._started_rotation() if self.ground.name == name_of(0) else None


class WorkerGateway(MailGateway):
    """``MailGateway``, with what the parent owns asked of it."""

    is_worker = True

    def __init__(self, value: Handed, wire: Wire, reactor: Any) -> None:
        super().__init__(value.config, reactor)
        self._handed = value
        self._wire = wire
        self._passes = AskedPasses(wire)
        self._name = name_of(value.number)
        self._control = value.control
        self._prepared: Prepared | None = None

    def _open(self) -> None:
        super()._open()
        self.recordings.told = partial(self._wire.tell, "record.begun")

    def answer_parent(self, name: str, arguments: Sequence[Any]) -> object:
        """``calls.Answer``."""
        if name.startswith("passes."):
            self._passes.hear(name, arguments)
            return None
        if name.startswith("record."):
            recordings.heard(self.recordings, name, arguments)
            return None
        match name, *arguments:
            case ("facts.gauges",):
                return self.gauges.look()
            case "facts.watch", list() as filters:
                self._reporter.watch(filters)
            case ("alive",):
                pass  # that it is answered is the answer
            case ("reload",):
                self.reload()
            case "follow", list() as queue_ids, bool() as is_all:
                self.sending.follow(queue_ids)
                if is_all:
                    self.sending.follows_all()
            case "prepare", str() as path:
                self._prepare(path)
            case ("give_up",):
                self._forget_prepared()
            case ("put_in_force",):
                self._change()
            case ("stop",):
                end(self._reactor)
            case "tls", result:
                self._ground.peer_tls.note(msgspec.convert(result, TlsResult))
            case "dmarc", result:
                self._ground.dmarc_reporting.note(msgspec.convert(result, Counted))
            case "open", int() as number:
                self._take_over(number)
            case "close", int() as number:
                return self._give_up(number)
            case _:
                raise ValueError(f"no such call: {name}")
        return None

    def _bind(self) -> None:
        """The sockets are bound; nothing is accepted before ``startService``."""
        for at, (listener, family) in enumerate(zip(self.config.listeners, self._handed.families, strict=True)):
            gate = Gate(listener.role)
            descriptor = handed.FIRST_PORT + at
            self._ports.append(adopt(self._reactor, descriptor, family, gate))
            os.close(descriptor)  # the port has one of its own
            self._gates.append(gate)

    def _open_shards(self) -> None:
        for number in self._handed.shards:
            self.shards.open(number)
        self.shards.suspend_as(self._handed.suspended)

    def _register(self, holder: str) -> Register:
        return partial(self._passes.register, holder)

    def _holder_gone(self, holder: str) -> None:
        self._passes.gone(holder)

    def _counters_of_clients(self) -> Counters:
        return AskedCounters(self._wire)

    def _renew_counters(self, config: Config) -> None:
        """The parent does."""

    def _made_watch(self) -> Reporter:
        self._reporter = reporter(self, self._wire)
        return self._reporter

    def _most_sessions(self) -> int:
        return share(self.config.limits.sessions, self._handed.number, self._handed.workers)

    def _make_peer_tls(self, ground: Ground) -> PeerTls:
        number = self._handed.number
        return PeerTls(
            self.config, ground.resolver, ground.workshop, ground.journal, ground.wall_clock, ground.world.chance,
            sts_policies.file_name(number), None if number == 0 else self._forward,
        )

    def _make_dmarc_reporting(self, ground: Ground) -> DmarcReporting:
        return DmarcReporting(
            self.config, ground.resolver, ground.workshop, ground.journal, ground.wall_clock, ground.world.chance,
            None if self._handed.number == 0 else self._forward_counted,
        )

    def _forward(self, result: TlsResult) -> None:
        self._wire.tell("tls", msgspec.to_builtins(result))

    def _forward_counted(self, one: Counted) -> None:
        self._wire.tell("dmarc", msgspec.to_builtins(one))

    def _made(self, config: Config, before: Generation | None) -> Generation:
        return WorkerGeneration(config, self._ground, before)

    def reload(self) -> None:
        self.refresh()  # the configuration is the parent's to read
        log.info("certificates, keys and aliases that changed are read again; the journal {path} is opened anew",
                 path=self.config.journal.path)

    async def change(self, config: Config) -> None:
        raise TemporaryFault("one of several processes: their parent reads the configuration, at control.sock")

    def _make_sending(self, hand_on: Callable[[Sequence[Told]], None] | None = None) -> SendingHere:
        return super()._make_sending(hand_on or self._tell_facts)

    def _tell_facts(self, facts: Sequence[Told]) -> None:
        for piece in in_calls(facts):
            self._wire.tell("heard", piece)

    def _note_start(self) -> None:
        pass  # the parent does

    def _note_stop(self) -> None:
        pass

    # --- another configuration ------------------------------------------------------------------------

    def _prepare(self, path: str) -> None:
        """TemporaryFault where it cannot be, its reasons one a line."""
        self._forget_prepared()
        try:
            self._prepared = self.prepare(config_at(path))
        except Exception as fault:
            raise TemporaryFault("\n".join(lines_of(fault))) from fault

    def _forget_prepared(self) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            self.give_up(prepared)

    def _change(self) -> None:
        prepared, self._prepared = self._prepared, None
        assert prepared is not None
        try:
            self.put_in_force(prepared)
        except Exception:  # noqa: BLE001 - it is logged
            # The others have it.  Who starts instead of this one begins with it.
            log.failure("a worker cannot put a configuration in force, and ends")
            end(self._reactor)

    # --- shards of others -----------------------------------------------------------------------------

    def _take_over(self, number: int) -> None:
        """Deliver what is in a shard whose worker does not come back.  TemporaryFault where it cannot be had."""
        log.info("the queue of worker {number} is taken over", number=number)
        self.shards.open(number)
        try:
            self.shards.deliver(self.generation.dispatcher)
            self.shards.suspend_as(self.shards.own.spool.suspended())
            self.shards.start_one(number)
        except BaseException:
            self._tasks.spawn("leaving a queue that was not taken over", self.shards.give_up(number, 0.0))
            raise

    async def _give_up(self, number: int) -> None:
        await self.shards.give_up(number, self.config.limits.stop_seconds)
        log.info("the queue of worker {number} is left to it", number=number)


def name_of(number: int) -> str:
    """In ids of sessions."""
    return f"w{number}"


def end(reactor: Any) -> bool:
    """Stop; False where that has begun already."""
    try:
        reactor.stop()
    except ReactorNotRunning:
        return False
    return True


def started(value: Handed, reactor: Any) -> WorkerGateway:
    """The gateway, open, on the wire to the parent.  Whatever keeps it from that is raised."""
    gateways: list[WorkerGateway] = []

    def lost() -> None:
        if end(reactor):
            log.warn("the parent is gone: this worker stops")

    wire = Wire(reactor, lambda name, arguments: gateways[0].answer_parent(name, arguments), lost)
    adopt_wire(reactor, handed.WIRE, wire)
    os.close(handed.WIRE)
    gateway = WorkerGateway(value, wire, reactor)
    gateways.append(gateway)
    gateway.startService()
    reactor.addSystemEventTrigger("before", "shutdown", gateway.stopService)
    reactor.callWhenRunning(wire.tell, "ready")
    garbage.settle()
    # A handler runs between two steps of the interpreter, so it only asks the reactor to do the work.
    signal.signal(signal.SIGHUP, lambda number, frame: reactor.callFromThread(gateway.reload))
    return gateway
