"""Phases of a job on the device, as literal tables: what may follow what, and what a boot makes of each. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Phase(Enum):
    """Where a job is on the device; the value is `phase` of the reports."""

    DOWNLOADING = "downloading"
    DOWNLOADED = "downloaded"
    VERIFIED = "verified"
    WAITING = "wait_window"
    """The box doesn't want it installed yet."""
    INSTALLING = "installing"
    INSTALLED = "installed"
    """The other slot holds it; the box is asked before the restart."""
    REBOOTING = "rebooting"
    TESTING = "testing"
    ILL = "ill"
    """On trial, and its self-test failed: the box decides, or the confirm window ends."""
    ROLLING_BACK = "rolling_back"
    ENDED = "ended"
    """The last report is on its way."""


TRANSITIONS: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.DOWNLOADING: frozenset({Phase.DOWNLOADED, Phase.ENDED}),
    Phase.DOWNLOADED: frozenset({Phase.DOWNLOADING, Phase.VERIFIED, Phase.ENDED}),
    Phase.VERIFIED: frozenset({Phase.DOWNLOADING, Phase.WAITING, Phase.INSTALLING, Phase.ENDED}),
    Phase.WAITING: frozenset({Phase.DOWNLOADING, Phase.INSTALLING, Phase.ENDED}),
    Phase.INSTALLING: frozenset({Phase.DOWNLOADING, Phase.INSTALLED, Phase.ENDED}),
    Phase.INSTALLED: frozenset({Phase.DOWNLOADING, Phase.REBOOTING, Phase.TESTING}),
    Phase.REBOOTING: frozenset({Phase.TESTING, Phase.ENDED}),
    Phase.TESTING: frozenset({Phase.ILL, Phase.ENDED}),
    Phase.ILL: frozenset({Phase.TESTING, Phase.ENDED}),
    Phase.ROLLING_BACK: frozenset({Phase.ENDED}),
    Phase.ENDED: frozenset(),
}
"""What may follow what for one document; another document (the rollback's) begins anew."""

SLOT_UNTOUCHED: Final = frozenset({Phase.DOWNLOADING, Phase.DOWNLOADED, Phase.VERIFIED, Phase.WAITING})
"""The box may take the job back, and nothing has happened."""
