"""All probes, in their order."""

from typing import Final

from mailgw.wire.probes import injection, limits, pipelining, relaying, smuggling
from mailgw.wire.probes.script import Probe

GROUPS: Final = {
    "smuggling": smuggling.PROBES,
    "injection": injection.PROBES,
    "relay": relaying.PROBES,
    "pipelining": pipelining.PROBES,
    "limits": limits.PROBES,
}
PROBES: Final[tuple[Probe, ...]] = tuple(probe for group in GROUPS.values() for probe in group)
