"""What a trivial plug-in costs a message: a rule at every stage, a backend, a handler of a MailApp in either place.

Beside the same gateway with ``discard`` and nothing plugged in; so a ratio below 1 is what the plug-in takes away.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.bench.counts import Count
from tests.bench.figures import Result
from tests.bench.loads import Source
from tests.bench.peers.mailgw import FROM_HERE, gateway
from tests.bench.stands import Bench, Order, Setup, ending
from tests.bench.throughput import Stand, add_rates, passes, standing
from tests.peers.harness import free_port, listener, route

CODE = '''
from mailgw import MailApp
from mailgw.mail.outcome import delivered
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Stage

OK = delivered(Reply(250, "2.0.0", ("OK",)), "")


class Nothing:
    stages = set(Stage)

    async def judge(self, stage, facts):
        return None


class Takes:
    concurrency = 20

    def lane(self, recipient):
        return ""

    async def refusal(self, recipient):
        return None

    async def deliver(self, message, recipients):
        return dict.fromkeys(recipients, OK)


queued, at_once = MailApp(concurrency=20), MailApp(concurrency=20)


@queued.recipient("{name}@home.test")
async def later(message, name):
    return None


@at_once.recipient("{name}@home.test", when="transaction")
async def now(message, name):
    return None
'''
DISCARD = '[backend.out]\ntype = "discard"'
RULE = f'{DISCARD}\n[[rule]]\ntype = "python:trivial:Nothing"'
BACKENDS = {
    "mailgw": DISCARD,
    "mailgw+rule": RULE,
    "mailgw+backend": '[backend.out]\ntype = "python:trivial:Takes"',
    "mailgw+handler": '[backend.out]\ntype = "app:trivial:queued"',
    "mailgw+handler-in-transaction": '[backend.out]\ntype = "app:trivial:at_once"',
}
DONE = (b'"event":"delivered"', b'"event":"handed_over"')


class Facts:
    """Counts what the journal says was delivered."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._read = self._count = 0

    def begin(self) -> None:
        self.count()
        self._count = 0

    def count(self) -> int:
        if self._journal.exists():
            with self._journal.open("rb") as opened:
                opened.seek(self._read)
                octets = opened.read()
            end = octets.rfind(b"\n") + 1
            self._read += end
            self._count += sum(octets[:end].count(one) for one in DONE)
        return self._count


def plugged(more: str) -> Setup[Stand]:
    @contextlib.contextmanager
    def stand(folder: Path, peers: Path) -> Iterator[Stand]:
        (folder / "trivial.py").write_text(CODE)
        port = free_port()
        one = gateway(folder, listener("mx", port, FROM_HERE), route("@home.test", "out"), more, port=port)
        with ending(one):
            one.start(under=["env", f"PYTHONPATH={folder}"])
            yield Stand(port, Facts(folder / "journal.jsonl"))

    return stand


def plugins(order: Order, result: Result) -> None:
    source = Source(order.counts["octets"], order.counts["sessions"], recipients=["bob@home.test"])
    with standing(order, result, {name: plugged(more) for name, more in BACKENDS.items()}) as stands:
        add_rates(result, passes(order, result, stands, source, order.counts["messages"]))


BENCHES = (
    Bench("plugins", "trivial plug-ins, one message a connection", {
        "messages": Count(2000, "a round", 40),
        "octets": Count(4096, "a message"),
        "sessions": Count(20, "at once"),
    }, plugins),
)
