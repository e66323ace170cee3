"""A thread that gives way."""

import os
import sys
from queue import Queue

import pytest

from mailgw.net.background import NICENESS, BackgroundThread


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_it_alone_is_nice() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    seen: Queue[int] = Queue()
    thread = BackgroundThread(target=lambda: seen.put(os.getpriority(os.PRIO_PROCESS, 0)))
    thread.start()
    thread.join(10)
    assert seen.get(timeout=10) == max(before, NICENESS)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
