"""Maildirs: no mailbox leaves its folder or shares it, and a file is there whole or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailgw.disk import Disk
from mailgw.mail.address import Mailbox
from mailgw.store.maildir import (
    LineFeeds,
    Maildirs,
    UniqueNames,
    folder_of,
    sub_folder_fault,
    template_fault,
    template_root,
    top_fields,
    with_line_feeds,
    without_tag,
)
from mailgw.testing.disk import MemoryDisk
from tests.store.fake_disk import Crash, ScriptedDisk
from tests.tables import each

TEMPLATE = "/var/mail/{domain}/{local_part}"

# --- whose folder is where -------------------------------------------------------------------------


@each(
    ("local_part", "domain", "folder"),
    [
        ("alice", "example.org", "/var/mail/example.org/alice"),
        ("Alice.B+x=y_z-1", "example.org", "/var/mail/example.org/alice.b+x=y_z-1"),
        ("..", "example.org", "/var/mail/example.org/%2e."),
        (".", "example.org", "/var/mail/example.org/%2e"),
        (".Sent", "example.org", "/var/mail/example.org/%2esent"),
        ("../../etc/passwd", "example.org", "/var/mail/example.org/%2e.%2f..%2fetc%2fpasswd"),
        ("a%2fb", "example.org", "/var/mail/example.org/a%252fb"),
        ("a\0b c{domain}", "example.org", "/var/mail/example.org/a%00b%20c%7bdomain%7d"),
        ("é\udce9", "[IPv6:2001:db8::1]", "/var/mail/%5bipv6%3a2001%3adb8%3a%3a1%5d/%c3%a9%ed%b3%a9"),
        ("", "", "/var/mail/%/%"),
    ],
)
def test_folders(local_part: str, domain: str, folder: str) -> None:
    assert folder_of(TEMPLATE, Mailbox(local_part, domain)) == folder


def test_the_whole_address() -> None:
    assert folder_of("/m/{address}/Maildir", Mailbox("a@B", "example.org")) == "/m/a%40b@example.org/Maildir"
    assert folder_of("/m", Mailbox("a", "example.org")) == "/m"


def test_long_names_are_cut_and_stay_their_own() -> None:
    names = [os.path.basename(folder_of(TEMPLATE, Mailbox("x" * 300 + end, "example.org"))) for end in ("a", "b")]
    assert names[0] != names[1]
    assert all(len(name) == 200 for name in names)
    assert len(os.path.basename(folder_of("/m/{address}", Mailbox("x" * 150, "y" * 150)))) == 200
    # The cut name of one is not the whole name of another.
    assert folder_of(TEMPLATE, Mailbox(names[0], "example.org")) != f"/var/mail/example.org/{names[0]}"


ALPHABET = st.one_of(st.sampled_from("abAB.+=_-~%/\\@{} \0\n"), st.characters())
LOCAL_PARTS = st.text(ALPHABET, max_size=12) | st.text(ALPHABET, max_size=4).map(lambda s: s * 70)


def same_mailbox(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


@given(LOCAL_PARTS, LOCAL_PARTS)
@example("K", "\u212a")
@example("a.b", "A.B")
def test_no_local_part_leaves_its_folder_or_becomes_anothers(one: str, other: str) -> None:
    folders = []
    for local_part in (one, other):
        folder = folder_of(TEMPLATE, Mailbox(local_part, "example.org"))
        assert os.path.dirname(folder) == "/var/mail/example.org"
        assert os.path.normpath(folder) == folder
        name = os.path.basename(folder)
        assert name
        assert not name.startswith(".")
        assert name == name.lower()
        assert len(name.encode()) <= 255
        assert "\0" not in name
        folders.append(folder)
    assert (folders[0] == folders[1]) == (same_mailbox(one) == same_mailbox(other))


@given(st.tuples(LOCAL_PARTS, LOCAL_PARTS), st.tuples(LOCAL_PARTS, LOCAL_PARTS))
@example(("a", "b@c"), ("a@b", "c"))
def test_addresses_share_no_folder(one: tuple[str, str], other: tuple[str, str]) -> None:
    folders = [folder_of("/m/{address}", Mailbox(*pair)) for pair in (one, other)]
    assert (folders[0] == folders[1]) == (same_mailbox("\1".join(one)) == same_mailbox("\1".join(other)))


@each(
    ("template", "why"),
    [
        (TEMPLATE, None),
        ("/m/{address}", None),
        ("/home/mail", None),
        ("/m/{local_part}.x/{domain}", None),
        ("/m/{user}", "unknown {user}"),
        ("/m/{}", "unknown {}"),
        ("/m/{domain", "a brace without its partner"),
        ("/m/domain}", "a brace without its partner"),
        ("/m/{domain}-{local_part}", "need a / between"),
        ("/m/{domain}{local_part}", "need a / between"),
    ],
)
def test_templates(template: str, why: str | None) -> None:
    fault = template_fault(template)
    assert (fault is None) if why is None else (fault is not None and why in fault)


@each(
    ("name", "why"),
    [
        (".Junk", None),
        ("Junk", None),
        (".INBOX.Junk mail", None),
        (".Entw&APw-rfe", None),
        ("." + "x" * 254, None),
        ("." + "x" * 255, "more than 255 characters"),
        ("", "expected a folder's name"),
        (".", "expected a folder's name"),
        ("..", "expected a folder's name"),
        ("..Junk", "expected a folder's name"),
        (".Junk.", "expected a folder's name"),
        (".Junk..x", "expected a folder's name"),
        ("../Junk", "expected a folder's name"),
        (".Junk/x", "expected a folder's name"),
        (".Junk\0", "expected a folder's name"),
        (".Junk\n", "expected a folder's name"),
        (".Müll", "expected a folder's name"),
        ("new", "a name of the Maildir's own"),
        ("maildirfolder", "a name of the Maildir's own"),
    ],
)
def test_names_of_folders_within_a_maildir(name: str, why: str | None) -> None:
    fault = sub_folder_fault(name)
    assert (fault is None) if why is None else (fault is not None and why in fault)


def test_roots() -> None:
    assert template_root(TEMPLATE) == "/var/mail"
    assert template_root("/var/mail/x-{domain}") == "/var/mail"
    assert template_root("/home/mail") == "/home"


@each(
    ("local_part", "delimiter", "expected"),
    [
        ("user+tag", "+", "user"),
        ("user+a+b", "+", "user"),
        ("user-tag", "+", "user-tag"),
        ("user-tag", "-", "user"),
        ("user+tag", "", "user+tag"),
        ("+tag", "+", "+tag"),
        ("user+", "+", "user"),
    ],
)
def test_sub_addresses(local_part: str, delimiter: str, expected: str) -> None:
    assert without_tag(Mailbox(local_part, "x"), delimiter) == Mailbox(expected, "x")


# --- what is written -------------------------------------------------------------------------------


def test_names_are_unique_and_tell_no_path() -> None:
    names = UniqueNames("mx/1:example.org", 42, "c0ffee", lambda: 1795478400.25)
    assert names() == "1795478400.M250000P42Rc0ffeeQ1.mx\\0571\\072example.org"
    assert names() != names()


def test_top_fields() -> None:
    sender, recipient = Mailbox("s p", "example.com"), Mailbox("alice", "example.org")
    assert top_fields(sender, recipient) == (
        b'Return-Path: <"s p"@example.com>\nDelivered-To: alice@example.org\n'
    )
    assert top_fields(None, recipient).startswith(b"Return-Path: <>\n")


def test_top_fields_of_utf_8_mail_are_utf_8() -> None:
    octets = top_fields(Mailbox("grün", "example.com"), Mailbox("用户", "xn--fsqu00a.example"))
    assert octets == "Return-Path: <grün@example.com>\nDelivered-To: 用户@xn--fsqu00a.example\n".encode()


def test_no_mailbox_writes_a_field_of_its_own() -> None:
    octets = top_fields(Mailbox("a\nX: y", "example.com"), Mailbox("b\r\0é\u2028", "example.org"))
    assert octets == b'Return-Path: <"a?X: y"@example.com>\nDelivered-To: "b????"@example.org\n'


@given(st.lists(st.binary(max_size=5) | st.sampled_from([b"\r", b"\n", b"\r\n", b"a\r"]), max_size=12))
def test_line_feeds_over_any_split(chunks: list[bytes]) -> None:
    feeds = LineFeeds()
    assert b"".join([*map(feeds.feed, chunks), feeds.end()]) == with_line_feeds(b"".join(chunks))


# --- the files -------------------------------------------------------------------------------------


def maildirs(disk: Disk) -> Maildirs:
    return Maildirs(disk, UniqueNames("mx", 1, "a", lambda: 1.5))


def new_in(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted((folder / "new").iterdir())]


def test_the_steps_of_a_delivery(tmp_path: Path) -> None:
    folder = tmp_path / "example.org" / "alice"
    disk = ScriptedDisk()
    mail = maildirs(disk)
    assert mail.finish([mail.start(str(folder), [b"a", b"b"])]) == [None]
    steps = [step.replace(f"{tmp_path}/example.org", "D") for step in disk.steps]
    assert steps == [
        "create D/alice/tmp/1.M500000P1RaQ1.mx",
        "new_folder D",
        f"sync_folder {tmp_path}",
        "new_folder D/alice",
        "sync_folder D",
        "new_folder D/alice/new",
        "new_folder D/alice/cur",
        "sync_folder D/alice",
        "new_folder D/alice/tmp",
        "create D/alice/tmp/1.M500000P1RaQ1.mx",
        "write D/alice/tmp/1.M500000P1RaQ1.mx",
        "sync D/alice/tmp/1.M500000P1RaQ1.mx",
        "close D/alice/tmp/1.M500000P1RaQ1.mx",
        "rename D/alice/new/1.M500000P1RaQ1.mx",
        "sync_folder D/alice/new",
    ]
    assert new_in(folder) == [b"ab"]
    for path in (tmp_path / "example.org", folder, *folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(next((folder / "new").iterdir()).stat().st_mode) == 0o600


def test_the_steps_of_a_delivery_into_a_folder_within(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    mail = maildirs(disk)
    assert mail.finish([mail.start(str(tmp_path / "alice"), [b"a"], ".Junk")]) == [None]
    assert [step.replace(str(tmp_path), "D") for step in disk.steps] == [
        "create D/alice/.Junk/tmp/1.M500000P1RaQ1.mx",
        "new_folder D/alice",
        "sync_folder D",
        "new_folder D/alice/new",
        "new_folder D/alice/cur",
        "sync_folder D/alice",
        "new_folder D/alice/tmp",
        "new_folder D/alice/.Junk",
        "sync_folder D/alice",
        "new_folder D/alice/.Junk/new",
        "new_folder D/alice/.Junk/cur",
        "create D/alice/.Junk/maildirfolder",
        "close D/alice/.Junk/maildirfolder",
        "sync_folder D/alice/.Junk",
        "new_folder D/alice/.Junk/tmp",
        "create D/alice/.Junk/tmp/1.M500000P1RaQ1.mx",
        "write D/alice/.Junk/tmp/1.M500000P1RaQ1.mx",
        "sync D/alice/.Junk/tmp/1.M500000P1RaQ1.mx",
        "close D/alice/.Junk/tmp/1.M500000P1RaQ1.mx",
        "rename D/alice/.Junk/new/1.M500000P1RaQ1.mx",
        "sync_folder D/alice/.Junk/new",
    ]
    junk = tmp_path / "alice" / ".Junk"
    assert new_in(junk) == [b"a"]
    for path in (junk, junk / "new", junk / "cur", junk / "tmp"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((junk / "maildirfolder").stat().st_mode) == 0o600
    # What is there is not made again.
    disk.steps.clear()
    assert mail.finish([mail.start(str(tmp_path / "alice"), [b"b"], ".Junk")]) == [None]
    assert len(disk.steps) == 6
    (junk / "new").rename(tmp_path / "gone")
    assert mail.finish([mail.start(str(tmp_path / "alice"), [b"c"], ".Junk")]) == [None]
    assert new_in(junk) == [b"c"]


def test_a_group_syncs_each_folder_once(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    mail = maildirs(disk)
    folders = [str(tmp_path / name) for name in "aabab"]
    assert mail.finish([mail.start(folder, [b"x"]) for folder in folders]) == [None] * 5
    assert [step for step in disk.steps if step.endswith("/new") and step.startswith("sync_folder")] == [
        f"sync_folder {tmp_path}/a/new", f"sync_folder {tmp_path}/b/new",
    ]
    assert len(new_in(tmp_path / "a")) == 3


@each("sub", ["", ".Junk"])
def test_a_crash_before_any_step_leaves_no_torn_file_in_new(tmp_path: Path, sub: str) -> None:
    for crash_at in range(100):
        maildir = tmp_path / f"{crash_at}{sub}"
        folder = maildir / sub
        disk = ScriptedDisk(crash_at)
        mail = maildirs(disk)
        try:
            assert mail.finish([mail.start(str(maildir), [b"whole"], sub)]) == [None]
        except Crash:
            assert not (folder / "new").exists() or new_in(folder) in ([], [b"whole"])
            for descriptor in disk.open:
                os.close(descriptor)
            # And the next start delivers into whatever is left of the folders.
            after = Maildirs(Disk(), UniqueNames("mx", 2, "b", lambda: 2.0))
            assert after.finish([after.start(str(maildir), [b"again"], sub)]) == [None]
            assert b"again" in new_in(folder)
            assert not sub or (folder / "maildirfolder").exists()
        else:
            break
    else:
        pytest.fail("it never ended")
    assert crash_at > 10


@each("sub", ["", ".Junk"])
def test_what_a_kill_left_half_made_is_safe_before_mail_is_in_it(sub: str) -> None:
    disk = MemoryDisk()
    disk.make_folder("/mail/alice" if sub else "/mail")
    mail = maildirs(disk)
    if sub:
        assert mail.finish([mail.start("/mail/alice", [b"before"])]) == [None]
    disk.new_folder("/mail/alice/.Junk" if sub else "/mail/alice")  # and there the process ended
    assert mail.finish([mail.start("/mail/alice", [b"whole"], sub)]) == [None]
    disk.crash()
    assert disk.holds(b"whole")
    assert disk.is_folder(f"/mail/alice/{sub}".rstrip("/")), "its name is not on disk"


def test_who_may_not_look_at_the_folder_above_has_a_maildir_all_the_same(tmp_path: Path) -> None:
    class Unseen(Disk):
        def sync_folder(self, path: str) -> None:
            if path == str(tmp_path):
                raise PermissionError(errno.EACCES, "Permission denied", path)
            super().sync_folder(path)

    (tmp_path / "a").mkdir()
    mail = maildirs(Unseen())
    assert mail.finish([mail.start(str(tmp_path / "a"), [b"x"])]) == [None]
    assert new_in(tmp_path / "a") == [b"x"]


@each("step", ["create", "sync_folder {}", "sync_folder {}/.Junk", "close {}/.Junk/maildirfolder", "sync_folder"])
def test_an_error_while_a_folder_within_is_made(tmp_path: Path, step: str) -> None:
    folder = tmp_path / step.replace("{}", "").replace("/", "")
    disk = ScriptedDisk()
    disk.errors = {step.format(folder): errno.ENOSPC}
    mail = maildirs(disk)
    with pytest.raises(OSError, match="No space"):
        mail.start(str(folder), [b"x"], ".Junk")
    assert disk.open == {}
    disk.errors = {}
    assert mail.finish([mail.start(str(folder), [b"x"], ".Junk")]) == [None]
    assert new_in(folder / ".Junk") == [b"x"]
    assert (folder / ".Junk" / "maildirfolder").read_bytes() == b""


@each(
    "step", ["create", "write", "sync ", "close", "rename", "sync_folder {}/new", "new_folder {}/tmp"]
)
def test_an_error_at_a_step_is_told_and_leaves_nothing_behind(tmp_path: Path, step: str) -> None:
    folder = tmp_path / step.partition(" {}/")[0].strip() / "alice"
    disk = ScriptedDisk()
    disk.errors = {step.format(folder): errno.ENOSPC}
    mail = maildirs(disk)
    try:
        (fault,) = mail.finish([mail.start(str(folder), [b"x"])])
    except OSError as error:
        fault = error
    assert fault is not None
    assert fault.errno == errno.ENOSPC
    assert disk.open == {}
    assert [path for path in folder.parent.rglob("*") if path.is_file()] == []
    disk.errors = {}
    assert mail.finish([mail.start(str(folder), [b"x"])]) == [None]
    assert new_in(folder) == [b"x"]


def test_an_error_of_one_is_no_error_of_another(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    mail = maildirs(disk)
    files = [mail.start(str(tmp_path / name), [b"x"]) for name in "ab"]
    disk.errors = {f"sync_folder {tmp_path}/a/new": errno.EIO}
    faults = mail.finish(files)
    assert faults[0] is not None
    assert faults[1] is None


def test_what_cannot_be_taken_back_is_left(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    mail = maildirs(disk)
    disk.errors = {"sync_folder": errno.EIO, "remove": errno.EACCES, "close": errno.EIO}
    os.makedirs(tmp_path / "a" / "tmp")
    file = mail.start(str(tmp_path / "a"), [b"x"])
    mail.abandon(file)
    assert disk.open == {}
    assert mail.finish([mail.start(str(tmp_path / "a"), [b"x"])])[0] is not None


def test_a_folder_that_went_is_made_again(tmp_path: Path) -> None:
    mail = maildirs(Disk())
    file = mail.start(str(tmp_path / "a"), [b"x"])
    (tmp_path / "a" / "new").rmdir()
    assert mail.finish([file]) == [None]
    assert new_in(tmp_path / "a") == [b"x"]


def test_what_exists(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    mail = maildirs(Disk())
    assert mail.exists(str(tmp_path))
    assert not mail.exists(str(tmp_path / "file"))
    assert not mail.exists(str(tmp_path / "none"))
    assert not mail.exists(str(tmp_path / "file" / "below"))
    with pytest.raises(OSError, match="too long"):
        mail.exists(str(tmp_path / ("x" * 300)))
