"""The tables of backends that end on this machine, into their settings; and what of them will be regretted."""

import os
import stat
from collections.abc import Iterator

from mailgw.config.files import folder_fault, user_name
from mailgw.config.lines import Path
from mailgw.config.local_tables import CommandTable, LineEnds, MboxTable
from mailgw.config.settings import Config
from mailgw.deliver.command import CommandSettings
from mailgw.deliver.command_words import vector_fault
from mailgw.deliver.mbox import MboxSettings
from mailgw.store.maildir import template_root


def command(table: CommandTable, folder: str) -> CommandSettings:
    arguments = table.arguments
    spot = table.spot.inner("arguments")
    if arguments and not spot.has_fault:
        if why := vector_fault(arguments):
            spot.fault(why)
        elif "/" not in arguments[0]:
            # Whose PATH?  A test at the operator's would be another program than the one that runs at night.
            spot.fault(f"expected the program's whole path, not {arguments[0]!r}: it is not looked for in PATH")
        else:
            program = arguments[0].replace("{{", "{").replace("}}", "}")
            arguments = (os.path.normpath(os.path.join(folder, program)), *arguments[1:])
            if why := _program_fault(arguments[0]):
                spot.fault(f"{arguments[0]}: {why}")
    return CommandSettings(
        arguments=arguments,
        null_sender=table.null_sender,
        crlf=table.line_ends is LineEnds.CRLF,
        delivery_fields=table.delivery_fields,
        environment=dict(table.environment),
        recipients_per_run=table.recipients_per_run,
        time_seconds=table.time_limit,
        output_octets=table.output_octets,
        concurrency=table.concurrency,
    )


def mbox(table: MboxTable, folder: str) -> MboxSettings:
    path = os.path.join(folder, table.path)
    place = template_root(path)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    if table.path and not os.path.isdir(place):
        table.spot.inner("path").fault(f"{path}: {place} is not a folder")
    elif table.path and "{" not in path and os.path.lexists(path) and not os.path.isfile(path):
        table.spot.inner("path").fault(f"{path}: is no plain file")
    return MboxSettings(
        path=path,
        format=table.format,
        recipients=table.recipients,
        delimiter=table.delimiter,
        lock_seconds=table.lock_timeout,
        concurrency=table.concurrency,
    )


def _program_fault(path: str) -> str | None:
    """Why nobody at all could run it."""
    try:
        facts = os.stat(path)
    except OSError as fault:
        return f"cannot be run: {fault.strerror}"
    if not stat.S_ISREG(facts.st_mode):
        return "is no program"
    if not facts.st_mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH):
        return f"nobody may run it (chmod +x {path})"
    return None


def local_doubts(config: Config) -> Iterator[tuple[Path, str]]:
    """Programs that this user may not run, or that are cut off by a limit of the gateway's; mailboxes where this user
    cannot make a file: each has its lock beside it."""
    for name, backend in config.backends.items():
        if isinstance(backend, MboxSettings) and (why := folder_fault(template_root(backend.path))):
            why = why.replace("this user", f"user {user_name(os.geteuid())}")
            yield ("backend", name, "path"), f"{template_root(backend.path)}: {why}: mail for it waits"
        if not isinstance(backend, CommandSettings):
            continue
        program = backend.arguments[0]
        if not os.access(program, os.X_OK, effective_ids=True):
            why = f"{program}: user {user_name(os.geteuid())} may not run it: all its mail waits"
            yield ("backend", name, "arguments"), why
        if backend.time_seconds > config.limits.attempt_seconds:
            why = "is longer than [limits] attempt_timeout, which ends an attempt with all its runs"
            yield ("backend", name, "time_limit"), why
