"""``mailgw replay``: what another configuration would have made of the mail that came."""

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from mailgw.arguments import count, span
from mailgw.config.where import DEFAULT_FILE
from mailgw.mail.errors import ConfigError, TemporaryFault
from mailgw.once import loaded, run_once
from mailgw.terminal import Fault, harmless, progress, say, unread

if TYPE_CHECKING:  # what is heavy is imported by the command itself
    from collections.abc import Iterator, Mapping, Sequence

    from mailgw.config.settings import Config
    from mailgw.rehearsal.past import Past, Seen, Told
    from mailgw.rehearsal.past_trust import Judged, PastTrust
    from mailgw.rehearsal.story import Envelope
    from mailgw.store.journal_lines import JournalLines

DAY_SECONDS = 86_400
MOST = 10_000
MOST_ALLOWED = 100_000

WORDS = """\
Takes the envelopes of the journal (what was queued, and what was refused at MAIL and RCPT) and runs them through
another configuration, as explain does: nothing is queued, sent, counted or written.  Lists those of which another thing
would become: accepted, refused or deferred; another reply; another lane; and, between two configurations, other
effects.

Content is not in the journal: rules of the stage CONTENT are not run, but for [trust], whose actions are held against
what was found out then (SPF, DKIM, DMARC, ARC and the client's name).  Nor are names that clients gave in EHLO there:
they say their address.
"""
EPILOG = """\
examples:
  mailgw replay --config new.toml --since 24h
  mailgw replay --config new.toml --against /etc/mailgw/mailgw.toml --since 7d
The first compares with what happened, where the journal tells it; the second with what the other configuration would do
now, so that what rules remembered, and what the operator did, is no difference.
exit status: 0 nothing would change, 1 something would, 2 it could not run"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    one = commands.add_parser(
        "replay", help="what another configuration would have made of the mail that came", description=WORDS,
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("-c", "--config", metavar="FILE", help=f"the new one; default: {DEFAULT_FILE}")
    one.add_argument("--against", metavar="FILE", help="the old one, run the same way; default: what the journal tells")
    one.add_argument("--since", type=span, metavar="TIME", default=DAY_SECONDS, help='such as "24h", the default')
    one.add_argument(
        "--journal", metavar="FILE", help="and those that it was rotated to; default: the old configuration's",
    )
    one.add_argument(
        "--limit", type=count(MOST_ALLOWED), metavar="N", default=MOST,
        help=f"run at most so many different envelopes, those that came last; default: {MOST}",
    )
    one.add_argument("--json", action="store_true", help="for programs")
    one.set_defaults(run=replay, usage_fault=one.error)


def replay(options: argparse.Namespace) -> int:
    """Run, print, and say whether anything would change."""
    try:
        return _replay(options)
    except (Fault, ConfigError, TemporaryFault) as fault:
        print(f"mailgw: {fault}", file=sys.stderr)
        return 2


def _replay(options: argparse.Namespace) -> int:
    from mailgw.rehearsal.past import KINDS, Past
    from mailgw.rehearsal.past_trust import PastTrust
    from mailgw.rehearsal.replaying import changes_between, changes_to_the_past, lines
    from mailgw.store.journal_lines import JournalLines, files_of

    new = loaded(options.config or DEFAULT_FILE)
    old = loaded(options.against) if options.against else None
    path = options.journal or (old or new).journal.path
    if path is None or path == "-":
        raise Fault("the configuration has no journal in a file: say --journal FILE")
    try:
        files = files_of(path)
    except OSError as fault:
        raise unread(fault, path) from None
    if not files:
        raise Fault(f"{path}: there is no such file")
    read = JournalLines(files, time.time() - options.since, KINDS | {"authenticated"})
    trust = PastTrust()
    past = Past(options.limit, new.limits.message_octets)
    try:
        seen = past.take(trust.heard(read.facts()))
    except OSError as fault:
        raise unread(fault, path) from None
    now, was = run_once(_both(new, old, seen))
    changed = changes_to_the_past(seen, now) if was is None else changes_between(seen, was, now)
    judged = trust.changes(new.trust, None if old is None else old.trust)
    if options.json:
        counts = {
            **_counts(read, past, seen), "envelopes_run": len(now), "judged": trust.messages,
            "judged_left_out": trust.left_out,
        }
        found = {"read": counts, "changed": [one.as_json() for one in changed]}
        say(json.dumps(found | {"trust": [one.as_json() for one in judged]}, indent=2))
    else:
        for verdict in judged:
            for line in verdict.lines():
                say(harmless(line))
        for one in changed:
            for line in lines(one):
                say(harmless(line))
        for line in _summary(read, past, seen, len(now), len(changed), sum(one.count for one in changed)):
            say(harmless(line))
        for line in _judged(trust, judged):
            say(harmless(line))
    return 1 if changed or judged else 0


async def _both(
    new: "Config", old: "Config | None", seen: "Sequence[Seen]"
) -> "tuple[Mapping[Envelope, Told], Mapping[Envelope, Told] | None]":
    """One after the other: each may have plug-ins that want something for themselves."""
    from twisted.internet import reactor

    from mailgw.rehearsal.replaying import run

    envelopes = list(dict.fromkeys(one.envelope for one in seen))

    def shown(what: str) -> "Iterator[Envelope]":
        return progress(envelopes, len(envelopes), what)

    was = None if old is None else await run(old, shown("as it was"), reactor)
    return await run(new, shown("envelopes"), reactor), was


def _counts(read: "JournalLines", past: "Past", seen: "Sequence[Seen]") -> dict[str, Any]:
    return {
        "lines": read.read, "unreadable_lines": read.unreadable, "envelopes": sum(one.count for one in seen),
        "left_out": past.left_out, "sessions_guessed": past.guessed, "not_run": dict(past.not_run),
    }


def _summary(
    read: "JournalLines", past: "Past", seen: "Sequence[Seen]", different: int, changed: int, times: int
) -> "list[str]":
    came = sum(one.count for one in seen)
    found = [f"{came} envelopes ({different} different ones), of which {times} ({changed}) would fare otherwise"]
    found += [f"not run: {count} {why}" for why, count in sorted(past.not_run.items())]
    if past.left_out:
        found.append(f"not run: {past.left_out} that came before the others (--limit)")
    if past.guessed:
        found.append(f"{past.guessed} came in sessions whose beginning is not told: their listener is guessed")
    if read.unreadable:
        found.append(f"lines that could not be read: {read.unreadable} of {read.read}")
    found.append("rules of the stage CONTENT are not run: content is not in the journal")
    return found


def _judged(trust: "PastTrust", judged: "Sequence[Judged]") -> "list[str]":
    if not trust.messages:
        return []
    times = sum(one.count for one in judged)
    found = [f"{trust.messages} messages judged again by [trust]'s actions, of which {times} would fare otherwise"]
    if trust.left_out:
        found.append(f"not judged: {trust.left_out} that came before the others, or of which nothing more is told")
    return found
