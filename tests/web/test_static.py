"""The page's own files, held to what its Content-Security-Policy and strangers' mail ask of them."""

import re
from pathlib import Path

from tests.tables import each

STATIC = Path(__file__).parent.parent.parent / "mailgw" / "web" / "static"
FILES = sorted(file for file in STATIC.iterdir() if file.is_file())
SCRIPTS = [file for file in FILES if file.suffix == ".js"]
CEILING_LINES = 400

# Each makes markup, code or style of a text, or runs it; dom.js has the only list of what is never an attribute.
FORBIDDEN = re.compile(
    r"\.(?:innerHTML|outerHTML|srcdoc|cssText)\b|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|setHTML"
    r"|\beval\b|new Function"
    r"|setTimeout\(\s*[\"'`]|setInterval\(\s*[\"'`]|importScripts|\bstyle:|setAttribute\(\s*[\"']style|javascript:"
)
IMPORTED = re.compile(r'^import\s[^;"]*"([^"]+)";', re.M)
ADDRESS = re.compile(r"(?:https?:)?//[\w.-]+\.\w+")


@each("file", SCRIPTS)
def test_no_script_makes_markup_of_a_text(file: Path) -> None:
    code = re.sub(r"^\s*//.*$", "", file.read_text(), flags=re.M)
    if file.name == "dom.js":
        code = re.sub(r"^const (?:NEVER|NO_SCHEME) = .*$", "", code, flags=re.M)
    assert not FORBIDDEN.findall(code)


@each("file", SCRIPTS)
def test_a_script_imports_what_is_there(file: Path) -> None:
    names = {other.name for other in FILES}
    for imported in IMPORTED.findall(file.read_text()):
        assert imported.startswith("./"), imported
        assert imported[2:] in names, imported


@each("file", FILES)
def test_nothing_is_fetched_from_elsewhere(file: Path) -> None:
    text = file.read_text().replace("http://www.w3.org/2000/svg", "")
    assert not ADDRESS.findall(text)
    assert "@import" not in text
    assert len(text.splitlines()) < CEILING_LINES


def test_the_index_has_no_script_and_no_style_of_its_own() -> None:
    text = (STATIC / "index.html").read_text()
    names = {file.name for file in FILES}
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text) == []
    linked = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert linked
    assert set(linked) <= names


def test_every_script_is_reached_from_the_index() -> None:
    reached, left = set(), ["app.js", "early.js"]
    while left:
        name = left.pop()
        if name not in reached:
            reached.add(name)
            left += [imported[2:] for imported in IMPORTED.findall((STATIC / name).read_text())]
    assert reached == {file.name for file in SCRIPTS}
