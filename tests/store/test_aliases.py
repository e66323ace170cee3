"""The file of aliases: what a line means, what is faulty in it, when a change counts."""

import os
import time
from pathlib import Path

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent

from mailgw.mail.address import parse_mailbox
from mailgw.mail.errors import ConfigError
from mailgw.queue.alias_patterns import PATTERNS_AT_MOST
from mailgw.queue.aliases import AliasLimits
from mailgw.queue.route import RouteSettings, RouteTable
from mailgw.queue.tags import TagRules
from mailgw.store.aliases import FAULTS_LOGGED, AliasFile, AliasRules, parse_aliases, read_aliases, rules_of
from mailgw.store.state_file import Workshop
from mailgw.testing.driving import result_of
from mailgw.testing.threads import FakeThreads
from tests.tables import each

ROUTES = (
    RouteSettings(("@x.test", "@.sub.test", "one@y.test"), "here"),
    RouteSettings(("*",), "out"),
)
RULES = rules_of(AliasLimits(depth=3, recipients=4), RouteTable(ROUTES))


def parse(text: str | bytes, rules: AliasRules = RULES) -> tuple[dict[str, list[str]], list[str]]:
    table = parse_aliases(text.encode() if isinstance(text, str) else text, "aliases", rules)
    assert table.lines.keys() >= table.entries.keys()
    return {key: [str(one) for one in targets] for key, targets in table.entries.items()}, [
        str(fault) for fault in table.faults
    ]


def test_entries_comments_and_lines_that_go_on() -> None:
    entries, faults = parse(
        "\ufeff# aliases\n"
        "\n"
        "sales@x.test  ann@x.test, Bob@Elsewhere.TEST\r\n"
        "Team@X.Test\tann@x.test,\n"
        "# in between\n"
        "   bob@x.test\n"
        "\n"
        "\t, carl@x.test , \"d e\"@x.test\n"
        "   # as well\n"
        "one@y.test ann@x.test bob@x.test\n"
        "@x.test  rest@x.test\n"
        "@deep.sub.test rest@x.test\n"
        '"a b,c"@x.test ann@x.test\n'
        "grün@x.test jörg@müller.test"
    )
    assert faults == []
    assert entries == {
        "sales@x.test": ["ann@x.test", "Bob@elsewhere.test"],
        "team@x.test": ["ann@x.test", "bob@x.test", "carl@x.test", '"d e"@x.test'],
        "one@y.test": ["ann@x.test", "bob@x.test"],
        "@x.test": ["rest@x.test"],
        "@deep.sub.test": ["rest@x.test"],
        "a b,c@x.test": ["ann@x.test"],
        "grün@x.test": ["jörg@xn--mller-kva.test"],
    }


def test_nothing_is_no_fault() -> None:
    assert parse("") == ({}, [])
    assert parse("# nobody yet\n\n") == ({}, [])


@each(
    ("text", "faults"),
    [
        ("  ann@x.test\n", ["1: goes on with the entry before it (it begins with white space), and there is none"]),
        ("sales ann@x.test\n", ["1: expected an address user@domain, or @domain, found 'sales'"]),
        ("sales@x.test: ann@x.test\n",
         ["1: expected an address user@domain, or @domain, found 'sales@x.test:'; no colon stands behind it"]),
        ("@ ann@x.test\n", ["1: expected an address user@domain, or @domain, found '@'"]),
        (", ann@x.test\n", ["1: expected an address user@domain, or @domain, found ','"]),
        ('" ann@x.test\n', ["1: expected an address user@domain, or @domain, found '\"'"]),
        ("a@x.test\n\nb@x.test ,\n",
         ["1: a@x.test: expected the addresses that it stands for",
          "3: b@x.test: expected the addresses that it stands for"]),
        ("a@x.test b\n", ["1: a@x.test: expected whole addresses user@domain, found 'b'"]),
        ("a@x.test b@x.test,\n c@\n", ["2: a@x.test: expected whole addresses user@domain, found 'c@'"]),
        ("a@x.test |/bin/vacation, /dev/null :include:/list @y.test\n", [
            "1: a@x.test: expected whole addresses user@domain, found '|/bin/vacation'; "
            "commands, files and includes are not taken",
            "1: a@x.test: expected whole addresses user@domain, found '/dev/null'; "
            "commands, files and includes are not taken",
            "1: a@x.test: expected whole addresses user@domain, found ':include:/list'; "
            "commands, files and includes are not taken",
            "1: a@x.test: expected whole addresses user@domain, found '@y.test'",
        ]),
        ("a@x.test Bob Smith <bob@x.test>\n", ["1: a@x.test: expected addresses alone, without names and brackets"]),
        ("a@x.test b@x.test\nA@X.TEST c@x.test\n @x.test\n", [
            "2: a@x.test has an entry already, in line 1",
            "3: A@X.TEST: expected whole addresses user@domain, found '@x.test'",
        ]),
        ("@x.test b@x.test\n@X.test c@x.test\n", ["2: @x.test has an entry already, in line 1"]),
        # what strangers may write to is the routes' to say
        ("a@else.test b@x.test\n", ["1: a@else.test: expected an address that a [[route]] names, or its domain"]),
        ("@y.test b@x.test\n", ["1: @y.test: expected an address that a [[route]] names, or its domain"]),
        ("@sub.test b@x.test\n", ["1: @sub.test: expected an address that a [[route]] names, or its domain"]),
    ],
)
def test_every_fault_is_told_with_its_line(text: str, faults: list[str]) -> None:
    assert parse(text)[1] == [f"aliases:{fault}" for fault in faults]


def test_a_target_needs_a_route_too() -> None:
    rules = rules_of(RULES.limits, RouteTable(ROUTES[:1]))
    _, faults = parse("a@x.test b@x.test, one@y.test, two@y.test, c@deep.sub.test\n", rules)
    assert faults == ["aliases:1: a@x.test: no [[route]] takes two@y.test"]
    assert parse("a@x.test two@y.test\n")[1] == [], '"*" takes it'


def test_octets_that_are_no_text_are_no_addresses() -> None:
    _, faults = parse(b"caf\xe9@x.test ann@x.test\na@x.test caf\xe9@x.test\n")
    assert faults == [
        "aliases:1: expected an address user@domain, or @domain, found 'caf\\udce9@x.test'",
        "aliases:2: a@x.test: expected whole addresses user@domain, found 'caf\\udce9@x.test'",
    ]


@each(
    "text",
    [
        b"caf\xe9@x.test here\n", b"caf\xe9@x.test <ann@x.test>\n", b"caf\xe9@x.test ann@y.test\n",
        b"a\x1b[2J@x.test here\n", "a\u202e@x.test ann@y.test\n".encode(),
    ],
)
def test_a_fault_is_one_line_that_can_be_shown_whatever_the_name_is(text: bytes) -> None:
    rules = rules_of(RULES.limits, RouteTable(ROUTES[:1]))
    _, faults = parse(text, rules)
    assert len(faults) == 2
    assert all(fault.isprintable() for fault in faults)


def test_entries_without_targets_cost_no_more_than_others() -> None:
    """Each was once a copy of all that went before."""

    def seconds(count: int) -> float:
        text = "".join(f"a{n}@x.test ann@x.test\nb{n}@x.test root\n" for n in range(count))
        began = time.process_time()
        entries, faults = parse(text)
        assert (len(entries), len(faults)) == (count, count)
        return time.process_time() - began

    # A machine that does something else meanwhile is asked again.
    assert any(seconds(4000) < 8 * seconds(1000) for _ in range(3)), "four times as many lines"


def test_a_loop_is_one_fault_where_it_begins() -> None:
    _, faults = parse("t@x.test b@x.test\nb@x.test c@x.test\nc@x.test d@y.test, b@x.test\n@x.test c@x.test\n")
    assert faults == ["aliases:2: b@x.test is a loop: b@x.test -> c@x.test -> b@x.test"]
    two = "a@x.test b@x.test\nb@x.test a@x.test\nc@x.test d@x.test\nd@x.test c@x.test\n"
    told = [fault.partition(" is a loop")[0] for fault in parse(two)[1]]
    assert told == ["aliases:1: a@x.test", "aliases:3: c@x.test"]


def test_an_address_may_list_itself() -> None:
    entries, faults = parse("a@x.test A@x.test, b@x.test\nb@x.test b@x.test\n@x.test c@x.test\n")
    assert (len(entries), faults) == (3, [])


def test_the_limits() -> None:
    assert parse("a@x.test " + ", ".join(f"b{n}@x.test" for n in range(4)))[1] == []
    assert parse("a@x.test " + ", ".join(f"b{n}@x.test" for n in (0, 1, 2, 3, 3)))[1] == []
    assert parse("a@x.test " + ", ".join(f"b{n}@x.test" for n in range(5)))[1] == [
        "aliases:1: a@x.test comes to more than 4 addresses (recipients)"
    ]
    chain = "".join(f"a{n}@x.test a{n + 1}@x.test\n" for n in range(3))
    assert parse(chain)[1] == []
    assert parse(chain + "a3@x.test a4@x.test\n")[1] == [
        "aliases:1: a0@x.test goes through more than 3 entries (depth): "
        "a0@x.test -> a1@x.test -> a2@x.test -> a3@x.test ..."
    ]
    assert parse("@x.test a0@x.test\n" + chain)[1] == [
        "aliases:1: @x.test goes through more than 3 entries (depth): "
        "@x.test -> a0@x.test -> a1@x.test -> a2@x.test ..."
    ]


@example(b"\x0b")
@given(st.binary(max_size=300) | st.text("ab@x.test, \n\t\"\\<|#:/$()*+1^[{?!", max_size=300))
def test_garbage_raises_nothing(text: bytes | str) -> None:
    parse(text)


def test_a_file_that_cannot_be_read_is_one_fault(tmp_path: Path) -> None:
    path = str(tmp_path / "none")
    (fault,) = read_aliases(path, RULES).faults
    assert str(fault) == f"{path}: cannot be read: No such file or directory"


# --- the file over time ---------------------------------------------------------------------------------

@attrs.define
class Reactor(FakeThreads):
    """Threads and a clock."""

    clock: Clock = attrs.Factory(Clock)

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def seconds(self) -> float:
        return self.clock.seconds()


class Live:
    """An AliasFile with its file, its clocks and its threads."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.path.write_text(text)
        self.wall = 1e9
        self._stamp(self.wall - 100)
        self.reactor = Reactor()
        workshop = Workshop(None, self.reactor, self.reactor)  # type: ignore[arg-type] # no disk is needed
        self.file = AliasFile(str(path), RULES, lambda: self.wall, workshop)

    def _stamp(self, when: float) -> None:
        os.utime(self.path, (when, when))

    def replace(self, text: str) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.rename(self.path)
        self._stamp(self.wall)

    def overwrite(self, text: str) -> None:
        self.path.write_text(text)
        self._stamp(self.wall)

    def advance(self, seconds: float) -> None:
        self.reactor.clock.advance(seconds)
        self.wall += seconds

    def of(self, address: str) -> list[str] | None:
        mailbox = parse_mailbox(address)
        assert mailbox is not None
        targets = result_of(self.file.targets(mailbox))
        return None if targets is None else [str(one) for one in targets]


@pytest.fixture
def live(tmp_path: Path) -> Live:
    return Live(tmp_path / "aliases", "a@x.test b@x.test\n@x.test c@x.test\n")


def test_who_is_an_alias(live: Live) -> None:
    assert live.of("A@X.test") == ["b@x.test"]
    assert live.of("b@x.test") is None
    assert result_of(live.file.catch_all("x.test")) == [parse_mailbox("c@x.test")]
    assert result_of(live.file.catch_all("y.test")) is None


def test_a_faulty_file_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        Live(tmp_path / "aliases", "a\nb c\n")
    lines = [fault.line for fault in raised.value.exceptions if isinstance(fault, ConfigError)]
    assert lines == [1, 2, 2]


def test_a_replaced_file_counts_within_a_second_and_not_before_it_is_read(live: Live) -> None:
    live.replace("a@x.test d@x.test\n")
    live.advance(0.5)
    assert live.of("a@x.test") == ["b@x.test"]
    live.reactor.at_once = False
    live.advance(0.5)
    assert live.of("a@x.test") == ["b@x.test"]
    with capturedLogs() as logs:
        live.reactor.run()
    assert live.of("a@x.test") == ["d@x.test"]
    assert result_of(live.file.catch_all("x.test")) is None
    assert [formatEvent(event) for event in logs] == [f"{live.path} was read again: 1 aliases"]


def test_a_file_written_in_place_has_to_rest_unless_somebody_says_that_it_is_done(live: Live) -> None:
    live.advance(10)
    live.overwrite("")
    assert live.of("a@x.test") == ["b@x.test"]
    live.overwrite("a@x.test d@x.test\n")
    live.file.look(is_urgent=True)
    assert live.of("a@x.test") == ["d@x.test"]
    live.advance(0.1)
    live.overwrite("a@x.test e@x.test\n")
    live.advance(1)
    assert live.of("a@x.test") == ["e@x.test"]


def test_a_broken_file_changes_nothing_and_is_told_once(live: Live) -> None:
    with capturedLogs() as logs:
        live.replace("a@x.test e@x.test\nb@x.test a@x.test\na\n")
        live.advance(1)
        assert live.of("a@x.test") == ["b@x.test"]
        live.advance(1)
        assert live.of("a@x.test") == ["b@x.test"]
    assert [(event["log_level"], formatEvent(event)) for event in logs] == [
        (LogLevel.error, f"{live.path}:3: expected an address user@domain, or @domain, found 'a'"),
        (LogLevel.error, f"{live.path} has faults (1); the aliases stay as they were"),
    ]
    live.replace("a@x.test e@x.test\n")
    live.advance(1)
    assert live.of("a@x.test") == ["e@x.test"]


def test_of_very_many_faults_the_first_are_logged(live: Live) -> None:
    for count in (FAULTS_LOGGED, FAULTS_LOGGED + 1):
        with capturedLogs() as logs:
            live.replace("".join(f"a{n} b@x.test\n" for n in range(count)))
            live.advance(1)
            live.file.look()
        assert len(logs) == FAULTS_LOGGED + 1
        assert formatEvent(logs[-1]) == f"{live.path} has faults ({count}); the aliases stay as they were"


def test_a_file_that_is_gone_changes_nothing_and_is_told_once(live: Live) -> None:
    with capturedLogs() as logs:
        live.path.unlink()
        for _ in range(3):
            live.advance(1)
            assert live.of("a@x.test") == ["b@x.test"]
    assert [formatEvent(event) for event in logs] == [
        f"{live.path} cannot be read: No such file or directory; the aliases stay as they were"
    ]


# --- patterns and sub-addresses -----------------------------------------------------------------------------

TAGGED = attrs.evolve(RULES, tags=TagRules("+", True))
SUBS = (
    "ann@x.test ann@x.test, bob@x.test\nsales@x.test far@else.test\nsales+a@x.test carl@x.test\n"
    "self@x.test self+in@x.test\n/^team-(.*)@x\\.test$/ bob+$1@x.test\n/^te(.*)@x\\.test$/ carl@x.test,\n"
    "  dora@x.test\n"
)


@each(("rules", "address", "targets"), [
    (TAGGED, "sales+b@x.test", ["far+b@else.test"]),
    (TAGGED, "Sales+B@x.test", ["far+B@else.test"]),
    (TAGGED, "sales+a@x.test", ["carl@x.test"]),
    (TAGGED, "ann+t@x.test", ["ann+t@x.test", "bob+t@x.test"]),
    (TAGGED, "self+t@x.test", ["self+in+t@x.test"]),
    (TAGGED, "self+in@x.test", None),
    (TAGGED, "sales+@x.test", None), (TAGGED, "+b@x.test", None), (TAGGED, "nobody+b@x.test", None),
    (TAGGED, f"sales+{'b' * 240}@x.test", [f"far+{'b' * 240}@else.test"]),
    (TAGGED, f"sales+{'b' * 241}@x.test", ["far@else.test"]),  # no room for it there
    (attrs.evolve(RULES, tags=TagRules("+", False)), "sales+b@x.test", ["far@else.test"]),
    (attrs.evolve(RULES, tags=TagRules("-", True)), "sales-b@x.test", ["far-b@else.test"]),
    (RULES, "sales+b@x.test", None),
    # patterns in their order, behind entries
    (RULES, "team-a@x.test", ["bob+a@x.test"]),
    (RULES, "tea@x.test", ["carl@x.test", "dora@x.test"]),
    (TAGGED, "team-a+t@x.test", ["bob+a+t@x.test"]),
])
def test_which_entry_is_for_an_address(rules: AliasRules, address: str, targets: list[str] | None) -> None:
    table = parse_aliases(SUBS.encode(), "aliases", rules)
    assert table.faults == ()
    mailbox = parse_mailbox(address)
    assert mailbox is not None
    found = table.targets(mailbox)
    assert (None if found is None else [str(one) for one in found]) == targets


@each(("rules", "text", "faults"), [
    (RULES, "/(/ a@x.test\n", ["1: not a regular expression (missing ), unterminated subpattern at position 0): '('"]),
    (RULES, "/a@/\n", ["1: /a@/: expected the addresses that it stands for"]),
    (RULES, "/a@/ <b@x.test>\n", ["1: /a@/: expected addresses alone, without names and brackets"]),
    (RULES, "/a@/ $1@x.test b\n  c\n", [
        "1: /a@/: '$1@x.test': the pattern has 0 groups, and no $1",
        "1: /a@/: expected whole addresses user@domain, found 'b'",
        "2: /a@/: expected whole addresses user@domain, found 'c'",
    ]),
    # loops
    (RULES, "/^t-(.*)@x\\.test$/ a@x.test\na@x.test t-1@x.test\n", [
        "2: a@x.test is a loop: a@x.test -> t-1@x.test -> a@x.test",
    ]),
    (RULES, "/^t-(.*)@x\\.test$/ s-$1@x.test\n/^s-(.*)@x\\.test$/ t-$1@x.test\n", [
        "1: /^t-(.*)@x\\.test$/ is a loop: t-x@x.test -> s-x@x.test -> t-x@x.test",
        "2: /^s-(.*)@x\\.test$/ is a loop: s-x@x.test -> t-x@x.test -> s-x@x.test",
    ]),
    (RULES, "/^t(.*)@x\\.test$/ tt$1@x.test\n", [
        "1: /^t(.*)@x\\.test$/ goes through more than 3 entries (depth): "
        "tx@x.test -> ttx@x.test -> tttx@x.test -> ttttx@x.test ...",
    ]),
    (TAGGED, "a@x.test b+t@x.test\nb@x.test a@x.test\n", [
        "1: a@x.test goes through more than 3 entries (depth): "
        "a@x.test -> b+t@x.test -> a+t@x.test -> b+t+t@x.test ...",
        "2: b@x.test goes through more than 3 entries (depth): "
        "b@x.test -> a@x.test -> b+t@x.test -> a+t@x.test ...",
    ]),
    (attrs.evolve(RULES, tags=TagRules("+", False)), "a@x.test b+t@x.test\nb@x.test a+s@x.test\n", [
        "1: a@x.test leads to a loop: b+t@x.test -> a+s@x.test -> b+t@x.test",
        "2: b@x.test leads to a loop: a+s@x.test -> b+t@x.test -> a+s@x.test",
    ]),
])
def test_faults_of_patterns_and_tags(rules: AliasRules, text: str, faults: list[str]) -> None:
    assert parse(text, rules)[1] == [f"aliases:{fault}" for fault in faults]


def test_a_pattern_s_target_needs_a_route() -> None:
    rules = rules_of(AliasLimits(3, 4), RouteTable([RouteSettings(("@x.test", "one@y.test"), "here")]))
    assert parse("/^(.)@/ $1@x.test one@y.test $1@y.test two@y.test", rules)[1] == [
        "aliases:1: /^(.)@/: no [[route]] takes $1@y.test", "aliases:1: /^(.)@/: no [[route]] takes two@y.test",
    ]


def test_one_pattern_too_many() -> None:
    lines = [f"/^u{number}@/ a@x.test\n" for number in range(PATTERNS_AT_MOST + 1)]
    assert parse("".join(lines[:-1]))[1] == []
    assert parse("".join(lines))[1] == [
        f"aliases:{PATTERNS_AT_MOST + 1}: /^u{PATTERNS_AT_MOST}@/: is one too many: at most {PATTERNS_AT_MOST} "
        "patterns",
    ]
