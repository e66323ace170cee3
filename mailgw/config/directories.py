"""What ``[directory.NAME]`` comes to, what stands against it, and who names it."""

import importlib
import inspect
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import assert_never
from urllib.parse import quote

from mailgw.config import plugin
from mailgw.config.directory_tables import (
    AnyDirectoryTable,
    HttpTable,
    PythonDirectoryTable,
    SqlTable,
)
from mailgw.config.document import Document
from mailgw.config.lines import Path
from mailgw.config.python_tables import python_settings
from mailgw.config.settings import Config, DirectoryConfig, DirectorySource, PluginKind, PythonSettings
from mailgw.config.values import nearest
from mailgw.deliver.smtp_settings import password_in
from mailgw.policy.remembered import MemorySettings
from mailgw.queue.tags import TagRules
from mailgw.store.directory_settings import DirectorySettings, HttpSettings, SqlSettings
from mailgw.store.sql_query import parse_query

MEMBERS = ("find",)


def directories(document: Document, raw: Mapping[str, object], folder: str) -> Mapping[str, DirectoryConfig]:
    """All of them; the routes that name one are checked, too."""
    written = raw.get("directory")
    names = list(written) if isinstance(written, dict) else []
    for table in document.route:
        if table.directory is None:
            continue
        if table.directory not in names:
            hint = nearest(table.directory, names) or (f"; there are {', '.join(names)}" if names else "")
            table.spot.inner("directory").fault(f"there is no [directory.{table.directory}]{hint}")
        if "*" in table.recipients:
            why = 'is for addresses of ours: expected a [[route]] without "*", which is everybody elsewhere'
            table.spot.inner("directory").fault(why)
    backends = raw.get("backend")
    known = frozenset(backends if isinstance(backends, dict) else ())
    return {name: _directory(table, folder, known) for name, table in document.directory.items()}


def _directory(table: AnyDirectoryTable, folder: str, backends: frozenset[str]) -> DirectoryConfig:
    settings = DirectorySettings(
        timeout_seconds=table.timeout,
        concurrency=table.concurrency,
        memory=MemorySettings(
            keep_seconds=table.keep, keep_unknown_seconds=table.keep_unknown, stale_seconds=table.stale,
            most=table.most,
        ),
        tags=TagRules(table.delimiter, table.keep_tag),
        backends=backends,
    )
    return DirectoryConfig(_source(table, folder), settings)


def _source(table: AnyDirectoryTable, folder: str) -> DirectorySource:
    match table:
        case SqlTable():
            return _sql(table, folder)
        case HttpTable():
            token, authorities = _path(table.token_file, folder), _path(table.ca_file, folder)
            if token is not None:
                _check_word(table, "token_file", token, "token")
            if authorities is not None and (why := _authorities_fault(authorities)):
                table.spot.inner("ca_file").fault(why)
            return HttpSettings(table.url, token, authorities, table.timeout, table.concurrency)
        case PythonDirectoryTable():
            return python_settings(table.made, _member_fault)
        case _:
            assert_never(table)


def _member_fault(target: str, make: Callable[..., object]) -> str | None:
    if not isinstance(make, type) or hasattr(make, "__getattr__"):
        return None
    return made_fault(target, make)


def made_fault(target: str, made: object) -> str | None:
    """What stands against something of the user's own as a directory."""
    lacking = [name for name in MEMBERS if not hasattr(made, name)]
    return f"{target} lacks {', '.join(lacking)} of mailgw.interfaces.IRecipientDirectory" if lacking else None


def _sql(table: SqlTable, folder: str) -> SqlSettings:
    arguments = dict(table.connect)
    if table.module:
        _check_driver(table)
    if table.module == "sqlite3":
        _check_sqlite(table, arguments, folder)
    password_file = _path(table.password_file, folder)
    if password_file is not None:
        _check_word(table, "password_file", password_file, "password")
        if "password" in arguments:
            table.spot.inner("password_file").fault("stands beside a password in connect: expected one of them")
    return SqlSettings(table.module, arguments, password_file, table.query, table.concurrency)


def _check_driver(table: SqlTable) -> None:
    try:
        driver = importlib.import_module(table.module)
    except Exception as fault:  # noqa: BLE001 - somebody else's module may raise anything
        table.spot.inner("module").fault(f"{table.module} cannot be imported: {fault}")
        return
    lacking = [name for name in ("connect", "paramstyle", "threadsafety") if not hasattr(driver, name)]
    if lacking:
        table.spot.inner("module").fault(f"{table.module} is no driver (PEP 249): it lacks {', '.join(lacking)}")
        return
    if not driver.threadsafety:
        table.spot.inner("module").fault(f"{table.module} says that threads may not share it (threadsafety 0)")
    if table.query:
        try:
            parse_query(table.query, str(driver.paramstyle))
        except ValueError as fault:
            table.spot.inner("query").fault(str(fault))


def _check_sqlite(table: SqlTable, arguments: dict[str, object], folder: str) -> None:
    database = arguments.get("database")
    if not isinstance(database, str) or not database:
        table.spot.inner("connect").fault("expected database, the path of SQLite's file, in it")
    elif not database.startswith((":memory:", "file:")):
        arguments["database"] = path = os.path.join(folder, database)
        if not os.path.isfile(path):  # SQLite would make an empty one
            table.spot.inner("connect", "database").fault(f"{path}: is no file")
        elif table.query and (why := _sqlite_query_fault(path, table.query)):
            table.spot.inner("query").fault(why)


def _sqlite_query_fault(path: str, text: str) -> str | None:
    """What SQLite says of the query, without asking it."""
    try:
        query = parse_query(text, "qmark")
    except ValueError:
        return None  # it is told already
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)) as connection:
            connection.execute(f"EXPLAIN {query.text}", [""] * len(query.names))
    except sqlite3.OperationalError as fault:
        return None if "unable to open" in str(fault) or "locked" in str(fault) else f"SQLite: {fault}"
    except sqlite3.Error as fault:
        return f"SQLite: {fault}"
    return None


def _check_word(table: SqlTable | HttpTable, key: str, path: str, what: str) -> None:
    try:
        with open(path, "rb") as opened:
            octets = opened.read(1 << 20)
    except OSError as fault:
        table.spot.inner(key).fault(f"{path}: cannot be read: {fault.strerror}")
        return
    if not password_in(octets):
        table.spot.inner(key).fault(f"{path}: expected the {what} in its first line")


def _authorities_fault(path: str) -> str | None:
    from mailgw.net.https import authorities

    try:
        authorities(path)
    except ValueError as fault:
        return str(fault)
    return None


def _path(path: str | None, folder: str) -> str | None:
    return None if path is None else os.path.join(folder, path)


# --- what is no fault, and what the gateway's user has to be able to read ---------------------------------

def directory_doubts(config: Config) -> Iterator[tuple[Path, str]]:
    for name in config.directories.keys() - {route.directory for route in config.routes}:
        yield ("directory", name), "no route names it: nobody asks it"
    for name, one in config.directories.items():
        if not isinstance(one.source, PythonSettings) or one.source.kind is PluginKind.GIVEN:
            continue
        make = plugin.maker(one.source)
        member = getattr(make, "find", None)
        if isinstance(make, type) and inspect.isfunction(member) and not plugin.is_awaitable(member):
            why = f'{one.source.target}.find is no "async def": unless it returns a Deferred, each look-up fails'
            yield ("directory", name, "type"), why


def files_of(config: Config) -> Iterator[tuple[str, str]]:
    """The keys of files, and their paths."""
    for name, one in config.directories.items():
        for key in ("password_file", "token_file", "ca_file"):
            path = getattr(one.source, key, None)
            if path is not None:
                yield f"directory.{name}.{key}", path
