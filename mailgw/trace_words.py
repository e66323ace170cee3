"""A message's story for people: one line a fact, with what is said of it in words; and rows of a search."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from mailgw.terminal import harmless

Fact: TypeAlias = Mapping[str, Any]

EVENT_WIDTH: Final = 13
RECIPIENTS_TOLD: Final = 5

GREEN, YELLOW, RED, DIM, BOLD = "32", "33", "31", "2", "1"
COLOURS: Final = {
    "delivered": GREEN, "handed_over": GREEN, "queued": BOLD, "deferred": YELLOW, "delay_warning": YELLOW,
    "bounced": RED, "rejected": RED, "held": RED, "expired": RED, "discarded": RED, "login_failed": RED,
    "tls_failed": RED, "trouble": RED,
}
_SILENT: Final = frozenset({"number", "time", "event", "queue_id", "session_id"})


class Pen:
    """Colours, or none."""

    def __init__(self, is_coloured: bool) -> None:
        self._is_coloured = is_coloured

    def __call__(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if colour and self._is_coloured else text


def story_lines(story: Mapping[str, Any], waiting: Sequence[Fact] | None, pen: Pen, now: float) -> Iterator[str]:
    """``waiting``: who is in the queue now, as ``queue.list`` has it; None where nobody could be asked."""
    yield from _head(story["message"], pen)
    yield ""
    day = ""
    for fact in story["facts"]:
        today = time.strftime("%Y-%m-%d", time.gmtime(fact["time"]))
        if today != day:
            day = today
            yield pen(BOLD, f"{day} (UTC)")
        foreign = fact.get("queue_id") not in (None, story["queue_id"])
        about = f"of {fact['queue_id']}: " if foreign else ""
        event = fact["event"]
        words = harmless(about + words_of(fact))
        yield f"{clock_text(fact['time'])}  {pen(COLOURS.get(event, ''), f'{event:{EVENT_WIDTH}}')} {words}"
        if event == "conversation":
            for line in fact.get("lines", ()):
                yield pen(DIM, f"{'':{14 + EVENT_WIDTH + 1}}{harmless(line)}")
    yield ""
    yield from _ends(story, waiting, now)


def _head(message: Mapping[str, Any], pen: Pen) -> Iterator[str]:
    yield pen(BOLD, f"message {harmless(message['queue_id'])}")
    if "reverse_path" in message or "recipients" in message:
        yield f"  from {harmless(message.get('reverse_path') or '<>')}"
        yield f"  to {harmless(some_of(message.get('recipients', ())))}"
    if message.get("message_id"):
        yield f"  Message-ID {harmless(message['message_id'])}"


def _ends(story: Mapping[str, Any], waiting: Sequence[Fact] | None, now: float) -> Iterator[str]:
    last: dict[str, tuple[float, Fact]] = {}
    for attempt in story["attempts"]:
        for result in attempt["results"]:
            last[result.get("recipient", "")] = (attempt["time"], result)
    for recipient, (when, result) in last.items():
        said = " ".join(str(result[name]) for name in ("code", "status", "text") if result.get(name))
        count = result.get("attempts", 1)
        tries = f"at attempt {count}" if count > 1 else "at the first attempt"
        yield harmless(f"{recipient}: {result['event']} {tries}, {_ago(now - when)}: {said}")
    for notice in story["notices"]:
        yield harmless(f"its sender was told of {notice['recipient']}: {notice['kind']} {notice['queue_id']}")
    if story["notice_of"]:
        yield harmless(f"it is a notice on {story['notice_of']}")
    for caused in story["caused"]:
        yield harmless(f"because of it an application sent {caused['queue_id']} to {some_of(caused['recipients'])}")
    for row in waiting or ():
        why = f": {row['reason']}" if row.get("reason") else ""
        state = f"{row['state']}{_soon(row, now)}"
        yield harmless(f"in the queue now: {row['recipient']} in {row['lane']}, {state}{why}")
    if waiting is not None and not waiting and story["facts"]:
        yield "in the queue now: nobody"


def _soon(row: Mapping[str, Any], now: float) -> str:
    """When it is tried: what is held, or being tried, has no time."""
    due = row.get("due")
    if row["state"] != "waiting" or not isinstance(due, int | float):
        return ""
    return f", next attempt in {_length(due - now)}" if due > now else ", due now"


def row_lines(rows: Sequence[Mapping[str, Any]], pen: Pen) -> Iterator[str]:
    """One or two lines each, as ``journal_story.with_last`` has them."""
    for row in rows:
        when = f"{time.strftime('%Y-%m-%d', time.gmtime(row['time']))} {clock_text(row['time'])}"
        what = row["queue_id"] or (f"session {row.get('session_id', '')}" if row["kind"] == "session" else row["kind"])
        last = row["last"]
        event = pen(COLOURS.get(row["event"], ""), f"{row['event']:{EVENT_WIDTH}}")
        if row["kind"] == "fact":
            yield f"{when}  {event} {harmless(words_of(last))}"
            continue
        words = []
        if row["kind"] != "session":
            words.append(f"{row.get('reverse_path') or '<>'} to {some_of(row['recipients'], row['recipient_count'])}")
        if row.get("peer"):
            words.append(f"from {row['peer']}")
        if row["kind"] == "message" and last is None:
            event = f"{'came':{EVENT_WIDTH}}"
            words.append(f"what became of it was not looked for: mailgw trace {row['queue_id']}")
        elif row["kind"] == "message" and row["event"] != "queued":
            words.append(words_of(last))
        elif row.get("code"):
            words.append(_reply(row))
        yield f"{when}  {event} {harmless(what)}"
        if words:
            yield f"    {harmless('; '.join(words))}"


# --- what a fact says ----------------------------------------------------------------------------------------


def words_of(fact: Fact) -> str:
    """One line, which may hold what strangers wrote."""
    said = _WORDS.get(fact["event"])
    try:
        if said is not None:
            return said(fact)
    except (KeyError, TypeError, ValueError):
        pass  # a field is missing that is there usually: as it stands, then
    return " ".join(f"{name}={value}" for name, value in fact.items() if name not in _SILENT)


def _connected(fact: Fact) -> str:
    proxy = f", through the proxy {fact['proxy']}" if fact.get("proxy") else ""
    return f"from {fact['peer']}, as {fact['role']}{proxy}"


def _reply(fact: Fact) -> str:
    return " ".join(str(fact[name]) for name in ("code", "status", "text") if fact.get(name))


def _rejected(fact: Fact) -> str:
    who = f" <{fact['recipient']}>" if fact.get("recipient") else ""
    why = f" ({fact['why']})" if fact.get("why") else ""
    return f"at {fact['stage']}{who} by {fact['rule']}: {_reply(fact)}{why}"


def _queued(fact: Fact) -> str:
    by = f" by {fact['login']}" if fact.get("login") else ""
    cause = f", because of {fact['cause']}" if fact.get("cause") else ""
    asked = f", asked for {fact['parameters']}" if fact.get("parameters") else ""
    return f"{fact['size_octets']} octets{by}, safe after {fact['seconds']:.3f} s{asked}{cause}"


def _authenticated(fact: Fact) -> str:
    return "; ".join(map(str, fact["results"]))


def _changed(fact: Fact) -> str:
    held = f"; held: {fact['held']}" if fact.get("held") else ""
    why = f" ({fact['why']})" if fact.get("why") else ""
    return f"{', '.join(fact['effects'])}{why}{held}"


def _result(fact: Fact) -> str:
    hop = f" at {fact['hop']}" if fact.get("hop") else ""
    again = f"; again in {_length(fact['retry_seconds'])}" if "retry_seconds" in fact else ""
    found = f" [{fact['reply_class']}]" if fact.get("reply_class") else ""
    tls = f"; {fact['tls']}, verified by {fact['verified']}" if fact.get("tls") else ""
    notice = f"; its sender was told by {fact['notice_id']}" if fact.get("notice_id") else ""
    count = fact.get("attempts")
    tries = f" (attempt {count})" if count else ""
    return f"{fact['recipient']}{hop}: {_reply(fact)}{found}{tries}{again}{tls}{notice}"


def _disconnected(fact: Fact) -> str:
    count = fact.get("messages", 0)
    return f"{fact['why']}, after {fact['seconds']:.3f} s, with {count} message{'' if count == 1 else 's'}"


def _reverse_name(fact: Fact) -> str:
    name = fact.get("reverse_name")
    if not name:
        return "none"
    return name if fact.get("is_confirmed") else f"{name}, which does not lead back"


def _conversation(fact: Fact) -> str:
    return f"with {fact['hop']}, {fact['seconds']:.3f} s" if fact.get("hop") else f"{fact['seconds']:.3f} s"


_ORDERED: Final = {
    "hold": "held", "release": "released", "retry": "retried", "reroute": "rerouted",
    "bounce": "returned to its sender",
}


def _ordered(fact: Fact) -> str:
    to = f" to {fact['to']}" if fact.get("to") else ""
    more = " ".join(word for word in fact["which"].split(" ") if word != f"queue_id={fact.get('queue_id')}")
    return f"{_ORDERED.get(fact['order'], fact['order'])}{to}, {_met(fact)}{f': {more}' if more else ''}"


def _met(fact: Fact) -> str:
    count = fact["recipients"]
    return f"{count} recipient{'' if count == 1 else 's'}"


_WORDS: Final[Mapping[str, Callable[[Fact], str]]] = {
    "connected": _connected,
    "fronted": lambda fact: f"the front {fact['front']} speaks for {fact['peer']}, {fact.get('helo', '')}",
    "tls": lambda fact: f"{fact['version']}, {fact['cipher']}",
    "tls_failed": lambda fact: str(fact["why"]),
    "reverse_name": _reverse_name,
    "login": lambda fact: f"{fact['login']} by {fact['mechanism']}",
    "login_failed": lambda fact: f"{fact.get('login', '')} by {fact['mechanism']}: {fact['why']}",
    "rejected": _rejected,
    "authenticated": _authenticated,
    "queued": _queued,
    "handed_over": _result,
    "discarded": lambda fact: str(fact["why"]),
    "changed": _changed,
    "expanded": lambda fact: f"{fact['recipient']} is an alias of {fact['recipients']}",
    "disconnected": _disconnected,
    "delivered": _result,
    "deferred": _result,
    "bounced": _result,
    "held": _result,
    "delay_warning": lambda fact: f"{fact['recipient']}: its sender was told by {fact['notice_id']} that it is late",
    "reported": lambda fact: f"{fact['recipient']} was {fact['action']}; its sender was told by {fact['notice_id']}",
    "expired": lambda fact: f"{fact['recipient']}: its time is over (mode {fact['mode']})",
    "signed": lambda fact: f"{fact['method']} by {fact['domain']} with {', '.join(fact['selectors'])}",
    "unsigned": lambda fact: f"{fact['method']}: {fact['why']}",
    "ordered": _ordered,
    "removed": lambda fact: f"from the queue, {fact.get('recipient') or _met(fact)}",
    "conversation": _conversation,
    "trouble": lambda fact: f"{fact['what']}: {fact['why']}",
    "operated": lambda fact: f"{fact['method']} {fact['path']} by {fact['token']} from {fact['peer']}:"
                             f" {fact['http_status']}",
    "token_refused": lambda fact: f"{fact['method']} {fact['path']} from {fact['peer']}: no such token",
    "started": lambda fact: f"mailgw {fact['version']} as {fact['hostname']}, at {', '.join(fact['endpoints'])}",
    "stopped": lambda fact: f"{fact['hostname']}, after {_length(fact['seconds'])}",
    "reloaded": lambda fact: "; ".join(
        [*(f"not done: {one}" for one in fact["faults"]), *fact["changes"]] or ["nothing has changed"]),
    "worker_started": lambda fact: f"worker {fact['worker']}, process {fact['pid']}",
    "worker_ended": lambda fact: f"worker {fact['worker']}: {fact['why']}; again in {_length(fact['seconds'])}",
}


def clock_text(when: float) -> str:
    """``12:34:56.789``."""
    milliseconds = round(when * 1000)
    return f"{time.strftime('%H:%M:%S', time.gmtime(milliseconds // 1000))}.{milliseconds % 1000:03d}"


def some_of(recipients: Sequence[str], count: int = 0) -> str:
    """The first ones, and how many there are beside them."""
    shown = ", ".join(map(str, recipients[:RECIPIENTS_TOLD]))
    more = max(count, len(recipients)) - RECIPIENTS_TOLD
    return (shown or "nobody") + (f" and {more} more" if more > 0 else "")


def _ago(seconds: float) -> str:
    return f"{_length(max(seconds, 0.0))} ago"


def _length(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds:.1f} s"
    for size, word in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} s"
