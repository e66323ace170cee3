"""Backends that end on this machine, as the configuration has them."""

import os
from pathlib import Path

import pytest

from mailgw.config.doubts import doubts
from mailgw.config.files import acting_as
from mailgw.deliver.command import CommandSettings
from mailgw.deliver.discard import DiscardSettings
from mailgw.deliver.maildir import Known
from mailgw.deliver.mbox import MboxFormat, MboxSettings
from tests.config.making import faults_of, into, loaded
from tests.tables import each

COMMAND = into("it") + '[backend.it]\ntype = "command"\n'


def program(folder: Path, mode: int = 0o755) -> Path:
    file = folder / "deliver"
    file.write_text("#!/bin/sh\n")
    file.chmod(mode)
    return file


def written(folder: Path, text: str) -> Path:
    file = folder / "a.toml"
    file.write_text(text + '\n[trust]\nquarantine = "hold"\n')
    return file


def test_a_command_with_its_defaults(tmp_path: Path) -> None:
    file = written(tmp_path, COMMAND + 'arguments = ["./deliver", "{recipient}"]\n')
    program(tmp_path)
    [settings] = loaded(file).backends.values()
    assert settings == CommandSettings(
        arguments=(f"{tmp_path}/deliver", "{recipient}"), null_sender="MAILER-DAEMON", crlf=False,
        delivery_fields=False, environment={}, recipients_per_run=1, time_seconds=900.0, output_octets=4096,
        concurrency=20,
    )
    assert doubts(loaded(file)) == []


@each(
    ("key", "why"),
    [
        ("", "arguments: is missing"),
        ("arguments = []", 'arguments: expected at least one, such as "/usr/bin/procmail"'),
        ('arguments = "/bin/true"', "arguments: expected a list, [ … ], not '/bin/true'"),
        ('arguments = ["true"]',
         "arguments: expected the program's whole path, not 'true': it is not looked for in PATH"),
        ('arguments = ["/no/such"]', "arguments: /no/such: cannot be run: No such file or directory"),
        ('arguments = ["/etc"]', "arguments: /etc: is no program"),
        ('arguments = ["/etc/passwd"]', "arguments: /etc/passwd: nobody may run it (chmod +x /etc/passwd)"),
        ('arguments = ["/bin/{domain}"]',
         "arguments: the program itself cannot hang on the message: expected its path"),
        ('arguments = ["/bin/true", "{user}"]', "arguments: unknown {user}; known are {domain}, {local_part}, "
         "{recipient}, {sender}, {queue_id}: '{user}'"),
        ('arguments = ["/bin/sh", "-c", "x {domain}"]',
         "arguments: an address in a script of a shell is a command of whoever sends it: expected it as an argument of "
         'its own behind the script, which reads it as "$1"'),
        ('arguments = ["/bin/true"]\nrecipients_per_run = 1001', "recipients_per_run: expected at most 1000, not 1001"),
        ('arguments = ["/bin/true"]\nline_ends = "CR"', "line_ends: expected 'lf', 'crlf', not 'CR'"),
        ('arguments = ["/bin/true"]\nenvironment = 5',
         'environment: expected a table such as { HOME = "/var/lib/lists" }, not 5'),
        ('arguments = ["/bin/true"]\nenvironment = { A-B = "x" }',
         "environment.A-B: expected a name of letters, digits and _"),
        ('arguments = ["/bin/true"]\nenvironment = { A = 5 }', 'environment.A: expected text ("…"), not 5'),
        ('arguments = ["/bin/true"]\nuser = "x"', "user: unknown key; expected one of "),
    ],
)
def test_a_fault_of_a_command(tmp_path: Path, key: str, why: str) -> None:
    [fault] = faults_of(written(tmp_path, COMMAND + key + "\n"))
    assert fault.partition("backend.it.")[2].startswith(why)


def test_as_many_recipients_a_run_as_the_limit(tmp_path: Path) -> None:
    text = COMMAND + 'arguments = ["/bin/true"]\nrecipients_per_run = 1000\ntime_limit = "61m"\n'
    config = loaded(written(tmp_path, text))
    assert [one.why for one in doubts(config)] == [
        "is longer than [limits] attempt_timeout, which ends an attempt with all its runs"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_program_that_this_user_may_not_run_is_a_doubt(tmp_path: Path) -> None:
    file = written(tmp_path, COMMAND + 'arguments = ["/usr/bin/../bin/true"]\n')
    config = loaded(file)
    with acting_as((65534, 65534)):
        assert not [one for one in doubts(config) if "may not run it" in one.why]
    file = written(tmp_path, COMMAND + f'arguments = ["{program(tmp_path, 0o700)}"]\n')
    config = loaded(file)
    with acting_as((65534, 65534)):
        [doubt] = [one.why for one in doubts(config) if "may not run it" in one.why]
    assert doubt.endswith("may not run it: all its mail waits")


FILE = into("it") + '[backend.it]\ntype = "file"\nrecipients = "any"\n'


def test_a_file_with_its_defaults(tmp_path: Path) -> None:
    config = loaded(written(tmp_path, FILE + 'path = "mail/{local_part}"\n'))
    [settings] = config.backends.values()
    assert settings == MboxSettings(
        path=f"{tmp_path}/mail/{{local_part}}", format=MboxFormat.MBOXRD, recipients=Known.ANY, delimiter="+",
        lock_seconds=10.0, concurrency=20,
    )
    assert doubts(config) == []


@each(
    ("key", "why"),
    [
        ("", "path: is missing"),
        ('path = "mail/"', "path: expected the path of a file, which has a name: 'mail/'"),
        ('path = "{local_part}.lock"', "path: no mailbox has a name that ends in .lock: locks do: '{local_part}.lock'"),
        ('path = "{user}"', "path: unknown {user}; known are {domain}, {local_part} and {address}: '{user}'"),
        ('path = "/etc/passwd/{user}"', "path: unknown {user}"),
        ('path = "/etc/passwd/{domain}"', "path: /etc/passwd/{domain}: /etc/passwd is not a folder"),
        ('path = "/etc"', "path: /etc: is no plain file"),
        ('path = "a"\nformat = "mmdf"', "format: expected 'mboxrd', 'mboxo', not 'mmdf'"),
    ],
)
def test_a_fault_of_a_file(tmp_path: Path, key: str, why: str) -> None:
    [fault] = faults_of(written(tmp_path, FILE + key + "\n"))
    assert fault.partition("backend.it.")[2].startswith(why)


def test_who_exists_is_said_by_accounts(tmp_path: Path) -> None:
    text = FILE.replace('recipients = "any"\n', 'path = "a"\n')
    [fault] = faults_of(written(tmp_path, text))
    assert 'recipients: "accounts" (the default) needs [accounts]' in fault


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_folder_that_this_user_may_not_write_is_a_doubt(tmp_path: Path) -> None:
    config = loaded(written(tmp_path, FILE + 'path = "/etc/{local_part}"\n'))
    assert doubts(config) == []
    with acting_as((65534, 65534)):
        [doubt] = [one.why for one in doubts(config) if one.key.endswith("path")]
    assert doubt.startswith("/etc: user ")
    assert doubt.endswith(" may not write there: mail for it waits")


def test_there_is_nothing_to_say_of_what_is_discarded(tmp_path: Path) -> None:
    text = into("it") + '[backend.it]\ntype = "discard"\n'
    [settings] = loaded(written(tmp_path, text)).backends.values()
    assert settings == DiscardSettings()
    [fault] = faults_of(written(tmp_path, text + "concurrency = 5\n"))
    assert "unknown key" in fault
