"""Faults of TOML itself, with a hint for those who meet TOML for the first time.

The words of tomllib are no promise of Python's: what is not known here gets no hint.
"""

import re
import tomllib

ARRAYS = frozenset({"listen", "sender", "route", "reply_class"})
"""What is written as ``[[name]]``, once for each."""
ARRAYS_OF_BACKENDS = frozenset({"destination", "host", "source"})

_PLACE = re.compile(r" \(at line (\d+), column \d+\)$")
_TWICE = re.compile(r"Cannot declare \((.+?),?\) twice")
_ARRAY_HEADER = re.compile(r"\s*\[\[\s*([^\[\]#]*?)\s*\]\]")
# A key with a value in which nothing is quoted; ``#`` begins a comment.
_UNQUOTED = re.compile(r"""\s*(?P<key>[A-Za-z0-9_.-]+)\s*=[ \t]*(?P<value>[^"'\[\]{}#\n]*?)\s*(?:#.*)?$""")
_WORDS = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}


def toml_fault(text: str, fault: tomllib.TOMLDecodeError) -> tuple[int, str]:
    """The line, from 1, and what is to be said of it."""
    words = str(fault)
    place = _PLACE.search(words)
    line = int(place[1]) if place else text.count("\n") + 1
    said = words[: place.start()] if place else words
    return line, f"not TOML: {said}{_hint(words, said, (text.splitlines() or [''])[: line])}"


def _hint(words: str, said: str, lines: list[str]) -> str:
    if words.startswith("Unescaped"):
        return "; between single quotes a backslash is itself"
    if r"character '\n'" in words or words.startswith('Expected "\'"'):  # it read to the end of a line, or of all
        return "; a closing quote is missing"
    if twice := _TWICE.fullmatch(said):
        return _array_hint(".".join(word.strip(" '\"") for word in twice[1].split(",")))
    if said == "Cannot overwrite a value" and (header := _ARRAY_HEADER.match(lines[-1])):  # the first one had [ ]
        return _array_hint(header[1])
    if said == "Invalid value" or said.startswith("Expected newline or end of document after a statement"):
        return _value_hint(lines[-1])
    return ""


def _array_hint(name: str) -> str:
    match name.split("."):
        case [word] if word in ARRAYS:
            return f"; write [[{name}]], each time"
        case ["backend", _, word] if word in ARRAYS_OF_BACKENDS:
            return f"; write [[{name}]], each time"
    return ""


def _value_hint(line: str) -> str:
    found = _UNQUOTED.match(line)
    if found is None:
        return "; text needs quotes" if '"' not in line and "'" not in line else ""
    key, value = found["key"], found["value"]
    if not value:
        return f"; a value is missing: {key} = …"
    if (word := _WORDS.get(value.lower())) is not None:
        return f"; write {key} = {word}"
    if value.isdigit():
        return "; a number does not begin with 0"
    return f'; text needs quotes: {key} = "{value}"'
