"""The passwd-file: what a line means, what is faulty in it, when a change counts."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs

from mailgw.mail.address import Mailbox
from mailgw.mail.errors import ConfigError
from mailgw.store.passwd import PasswdFile, account_key, parse_accounts, read_accounts, with_password
from tests.tables import each

ALICE = Mailbox("alice", "example.org")
BOB = Mailbox("bob", "example.org")


def fault_of(stored: str) -> str | None:
    return None if stored.startswith(("{PLAIN}", "{scram")) else "unknown password scheme"


def parse(text: str | bytes) -> tuple[dict[str, str], list[str]]:
    octets = text.encode() if isinstance(text, str) else text
    table = parse_accounts(octets, "passwd", fault_of)
    return dict(table.stored), [str(fault) for fault in table.faults]


def test_lines_comments_and_further_fields() -> None:
    stored, faults = parse(
        "# accounts\n"
        "\n"
        "alice@example.org:{PLAIN}secret:1000:1000::/home/alice::userdb_quota=1G\r\n"
        "  \t\n"
        "Bob@Example.ORG:{PLAIN}x y\n"
        '"a b"@example.org:{PLAIN}z'
    )
    assert faults == []
    assert stored == {
        "alice@example.org": "{PLAIN}secret",
        "bob@example.org": "{PLAIN}x y",
        "a b@example.org": "{PLAIN}z",
    }


def test_accounts_that_nobody_logs_in_to() -> None:
    stored, faults = parse("a@example.org:\nb@example.org:*:1:2\nc@example.org:!\n")
    assert faults == []
    assert set(stored.values()) == {""}


def test_every_fault_is_named_with_its_line_and_no_secret() -> None:
    stored, faults = parse(
        b"alice@example.org:{PLAIN}a\n"
        b"nobody\n"
        b"bob:{PLAIN}b\n"
        b"bob@example.org:{ROT13}c\n"
        b"ALICE@example.org:{PLAIN}d\n"
        b"caf\xe9@example.org:{PLAIN}e\n"
    )
    assert stored == {"alice@example.org": "{PLAIN}a"}
    assert faults == [
        "passwd:2: expected user@domain:{SCHEME}hash, found no colon",
        "passwd:3: expected an address user@domain, found 'bob'",
        "passwd:4: bob@example.org: unknown password scheme",
        "passwd:5: alice@example.org has an account already, in line 1",
        "passwd:6: expected an address user@domain, found 'caf\\udce9@example.org'",
    ]


def test_a_file_that_cannot_be_read_is_one_fault(tmp_path: Path) -> None:
    path = str(tmp_path / "none")
    (fault,) = read_accounts(path, fault_of).faults
    assert str(fault) == f"{path}: cannot be read: No such file or directory"


@given(st.binary(max_size=200))
def test_garbage_raises_nothing(octets: bytes) -> None:
    parse_accounts(octets, "passwd", fault_of)


def test_other_alphabets_never_become_anothers_account() -> None:
    # the Kelvin sign's lower case is k
    assert account_key(Mailbox("\u212aate", "example.org")) == "\u212aate@example.org"
    assert account_key(Mailbox("Kate", "example.org")) == "kate@example.org"


def test_an_account_has_one_name_whichever_form_its_domain_is_written_in() -> None:
    table = parse_accounts("grün@müller.example:\nb@xn--mller-kva.example:\n".encode(), "passwd", fault_of)
    assert list(table.stored) == ["grün@xn--mller-kva.example", "b@xn--mller-kva.example"]
    assert table.faults == ()


# --- setting a password ----------------------------------------------------------------------------


def test_a_password_is_set_in_its_line() -> None:
    before = b"# c:d\nalice@example.org:{PLAIN}a:1:2:x\r\n\nbob@example.org:{PLAIN}b\ncaf\xe9"
    upper = Mailbox("ALICE", "example.org")
    assert with_password(before, upper, "{PLAIN}n") == before.replace(b"{PLAIN}a", b"{PLAIN}n")
    assert with_password(before, BOB, "{PLAIN}n") == before.replace(b"{PLAIN}b", b"{PLAIN}n")
    assert with_password(b"alice@example.org", ALICE, "{PLAIN}n") == b"alice@example.org:{PLAIN}n"


@each(
    ("before", "after"),
    [
        (b"", b"alice@example.org:{PLAIN}n\n"),
        (b"# none\n", b"# none\nalice@example.org:{PLAIN}n\n"),
        (b"bob@example.org:", b"bob@example.org:\nalice@example.org:{PLAIN}n\n"),
    ],
)
def test_a_new_account_comes_last(before: bytes, after: bytes) -> None:
    assert with_password(before, ALICE, "{PLAIN}n") == after


# --- the file over time ----------------------------------------------------------------------------


class Live:
    """A PasswdFile with its file, its clocks and its log."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.path.write_text(text)
        self.clock = Clock()
        self.wall = 1e9
        self._stamp(self.wall - 100)
        self.accounts = PasswdFile(str(path), fault_of, self.clock, lambda: self.wall)

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
        self.clock.advance(seconds)
        self.wall += seconds


@pytest.fixture
def live(tmp_path: Path) -> Live:
    return Live(tmp_path / "passwd", "alice@example.org:{PLAIN}a\n")


def test_who_exists_and_the_password(live: Live) -> None:
    assert live.accounts.has(Mailbox("ALICE", "example.org"))
    assert not live.accounts.has(BOB)
    assert live.accounts.password_of("Alice@Example.org") == "{PLAIN}a"
    assert live.accounts.password_of("bob@example.org") is None
    assert live.accounts.password_of("alice") is None
    assert live.accounts.password_of("\u212a@example.org") is None


def test_a_faulty_file_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        Live(tmp_path / "passwd", "alice:x\nbob:y\n")
    assert [fault.line for fault in raised.value.exceptions if isinstance(fault, ConfigError)] == [1, 2]


def test_a_replaced_file_counts_within_a_second(live: Live) -> None:
    live.replace("bob@example.org:{PLAIN}b\n")
    live.advance(0.5)
    assert live.accounts.has(ALICE)
    live.advance(0.5)
    assert not live.accounts.has(ALICE)
    assert live.accounts.password_of("bob@example.org") == "{PLAIN}b"


def test_a_file_written_in_place_has_to_rest(live: Live) -> None:
    live.advance(10)
    live.overwrite("")  # an editor that truncates first
    assert live.accounts.has(ALICE)
    live.advance(0.5)
    live.overwrite("bob@example.org:{PLAIN}b\n")
    assert live.accounts.has(ALICE)
    live.advance(1)
    assert live.accounts.has(BOB)
    assert not live.accounts.has(ALICE)


def test_a_file_stamped_in_the_future_counts_when_seen_twice(live: Live) -> None:
    live.overwrite("bob@example.org:{PLAIN}b\n")
    os.utime(live.path, (live.wall + 999, live.wall + 999))
    live.advance(1)
    assert not live.accounts.has(BOB)
    live.advance(1)
    assert live.accounts.has(BOB)


def test_faults_in_a_change_take_nobody_away(live: Live) -> None:
    live.replace("alice@example.org {PLAIN}a\nbob@example.org:{PLAIN}b\n")
    live.advance(1)
    with capturedLogs() as logs:
        assert live.accounts.has(ALICE)
        assert live.accounts.password_of("bob@example.org") == "{PLAIN}b"
        live.advance(5)
        assert live.accounts.has(ALICE)
    assert [event["log_level"] for event in logs] == [LogLevel.error]
    assert ":1: expected user@domain" in logs[0]["fault"]
    live.replace("bob@example.org:{PLAIN}b\n")
    live.advance(1)
    assert not live.accounts.has(ALICE)


def test_a_file_that_goes_takes_nobody_away(live: Live) -> None:
    live.path.unlink()
    with capturedLogs() as logs:
        for _ in range(3):
            live.advance(1)
            assert live.accounts.has(ALICE)
    assert len(logs) == 1
    live.replace("bob@example.org:{PLAIN}b\n")
    live.advance(1)
    assert live.accounts.has(BOB)


def test_another_ones_password_is_steady_and_usable(tmp_path: Path) -> None:
    live = Live(tmp_path / "p", "alice@example.org:{PLAIN}a\nbob@example.org:{PLAIN}b\nlist@example.org:*\n")
    found = [live.accounts.another(number) for number in range(6)]
    assert found == ["{PLAIN}a", "{PLAIN}b"] * 3
    live.replace("list@example.org:*\n")
    live.advance(1)
    assert live.accounts.password_of("list@example.org") == ""
    assert live.accounts.another(7) is None


def test_those_of_a_scheme(tmp_path: Path) -> None:
    scram = "{scram-sha-256.b64}x"  # not looked into, here
    live = Live(tmp_path / "p", f"alice@example.org:{{PLAIN}}a\nbob@example.org:{scram}\n")
    found = live.accounts.of_scheme("SCRAM-SHA-256")
    assert found == (scram,)
    assert live.accounts.of_scheme("PLAIN") == ("{PLAIN}a",)
    assert live.accounts.of_scheme("SSHA256") == ()
    live.advance(1)
    assert live.accounts.of_scheme("SCRAM-SHA-256") is found
    live.replace("alice@example.org:{PLAIN}a\n")
    live.advance(1)
    assert live.accounts.of_scheme("SCRAM-SHA-256") == ()
