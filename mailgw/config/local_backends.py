"""The tables of backends that end on this machine, into their settings; and what of them will be regretted."""

import os
import stat
from collections.abc import Iterator

from mailgw.config.files import user_name
from mailgw.config.lines import Path
from mailgw.config.local_tables import CommandTable, LineEnds
from mailgw.config.settings import Config
from mailgw.deliver.command import CommandSettings
from mailgw.deliver.command_words import vector_fault


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
            arguments = (os.path.join(folder, arguments[0].replace("{{", "{").replace("}}", "}")), *arguments[1:])
            if why := _program_fault(arguments[0]):
                spot.fault(f"{arguments[0]}: {why}")
    return CommandSettings(
        arguments=arguments,
        null_sender=table.null_sender,
        crlf=table.line_ends is LineEnds.CRLF,
        delivery_fields=table.delivery_fields,
        environment=table.environment,
        recipients_per_run=table.recipients_per_run,
        time_seconds=table.time_limit,
        output_octets=table.output_octets,
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
    """Programs that this user may not run, or that are cut off by a limit of the gateway's."""
    for name, backend in config.backends.items():
        if not isinstance(backend, CommandSettings):
            continue
        program = backend.arguments[0]
        if not os.access(program, os.X_OK, effective_ids=True):
            why = f"{program}: user {user_name(os.geteuid())} may not run it: all its mail waits"
            yield ("backend", name, "arguments"), why
        if backend.time_seconds > config.limits.attempt_seconds:
            why = "is longer than [limits] attempt_timeout, which ends an attempt with all its runs"
            yield ("backend", name, "time_limit"), why
