"""Why octets are no JSON, in words: msgspec's own, but where they mislead.

RFC 8259 s8.2: half of a surrogate pair, such as an escape "ud800" alone, is no character, and readers do with it
what they will; we refuse it.
"""

import re
from typing import Final

# msgspec looks for the other half, and says that the data ends too early where fewer octets are left than that has.
_HALF_AT_THE_END: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u)[^\\]{0,5}\Z", re.DOTALL)
_FARTHEST: Final = 64


def json_fault(fault: Exception, octets: bytes) -> str:
    """What ``msgspec.json.decode`` raised for ``octets``, to be told."""
    words = str(fault)
    if "truncated" in words and _HALF_AT_THE_END.search(octets[-_FARTHEST:]):
        return r"a \u escape is half of a surrogate pair, which is no character"
    return words
