"""How much longer a thing may take where coverage is measured, and each line costs more: for what judges time."""

import sys
from typing import Final

SLOWED: Final = 1 if sys.gettrace() is None else 4
