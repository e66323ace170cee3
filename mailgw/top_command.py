"""``mailgw top``: what a gateway does just now, on one page, drawn anew each second."""

import argparse
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from mailgw.arguments import add_place
from mailgw.config.where import own_state, state_of
from mailgw.queue_door import ask_gateway
from mailgw.terminal import WHERE, Fault, flush, harmless, has_colours, say

SECONDS: Final = 1.0
OLD_SECONDS: Final = 3.0
COUNT_SECONDS: Final = 1.6
"""In which a queue of the usual size is counted, and the gateway looks again."""
QUIT: Final = frozenset(b"qQ\x03\x04")
# Of ECMA-48, and the private modes that every terminal has from xterm: another screen, the cursor.
ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[2J"
LEAVE: Final = "\x1b[?25h\x1b[?1049l"
HOME: Final = "\x1b[H"
END_OF_LINE: Final = "\x1b[K"
END_OF_PAGE: Final = "\x1b[J"

WORDS = """\
Shows what a gateway does: how much mail comes, goes, waits, bounces and is refused, how long deliveries take, what is
queued, and the destinations, those in trouble first.  It is drawn anew each second; q ends it.  Where standard output
is no terminal it prints one page and ends.

"in" are messages that clients brought; "out", "deferred" and "bounced" are recipients; "rejected" are commands that
were refused.
"""
EPILOG = """\
examples:
  mailgw top
  mailgw top --once
  mailgw top --json | jq .rates
exit status: 0 ended by you, or the page was printed, 1 a fault, as where no gateway runs, 2 the command line makes no
sense"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    one = commands.add_parser(
        "top", help="what a gateway does just now: rates, queue, destinations", description=WORDS, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_place(one)
    one.add_argument("--once", action="store_true", help="print one page, or one object, and end")
    one.add_argument("--json", action="store_true", help="an object a second; times are seconds since 1970, UTC")
    one.set_defaults(run=top, usage_fault=one.error)


def top(options: argparse.Namespace) -> int:
    """Until somebody ends it."""
    if options.folder is not None:
        state = os.path.abspath(options.folder)
    else:
        state = state_of(options.config) if options.config is not None else own_state()
    try:
        if options.json:
            return _objects(state, options.once)
        if options.once or not sys.stdout.isatty():
            return _one_page(state)
        return _pages(state)
    except KeyboardInterrupt:
        return 0


def _now(state: str) -> Any:
    answer = ask_gateway(os.path.join(state, "control.sock"), {"command": "now"})
    if answer is None:
        raise Fault(f"no gateway runs with the state folder {harmless(state)}; {WHERE}")
    return answer


def _objects(state: str, is_one: bool) -> int:
    while True:
        say(json.dumps(_now(state)))
        flush()
        if is_one:
            return 0
        time.sleep(SECONDS)


def _one_page(state: str) -> int:
    from mailgw.top_page import page
    from mailgw.trace_words import Pen

    now = _now(state)
    if now["queue"] is not None and now["time"] - now["queue"]["at"] > OLD_SECONDS:
        time.sleep(COUNT_SECONDS)  # nobody has asked for a while: it is counted now
        now = _now(state)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 120
    for line in page(now, width, 1000, Pen(has_colours())):
        say(line)
    return 0


def _pages(state: str) -> int:
    from mailgw.top_page import page
    from mailgw.trace_words import Pen

    now = _now(state)  # where none runs, that is said on the screen that stays
    notice = ""
    pen = Pen(has_colours())
    with _screen() as keys:
        while True:
            size = shutil.get_terminal_size()
            lines = page(now, size.columns, size.lines, pen, notice)
            drawn = f"{END_OF_LINE}\r\n".join(_printable(line) for line in lines)
            os.write(1, f"{HOME}{drawn}{END_OF_LINE}{END_OF_PAGE}".encode("utf-8", "replace"))
            if _is_over(keys):
                return 0
            try:
                now, notice = _now(state), ""
            except Fault as fault:  # it may be starting again
                notice = str(fault)


def _printable(line: str) -> str:
    encoding = sys.stdout.encoding or "ascii"
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        return line.encode("ascii", "replace").decode()
    return line


def _is_over(keys: int | None) -> bool:
    """Wait for a second, or until somebody wants no more."""
    end = time.monotonic() + SECONDS
    while (left := end - time.monotonic()) > 0:
        if keys is None:
            time.sleep(left)
            return False
        ready, _, _ = select.select([keys], [], [], left)
        if ready:
            pressed = os.read(keys, 64)
            if not pressed or QUIT.intersection(pressed):
                return True
    return False


@contextmanager
def _screen() -> Iterator[int | None]:
    """Another screen, and what is typed, key by key (None: nobody types); all is as it was afterwards."""
    import termios
    import tty

    keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    before = None if keys is None else termios.tcgetattr(keys)

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        if keys is not None:
            tty.setcbreak(keys)
        os.write(1, ENTER.encode())
        yield keys
    finally:
        os.write(1, LEAVE.encode())
        if keys is not None and before is not None:
            termios.tcsetattr(keys, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
