"""What a database's rows and a service's JSON say of an address, and how a database is asked."""

import json
import sqlite3
from decimal import Decimal
from typing import Any

import pytest

from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.found import Found
from mailgw.store.directory_answers import TARGETS_AT_MOST, found_in_json, found_in_rows
from mailgw.store.http_directory import filled
from mailgw.store.sql_query import parse_query
from tests.tables import each

ANN, BOB = Mailbox("ann", "x.test"), Mailbox("bob", "x.test")
TEMPORARY = "temporary"


def judged(find: Any, *arguments: Any) -> object:
    try:
        return find(*arguments)
    except TemporaryFault:
        return TEMPORARY


@each(("rows", "found"), [
    ([], None),
    ([(None,)], Found()), ([("",)], Found()), ([(1,)], Found()), ([(True,)], Found()), ([(Decimal(2),)], Found()),
    ([(0,)], None), ([(Decimal(0),)], None), ([(0,), (1,)], Found()),
    ([("ann@x.test",)], Found((ANN,))), ([(b"ann@x.test",)], Found((ANN,))),
    ([("ann@x.test",), ("bob@x.test",)], Found((ANN, BOB))), ([("ann@x.test, bob@x.test",)], Found((ANN, BOB))),
    ([(None, "here")], Found((), "here")), ([("ann@x.test", None)], Found((ANN,))),
    ([("ann@x.test", "here"), ("bob@x.test", "here")], Found((ANN, BOB), "here")),
    ([("ann@x.test", "here"), ("bob@x.test", "there")], TEMPORARY),
    ([("ann",)], TEMPORARY), ([([],)], TEMPORARY),
    ([("ann@x.test",)] * TARGETS_AT_MOST, Found((ANN,) * TARGETS_AT_MOST)),
    ([("ann@x.test",)] * (TARGETS_AT_MOST + 1), TEMPORARY),
])
def test_rows(rows: list[Any], found: object) -> None:
    assert judged(found_in_rows, rows) == found


@each(("status", "said", "found"), [
    (200, {"exists": True}, Found()), (200, {"exists": False}, None), (404, {"exists": False}, None),
    (200, {"exists": True, "targets": ["ann@x.test"], "backend": "here"}, Found((ANN,), "here")),
    (200, {"exists": True, "targets": None, "backend": None, "more": 1}, Found()),
    (404, {"exists": True}, TEMPORARY), (404, {"detail": "not found"}, TEMPORARY), (404, None, TEMPORARY),
    (200, {"exists": "no"}, TEMPORARY), (200, {}, TEMPORARY), (200, [], TEMPORARY), (200, None, TEMPORARY),
    (200, {"exists": True, "targets": "ann@x.test"}, TEMPORARY), (200, {"exists": True, "targets": [1]}, TEMPORARY),
    (200, {"exists": True, "backend": 1}, TEMPORARY),
    (500, {"exists": False}, TEMPORARY), (204, {"exists": False}, TEMPORARY), (301, {"exists": False}, TEMPORARY),
    (401, {"exists": False}, TEMPORARY),
])
def test_json(status: int, said: object, found: object) -> None:
    assert judged(found_in_json, status, b"<p>" if said is None else json.dumps(said).encode()) == found


def test_json_that_is_nested_too_deep_is_no_bug() -> None:
    assert judged(found_in_json, 200, b"[" * 200_000) == TEMPORARY


QUERY = "SELECT '{{' FROM a WHERE d = {domain} AND l LIKE {local_part} || '%' OR d = {domain}"
NAMES = ("domain", "local_part", "domain")


@each(("style", "text"), [
    ("qmark", "SELECT '{' FROM a WHERE d = ? AND l LIKE ? || '%' OR d = ?"),
    ("numeric", "SELECT '{' FROM a WHERE d = :1 AND l LIKE :2 || '%' OR d = :3"),
    ("named", "SELECT '{' FROM a WHERE d = :domain AND l LIKE :local_part || '%' OR d = :domain"),
    ("format", "SELECT '{' FROM a WHERE d = %s AND l LIKE %s || '%%' OR d = %s"),
    ("pyformat", "SELECT '{' FROM a WHERE d = %(domain)s AND l LIKE %(local_part)s || '%%' OR d = %(domain)s"),
])
def test_each_style_of_parameters(style: str, text: str) -> None:
    query = parse_query(QUERY, style)
    assert (query.text, query.names) == (text, NAMES)
    values = query.values(Mailbox("O'Ann", "x.test"))
    if style in ("named", "pyformat"):
        assert values == {"domain": "x.test", "local_part": "o'ann"}
    else:
        assert values == ("x.test", "o'ann", "x.test")


@each(("query", "why"), [
    ("SELECT 1", "asks for nobody"), ("SELECT {address}", "found {address}"), ("SELECT {}", "found {}"),
    ("SELECT {recipient", "found {"), ("SELECT {recipient} }", "found }"),
])
def test_what_is_no_query(query: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"expected .*") as found:
        parse_query(query, "qmark")
    assert why in str(found.value)
    with pytest.raises(ValueError, match="PEP 249"):
        parse_query("SELECT {recipient}", "dollar")


def test_what_a_stranger_writes_is_never_part_of_the_query() -> None:
    query = parse_query("SELECT target FROM alias WHERE address = {recipient}", sqlite3.paramstyle)
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE alias (address, target)")
    connection.execute("INSERT INTO alias VALUES ('ann@x.test', 'bob@x.test')")
    for local_part in ("' OR 1=1 --", "ann'", "%", "{domain}", "?"):
        assert connection.execute(query.text, query.values(Mailbox(local_part, "x.test"))).fetchall() == []
    assert connection.execute(query.text, query.values(ANN)).fetchall() == [("bob@x.test",)]
    connection.close()


@each(("local_part", "url"), [
    ("ann", "https://d.test/ann/x.test?a=ann%40x.test"),
    ("a/../b?x=1&y#z %", "https://d.test/a%2F..%2Fb%3Fx%3D1%26y%23z%20%25/x.test?a=a%2F..%2Fb%3Fx%3D1%26y%23z%20%25%40x.test"),
    ("{domain}", "https://d.test/%7Bdomain%7D/x.test?a=%7Bdomain%7D%40x.test"),
    ("jörg", "https://d.test/j%C3%B6rg/x.test?a=j%C3%B6rg%40x.test"),
])
def test_a_url(local_part: str, url: str) -> None:
    assert filled("https://d.test/{local_part}/{domain}?a={recipient}", Mailbox(local_part, "x.test")) == url
