"""A network of the test's own: its loopback has the addresses that the test wants, and nothing else is there."""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence

import pytest

CLONE_NEWNET = 0x40000000  # <linux/sched.h>
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def own_network(addresses: Sequence[str]) -> Iterator[None]:
    """Until it is left, this thread is in a network namespace that ends with what was begun there (as root; Linux).

    So are the processes, threads and sockets that it begins.  ``addresses`` are this network's beside 127.0.0.0/8 and
    ::1; nothing that is sent there leaves the machine, whosever they are elsewhere.
    """
    # By the C library: Python has these since 3.12 alone, and ``ip netns`` would leave files behind where a test dies.
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _done(_libc.unshare(CLONE_NEWNET))
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            for address in addresses:
                subprocess.run(["ip", "address", "add", address, "dev", "lo"], check=True)
            yield
        finally:
            _done(_libc.setns(before, CLONE_NEWNET))
    finally:
        os.close(before)


@pytest.fixture(scope="session", autouse=True)
def apart(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where pytest runs several workers, each has a loopback of its own: the addresses that tests have at port 25, and
    the ports that the kernel gave one and another would take before he binds them, are nobody else's.

    As root alone; tests that bind fixed addresses need root, and are not run by others.
    """
    if hasattr(request.config, "workerinput") and os.getuid() == 0:
        with own_network([]):
            yield
    else:
        yield


def _done(status: int) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
