"""What every test keeps: no failure is logged unseen, no Deferred is dropped with one."""

import gc
import os
import shutil
from collections.abc import Iterator

import hypothesis
import pytest
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

# Few examples each time, many in .ci/full: what they find becomes a case of its own.
hypothesis.settings.register_profile(
    "mailgw", max_examples=int(os.environ.get("MAILGW_EXAMPLES", "10")), deadline=None, print_blob=True
)
hypothesis.settings.load_profile("mailgw")


MEMORY_DISK = "/dev/shm"  # where Linux has one
MEMORY_DISK_OCTETS = 256 * 1024 * 1024


def pytest_configure(config: pytest.Config) -> None:
    """Unit tests keep their folders in memory: thousands of files and syncs, which a disk makes three seconds of.

    That the gateway syncs is seen by fakes and by system calls, not by waiting; the peer tests stay on the disk.
    """
    units = config.option.markexpr == "not peer"
    if units and os.access(MEMORY_DISK, os.W_OK) and shutil.disk_usage(MEMORY_DISK).free > MEMORY_DISK_OCTETS:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY_DISK)


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the collector need not go through it once a module."""
    gc.collect()
    gc.freeze()


class LoggedFailures:
    """The failures that were logged since ``take`` was last called."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []

    def __call__(self, event: LogEvent) -> None:
        # Parts of Twisted, the reactor's call of a protocol among them, still log by twisted.python.log.
        failure = event.get("log_failure") or event.get("failure")
        if failure is not None:
            self.failures.append(failure)

    def take(self) -> list[BaseException]:
        """The exceptions, which the test thereby says it expected."""
        failures, self.failures = self.failures, []
        return [failure.value for failure in failures]


@pytest.fixture(autouse=True)
def logged_failures() -> Iterator[LoggedFailures]:
    """Fails the test at its end for every failure it did not ``take``: pytest itself lets them pass."""
    observer = LoggedFailures()
    globalLogPublisher.addObserver(observer)
    try:
        yield observer
    finally:
        globalLogPublisher.removeObserver(observer)
    assert not observer.failures, [failure.getTraceback() for failure in observer.failures]


@pytest.fixture(scope=os.environ.get("MAILGW_COLLECT", "session"), autouse=True)
def no_dropped_deferreds() -> Iterator[None]:
    """Deferreds in reference cycles speak up when they are collected: at the end, since it takes time.

    ``MAILGW_COLLECT=module`` (or function) tells whose they are.
    """
    observer = LoggedFailures()
    globalLogPublisher.addObserver(observer)
    try:
        yield
        observer.failures.clear()  # the tests' own fixture judged those
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(observer)
    assert not observer.failures, [failure.getTraceback() for failure in observer.failures]
