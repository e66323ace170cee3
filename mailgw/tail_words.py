"""Facts for people who look on as they happen: a line each, told apart by what message or session it is of."""

import time
from collections.abc import Mapping
from typing import Any, Final

from mailgw.terminal import harmless
from mailgw.trace_words import COLOURS, DIM, EVENT_WIDTH, Pen, clock_text, some_of, words_of

Fact = Mapping[str, Any]

ID_WIDTH: Final = 17
"""Of a queue id; a session's is shorter."""
_INDENT: Final = 12 + 2 + EVENT_WIDTH + 1 + ID_WIDTH + 1


class Told:
    """Lines, with a head of its own for each day (UTC) that begins."""

    def __init__(self, pen: Pen) -> None:
        self._pen = pen
        self._day = ""

    def lines(self, fact: Fact) -> list[str]:
        pen, found = self._pen, []
        day = time.strftime("%Y-%m-%d", time.gmtime(fact["time"]))
        if day != self._day:
            self._day = day
            found.append(pen(DIM, f"--- {day} (UTC)"))
        event = str(fact["event"])
        of = harmless(str(fact.get("queue_id") or fact.get("session_id") or ""))
        words = harmless(words_of_one(fact))
        found.append(
            f"{clock_text(fact['time'])}  {pen(COLOURS.get(event, ''), f'{harmless(event):{EVENT_WIDTH}}')}"
            f" {pen(DIM, f'{of:{ID_WIDTH}}')} {words}".rstrip())
        if event == "conversation":
            found += [pen(DIM, f"{'':{_INDENT}}{harmless(str(line))}") for line in fact.get("lines", ())]
        return found


def words_of_one(fact: Fact) -> str:
    """As ``trace_words.words_of``, with what a story has said at its head."""
    words = words_of(fact)
    match fact["event"]:
        case "queued" | "discarded":
            words = f"<{fact.get('reverse_path', '')}> to {some_of(fact.get('recipients', ()))}: {words}"
        case "handed_over":
            words = f"<{fact.get('reverse_path', '')}> to {words}"
        case "disconnected" | "login" | "login_failed" | "tls" | "tls_failed" | "reverse_name":
            words = f"{fact.get('peer', '')}: {words}"
        case "rejected":
            sender = f" from <{fact['reverse_path']}>" if fact.get("reverse_path") else ""
            words = f"{fact.get('peer', '')}:{sender} {words}"
        case _:
            pass
    return words + (" (shortened)" if fact.get("shortened") else "")
