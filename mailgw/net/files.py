"""Whether a process may open as many files as its sessions need."""

import resource

# Beside the sessions: the queue's and the Maildirs' files, connections to next hops, DNS, the journal, threads.
OTHER_FILES = 512


def too_few_files(sessions: int, most: int) -> str | None:
    """Why ``most`` open files (``ulimit -n``) are too few for that many sessions; None where they do."""
    needed = sessions + OTHER_FILES
    if most == resource.RLIM_INFINITY or most >= needed:
        return None
    return (
        f"{sessions} sessions (limits.sessions) with all else need {needed} open files, and {most} are allowed here: "
        "raise the limit (ulimit -n, LimitNOFILE= of systemd), or lower limits.sessions"
    )


def open_files_now() -> int:
    """How many this process may open; it can raise that itself to ``open_files_at_most``."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def open_files_at_most() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
