"""Plug-ins of a user's own, for the gateways of the tests: nothing is ever delivered by them."""

import fcntl
import os
import subprocess

CHILD_SECONDS = "20"


class Idle:
    """The least that a backend is."""

    concurrency = 1

    def lane(self, recipient: object) -> str:
        return ""

    async def refusal(self, recipient: object) -> None:
        return None

    async def deliver(self, message: object, recipients: object) -> object:
        return {}


class Sick(Idle):
    """Ends every process that starts while somebody holds its file."""

    def __init__(self, file: str) -> None:
        if os.path.exists(file):
            with open(file, "rb") as held:
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os._exit(9)


class Parental(Idle):
    """Starts a process, which has its output, too, and outlives it."""

    def __init__(self) -> None:
        self.child = subprocess.Popen(["sleep", CHILD_SECONDS])  # which ends by itself
