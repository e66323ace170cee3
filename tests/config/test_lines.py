import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.config.lines import Path, line_of, locate
from tests.tables import each

TEXT = '''\
hostname = "a" # [not.a.table]
tls.certificate = 'c'

[[listen]]
role = "mx"
relay_from = [ # first
  "10.0.0.0/8", # comma, in a comment
  "::1",
]
[[listen]]
"role" = "lmtp"
[listen.more]
deep = { x = 1, "y z" = [ { q = 1 } ] }

[ backend . "mail boxes" ]
path = """
[[listen]]
role = "\\""""
since = 1979-05-27 07:32:00
[[route]]
recipients = ["@a", \'\'\'
b'\'\'\']
[[route.inner]]
k = -1.5e3
[[route.inner]]
k = [[1, 2], []]
'''


def test_every_key_has_its_line() -> None:
    lines = locate(TEXT)
    assert lines == {
        ("hostname",): 1,
        ("tls",): 2,
        ("tls", "certificate"): 2,
        ("listen",): 4,
        ("listen", 0): 4,
        ("listen", 0, "role"): 5,
        ("listen", 0, "relay_from"): 6,
        ("listen", 0, "relay_from", 0): 7,
        ("listen", 0, "relay_from", 1): 8,
        ("listen", 1): 10,
        ("listen", 1, "role"): 11,
        ("listen", 1, "more"): 12,
        ("listen", 1, "more", "deep"): 13,
        ("listen", 1, "more", "deep", "x"): 13,
        ("listen", 1, "more", "deep", "y z"): 13,
        ("listen", 1, "more", "deep", "y z", 0): 13,
        ("listen", 1, "more", "deep", "y z", 0, "q"): 13,
        ("backend",): 15,
        ("backend", "mail boxes"): 15,
        ("backend", "mail boxes", "path"): 16,
        ("backend", "mail boxes", "since"): 19,
        ("route",): 20,
        ("route", 0): 20,
        ("route", 0, "recipients"): 21,
        ("route", 0, "recipients", 0): 21,
        ("route", 0, "recipients", 1): 21,
        ("route", 0, "inner"): 23,
        ("route", 0, "inner", 0): 23,
        ("route", 0, "inner", 0, "k"): 24,
        ("route", 0, "inner", 1): 25,
        ("route", 0, "inner", 1, "k"): 26,
        ("route", 0, "inner", 1, "k", 0): 26,
        ("route", 0, "inner", 1, "k", 0, 0): 26,
        ("route", 0, "inner", 1, "k", 0, 1): 26,
        ("route", 0, "inner", 1, "k", 1): 26,
    }


def test_what_is_not_in_the_file_has_the_line_of_what_is_around_it() -> None:
    lines = locate(TEXT)
    assert line_of(lines, ("listen", 1, "endpoint")) == 10
    assert line_of(lines, ("limits", "recipients")) == 0
    assert line_of(lines, ()) == 0


def test_escapes_in_keys() -> None:
    assert locate('"a\\tb" = 1\n"\\U0001F600" = 2') == {("a\tb",): 1, ("\\U0001F600",): 2}


@each("text", ["= 1", "a 1", "[a", "a = ]"])
def test_what_is_not_toml(text: str) -> None:
    with pytest.raises(ValueError, match=r"TOML|expected"):
        locate(text)


def paths(value: object, path: Path = ()) -> set[Path]:
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return {path, *(p for key, v in inner for p in paths(v, (*path, key)))}


PIECES = st.sampled_from(
    ['a = 1', 'b.c = "x#y"', "[t]", "[t.u]", "[[l]]", "[[l.m]]", "[l.n]", "d = [1, {e = '}'}]", "", "# a = 1",
     'f = """\n"""', "g = [\n 'a',\n]", "'h' = true", '[ "l" . m.o ]', "i = 07:32:00", "j = {}", "[[t.v]]"]
)


@given(st.lists(PIECES, max_size=12))
def test_each_path_of_tomllib_has_a_line(pieces: list[str]) -> None:
    text = "\n".join(pieces)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(locate(text)) == paths(document) - {()}
