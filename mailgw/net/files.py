"""Whether a process may open as many files as its sessions need."""

import resource

# Beside the sessions: the queue's and the Maildirs' files, DNS, the journal, threads.
OTHER_FILES = 512


def too_few_files(sessions: int, outbound: int, most: int) -> str | None:
    """Why ``most`` open files (``ulimit -n``) are too few for that many sessions, of clients and with next hops; None
    where they do."""
    needed = sessions + outbound + OTHER_FILES
    if most == resource.RLIM_INFINITY or most >= needed:
        return None
    return (
        f"{sessions} sessions of clients (limits.sessions), {outbound} with other servers (total_concurrency) and all "
        f"else need {needed} open files, and {most} are allowed here: raise the limit (ulimit -n, LimitNOFILE= of "
        "systemd), or lower those"
    )


def open_files_now() -> int:
    """How many this process may open; it can raise that itself to ``open_files_at_most``."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def open_files_at_most() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
