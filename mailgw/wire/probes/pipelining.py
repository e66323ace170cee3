"""Pipelining (RFC 2920): the answers in the order of the commands, whatever came at once; nothing obeyed that was
content."""

from functools import partial
from typing import Final

from mailgw.wire.probes.script import (
    ALL,
    Ended,
    Probe,
    Say,
    Script,
    Server,
    Target,
    all_is_well,
    lines,
    nobody_knows,
    say,
    weakness,
)

DISORDER: Final = (
    "answers are lost, doubled or out of order: a client takes one recipient's refusal for another's, and loses mail"
)


def _mix(target: Target) -> tuple[str, ...]:
    """Slow and quick, good and bad: each answer has a code that tells it from its neighbours."""
    served = target.recipient if target.recipient is not None else "postmaster"
    return (
        "NOOP", "VRFY mailgw-doctor", "MAIL FROM:<>", f"RCPT TO:<{target.foreign}>", f"RCPT TO:<{served}>",
        f"RCPT TO:<{target.foreign}>", "MAIL FROM:<>", "RSET", "XMAILGWDOCTOR", "NOOP",
    )


def _order(piece_octets: int, target: Target, server: Server) -> Script:
    """The same commands one by one, then at once: the same codes in the same order."""
    commands = _mix(target)
    one_by_one = []
    for command in commands:
        heard = yield say(command)
        if not heard.codes:
            return nobody_knows(heard, f"no answer to {command.partition(' ')[0]}")
        one_by_one.append(heard.code)
    heard = yield Say(lines(*commands, "QUIT"), ALL, piece_octets)
    if heard.codes[:len(commands)] == tuple(one_by_one) and len(heard.codes) <= len(commands) + 1:
        return all_is_well(heard)
    known = tuple(code for code in heard.codes if code != 421)
    if 221 not in known and heard.ended is Ended.CLOSED and known == tuple(one_by_one[:len(known)]):
        return nobody_knows(heard, "it had enough of our errors")
    expected = ", ".join(map(str, one_by_one))
    return weakness(f"{heard} for {expected}")


def _data_at_once(target: Target, server: Server) -> Script:
    """MAIL, RCPT and DATA at once; then it hangs up, so no mail is left behind."""
    heard = yield Say(lines("MAIL FROM:<>", f"RCPT TO:<{target.recipient}>", "DATA"), 3)
    if heard.codes == (250, 250, 354):
        return all_is_well(heard)
    if heard.codes[:2] == (250, 250):
        return weakness(heard)
    return nobody_knows(heard, "the recipient was not taken")


def _behind_data(target: Target, server: Server) -> Script:
    """DATA that must be refused, since there is no recipient; behind it what a client would send as content."""
    heard = yield Say(lines("MAIL FROM:<>", "DATA", "NOOP", "NOOP", "QUIT"), ALL)
    if len(heard.codes) < 2:
        return nobody_knows(heard, "MAIL and DATA were not answered")
    if heard.codes[1] == 354:
        # RFC 2920 s3.1: 354 without a recipient is allowed; then this is content, and nothing more is answered.
        return all_is_well(heard) if len(heard.codes) == 2 else weakness(heard)
    obeyed = [code for code in heard.codes[2:] if 200 <= code < 400 and code != 221]
    return weakness(heard) if obeyed else all_is_well(heard)


PROBES: Final = (
    Probe(
        "pipelining order",
        "10 commands, good and bad ones, one by one and then at once",
        DISORDER,
        partial(_order, 0),
        extension="PIPELINING",
    ),
    Probe(
        "pipelining torn",
        "the same in pieces of 7 octets",
        DISORDER,
        partial(_order, 7),
        extension="PIPELINING",
    ),
    Probe(
        "pipelining DATA",
        "MAIL, RCPT and DATA at once; then it hangs up",
        "the three are not answered as they are one by one",
        _data_at_once,
        needs_recipient=True,
        extension="PIPELINING",
    ),
    Probe(
        "pipelining behind-DATA",
        "a DATA that is refused, and commands behind it",
        "they are obeyed: where a client sent its message without waiting, the message's text becomes commands",
        _behind_data,
    ),
)
