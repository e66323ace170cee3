"""Which server is asked, and which one next (RFC 1035 s4.2.1, s7.2).

Rules:
    A fact is NOERROR or NXDOMAIN from a server; anything else (SERVFAIL, REFUSED, silence, garbage) sends the
    question on.  A server that said no is not asked that question again, one that was silent is.
    A silent server goes behind those that answer.  Every SILENT_SECONDS some question is sent to it as well, which
    does not wait for it: when it answers, it has its old place again.  So a dead first server costs the questions
    that are under way UDP_SECONDS, and later ones nothing.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailgw.net.dns_exchange import Listen, Server, Unanswered, over_tcp, over_udp
from mailgw.net.dns_wire import Answer, Question

ROUNDS: Final = 3  # how often a silent server is asked one question
SILENT_SECONDS: Final = 30.0


class Servers:
    """``choose`` says the servers as they are now, the preferred one first."""

    def __init__(self, choose: Callable[[], Sequence[Server]], reactor: Any, listen: Listen) -> None:
        self._choose = choose
        self._reactor = reactor
        self._listen = listen
        self._heard: dict[Server, float] = {}  # when it last said something
        self._silent: dict[Server, float] = {}  # when it is tried again beside the others

    async def ask(self, name: str, kind: int, authentic: bool) -> Answer:
        """The first fact that a server says.  Unanswered where none says one; its words tell of the last server."""
        servers = self._in_order(name, kind)
        why = "no server is known"
        for _ in range(ROUNDS):
            for server in list(servers):
                where = f"{server[0]}:{server[1]}"
                try:
                    answer = await self._ask_one(server, name, kind, authentic)
                except Unanswered as fault:
                    why = f"{where}: {fault}"
                    continue
                if answer.is_fact:
                    return answer
                why = f"{where} answers {answer.words}"
                servers.remove(server)
        raise Unanswered(why)

    def _in_order(self, name: str, kind: int) -> list[Server]:
        servers = list(self._choose())
        for known in (self._heard, self._silent):
            for server in known.keys() - set(servers):  # resolv.conf changed
                del known[server]
        well = [server for server in servers if server not in self._silent]
        for server, again in list(self._silent.items()) if well else ():
            if again <= self._reactor.seconds():
                self._silent[server] = self._reactor.seconds() + SILENT_SECONDS
                probe = Deferred.fromCoroutine(self._ask_one(server, name, kind, False))
                probe.addErrback(_unheard)  # type: ignore[unused-awaitable] # nobody waits for it
        return well + [server for server in servers if server in self._silent]

    async def _ask_one(self, server: Server, name: str, kind: int, authentic: bool) -> Answer:
        began = self._reactor.seconds()
        try:
            answer = await self._try(server, name, kind, authentic)
        except Unanswered as fault:
            # One that answers others meanwhile is not dead: this name takes it long.
            if fault.is_silent and self._heard.get(server, began) <= began:
                self._silent.setdefault(server, self._reactor.seconds() + SILENT_SECONDS)
            raise
        self._heard[server] = self._reactor.seconds()
        self._silent.pop(server, None)
        return answer

    async def _try(self, server: Server, name: str, kind: int, authentic: bool) -> Answer:
        def question(edns: bool) -> Question:
            return Question.about(secrets.randbits(16), name, kind, edns, authentic)

        answer = await over_udp(self._reactor, self._listen, server, question(True))
        edns = not answer.knows_no_edns
        if not edns:
            answer = await over_udp(self._reactor, self._listen, server, question(False))
        if answer.truncated:
            answer = await over_tcp(self._reactor, server, question(edns))
        return answer


def _unheard(failure: Failure) -> None:
    failure.trap(Unanswered)  # type: ignore[no-untyped-call] # Twisted's
