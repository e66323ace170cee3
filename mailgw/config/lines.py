"""Where in a TOML text each key, table and element stands (TOML 1.0; the text must be valid).

tomllib tells no lines, and no library found does for faults of a schema.  This reads the text once more,
for positions alone: values are skipped, not understood, so it need not agree with tomllib on what they mean.
"""

import json
import re
from collections.abc import Mapping, Sequence

Path = tuple[str | int, ...]
"""``("listen", 0, "role")``: keys, and numbers from 0 in arrays and arrays of tables."""

_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"((?:[^"\\]|\\.)*)"')
_LITERAL = re.compile(r"'([^']*)'")
# A closing delimiter may have up to two quotes of content before it.
_MULTILINE_BASIC = re.compile(r'"""(?:[^\\]|\\.)*?"""(?:"{1,2}(?!"))?', re.DOTALL)
_MULTILINE_LITERAL = re.compile(r"'''.*?'''(?:'{1,2}(?!'))?", re.DOTALL)
_SCALAR = re.compile(r"[^\s,#\]}]+(?: [0-9][^\s,#\]}]*)?")  # a date and its time may have a space between


def locate(text: str) -> dict[Path, int]:
    """The line, from 1, of everything in ``text`` that has a path; where a table is written in several
    places, its first one.  ValueError where the text is not TOML (tomllib has the better words)."""
    return _Locator(text).lines


def line_of(lines: Mapping[Path, int], path: Sequence[str | int]) -> int:
    """The line of ``path``, or of the nearest thing around it that stands in the file; 0 where none does."""
    for end in range(len(path), 0, -1):
        line = lines.get(tuple(path[:end]))
        if line is not None:
            return line
    return 0


class _Locator:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self._counted = (0, 1)  # an offset, and its line: lines are counted on from there
        self._tables: dict[Path, int] = {}  # an array of tables: how many it has so far
        self._document()

    def _document(self) -> None:
        table: Path = ()
        self._skip(_GAP)
        while self.at < len(self.text):
            if self._take("[["):
                start = self.at
                *outer, name = self._keys()
                array = (*self._inside(tuple(outer)), name)
                number = self._tables.get(array, 0)
                self._tables[array] = number + 1
                table = (*array, number)
                self._note(table, start)
                self._expect("]]")
            elif self._take("["):
                start = self.at
                table = self._inside(self._keys())
                self._note(table, start)
                self._expect("]")
            else:
                self._assignment(table)
            self._skip(_GAP)

    def _inside(self, keys: tuple[str, ...]) -> Path:
        """A header's path: below an array of tables it means that array's last table."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            if path in self._tables:
                path = (*path, self._tables[path] - 1)
        return path

    def _assignment(self, table: Path) -> None:
        start = self.at
        path = (*table, *self._keys())
        self._note(path, start)
        self._expect("=")
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        if self._take("["):
            number = 0
            self._skip(_GAP)
            while not self._take("]"):
                self._note((*path, number), self.at)
                self._value((*path, number))
                number += 1
                self._skip(_GAP)
                self._take(",")
                self._skip(_GAP)
        elif self._take("{"):
            self._skip(_GAP)
            while not self._take("}"):
                self._assignment(path)
                self._skip(_GAP)
                self._take(",")
                self._skip(_GAP)
        else:
            for kind in (_MULTILINE_BASIC, _MULTILINE_LITERAL, _BASIC, _LITERAL, _SCALAR):
                if self._match(kind):
                    return
            raise ValueError("not a TOML value")

    def _keys(self) -> tuple[str, ...]:
        """key = simple-key *( ws "." ws simple-key )"""
        keys = [self._key()]
        while True:
            self._skip(_BLANK)
            if not self._take("."):
                return tuple(keys)
            keys.append(self._key())

    def _key(self) -> str:
        self._skip(_BLANK)
        if found := self._match(_BARE_KEY):
            return found[0]
        if found := self._match(_LITERAL):
            return found[1]
        if found := self._match(_BASIC):
            try:
                return str(json.loads(found[0], strict=False))
            except ValueError:  # \UXXXXXXXX is TOML's alone: then as it is written
                return found[1]
        raise ValueError("not a TOML key")

    def _note(self, path: Path, offset: int) -> None:
        since, line = self._counted
        line += self.text.count("\n", since, offset)
        self._counted = (offset, line)
        for end in range(len(path), 0, -1):
            if self.lines.setdefault(path[:end], line) != line:
                break

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._match(pattern)

    def _take(self, word: str) -> bool:
        if self.text.startswith(word, self.at):
            self.at += len(word)
            return True
        return False

    def _expect(self, word: str) -> None:
        self._skip(_BLANK)
        if not self._take(word):
            raise ValueError(f"expected {word}")
