"""Virtual aliases: to whom mail for an address goes in the end, and what becomes of what its sender asked for.

RFC 5321 s3.9.1 (an alias: the address in the envelope is replaced, nothing else), RFC 3461 s5.2.7.2 and s5.2.7.3 (c).
Postfix's virtual(5) is the anchor for what an entry means.  Sub-addresses and patterns are the business of whoever
answers as ``mail.ports.Aliases``.

Rules:
    An address that its own entry lists is final there: ``alice  alice, archive`` keeps alice's copy.
    What comes back to an alias that it came from is a loop, and no address.
    A catch-all is for names that have no entry, and that nobody knows.
    Every expansion ends, and soon, since strangers may ask for it as often as they like: no alias is gone through
    twice, and depth and number are limited, that of repetitions, too.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import attrs

from mailgw.mail.address import Mailbox, folded
from mailgw.mail.parameters import Notify, RcptParameters, original_recipient
from mailgw.mail.ports import Aliases
from mailgw.wire.smtp_parameters import MAX_ORCPT_OCTETS

EXPANDED: Final = "(expanded)"
"""The lane in which an alias waits for the report to its sender, who asked for it."""

REPETITIONS: Final = 10
"""So many times as many as ``recipients``: how often an alias may meet again, on the whole, what it met before.  Some
3 us each."""


@attrs.frozen
class AliasLimits:
    """``depth``: so many entries one after the other, at most, from an address to one of those it comes to.
    ``recipients``: an alias comes to so many, and so do all aliases of a message together."""

    depth: int
    recipients: int


@attrs.frozen
class Tangle:
    """An address that cannot be expanded; ``why`` is for the operator, who has to mend it.  ``alias`` is the key of the
    entry that it began with (``@example.org`` for a catch-all); ``loop`` has the addresses of one, where that is why.
    """

    alias: str
    why: str
    loop: frozenset[str] = frozenset()


def alias_key(address: Mailbox) -> str:
    """Under which an address is found; equal for two where routes, accounts and folders take them for one."""
    return folded(f"{address.local_part}@{address.domain}")


async def expanded(
    address: Mailbox, aliases: Aliases, exists: Callable[[Mailbox], Awaitable[bool]], limits: AliasLimits
) -> tuple[Mailbox, ...] | Tangle:
    """The addresses that mail for ``address`` goes to, none twice, in the order of the entries; itself alone where it
    is no alias.

    ``exists`` is asked where there is a catch-all: whether somebody else knows that name.  What it or ``aliases``
    raises passes through.
    """
    first = await _targets(address, aliases, exists)
    if first is None:
        return (address,)
    found: dict[str, Mailbox] = {}  # final ones
    done: set[str] = set()          # aliases that were gone through
    began_with, targets = first
    way: dict[str, Iterator[Mailbox]] = {alias_key(address): iter(targets)}  # aliases that are being gone through
    again, most_again = 0, REPETITIONS * limits.recipients
    while way:
        alias = next(reversed(way))
        target = next(way[alias], None)
        if target is None:
            del way[alias]
            done.add(alias)
            continue
        key = alias_key(target)
        if key != alias and key in way:
            loop = list(way)[list(way).index(key):]
            what = "is" if key == alias_key(address) else "leads to"
            return Tangle(began_with, f"{what} a loop: {_way(loop, key)}", frozenset(loop))
        if key in done or key in found:
            again += 1
            if again > most_again:
                how_often = f"more than {most_again} times ({REPETITIONS} times recipients)"
                return Tangle(began_with, f"meets the same addresses again, {how_often}")
            continue
        step = None if key == alias else await _targets(target, aliases, exists)
        if step is not None and len(way) == limits.depth:
            return Tangle(began_with, f"goes through more than {limits.depth} entries (depth): {_way(way, key)} ...")
        if step is not None:
            way[key] = iter(step[1])
            continue
        found[key] = target
        if len(found) > limits.recipients:
            return Tangle(began_with, f"comes to more than {limits.recipients} addresses (recipients)")
    return (address,) if found.keys() == {alias_key(address)} else tuple(found.values())


async def _targets(
    address: Mailbox, aliases: Aliases, exists: Callable[[Mailbox], Awaitable[bool]]
) -> tuple[str, Sequence[Mailbox]] | None:
    """The key and the targets of the entry that is for ``address``."""
    targets = await aliases.targets(address)
    if targets is not None:
        return alias_key(address), targets
    targets = await aliases.catch_all(address.domain)
    return None if targets is None or await exists(address) else (f"@{address.domain}", targets)


def _way(keys: Sequence[str] | dict[str, Iterator[Mailbox]], last: str) -> str:
    return " -> ".join([*keys, last])


# --- what the sender asked for ------------------------------------------------------------------------

def parameters_of_copies(alias: Mailbox, parameters: RcptParameters, targets: Sequence[Mailbox]) -> RcptParameters:
    """What is asked for each of ``targets``, where ``parameters`` were for ``alias``.

    RFC 3461 s5.2.7.2: all of it for a single one.  s5.2.7.3 (c): for several without SUCCESS; what is left of SUCCESS
    alone is NEVER, since nobody asked to hear of a failure.  An ORCPT that was not given is added (s5.2.1 (d) lets us),
    so that a report names the address that its reader wrote to.
    """
    notify, orcpt = parameters.notify, parameters.orcpt or original_recipient(alias)
    if len(targets) > 1 and notify is not None:
        notify -= {Notify.SUCCESS}
    if len(orcpt.encode()) > MAX_ORCPT_OCTETS:
        orcpt = ""  # a server need take no more
    return RcptParameters(notify, orcpt)


def parameters_of_report(parameters: RcptParameters, targets: Sequence[Mailbox]) -> RcptParameters | None:
    """With what an alias waits in the lane ``EXPANDED``; None where no report is owed."""
    if len(targets) < 2 or not parameters.wants(Notify.SUCCESS):
        return None
    return RcptParameters(frozenset([Notify.SUCCESS]), parameters.orcpt)


def wanted_by_both(one: RcptParameters, other: RcptParameters) -> RcptParameters:
    """Of an address that is reached in two ways, each of which has its sender's wish: whatever either wants to hear.
    The first one's ORCPT, and whether it is forwarded."""
    if one.notify == other.notify:
        return one
    told = frozenset(n for n in Notify if one.wants(n) or other.wants(n))
    return attrs.evolve(one, notify=told)

