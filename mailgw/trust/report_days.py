"""The days that reports are about: a day is a number, days since 1970-01-01, UTC."""

from mailgw.mail.header import civil_date

DAY_SECONDS = 86_400


def day_of(now: float) -> int:
    """The day that ``now`` (epoch seconds) is in."""
    return int(now // DAY_SECONDS)


def day_text(day: int) -> str:
    """As RFC 3339 s5.6 has a date: 2026-11-28."""
    year, month, date = civil_date(day)
    return f"{year:04}-{month:02}-{date:02}"
