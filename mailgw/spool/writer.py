"""The one thread that writes: takes all waiting jobs, commits them in one transaction, takes the next.

Rules:
    Jobs begin in the order of their submission; what is submitted while a commit is on its way goes into the
    next one, so the group grows with the load.
    A job that fails spoils no other: the group is rolled back and its jobs are done again one by one.
    A Deferred fires, in the reactor's thread, only after COMMIT returned, which with synchronous=FULL is
    after the sync; all of a group fire in one call.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgw.mail.errors import TemporaryFault
from mailgw.spool.batch import Job, run_jobs
from mailgw.spool.faults import fault_of, is_foreseen
from mailgw.spool.threads import Reactor

# A record that nobody waits for rides with the next commit, or goes alone after this.
PATIENCE_SECONDS = 0.01
# Bounds what one transaction delays; at this size the sync is no cost any more.
_MOST_JOBS = 512
_SECONDS_BETWEEN_WARNINGS = 60.0


class Writer:
    """Owns ``connection`` from here on; all methods are for the reactor's thread.

    ``removed`` is called, in the reactor's thread, with the body files that a commit left without a message.
    ``at_end`` is called in the writer's thread after the last commit and before the connection closes.
    """

    _log = Logger()

    def __init__(
        self,
        connection: sqlite3.Connection,
        reactor: Reactor,
        removed: Callable[[Sequence[str]], None],
        at_end: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._reactor = reactor
        self._removed = removed
        self._at_end = at_end
        self._urgent: deque[Job] = deque()
        self._patient: deque[Job] = deque()
        self._chores: deque[Callable[[sqlite3.Connection], None]] = deque()
        self._wakes_now = False
        self._wakes_later = False
        self._signals: SimpleQueue[Deferred[None] | None] = SimpleQueue()
        self._closed = False
        self._warned_at: float | None = None
        # A daemon: a process that ends without close() must not hang; the database takes it for a crash.
        self._thread = threading.Thread(target=self._run, name="mailgw spool writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Deferred[Any]:
        """Fires with the job's result when it is durable, or fails with TemporaryFault."""
        deferred = self._accept(job, self._urgent)
        if not self._wakes_now:
            # Not at once: what else this turn of the reactor submits belongs into the same group.
            self._wakes_now = True
            self._reactor.callLater(0, self._wake_now)
        return deferred

    def submit_patiently(self, job: Job) -> Deferred[Any]:
        """As ``submit``, but the job waits a little for another one's commit to ride with."""
        deferred = self._accept(job, self._patient)
        if not self._wakes_later:
            self._wakes_later = True
            self._reactor.callLater(PATIENCE_SECONDS, self._wake_later)
        return deferred

    def between(self, chore: Callable[[sqlite3.Connection], None]) -> None:
        """Call ``chore`` in the writer's thread, outside of any transaction; its errors are logged."""
        if not self._closed:
            self._chores.append(chore)
            self._signals.put(None)

    def close(self) -> Deferred[None]:
        """Commit what waits, close the connection; fires when the thread has ended its work."""
        self._closed = True
        done: Deferred[None] = Deferred()
        self._signals.put(done)
        return done

    def _accept(self, job: Job, jobs: deque[Job]) -> Deferred[Any]:
        if self._closed:
            raise TemporaryFault("the spool is closed")
        job.deferred = Deferred()
        jobs.append(job)
        return job.deferred

    def _wake_now(self) -> None:
        self._wakes_now = False
        if self._urgent:
            self._signals.put(None)

    def _wake_later(self) -> None:
        self._wakes_later = False
        if self._patient:
            self._signals.put(None)

    # --- in the writer's thread -------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            done = self._signals.get()
            self._write()
            while self._urgent or (done is not None and self._patient):
                self._write()
            while self._chores:
                self._do(self._chores.popleft())
            if done is not None:
                self._end(done)
                return

    def _write(self) -> None:
        jobs = _take(self._urgent, _MOST_JOBS) + _take(self._patient, _MOST_JOBS)
        if not jobs:
            return
        removed_files: list[str] = []
        try:
            results = self._transaction(jobs, removed_files)
        except Exception as error:  # noqa: BLE001  # the thread must live; each job gets its fault
            if len(jobs) == 1:
                results = [error]
            else:
                removed_files, results = self._one_by_one(jobs)
        self._reactor.callFromThread(self._tell, jobs, results, removed_files)

    def _one_by_one(self, jobs: Sequence[Job]) -> tuple[list[str], list[Any]]:
        all_removed: list[str] = []
        results: list[Any] = []
        for job in jobs:
            removed_files: list[str] = []
            try:
                results += self._transaction([job], removed_files)
                all_removed += removed_files
            except Exception as error:  # noqa: BLE001  # as in _write
                results.append(error)
        return all_removed, results

    def _transaction(self, jobs: Sequence[Job], removed_files: list[str]) -> list[Any]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = run_jobs(connection, jobs, removed_files)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite may have rolled back by itself (SQLITE_FULL)
                connection.execute("ROLLBACK")
            raise
        return results

    def _do(self, chore: Callable[[sqlite3.Connection], None]) -> None:
        try:
            chore(self._connection)
        except Exception as error:  # noqa: BLE001  # as in _write
            self._reactor.callFromThread(self._complain, error)

    def _end(self, done: Deferred[None]) -> None:
        try:
            self._at_end()
            self._connection.close()
        except Exception as error:  # noqa: BLE001  # told to whoever waits for the end
            self._reactor.callFromThread(done.errback, error)
        else:
            self._reactor.callFromThread(done.callback, None)

    # --- in the reactor's thread again ------------------------------------------------------------

    def _tell(self, jobs: Sequence[Job], results: Sequence[Any], removed_files: Sequence[str]) -> None:
        if removed_files:
            self._removed(removed_files)
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Exception):
                self._complain(result)
                job.deferred.errback(fault_of(result))
            else:
                job.deferred.callback(result)

    def _complain(self, error: Exception) -> None:
        if not is_foreseen(error):
            failure = Failure(error)  # type: ignore[no-untyped-call]  # Twisted's is untyped
            self._log.failure("spool: a bug of ours failed a write", failure)
            return
        now = self._reactor.seconds()
        if self._warned_at is None or now - self._warned_at >= _SECONDS_BETWEEN_WARNINGS:
            self._warned_at = now
            self._log.error("spool: the queue cannot be written: {why}", why=str(error))


def _take(jobs: deque[Job], limit: int) -> list[Job]:
    # The reactor's thread may append meanwhile: the length is a lower bound, and popleft is atomic.
    return [jobs.popleft() for _ in range(min(len(jobs), limit))]
