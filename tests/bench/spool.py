"""How many messages a second the spool takes and lets go: draft, write, commit with claim, record.

    python tests/bench/spool.py [FOLDER] [SESSIONS ...]      on the disk of FOLDER (default: a temporary one)

For each number of sessions at once: messages a second, and the processor's time for each, of the reactor's
thread (what it costs everything else) and of the whole process.
"""

import sys
import tempfile
import time

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Arrival, Destination, Finished
from mailgw.spool.settings import SpoolSettings
from mailgw.spool.sqlite import SqliteSpool

MESSAGES = 10_000
OCTETS = b"x" * 78 + b"\r\n"
BODY = OCTETS * 52  # 4 KiB


async def session(spool: SqliteSpool, messages: int) -> None:
    for number in range(messages):
        draft = spool.draft()
        draft.write(BODY)
        arrival = Arrival(
            Mailbox("ann", "example.org"), BodyType.EIGHT_BIT, "192.0.2.1", "client.example.org", "", "ESMTP", "s1")
        destinations = (Destination(Mailbox(f"user{number}", "example.net"), "out/example.net"),)
        (claim,) = await draft.commit(arrival, destinations, True)
        finished.append(Deferred.fromCoroutine(spool.record(claim, [Finished(1)])))


finished: list[Deferred[object]] = []


async def measure(folder: str, sessions: int) -> None:
    spool = SqliteSpool.open(SpoolSettings(folder, 0, 65536, 3600.0, "a", 14400.0), reactor, time.time)
    began, thread_began, process_began = time.perf_counter(), time.thread_time(), time.process_time()
    await gatherResults(
        [Deferred.fromCoroutine(session(spool, MESSAGES // sessions)) for _ in range(sessions)])
    await gatherResults(finished)
    finished.clear()
    seconds, thread, process = (
        time.perf_counter() - began, time.thread_time() - thread_began, time.process_time() - process_began)
    await spool.close()
    print(f"{sessions:4} sessions: {MESSAGES / seconds:7.0f} messages/s, "
          f"{thread / MESSAGES * 1e6:5.0f} us of the reactor's thread, {process / MESSAGES * 1e6:5.0f} us in all")


async def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="mailgw-bench-")
    for sessions in map(int, sys.argv[2:] or ("1", "4", "12", "20", "100")):
        await measure(folder, sessions)


if __name__ == "__main__":
    Deferred.fromCoroutine(main()).addErrback(lambda f: f.printTraceback()).addBoth(lambda _: reactor.stop())
    reactor.run()
