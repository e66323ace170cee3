"""Tables read by their shape: a fault is kept with its line and key, and the reading goes on.

A shape is an attrs class whose fields say how their value is read and what it is where the key is missing.
cattrs was tried and left: it stops a table at its first fault, and then nothing that needs the whole file
(a route's backend, a listener's certificate) can be checked in the same run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import attrs

from mailgw.config.lines import Path, line_of
from mailgw.config.values import nearest, said
from mailgw.config.where import faulty
from mailgw.mail.errors import ConfigError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Faults:
    """All faults of one source.  ``names`` gives words for keys that the user did not write as keys."""

    def __init__(self, file: str, lines: Mapping[Path, int], names: Mapping[Path, str] | None = None) -> None:
        self.file = file
        self.lines = lines
        self.names = names or {}
        self.top: frozenset[str] = frozenset()  # keys above the first table
        self.found: list[ConfigError] = []

    def add(self, path: Path, why: str) -> None:
        self.found.append(ConfigError(self.file, line_of(self.lines, path), self.key(path), why))

    def key(self, path: Path) -> str:
        for end in range(len(path), 0, -1):
            if path[:end] in self.names:
                return self.names[path[:end]]
        return ".".join(str(p) for p in path if isinstance(p, str))

    def group(self) -> ExceptionGroup[ConfigError]:
        """In the order of the lines."""
        return faulty(self.file, sorted(self.found, key=lambda fault: (fault.file != self.file, fault.line)))


@attrs.frozen
class Spot:
    """A place in the file, where a fault can be reported."""

    faults: Faults
    path: Path = ()

    def inner(self, *keys: str | int) -> "Spot":
        return Spot(self.faults, (*self.path, *keys))

    def fault(self, why: str) -> None:
        self.faults.add(self.path, why)

    @property
    def has_fault(self) -> bool:
        key = self.faults.key(self.path)
        return any(fault.key == key for fault in self.faults.found)


class Reader(Protocol[T_co]):
    def __call__(self, value: object, spot: Spot) -> T_co:
        """Report faults at ``spot`` or inside it; ``Unusable`` where nothing can be made of the value."""


class Unusable(Exception):
    """The faults are reported; the value's place stays empty."""


@attrs.frozen
class Table:
    """Base of the shapes; ``spot`` is where the table stands, ``given`` the keys it has there."""

    spot: Spot = attrs.field(eq=False, repr=False, kw_only=True, default=Spot(Faults("", {})))
    given: frozenset[str] = attrs.field(eq=False, repr=False, kw_only=True, default=frozenset())


Shape = TypeVar("Shape", bound=Table)


def key(
    read: Callable[[object], object], default: object = attrs.NOTHING, stand_in: object = attrs.NOTHING
) -> Any:
    """A field: ``read`` makes its value or raises ValueError.  Without a default it is required."""

    def reader(value: object, spot: Spot) -> object:
        try:
            return read(value)
        except ValueError as fault:
            spot.fault(str(fault))
            raise Unusable from None

    return part(reader, default, stand_in)


def part(reader: Reader[object], default: object = attrs.NOTHING, stand_in: object = attrs.NOTHING) -> Any:
    """A field that is read by a reader: a table, a list.

    ``stand_in`` is there in place of a required value that is missing or unusable, whose fault is told: so the rest
    of its table is checked in the same run.  Whoever checks passes over it.
    """
    return attrs.field(default=default, kw_only=True, metadata={"reader": reader, "stand_in": stand_in})


def table(shape: type[Shape]) -> Reader[Shape]:
    def reader(value: object, spot: Spot) -> Shape:
        if not isinstance(value, Mapping):
            spot.fault(f"expected a table, [{spot.faults.key(spot.path)}], not {said(value)}")
            raise Unusable
        return read_table(shape, value, spot)

    return reader


def tables(shape: type[Shape], of_text: str = "") -> Reader[tuple[Shape, ...]]:
    """An array of tables; an unusable one is left out.  ``of_text``: a hint for who wrote text there, or a list."""
    return tables_by(table(shape), of_text)


def tables_by(inner: Reader[T], of_text: str = "") -> Reader[tuple[T, ...]]:
    """``tables``, each read by ``inner``."""

    def reader(value: object, spot: Spot) -> tuple[T, ...]:
        if not isinstance(value, list):
            name = spot.faults.key(spot.path)
            found = f"[{name}]" if isinstance(value, dict) else said(value)
            spot.fault(f"expected [[{name}]], once for each, not {found}{of_text if isinstance(value, str) else ''}")
            raise Unusable
        if of_text and value and all(isinstance(one, str) for one in value):
            spot.fault(f"expected [[{spot.faults.key(spot.path)}]], once for each, not a list of text{of_text}")
            raise Unusable
        return tuple(_usable(inner, value, spot))

    return reader


def each(read: Callable[[object], T], example: str | None = None) -> Reader[tuple[T, ...]]:
    """A list of values; an unusable one is left out.  With an ``example`` the list may not be empty."""

    def element(value: object, spot: Spot) -> T:
        try:
            return read(value)
        except ValueError as fault:
            spot.fault(str(fault))
            raise Unusable from None

    def reader(value: object, spot: Spot) -> tuple[T, ...]:
        if not isinstance(value, list):
            spot.fault(f"expected a list, [ … ], not {said(value)}")
            raise Unusable
        if not value and example is not None:
            spot.fault(f"expected at least one, such as {example}")
            raise Unusable
        return tuple(_usable(element, value, spot))

    return reader


def named(reader: Reader[T]) -> Reader[Mapping[str, T]]:
    """A table whose keys are names; an unusable value is left out."""

    def read(value: object, spot: Spot) -> Mapping[str, T]:
        if not isinstance(value, Mapping):
            spot.fault(f"expected tables, [{spot.faults.key(spot.path)}.NAME], not {said(value)}")
            raise Unusable
        found = {}
        for name, inner in value.items():
            try:
                found[name] = reader(inner, spot.inner(name))
            except Unusable:
                pass
        return found

    return read


def read_table(shape: type[Shape], value: Mapping[str, object], spot: Spot) -> Shape:
    """The table; a key that is unusable has its default or its stand-in.  ``Unusable`` where a required one without
    either is."""
    fields = {f.name: f for f in attrs.fields(shape) if "reader" in f.metadata}
    known = list(fields)
    if not spot.path:
        spot.faults.top = frozenset(known)
    for name, found_there in value.items():
        if name in fields:
            continue
        if spot.path and name in spot.faults.top and not isinstance(found_there, Mapping):
            # TOML gives each line to the last [table] before it.
            spot.inner(name).fault(f"unknown key here: {name} belongs above the first [table]")
        else:
            spot.inner(name).fault("unknown key" + (nearest(name, known) or _known(known)))
    found: dict[str, Any] = {}
    usable = True
    for name, field in fields.items():
        try:
            if name in value:
                found[name] = field.metadata["reader"](value[name], spot.inner(name))
                continue
            if field.default is attrs.NOTHING:
                spot.inner(name).fault("is missing")
        except Unusable:
            pass
        if field.default is attrs.NOTHING:
            found[name] = field.metadata["stand_in"]
            usable = usable and found[name] is not attrs.NOTHING
    if not usable:
        raise Unusable
    return shape(**found, spot=spot, given=frozenset(value))


def _known(fields: Sequence[str]) -> str:
    return f"; expected one of {', '.join(fields)}" if len(fields) < 30 else ""


def _usable(reader: Reader[T], values: list[object], spot: Spot) -> Iterator[T]:
    for number, value in enumerate(values):
        try:
            yield reader(value, spot.inner(number))
        except Unusable:
            pass

