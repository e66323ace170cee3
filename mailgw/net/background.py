"""Threads for work that may take a processor only where nobody else wants it: hashes of passwords, for one."""

import os
import sys
from threading import Thread

# setpriority(2): 19 is the least.  With 10 such a thread gets a tenth of a processor that the reactor wants as well.
NICENESS = 10


class BackgroundThread(Thread):
    """A thread that gives way.  Only Linux knows a priority of single threads; elsewhere it is like any other."""

    def run(self) -> None:
        if sys.platform == "linux":
            # To Linux, 0 is the calling thread, not the process (setpriority(2), "C library/kernel differences").
            os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
        super().run()
