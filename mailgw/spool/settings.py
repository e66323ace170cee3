"""What a spool must be told."""

import attrs


@attrs.frozen
class SpoolSettings:
    """``folder`` holds the database, ``drafts/``, ``bodies/`` and the lock file, and is made with mode 0700.

    ``reserve_octets`` of its disk are left for the records of what is queued already: below that, no new mail.
    Messages up to ``inline_octets`` are kept in their row, larger ones in a file of their own.
    A message of which nothing is known yet is late ``late_seconds`` after it became due: see ``Postponed.late``.
    ``lease_seconds`` is how long a claim holds without a record: longer than any attempt may take, or mail
    is delivered twice.  ``node`` (at most 8 letters and digits) ends every queue id: one for each gateway, or
    worker, that shares a folder of backups, a log, or a backend that counts on ids being unique.
    """

    folder: str
    reserve_octets: int
    inline_octets: int
    lease_seconds: float
    node: str
    late_seconds: float
