"""What people are told of DKIM keys: what happened, and what is to be done."""

import datetime
import math
from collections.abc import Iterator, Sequence

from mailgw.mail.address import Mailbox
from mailgw.mail.written import Person, Writing, written
from mailgw.trust.dkim_rotation import (
    KeyLife,
    KeyType,
    Move,
    Moved,
    RotationRules,
    Shown,
    State,
    due_at,
    key_name,
    zone_line,
)

HOUR_SECONDS = 3600.0


def moment(seconds: float) -> str:
    """``2026-11-28 14:00 UTC``."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def span(seconds: float) -> str:
    """``2 days``, ``90 minutes``."""
    for unit, size in (("day", 24 * HOUR_SECONDS), ("hour", HOUR_SECONDS), ("minute", 60.0)):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:.0f} s"


def happened(domain: str, moved: Moved, rules: RotationRules) -> str:
    """One line."""
    key, why = moved.key, f": {moved.why}" if moved.why else ""
    name = key_name(key.selector, domain)
    match moved.what:
        case Move.MADE:
            return f"a new {key.type} key {key.selector} was made for {domain}; publish its record at {name}"
        case Move.SEEN:
            return f"DNS shows {name}"
        case Move.SIGNS:
            return f"{domain} signs with the {key.type} key {key.selector} now{why}"
        case Move.RETIRED:
            left = span(rules.retire_seconds)
            return f"{domain} signs with {key.selector} no more{why}; leave its record in DNS for {left}"
        case Move.GONE:
            return f"nothing needs {name} any more; remove that record"
        case Move.LOST:
            what = "signs, and its signatures may not verify" if key.state is State.SIGNING else f"is {key.state}"
            return f"the key {key.selector} of {domain} ({name} TXT) {what}{why or f': DNS {key.shown}'}"
        case Move.FORGOTTEN:
            return f"{name} was removed"


def outlook(
    key: KeyLife, rules: RotationRules, signs: bool, shown: Shown = Shown.UNKNOWN, look_by: float = math.inf
) -> str:
    """What is going to happen with a key, and when.  ``signs``: whether any of its domain and kind signs now;
    ``shown``: what DNS says just now; ``look_by``: when the gateway has looked again, where none does."""
    due = due_at(key, rules, signs)
    is_shown = shown is Shown.MATCHES or (shown is Shown.UNKNOWN and key.seen is not None)
    is_wrong = shown in (Shown.MISSING, Shown.DIFFERS)
    publish = "publish the record" + (" in place of what DNS shows" if shown is Shown.DIFFERS else "")
    match key.state:
        case State.WANTED if signs:
            if is_shown and due is not None:
                return f"DNS shows it; it signs from {moment(due)}"
            wait = f"once DNS has shown it for {span(rules.wait_seconds)}"
            return f"published; it signs {wait}, at the gateway's looks" if is_shown else f"{publish}; it signs {wait}"
        case State.WANTED if is_shown:
            by = "" if math.isinf(look_by) else f" by {moment(look_by)}"
            if key.type is KeyType.ED25519 and key.seen is not None:  # the gateway has looked
                return "published; it signs once a key of RSA does"
            return f"published; the gateway looks again{by}, and signs then"
        case State.WANTED:
            return f"{publish}; it signs as soon as DNS shows it"
        case State.SIGNING if is_wrong:
            return f"{publish} at once: it signs, and others cannot verify that"
        case State.SIGNING:
            return f"signs since {moment(key.since)}" + ("" if due is None else f"; a new one is made {moment(due)}")
        case State.RETIRED:
            assert due is not None
            still = f"{publish} again: what it signed is under way" if is_wrong else "leave the record in DNS"
            return f"signs no more since {moment(key.since)}; {still} until {moment(due)}"
        case State.GONE:
            return "nothing needs it any more: remove the record"


def reminder(domain: str, key: KeyLife, fault: str, why: str) -> str:
    """What is wrong with a key, or still to be done: ``fault`` of its file, else (``""``) why DNS does not do."""
    if fault:
        return f"the {key.type} key {key.selector} of {domain}, which is {key.state}, cannot be used: {fault}"
    name, said = key_name(key.selector, domain), why or f"DNS {key.shown}"
    if key.state is State.WANTED:
        return f"the record at {name} is still to be published ({said}); mailgw dkim show {domain} has it"
    return f"DNS should show the record at {name}, whose key is {key.state}: {said}"


def letter(
    hostname: str, author: Mailbox, to: Mailbox, domain: str, lines: Sequence[str], wanted: Sequence[KeyLife],
    unwanted: Sequence[KeyLife], now: float, message_id: str,
) -> bytes:
    """To the postmaster: what happened (``lines``), which records to publish, which to remove."""
    text = "\n".join([
        f"This is the mail gateway {hostname}, about the keys that mail from {domain} is signed with (DKIM).", "",
        *(f"* {line}" for line in lines), *_records(domain, wanted), *_removals(domain, unwanted), "",
        f"mailgw dkim show {domain}     shows where all of its keys stand",
        f"mailgw dkim check {domain}    asks DNS", "",
    ])
    subject = f"DKIM keys of {domain}: " + ("a record to publish" if wanted else "a record to remove" if unwanted else
                                            "something is wrong")
    fields = {"Auto-Submitted": "auto-generated"}
    return written(Writing(Person(author), [Person(to)], subject=subject, text=text, fields=fields), now, message_id)


def _records(domain: str, keys: Sequence[KeyLife]) -> Iterator[str]:
    if keys:
        yield from ("", "Publish, as lines of a zone file:", "")
    for key in keys:
        yield from (zone_line(key.selector, domain, key.record), "")
    if keys:
        yield from ("or in the form of a provider, each as one TXT record of a name and a value:", "")
    for key in keys:
        yield from (key_name(key.selector, domain), key.record, "")


def _removals(domain: str, keys: Sequence[KeyLife]) -> Iterator[str]:
    if keys:
        yield from ("", "Remove the TXT records of", "")
    for key in keys:
        yield key_name(key.selector, domain)
