"""``[[reply_class]]``: an operator's own classes, and tables in files of their own."""

import textwrap
from pathlib import Path

import pytest

from mailgw.config.replies import MAX_CLASSES, MAX_FILE_OCTETS, built_in_classes
from mailgw.queue.replies import LaneOrder, MessageOrder, ReplyClass
from tests.config.making import faults_of, loaded
from tests.config.test_load import SMALL

GOOD = """
[[reply_class]]
name = "busy"
code = ["421", "45X"]
status = "4.7.*"
text = 'come\\s+later'
host = "*.Example.NET"
message = "again"
lane = "slow"
wait = 0.5
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mailgw.toml"


def test_own_classes_come_first(file: Path) -> None:
    file.write_text(SMALL + GOOD)
    busy, *others = loaded(file).reply_classes.classes
    assert busy == ReplyClass(
        "busy", ("421", "45x"), ("4.7.*",), busy.texts, ("*.example.net",), MessageOrder.AGAIN, LaneOrder.SLOW, 0.5
    )
    assert [text.pattern for text in busy.texts] == [r"come\s+later"]
    assert tuple(others) == built_in_classes()


def test_hosts_are_names_or_addresses(file: Path) -> None:
    file.write_text(SMALL + """
[[reply_class]]
name = "some"
host = ["127.0.0.1", "[192.0.2.1]", "[2001:DB8:0::1]", "::1", "*.Example.net"]
""")
    assert loaded(file).reply_classes.classes[0].hosts == (
        "127.0.0.1", "192.0.2.1", "2001:db8::1", "::1", "*.example.net")


def test_another_table_takes_the_place_of_ours(file: Path) -> None:
    (file.parent / "classes.toml").write_text("[[reply_class]]\nname = 'full'\ncode = '452'\nmessage = 'fail'\n")
    file.write_text("reply_classes = 'classes.toml'\n" + SMALL + GOOD)
    assert [one.name for one in loaded(file).reply_classes.classes] == ["busy", "full"]


def test_faults_have_their_lines(file: Path) -> None:
    other = file.parent / "classes.toml"
    other.write_text("[[reply_class]]\nname = 'full'\ncode = '45'\n[[reply_clas]]\n")
    file.write_text("reply_classes = 'classes.toml'\n" + SMALL + """
[[reply_class]]
name = "Not this"
code = ["4xx", "3xx"]
status = "5.7"
text = ['fine', '(', '(a+)+b']
host = "a b"
message = "later"
lane = "stop"
wait = 11
[[reply_class]]
name = "everything"
[[reply_class]]
name = "hammer"
code = "4xx"
message = "again"
""")
    first = len(SMALL.splitlines()) + 3
    assert [fault.partition(": ")[0] + ": " + fault.split(": ")[1] for fault in faults_of(file)] == [
        f"mailgw.toml:{first + 1}: reply_class.name",
        f"mailgw.toml:{first + 2}: reply_class.code",
        f"mailgw.toml:{first + 3}: reply_class.status",
        f"mailgw.toml:{first + 4}: reply_class.text",
        f"mailgw.toml:{first + 4}: reply_class.text",
        f"mailgw.toml:{first + 5}: reply_class.host",
        f"mailgw.toml:{first + 6}: reply_class.message",
        f"mailgw.toml:{first + 7}: reply_class.lane",
        f"mailgw.toml:{first + 8}: reply_class.wait",
        f"mailgw.toml:{first + 9}: reply_class",
        f"mailgw.toml:{first + 14}: reply_class.message",
        "classes.toml:3: reply_class.code",
        "classes.toml:4: reply_clas",
    ]


def test_tables_that_cannot_be_used(file: Path) -> None:
    file.write_text("reply_classes = 'classes.toml'\n" + SMALL)
    other = file.parent / "classes.toml"
    assert faults_of(file) == ["mailgw.toml:1: reply_classes: classes.toml: cannot be read: No such file or directory"]
    for octets, words in (
        (b"\xff", "not TOML"), (b"a =", "not TOML"), (b"#" * (MAX_FILE_OCTETS + 1), "at most 1048576 octets"),
        (b"reply_class = 5", "once for each"),
    ):
        other.write_bytes(octets)
        fault, = faults_of(file)
        assert words in fault
    other.write_bytes(b"#" * MAX_FILE_OCTETS)
    assert loaded(file).reply_classes.classes == ()


def test_as_many_classes_as_the_limit(file: Path) -> None:
    one = "[[reply_class]]\nname = 'a'\ncode = '4xx'\n"
    (file.parent / "classes.toml").write_text(one * MAX_CLASSES)
    file.write_text("reply_classes = 'classes.toml'\n" + SMALL)
    assert not faults_of(file)
    (file.parent / "classes.toml").write_text(one * (MAX_CLASSES + 1))
    fault, = faults_of(file)
    assert f"at most {MAX_CLASSES} classes" in fault


def test_the_example_in_the_docs(file: Path) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "queue.rst").read_text()
    example = page.partition(".. code-block:: toml\n\n")[2].partition("\n``reply_classes")[0]
    file.write_text(SMALL + textwrap.dedent(example))
    mood, never = loaded(file).reply_classes.classes[:2]
    assert (mood.message, mood.lane, never.message) == (MessageOrder.SCHEDULE, LaneOrder.PAUSE, MessageOrder.FAIL)


def test_names_and_waits_up_to_their_limits(file: Path) -> None:
    for name, wait, is_good in (
        ("a" * 40, "0.1", True), ("a" * 41, "1", False), ("a-b2", "10", True), ("a", "10.1", False),
        ("a", "0.09", False), ("a-", "1", False), ("a", "true", False), ("a", "'1'", False),
    ):
        file.write_text(SMALL + f"[[reply_class]]\nname = '{name}'\ncode = '4xx'\nwait = {wait}\n")
        assert (not faults_of(file)) is is_good, (name, wait)
