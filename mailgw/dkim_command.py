"""``mailgw dkim``: the keys that mail is signed with (DKIM): make them, publish them, look after them."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from mailgw.config.where import DEFAULT_FILE
from mailgw.mail.address import parse_domain
from mailgw.once import loaded, run_once
from mailgw.terminal import Fault, say, text

if TYPE_CHECKING:  # what is heavy is imported by the command itself
    from mailgw.dkim_desk import KeyDesk

SMALLEST_BITS, USUAL_BITS, LARGEST_BITS = 1024, 2048, 4096  # trust.dkim_key, which takes its time to be imported
WORDS = """\
DKIM signs mail, so that others can see that it comes from your domain: a private key here signs, a record in your
domain's DNS has the public one.  The way of a key:

  mailgw dkim make example.org      makes an RSA and an Ed25519 key, and prints the records to publish
  (publish them in DNS)             the gateway signs as soon as DNS shows the first ones
  mailgw dkim check example.org     does DNS show what it should?  Then the first keys sign, from now on
  mailgw dkim rotate example.org    new keys, to take the place of these; their records are to be published
  (publish them; leave the old)     they sign once DNS has shown them for two days
  mailgw dkim show example.org      once the old records may be removed (seven days later), it says so

The gateway that runs does the steps by itself, and tells the postmaster what to publish and what to remove; with
rotate = "90d" in [dkim.domains."example.org"] it begins them, too.  No command and no log ever shows a private key."""

EXIT = """\
exit status: 0 done, or all is well; 1 something is wrong, or still to be published; 2 it could not run, or DNS gave no
answer"""
MAKE = """\
Makes keys for a domain, in its folder (mode 0600), and prints their records.  They sign once DNS shows them: at once
where the domain signs with nothing yet, else after the wait.  By default both: RSA, which everybody can verify, and
Ed25519, which is short and strong, beside it.  The domain is to be in the configuration first, as
[dkim.domains."example.org"]; --anyway makes keys before that."""
SHOW = """\
Each key, what is going to happen with it and when, and its record: those to publish now in two forms, a line for a zone
file, and name and value for a form of a DNS provider (one line; the provider cuts it); those that are published and are
to stay; and the names of those that may be removed.  What DNS has is asked; --no-dns does not."""
CHECK = """\
Asks DNS for the record of each key: matches, missing, differs (and how), or no answer.  A CNAME on the way is fine, and
is shown.  It says what SPF and DMARC of the domain say, too, and whether those who still find the organizational domain
in the list of public suffixes (RFC 7489; needs the package publicsuffixlist: pip install "mailgw[psl]") find the same
one as the walk of RFC 9989.  Where nothing signs yet and DNS shows all that waits for it, these keys sign from now on:
the gateway would have found out in ten minutes.  Nothing else is changed."""
ROTATE = """\
Begins a rotation: makes keys of the kinds that sign now.  Where one is under way it goes one step on, if its time has
come, and says otherwise what is waited for: once DNS has shown the new records for long enough they sign, and the old
keys are retired; seven days later those are removed.  The gateway that runs does these steps by itself."""
RETIRE = """\
A key signs no more, from now on.  Its record has to stay in DNS for what is under way; show says until when.  One that
never signed is removed at once.  Where nothing else signs it takes --force: mail leaves unsigned then, but a new key
that DNS shows signs without a wait.  So does the last key of RSA, since not everybody can verify Ed25519.  A key that
was stolen: retire it, and empty its record's p= in DNS at once."""

REMOVE = """\
Removes the keys of a domain that never signed, such as those that were made for a name that was mistyped, or before
anything was published.  Those that signed go by retire, and have to stay in DNS for a while."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    dkim = commands.add_parser(
        "dkim", help="keys that mail is signed with: make, show, check, rotate, retire, remove", description=WORDS,
        epilog=EXIT, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = dkim.add_subparsers(metavar="ACTION", required=True)
    one = _action(actions, "make", "make keys, and print the records to publish", MAKE)
    one.add_argument("domain", type=_domain, metavar="DOMAIN")
    one.add_argument(
        "--algorithm", choices=("rsa", "ed25519", "both"), default="both", help="default: both, which are two keys")
    one.add_argument("--bits", type=_bits, default=USUAL_BITS, help=f"of RSA; default: {USUAL_BITS}")
    one.add_argument(
        "--selector", type=_selector, metavar="NAME",
        help="default: mg-DATE-r and mg-DATE-e; of both, -r and -e are added to NAME")
    one.add_argument("--anyway", action="store_true", help="though the configuration does not have the domain")
    one.add_argument(
        "--user", metavar="NAME", help="as whom the gateway runs: for root, where there is no state folder yet")
    one.set_defaults(run=make)

    one = _action(actions, "show", "the keys, their records, and what happens when", SHOW)
    one.add_argument("domain", type=_domain, metavar="DOMAIN", nargs="?", help="default: all of them")
    one.add_argument("--no-dns", action="store_true", help="do not ask DNS")
    one.set_defaults(run=show)

    one = _action(actions, "check", "does DNS show what it should?", CHECK)
    one.add_argument("domain", type=_domain, metavar="DOMAIN", nargs="?", help="default: all of them")
    one.set_defaults(run=check)

    one = _action(actions, "rotate", "begin to change keys, or go one step on", ROTATE)
    one.add_argument("domain", type=_domain, metavar="DOMAIN")
    one.set_defaults(run=rotate)

    one = _action(actions, "retire", "sign with a key no more", RETIRE)
    one.add_argument("selector", type=_selector, metavar="SELECTOR")
    one.add_argument("--domain", type=_domain, metavar="DOMAIN", help="where several have a key of that name")
    one.add_argument("--force", action="store_true", help="though nothing signs then, or nothing by RSA")
    one.set_defaults(run=retire)

    one = _action(actions, "remove", "remove keys that never signed", REMOVE)
    one.add_argument("domain", type=_domain, metavar="DOMAIN")
    one.set_defaults(run=remove)


def _action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, words: str, more: str
) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(
        name, help=words, description=more, epilog=EXIT, formatter_class=argparse.RawDescriptionHelpFormatter)
    action.add_argument("-c", "--config", metavar="FILE", help=f"default: {DEFAULT_FILE}")
    action.add_argument("--json", action="store_true", help="for programs; times are seconds since 1970, UTC")
    action.set_defaults(usage_fault=action.error)
    return action


def make(options: argparse.Namespace) -> int:
    kinds = ("rsa", "ed25519") if options.algorithm == "both" else (options.algorithm,)
    selectors: tuple[str, ...] = () if options.selector is None else (options.selector,)
    if selectors and len(kinds) > 1:
        selectors = (_selector(f"{selectors[0]}-r"), _selector(f"{selectors[0]}-e"))
    try:
        desk = _desk(options)
        desk.make(options.domain, kinds, options.bits, selectors, options.anyway, options.user)
        found = desk.told([options.domain], {})
        new = [key for one in found for key in one.keys if key.selector in desk.made]
        _print(options, desk, [found[0].only(new)], records=True)
    except Fault as fault:
        return _could_not(fault)
    return 0


def show(options: argparse.Namespace) -> int:
    try:
        desk = _desk(options)
        domains = desk.domains(options.domain)
        answers = {} if options.no_dns else run_once(desk.asked(domains))
        _print(options, desk, desk.told(domains, answers), records=True)
    except Fault as fault:
        return _could_not(fault)
    return 0


def check(options: argparse.Namespace) -> int:
    try:
        desk = _desk(options)
        domains = desk.domains(options.domain)
        found = run_once(desk.surveyed(domains))
        _print(options, desk, found, records=False)
    except Fault as fault:
        return _could_not(fault)
    return max((one.status for one in found), default=1)


def rotate(options: argparse.Namespace) -> int:
    try:
        desk = _desk(options)
        run_once(desk.rotate(options.domain))
        found = desk.told([options.domain], desk.answers)
        _print(options, desk, found, records=True)
    except Fault as fault:
        return _could_not(fault)
    return found[0].status


def retire(options: argparse.Namespace) -> int:
    try:
        desk = _desk(options)
        domain = desk.retire(options.selector, options.domain, options.force)
        _print(options, desk, desk.told([domain], {}), records=False)
    except Fault as fault:
        return _could_not(fault)
    return 0


def remove(options: argparse.Namespace) -> int:
    try:
        desk = _desk(options)
        desk.remove(options.domain)
        _print(options, desk, desk.told([options.domain], {}), records=False)
    except Fault as fault:
        return _could_not(fault)
    return 0


def _could_not(fault: Fault) -> int:
    print(f"mailgw: {fault}", file=sys.stderr)
    return 2


def _desk(options: argparse.Namespace) -> "KeyDesk":
    config = loaded(options.config or DEFAULT_FILE, with_keys=False)
    from mailgw.dkim_desk import KeyDesk

    return KeyDesk(config)


def _print(options: argparse.Namespace, desk: "KeyDesk", found: list, records: bool) -> None:  # type: ignore[type-arg]
    from mailgw.dkim_report import as_json, lines

    if options.json:
        say(json.dumps({"moves": desk.moves, "domains": [as_json(one) for one in found]}, indent=2))
        return
    for line in desk.moves:
        say(line)
    for at, one in enumerate(found):
        if at or desk.moves:
            say("")
        for line in lines(one, records):
            say(line)
    for line in desk.hints:
        print(f"mailgw: {line}", file=sys.stderr)


# --- words of the command line ----------------------------------------------------------------------------

def _domain(word: str) -> str:
    domain = parse_domain(text(word).removesuffix("."))  # as zone files have it
    if domain is None or domain.startswith("[") or "." not in domain:  # RFC 6376 s3.5: d= has two labels at least
        raise argparse.ArgumentTypeError(f"expected a domain such as example.org, not {word!r}")
    return domain


def _selector(word: str) -> str:
    selector = parse_domain(text(word))  # trust.dkim_rotation is stricter, and takes its time to be imported
    if selector is None or selector.startswith("[") or "_" in selector:
        raise argparse.ArgumentTypeError(
            "expected a selector, of small letters, digits, hyphens and dots, such as mg-2026, up to 63 between two "
            f"dots and 100 in all, not {word!r}")
    return selector


def _bits(word: str) -> int:
    if not word.isdecimal() or not SMALLEST_BITS <= int(word) <= LARGEST_BITS:
        raise argparse.ArgumentTypeError(
            f"expected {SMALLEST_BITS} to {LARGEST_BITS}, as RFC 8301 has it, not {word!r}")
    return int(word)
