"""A block list of one's own in DNS: who is bad is refused, who is not quite good is marked, and when the list does not
answer mail goes on.

    PYTHONPATH=. mailgw check -c mailgw.toml
    PYTHONPATH=. twistd -n mailgw -c mailgw.toml
    twistd -n --pidfile dns.pid dns --pyzone bad.example.org --interface 127.0.0.1 --port 5353    a list to try it with

    swaks --server 127.0.0.1:2525 --from x@example.net --to bob@example.org --local-interface 127.0.0.2   refused
    swaks --server 127.0.0.1:2525 --from x@example.net --to bob@example.org --local-interface 127.0.0.3   marked

and once more when the name server is stopped: 127.0.0.4 waits for three seconds, and is served.  test_reputation.py
tests it.

The list is asked as others are (RFC 5782): for 192.0.2.7 it has an address at 7.2.0.192.bad.example.org, or none.
The last number of that is what we think of it, from 1 to 255: from ``refuse_from`` on mail is refused, from
``mark_from`` on it has the tag "suspect", for backends and for other rules, and a field X-Reputation, for people's own
filters.  What is worth a look:

* The answer is awaited: meanwhile the gateway serves others.
* It is remembered, for as long as DNS says, and for a bounded number of addresses.
* What is no answer raises.  What that means is for ``on_failure`` to say, in the configuration, not for this file.
"""

import ipaddress

from twisted.names import dns
from twisted.names.client import Resolver
from twisted.names.error import DNSNameError
from zope.interface import implementer

from mailgw.interfaces import IPolicyRule, IUsesGateway
from mailgw.mail.effect import SetHeader, Tag
from mailgw.mail.verdict import Stage, change, reject

TRIES_SECONDS = (1, 2)  # below the deadline in the configuration, which bounds what else may happen
UNLISTED_SECONDS = 300  # who is not listed now
MOST_SECONDS = 3600
MOST_REMEMBERED = 10_000


@implementer(IPolicyRule, IUsesGateway)
class Reputation:
    """``zone`` is the list's; ``servers`` are "address:port" of name servers (IPv4) that have it, or may look it up."""

    stages = {Stage.RCPT}  # noqa: RUF012 - nobody changes it.  At RCPT, since <postmaster> is served whatever we say

    def __init__(self, zone, servers, refuse_from=80, mark_from=20):
        if not 1 <= mark_from <= refuse_from <= 255:
            raise ValueError("expected 1 <= mark_from <= refuse_from <= 255")
        self.zone = zone
        self.servers = [(host, int(port)) for host, _, port in (one.partition(":") for one in servers)]
        self.refuse_from = refuse_from
        self.mark_from = mark_from
        self.known = {}  # address: (score, until when)

    def use(self, gateway):
        """The gateway's clock and reactor: in a test they are the test's."""
        self.now = gateway.now
        self.resolver = Resolver(servers=self.servers, timeout=TRIES_SECONDS, reactor=gateway.reactor)

    async def judge(self, stage, facts):
        client = facts.client
        if client.login or client.is_trusted or not client.own_address:
            return None
        score = await self.score(client.own_address)
        if score >= self.refuse_from:
            return reject(f"{client.address} is on our list, ask postmaster", why=f"score {score}")
        if score < self.mark_from or "suspect" in facts.tags:  # it was marked at the RCPT before this one
            return None
        # Set, not added: what the sender put there himself goes.
        return change(Tag("suspect"), SetHeader("X-Reputation", str(score)), why=f"score {score}")

    async def score(self, address):
        """0 where it is not listed; raises where that cannot be known."""
        score, until = self.known.get(address, (0, 0.0))
        if self.now() < until:
            return score
        numbers, seconds = await self.ask(f"{reversed_address(address)}.{self.zone}")
        if any(not number.startswith("127.") for number in numbers):
            raise ValueError(f"{self.zone} answers {numbers}: that is no list any more")  # RFC 5782 s2.1
        score = max((int(number.rpartition(".")[2]) for number in numbers), default=0)
        while len(self.known) >= MOST_REMEMBERED:
            del self.known[next(iter(self.known))]  # the oldest answer
        self.known.pop(address, None)
        self.known[address] = score, self.now() + seconds
        return score

    async def ask(self, name):
        """The addresses at ``name``, and for how many seconds to believe that."""
        try:
            answers, _, _ = await self.resolver.lookupAddress(name)
        except DNSNameError:  # there is no such name, which is an answer; all others pass
            return [], UNLISTED_SECONDS
        found = [one for one in answers if one.type == dns.A]
        return [one.payload.dottedQuad() for one in found], min([MOST_SECONDS, *(one.ttl for one in found)])


def reversed_address(address):
    """RFC 5782 s2.1 and s2.4: as in the names of in-addr.arpa and ip6.arpa."""
    return ipaddress.ip_address(address).reverse_pointer.rsplit(".", 2)[0]
