"""Open relay: every way to write "pass this on to somebody else" (RFC 5321 s3.6, s7.8, appendix C and F.2).

Nothing is sent: each probe ends at the answer to RCPT.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import attrs

from mailgw.mail.address import Mailbox
from mailgw.wire.probes.script import (
    Finding,
    Heard,
    Probe,
    Script,
    Server,
    Target,
    all_is_well,
    nobody_knows,
    say,
    weakness,
)

RELAYS: Final = (
    "whoever connects from this address can send to anybody: right only if it is one whose mail you pass on (probe from"
    " another one: --source)"
)
ROUTES: Final = (
    "an address at your domain that orders the mail to be passed on to another was taken, though its name exists"
    " nowhere here"
)
NOBODY: Final = "mailgw-doctor-no-such-user"
STRANGER: Final = "doctor@mailgw.invalid"


@attrs.frozen
class Names:
    """What the spellings are made of: ``ours`` is a domain that the server serves."""

    user: str
    domain: str
    ours: str


Spelling = Callable[[Names], str]

# At another domain: no server of ours may take these from a stranger.
FOREIGN: Final[dict[str, Spelling]] = {
    "plain": lambda n: f"{n.user}@{n.domain}",
    "dot-at-the-end": lambda n: f"{n.user}@{n.domain}.",
    "source-route": lambda n: f"@{n.ours}:{n.user}@{n.domain}",
    "literal-IPv4": lambda n: f"{n.user}@[192.0.2.1]",
    "literal-IPv6": lambda n: f"{n.user}@[IPv6:2001:db8::1]",
    "two-domains": lambda n: f"{n.user}@{n.ours}@{n.domain}",
}
# At our domain, or at none: a catch-all may take them as names of its own, a relay as orders.
ROUTED: Final[dict[str, Spelling]] = {
    "percent": lambda n: f"{n.user}%{n.domain}@{n.ours}",
    "bang": lambda n: f"{n.domain}!{n.user}@{n.ours}",
    "quoted-at": lambda n: f'"{n.user}@{n.domain}"@{n.ours}',
    "quoted-percent": lambda n: f'"{n.user}%{n.domain}"@{n.ours}',
    "domains-swapped": lambda n: f"{n.user}@{n.domain}@{n.ours}",
    "percent-without-domain": lambda n: f"{n.user}%{n.domain}",
    "bang-without-domain": lambda n: f"{n.domain}!{n.user}",
    "quoted-without-domain": lambda n: f'"{n.user}@{n.domain}"',
}

# As whom a stranger may call, to a foreign recipient: RFC 5321 s4.1.1.2 lets nobody believe it.
SENDERS: Final[dict[str, Spelling]] = {
    "null-sender": lambda n: "",
    "as-postmaster": lambda n: f"postmaster@{n.ours}",
    "as-bare-postmaster": lambda n: "postmaster",
    "as-one-of-ours": lambda n: f"{NOBODY}@{n.ours}",
    "as-the-recipient": lambda n: f"{n.user}@{n.domain}",
    "as-localhost": lambda n: "root@localhost",
}


def names_of(target: Target, server: Server) -> Names:
    foreign: Mailbox = target.foreign
    ours = target.recipient.domain if target.recipient is not None else server.name
    return Names(foreign.local_part, foreign.domain, ours)


def _plain(names: Names) -> str:
    return FOREIGN["plain"](names)


def _stranger(names: Names) -> str:
    return STRANGER


def _relays(sender: Spelling, recipient: Spelling, target: Target, server: Server) -> Script:
    names = names_of(target, server)
    heard = yield say(f"MAIL FROM:<{sender(names)}>")
    if not heard.is_yes:
        return _not_even(heard)
    heard = yield say(f"RCPT TO:<{recipient(names)}>")
    if heard.is_yes:
        return weakness(heard)
    return all_is_well(heard) if heard.is_no else nobody_knows(heard, "put off, not refused")


def _routes(recipient: Spelling, target: Target, server: Server) -> Script:
    names = names_of(target, server)
    heard = yield say(f"MAIL FROM:<{STRANGER}>")
    if not heard.is_yes:
        return _not_even(heard)
    heard = yield say(f"RCPT TO:<{recipient(names)}>")
    if not heard.is_yes:
        return all_is_well(heard) if heard.is_no else nobody_knows(heard, "put off, not refused")
    catch_all = yield say(f"RCPT TO:<{NOBODY}@{names.ours}>")
    if catch_all.is_yes:
        return nobody_knows(
            heard, f"every name at {names.ours} is taken; whether this one stays there cannot be told from here"
        )
    return weakness(heard)


def _not_even(heard: Heard) -> Finding:
    """No mail from that sender at all: 530 where one has to log in."""
    return all_is_well(f"{heard} to MAIL") if heard.is_no else nobody_knows(f"{heard} to MAIL", "put off, not refused")


PROBES: Final = (
    *(
        Probe(
            f"relay {name}",
            f"RCPT TO:<{spelling(Names('user', 'foreign', 'ours'))}> as a stranger",
            RELAYS,
            partial(_relays, _stranger, spelling),
            as_stranger=True,
        )
        for name, spelling in FOREIGN.items()
    ),
    *(
        Probe(
            f"relay {name}",
            f"RCPT TO:<user@foreign> from <{spelling(Names('user', 'foreign', 'ours'))}>",
            RELAYS,
            partial(_relays, spelling, _plain),
            as_stranger=True,
        )
        for name, spelling in SENDERS.items()
    ),
    *(
        Probe(
            f"relay {name}",
            f"RCPT TO:<{spelling(Names('user', 'foreign', 'ours'))}> as a stranger",
            ROUTES,
            partial(_routes, spelling),
            as_stranger=True,
        )
        for name, spelling in ROUTED.items()
    ),
)
