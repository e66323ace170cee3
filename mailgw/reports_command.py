"""``mailgw reports``: what the reports say that came in by a backend of type ``reports``."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mailgw.arguments import add_place, span
from mailgw.config.where import DEFAULT_FILE, domains_of, own_state, state_of
from mailgw.mail.address import parse_domain
from mailgw.mail.errors import ConfigError, TemporaryFault
from mailgw.terminal import WHERE, Fault, harmless, say, text, unread

if TYPE_CHECKING:  # what is heavy is imported by the command itself
    import sqlite3

    from mailgw.report_summary import Summary
    from mailgw.store.report_reading import Report, Wanted

MONTH_SECONDS = 30 * 86_400.0

WORDS = """\
Sums up the DMARC and TLS reports that came in: for each domain, who sends as it, and what failed there; how sessions
with its mail servers went.  "list" has one line for each report, "show ID" all of one.  It reads what the gateway
keeps, whether that runs or not, and changes nothing.

A report is what somebody says.  "unauthenticated" are those of which DMARC did not tell, when they came, that they are
from the domain in From: anybody may send one.  The sums leave them out, and tell of them in a line of their own; --all
counts them, too.
"""
EPILOG = """\
examples:
  mailgw reports
  mailgw reports --domain example.org --since 7d --all
  mailgw reports list
  mailgw reports show 12
In a day's bar "#" is what passed, "!" what did not.
exit status: 0 nothing that counts failed, 1 something did (of the summary alone), 2 it could not run"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    one = commands.add_parser(
        "reports", help="the DMARC and TLS reports that came in: who sends as us, and what failed", description=WORDS,
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_place(one, "whose state folder")
    one.add_argument("what", nargs="?", choices=("summary", "list", "show"), default="summary")
    one.add_argument("report", nargs="?", type=_number, metavar="ID", help="of show: as list has it")
    one.add_argument("--domain", type=_domain, metavar="NAME", help="about it, or a domain below it")
    one.add_argument("--since", type=span, metavar="TIME", default=MONTH_SECONDS, help='such as "7d"; default: "30d"')
    which = one.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="of the summary: count what nobody vouches for, too")
    which.add_argument(
        "--trusted", action="store_true",
        help="those alone whose sender DMARC vouched for: the summary counts no others anyhow, list leaves them out")
    one.add_argument("--json", action="store_true", help="for programs; times are seconds since 1970, UTC")
    one.set_defaults(run=reports, usage_fault=one.error)


def reports(options: argparse.Namespace) -> int:
    """Read, print, and say whether anything failed."""
    if (options.what == "show") != (options.report is not None):
        options.usage_fault("show wants the ID of a report, and nothing else does")
    try:
        return _reports(options)
    except (Fault, ConfigError, TemporaryFault) as fault:
        print(f"mailgw: {fault}", file=sys.stderr)
        return 2


def _reports(options: argparse.Namespace) -> int:
    import sqlite3

    # Imported as who asks: the owner of the state folder may not be able to read Python's files.
    from mailgw.config.files import acting_as
    from mailgw.report_summary import Summary
    from mailgw.store.report_reading import Wanted, connect_reader
    from mailgw.store.reports import FILE
    from mailgw.trust.report_words import family_of

    families: frozenset[str] = frozenset()
    if options.folder is not None:
        state = os.path.abspath(options.folder)
    else:
        file = options.config or DEFAULT_FILE
        if options.domain is None:  # of another's domain that somebody asks for he is told
            families = frozenset(map(family_of, domains_of(file)))
        state = state_of(options.config) if options.config is not None else own_state()
    path = os.path.join(state, FILE)
    wanted = Wanted(time.time() - options.since, options.domain or "", options.trusted and options.what == "list")
    try:
        facts = os.stat(path)
    except OSError as fault:
        if isinstance(fault, PermissionError):
            raise unread(fault, path) from None
        if not isinstance(fault, FileNotFoundError) or not os.path.isdir(state):
            raise Fault(f"{path}: {fault.strerror}; {WHERE}") from None
        return _told(options, None, wanted, Summary(options.all, families))
    # As root, as the file's owner: what SQLite may write to undo a crash is to be the gateway's.
    with acting_as((facts.st_uid, facts.st_gid)):
        connection = None
        try:
            connection = connect_reader(path)
            return _told(options, connection, wanted, Summary(options.all, families))
        except sqlite3.Error as fault:
            raise Fault(f"{path} cannot be read: {harmless(str(fault))}") from None
        finally:
            if connection is not None:
                connection.close()


def _told(
    options: argparse.Namespace, connection: "sqlite3.Connection | None", wanted: "Wanted", summary: "Summary"
) -> int:
    if options.what == "show":
        return _show(options, connection)
    if options.what == "list":
        return _list(options, connection, wanted)
    from mailgw.report_summary import as_json, lines
    from mailgw.store import report_reading as reading

    if connection is not None:
        for one in list(reading.reports(connection, wanted)):
            if one.kind == "dmarc":
                summary.dmarc(one, reading.dmarc_lines(connection, one.id))
            else:
                summary.tls_report(one, reading.tls_lines(connection, one.id), wanted.domain)
    if options.json:
        say(json.dumps({"since": round(wanted.since), **as_json(summary)}, indent=2))
    else:
        for line in lines(summary, f"since {_time(wanted.since)}"):
            say(harmless(line))
    return 1 if summary.has_failures else 0


def _list(options: argparse.Namespace, connection: "sqlite3.Connection | None", wanted: "Wanted") -> int:
    import attrs

    from mailgw.store import report_reading as reading

    found = [] if connection is None else list(reading.reports(connection, wanted))
    if options.json:
        say(json.dumps([attrs.asdict(one) for one in found], indent=2))
        return 0
    for one in found:
        say(harmless(_line(one)))
    if not found:
        say(f"no reports since {_time(wanted.since)}")
    return 0


def _line(one: "Report") -> str:
    about = f" on {one.domain}" if one.domain else ""
    days = f"{_time(one.begin)} to {_time(one.end)}"
    return f"{one.id}  {one.kind}{about}, {days}, by {one.organization}: {one.report_id}  ({_sender(one)})"


def _sender(one: "Report") -> str:
    if one.trusted:
        return f"from {one.sender}"
    dmarc = f"DMARC {one.dmarc}" if one.dmarc else "DMARC not looked at"
    return f"unauthenticated, from {one.sender or 'nobody'}, {dmarc}"


def _show(options: argparse.Namespace, connection: "sqlite3.Connection | None") -> int:
    import attrs

    from mailgw.store import report_reading as reading

    found = None if connection is None else reading.report(connection, options.report)
    if connection is None or found is None:
        raise Fault(f"there is no report {options.report}")
    rows: list[Any] = list(
        reading.dmarc_lines(connection, found.id) if found.kind == "dmarc" else reading.tls_lines(connection, found.id)
    )
    if options.json:
        say(json.dumps({**attrs.asdict(found), "rows": [attrs.asdict(row) for row in rows]}, indent=2))
        return 0
    for line in _shown(found, rows):
        say(harmless(line))
    return 0


def _shown(one: "Report", rows: list[Any]) -> Iterator[str]:
    from mailgw.report_summary import failed, tls_words

    yield _line(one)
    yield f"came {_time(one.received)} as {one.queue_id}; contact {one.contact or 'none'}"
    if one.policy:
        yield "policy: " + ", ".join(f"{name}={value}" for name, value in one.policy.items())
    for row in rows:
        yield ""
        if one.kind == "dmarc":
            yield (
                f"{row.count:,} from {row.source or 'an unknown address'}, From {row.header_from or 'unknown'}, "
                f"{'pass' if row.passes else 'fail'}; done: {row.disposition or 'not said'}"
            )
            if row.envelope_from or row.envelope_to:
                yield f"  envelope: from {row.envelope_from or 'unknown'} to {row.envelope_to or 'unknown'}"
            for method, domain, name, result in row.auth:
                yield f"  {method} {result}: {domain}{f' ({name})' if name else ''}"
            yield from (f"  {words}" for words in failed(row) if words.startswith("no "))
            yield from (f"  because {words}" for words in row.reasons)
        else:
            yield f"{row.domain}, {row.policy or 'unknown policy'}: {row.successes:,} good, {row.failures:,} failed"
            yield from (f"  policy: {words}" for words in row.strings)
            if row.mx:
                yield f"  MX: {', '.join(row.mx)}"
            yield from (f"  {detail[5]:,}: {tls_words(detail)}" for detail in row.details)


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def _number(word: str) -> int:
    if not word.isascii() or not word.isdecimal() or len(word) > 18:
        raise argparse.ArgumentTypeError(f"expected the number of a report, not {word!r}")
    return int(word)


def _domain(word: str) -> str:
    domain = parse_domain(text(word).removeprefix("@"))
    if domain is None:
        raise argparse.ArgumentTypeError(f"expected a domain, such as example.org, not {word!r}")
    return domain
