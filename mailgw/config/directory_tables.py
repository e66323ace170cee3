"""``[directory.NAME]``: the shape of each type; a type is a table here, and a case in ``config.directories`` and in
``mailgw.directories``."""

import re
from collections.abc import Mapping
from typing import TypeAlias

import attrs

from mailgw.config import values
from mailgw.config.python_tables import EXPECTED, PythonTable, is_python, python_table
from mailgw.config.reader import Spot, Table, Unusable, key, part, read_table

HOUR, DAY = 3600.0, 86400.0


@attrs.frozen
class DirectoryTable(Table):
    """What every type has."""

    timeout: float = key(values.duration, 5.0)
    concurrency: int = key(values.count, 10)
    keep: float = key(values.duration, HOUR)
    keep_unknown: float = key(values.duration, 60.0)
    stale: float = key(values.wait, DAY)
    most: int = key(values.count, 10_000)
    delimiter: str = key(values.delimiter, "+")
    keep_tag: bool = key(values.truth, True)


def arguments(value: object, spot: Spot) -> Mapping[str, object]:
    """``[directory.NAME.connect]``: the driver's, whatever they are."""
    if not isinstance(value, Mapping):
        spot.fault(f"expected a table, [{spot.faults.key(spot.path)}], not {values.said(value)}")
        raise Unusable
    for name in value:
        if name.startswith("cp_"):
            spot.inner(name).fault("is none of the driver's: expected what its connect() takes")
    return {name: one for name, one in value.items() if not name.startswith("cp_")}


@attrs.frozen
class SqlTable(DirectoryTable):
    module: str = key(values.module, stand_in="")
    connect: Mapping[str, object] = part(arguments, attrs.Factory(dict))
    password_file: str | None = key(values.text, None)
    query: str = key(values.text, stand_in="")


_LOCAL_URL = re.compile(r"http://(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?(?:/[!-\"$-~]*)?\Z")
_WORDS = re.compile(r"\{(?:recipient|local_part|domain)\}")


def url_template(value: object) -> str:
    """A URL with ``{recipient}``, or ``{local_part}``; in clear on this machine alone, where nobody is in between."""
    word = values.text(value)
    if not _LOCAL_URL.match(word):
        try:
            values.https_url(word)
        except ValueError:
            # It is not quoted: what is wrong with it may be the password in it.
            example = "https://directory.example.org/find?address={recipient}"
            raise ValueError(f'expected a URL such as "{example}", without a login or a fragment') from None
    if "{recipient}" not in word and "{local_part}" not in word:
        raise ValueError("expected {recipient} in it, or {local_part} and {domain}: it asks for nobody")
    if re.search(r"[{}]", _WORDS.sub("", word)):
        raise ValueError("expected no braces but {recipient}, {local_part} and {domain}")
    return word


@attrs.frozen
class HttpTable(DirectoryTable):
    url: str = key(url_template, stand_in="")
    token_file: str | None = key(values.text, None)
    ca_file: str | None = key(values.text, None)


@attrs.frozen
class PythonDirectoryTable(DirectoryTable):
    """The keys of every type are the gateway's, all others the constructor's."""

    made: PythonTable = attrs.field(kw_only=True)


AnyDirectoryTable: TypeAlias = SqlTable | HttpTable | PythonDirectoryTable

DIRECTORY_TYPES: Mapping[str, type[SqlTable | HttpTable]] = {"sql": SqlTable, "http": HttpTable}


def directory(value: object, spot: Spot) -> AnyDirectoryTable:
    """One ``[directory.NAME]``, read by its type."""
    if not isinstance(value, Mapping):
        spot.fault(f"expected a table, [directory.NAME], not {values.said(value)}")
        raise Unusable
    kind = value.get("type")
    rest = {k: v for k, v in value.items() if k != "type"}
    if isinstance(kind, str) and kind in DIRECTORY_TYPES:
        return read_table(DIRECTORY_TYPES[kind], rest, spot)
    if is_python(kind):
        ours = {field.name for field in attrs.fields(DirectoryTable) if "reader" in field.metadata}
        common = read_table(DirectoryTable, {k: v for k, v in rest.items() if k in ours}, spot)
        made = python_table(value, spot, str(spot.path[-1]), ("type", *ours))
        given = {name: getattr(common, name) for name in ours}
        return PythonDirectoryTable(**given, made=made, spot=spot, given=common.given)
    if "type" not in value:
        why = "is missing"
    else:
        why = f"not {values.said(kind)}" + (values.nearest(kind, DIRECTORY_TYPES) if isinstance(kind, str) else "")
    spot.inner("type").fault(f'{why}: expected "sql", "http", {EXPECTED}')
    raise Unusable
