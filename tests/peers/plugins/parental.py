"""A plug-in of a user's own, for the gateways of the tests."""

import subprocess

SECONDS = "20"


class Parental:
    """A plug-in that starts a process, which has its output, too, and outlives it."""

    concurrency = 1

    def __init__(self) -> None:
        self.child = subprocess.Popen(["sleep", SECONDS])  # which ends by itself

    def lane(self, recipient: object) -> str:
        return ""

    async def refusal(self, recipient: object) -> None:
        return None

    async def deliver(self, message: object, recipients: object) -> object:
        return {}
