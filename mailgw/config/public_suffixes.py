"""The list of public suffixes, where ``mailgw[psl]`` is installed."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList


def public_suffixes() -> "PublicSuffixList | None":
    """The list that comes with the package; None without it.

    To read it takes a tenth of a second, so it is read once: a command asks about each of many domains.  A gateway
    that runs asks about none, and does not keep it.
    """
    try:
        from publicsuffixlist import PublicSuffixList
    except ImportError:
        return None
    return _read(PublicSuffixList)


@cache
def _read(kind: "type[PublicSuffixList]") -> "PublicSuffixList":
    return kind()
