"""How often to look whether what a test waits for has come: soon and often at first, then less and less.

Who asks a whole box fifty times a second keeps it from doing what is waited for, and all other tests too.
"""

from __future__ import annotations

import time
from typing import Final

FIRST_S: Final = 0.02
LAST_S: Final = 0.25
GROWTH: Final = 1.25


class Pause:
    """A pause between two looks, each longer than the one before."""

    def __init__(self) -> None:
        self.next_s = FIRST_S

    def __call__(self) -> None:
        time.sleep(self.next_s)
        self.next_s = min(LAST_S, self.next_s * GROWTH)
