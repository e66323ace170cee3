"""What a server offers with its answer to EHLO or LHLO (RFC 5321 s4.1.1.1), as far as a client makes use of it:
SIZE (RFC 1870), 8BITMIME (6152), PIPELINING (2920), SMTPUTF8 (6531), DSN (3461), CHUNKING and BINARYMIME (3030),
REQUIRETLS (8689), MT-PRIORITY (6710), DELIVERBY (2852), LIMITS (9422).

Rule: an offer whose parameter cannot be read is an offer without one; a limit that cannot be read is none.
"""

from collections.abc import Mapping, Sequence

import attrs


@attrs.frozen
class Offer:
    """``extensions`` maps keywords to what follows them, both in upper case.  Numbers are 0 where nothing is said.

    ``size_limit`` in octets.  ``chunks_binary``: CHUNKING and BINARYMIME, each useless to us without the other.
    ``shortest_by_seconds`` is the shortest time that DELIVERBY takes.  ``mail_limit`` counts transactions a
    session, ``rcpt_limit`` recipients a transaction, ``rcpt_domain_limit`` domains of recipients a session.
    """

    extensions: Mapping[str, str]
    pipelining: bool
    size: bool
    size_limit: int
    eight_bit: bool
    chunks_binary: bool
    smtputf8: bool
    dsn: bool
    require_tls: bool
    priorities: bool
    deliver_by: bool
    shortest_by_seconds: int
    mail_limit: int
    rcpt_limit: int
    rcpt_domain_limit: int

    @property
    def has_limits(self) -> bool:
        """Whether there is a limit to what one session or transaction takes (RFC 9422)."""
        return bool(self.mail_limit or self.rcpt_limit or self.rcpt_domain_limit)


def offer_of(lines: Sequence[bytes]) -> Offer:
    """What the lines of the answer offer, without their codes; none (HELO) is nothing."""
    # RFC 5321 s4.1.1.1: the first line is the server's name, each further one a keyword with parameters.
    extensions: dict[str, str] = {}
    for line in lines[1:]:
        keyword, _, parameters = line.decode("ascii", "replace").upper().partition(" ")
        extensions[keyword] = parameters
        if keyword.startswith("AUTH="):  # as servers wrote it before RFC 2554, and some still do
            extensions.setdefault("AUTH", f"{keyword[5:]} {parameters}")
    limits = _limits(extensions.get("LIMITS", ""))
    return Offer(
        extensions=extensions,
        pipelining="PIPELINING" in extensions,
        size="SIZE" in extensions,
        # RFC 1870 s3: without a number, or with 0, there is no fixed limit.
        size_limit=_number(extensions.get("SIZE", "")),
        eight_bit="8BITMIME" in extensions,
        chunks_binary="CHUNKING" in extensions and "BINARYMIME" in extensions,
        smtputf8="SMTPUTF8" in extensions,
        dsn="DSN" in extensions,
        require_tls="REQUIRETLS" in extensions,
        priorities="MT-PRIORITY" in extensions,
        deliver_by="DELIVERBY" in extensions,
        # RFC 2852 s3: deliverby-param = min-by-time *( "," extension-token )
        shortest_by_seconds=_number(extensions.get("DELIVERBY", "").partition(",")[0]),
        mail_limit=limits.get("MAILMAX", 0),
        rcpt_limit=limits.get("RCPTMAX", 0),
        rcpt_domain_limit=limits.get("RCPTDOMAINMAX", 0),
    )


def _limits(text: str) -> dict[str, int]:
    # RFC 9422 s3: limits separated by spaces, limit = name "=" value; an unknown or broken one is to be ignored.
    words = (word.partition("=") for word in text.split())
    return {name: _number(value) for name, _, value in words}


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0
