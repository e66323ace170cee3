"""When a worker that answers nothing any more is taken for hung.

Pure.  Looks are counted, not seconds: a machine that slept for an hour has made one look, and nobody has hung by that.
"""

from typing import Final

import attrs

LOOK_SECONDS: Final = 5.0
# Looks in a row without an answer: a minute.  Nothing of ours holds a worker up for a second; a plug-in may that is not
# meant for a service, and is better off with a traceback in its log than with half a gateway that accepts nothing.
SILENT_LOOKS: Final = 12


@attrs.define
class Watch:
    """Of one process."""

    silent: int = 0

    def look(self) -> bool:
        """Nothing came since the last question; True once, when that is enough."""
        self.silent += 1
        return self.silent == SILENT_LOOKS

    def heard(self) -> None:
        self.silent = 0
