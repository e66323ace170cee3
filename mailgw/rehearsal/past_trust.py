"""What the journal tells of who sent past messages, judged again by another ``[trust]``.

Its actions alone are compared: nobody is asked, and what ``trusted_sealers``, upstreams and the like would change is
not known.  Of what was refused by another rule, or forgotten, nothing is said.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from mailgw.config.settings import TrustSettings
from mailgw.mail.authentication import Authentication, MethodResult, Property
from mailgw.policy.rules.authentic import WORDS, Action, judged, reason

RULE: Final = "trust"
"""As AuthenticRule calls itself."""
MESSAGES: Final = 20_000
"""Of which it is not yet told what became of them, or that may yet be changed by a rule."""
KINDS_KEPT: Final = 10_000
"""Different ones; those that were met last."""

# As Authenticated.results has it: ``dmarc=fail header.from=example.org policy.dmarc=reject: nothing that passes ...``
_RESULT = re.compile(r"([a-z-]+)=([a-z]+)(?![^ :])")
_PROPERTY = re.compile(r" ([a-z]+)\.([a-z0-9_-]+)=((?:\"(?:[^\"\\]|\\.)*\")?[^ ]*)")
# What an action hangs on, so that messages of which it is equal are one kind.
_TOLD = (("header", "from"), ("policy", "dmarc"), ("smtp", "mailfrom"))


@attrs.frozen
class Kind:
    """What was found of a message, and what was done."""

    found: Authentication
    was: Action


@attrs.frozen
class Judged:
    """``count`` messages that ``was`` became of, and ``now`` would; for ``why``."""

    count: int
    was: Action
    now: Action
    why: str

    def as_json(self) -> dict[str, Any]:
        return {"count": self.count, "was": _word(self.was), "is": _word(self.now), "why": self.why}

    def lines(self) -> Iterator[str]:
        yield f"{self.count:>5} x  {self.why}"
        yield f"         was  {_word(self.was)} ([trust])"
        yield f"         is   {_word(self.now)} ([trust])"


class PastTrust:
    """``messages`` is how many are known, ``left_out`` how many were forgotten."""

    def __init__(self) -> None:
        self.messages = 0
        self.left_out = 0
        self._found: OrderedDict[str, Authentication] = OrderedDict()
        self._taken: OrderedDict[str, Authentication] = OrderedDict()
        self._kinds: OrderedDict[Kind, int] = OrderedDict()

    def heard(self, facts: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """All but ``authenticated``, as they come."""
        for fact in facts:
            if fact["event"] == "authenticated":
                self._hear(fact)
            else:
                self._follow(fact)
                yield fact
        for found in self._taken.values():
            self._count(found, Action.PASS)
        self._taken.clear()

    def _hear(self, fact: Mapping[str, Any]) -> None:
        words = fact.get("results", [])
        results = tuple(one for word in words if isinstance(word, str) and (one := result_of(word)) is not None)
        self._found[str(fact.get("queue_id", ""))] = Authentication(results, "", str(fact.get("vouched_by", "")))
        if len(self._found) > MESSAGES:
            self._found.popitem(last=False)
            self.left_out += 1

    def _follow(self, fact: Mapping[str, Any]) -> None:
        queue_id = fact.get("queue_id", "")
        match fact["event"]:
            case "rejected" if fact.get("rule") == RULE and queue_id in self._found:
                is_final = fact.get("code", 0) >= 500
                self._count(self._found.pop(queue_id), Action.REJECT if is_final else Action.DEFER)
            case "queued" | "handed_over" if queue_id in self._found:
                self._taken[queue_id] = self._found.pop(queue_id)
                if len(self._taken) > MESSAGES:
                    self._count(self._taken.popitem(last=False)[1], Action.PASS)
            case "changed" if queue_id in self._taken:
                self._count(self._taken.pop(queue_id), _action(fact.get("effects", [])))
            case _:
                pass

    def _count(self, found: Authentication, was: Action) -> None:
        self.messages += 1
        kind = Kind(found, was)
        self._kinds[kind] = self._kinds.pop(kind, 0) + 1
        if len(self._kinds) > KINDS_KEPT:
            self.left_out += self._kinds.popitem(last=False)[1]

    def changes(self, new: TrustSettings, old: TrustSettings | None) -> Sequence[Judged]:
        """Against what the journal tells, or, with ``old``, between two; the most frequent first."""
        found: dict[tuple[Action, Action, str], int] = {}
        for kind, count in self._kinds.items():
            was, why_then = (kind.was, "") if old is None else _judged(kind.found, old)
            now, why = _judged(kind.found, new)
            if was is not now:
                what = was, now, why or why_then or _judged(kind.found, new, _TELLING)[1]
                found[what] = found.get(what, 0) + count
        return sorted((Judged(count, *what) for what, count in found.items()), key=lambda one: -one.count)


# What is told of a message that passes now, and did not then.
_TELLING: Final = {name: dict.fromkeys(set(words) - {"pass"}, Action.TAG) for name, words in WORDS.items()}


def _judged(found: Authentication, trust: TrustSettings, actions: Any = None) -> tuple[Action, str]:
    judgement = judged(found, actions or trust.actions) if actions or trust.judging.judges else None
    return (Action.PASS, "") if judgement is None else (judgement.action, reason(judgement))


def _action(effects: Sequence[str]) -> Action:
    """By what ``trust`` asks for: a tag of its own, and ``junk`` or ``quarantine`` behind it."""
    for place, effect in enumerate(effects):
        method, _, word = effect.removeprefix("tag ").partition(".")
        if effect.startswith("tag ") and word in WORDS.get(method, ()):
            behind = effects[place + 1].partition(" ")[0] if place + 1 < len(effects) else ""
            return Action.QUARANTINE if behind in ("junk", "quarantine") else Action.TAG
    return Action.PASS


def result_of(word: str) -> MethodResult | None:
    """A result as the journal has it, with what an action hangs on: no reason, of an address its domain; None where it
    is none."""
    found = _RESULT.match(word)
    if found is None:
        return None
    known = _PROPERTY.findall(word.partition(": ")[0], found.end())
    properties = tuple(
        Property(ptype, name, value.rpartition("@")[2]) for ptype, name, value in known if (ptype, name) in _TOLD
    )
    return MethodResult(found[1], found[2], "", properties)


def _word(action: Action) -> str:
    return action.name.lower()
