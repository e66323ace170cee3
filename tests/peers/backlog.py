"""A large queue of deferred mail, written straight into a spool's database.

Most is due in some hours; a hundredth has been due since yesterday, to destinations where nobody answers.
"""

import time
from pathlib import Path

from mailgw.spool.schema import connect_writer, migrate

DOMAINS = 10_000


def fill(folder: Path, count: int) -> None:
    """A queue as an earlier gateway left it, in the folder of a spool, which it makes."""
    for one in (folder.parent, folder):
        one.mkdir(mode=0o700)
    database = folder / "queue.sqlite"
    connection = connect_writer(str(database))
    migrate(connection, str(database))
    now = time.time()
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO message (queue_id, arrived, reverse_path, body_type, size, peer, helo, login, protocol,"
        " session_id, body, parameters) VALUES (?, ?, ?, '7BIT', 40, '', '', '', '', '', 'Subject: x', '')",
        ((f"{number:013x}0000", now - 3600, f"s{number % 97}@sender.test") for number in range(count)),
    )
    connection.executemany(
        "INSERT INTO recipient (queue_id, row, sender, recipient, domain, lane, due, attempts, reason, warned, token,"
        " parameters, priority, late) VALUES (?, 1, ?, ?, ?, ?, ?, 3, 'busy', 1, NULL, '', 0, ?)",
        (
            (
                f"{number:013x}0000", f"s{number % 97}@sender.test", f"a@d{number % DOMAINS}.test",
                f"d{number % DOMAINS}.test", f"away/d{number % DOMAINS}.test",
                now - 86400 if number % 100 == 0 else now + 10_000 + number % 7000, now + 400_000,
            )
            for number in range(count)
        ),
    )
    connection.execute("COMMIT")
    connection.close()
