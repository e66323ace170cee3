"""Plug-ins for configurations that become others."""

from typing import Any

from twisted.application.service import Service

from mailgw.mail.verdict import Facts, Stage, Verdict


class Quiet:
    """A rule that has nothing to say."""

    stages: Any = frozenset({Stage.MAIL})

    def __init__(self, word: str = "") -> None:
        self.word = word

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        return None


class Raising(Quiet):
    def __init__(self) -> None:
        raise RuntimeError("no luck today")


LIVES: list[str] = []


class Living(Service, Quiet):
    """A rule that is a service, and tells when it runs."""

    def __init__(self, word: str) -> None:
        Quiet.__init__(self, word)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call] # Twisted's
        LIVES.append(f"{self.word} starts")

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call] # likewise
        LIVES.append(f"{self.word} stops")
