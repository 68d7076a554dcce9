"""The steps of a box's first run, and how far they are.

A step is done when the one who sets the box up has gone past it; which are is a setting of the catalog (`setup.done`),
written from the moment the box is claimed on the page. So closing the browser loses nothing, a step can be opened again,
and a box from before there were steps, or one claimed by a program, has none and is not nagged.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import trio

from appliance.identity import recovery_kit
from appliance.management.permissions import Permission
from storage.catalog import AsyncCatalog, Catalog
from ui.pages.views import Attention

SETTING: Final = "setup.done"


class Step(NamedTuple):
    """One page of the first run."""

    key: str
    label: str
    url: str
    needs: Permission


STEPS: Final = (
    Step("owner", "Owner", "/setup", "settings.manage"),
    Step("site", "Site", "/setup/site", "settings.manage"),
    Step("storage", "Storage", "/setup/storage", "settings.manage"),
    Step("recovery_kit", "Recovery kit", "/setup/recovery-kit", "keys.manage"),
    Step("device", "First device", "/setup/device", "devices.manage"),
)
BY_KEY: Final = {step.key: step for step in STEPS}


def step_after(key: str) -> str:
    """The address of the step after one; the Overview's after the last."""
    at = [step.key for step in STEPS].index(key) + 1
    return STEPS[at].url if at < len(STEPS) else "/"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the first run is.

    Attributes:
        begun: The box was claimed on the page.
        done: Keys of the steps that are behind.
    """

    begun: bool
    done: frozenset[str]

    @property
    def next_step(self) -> Step | None:
        """The first step that isn't done; None when all are, or when the box was not set up by steps."""
        if not self.begun:
            return None
        return next((step for step in STEPS if step.key not in self.done), None)


def read_progress(catalog: Catalog) -> Progress:
    """How far it is; a device that was registered anywhere is a first device."""
    kept = catalog.get_setting(SETTING)
    if not isinstance(kept, list):
        return Progress(False, frozenset())
    done = {key for key in kept if key in BY_KEY}
    if "device" not in done and catalog.list_devices(limit=1).devices:
        done.add("device")
    return Progress(True, frozenset(done))


def note_done(catalog: Catalog, key: str) -> None:
    """Count a step as done. On a box that isn't set up by steps it changes nothing, but for `owner`, which begins them."""
    kept = catalog.get_setting(SETTING)
    done = kept if isinstance(kept, list) else []
    if (isinstance(kept, list) or key == "owner") and key not in done:
        catalog.set_setting(SETTING, [*done, key])


async def progress(catalog: AsyncCatalog) -> Progress:
    """See read_progress. Raises Unavailable: the catalog can't be asked."""
    return await catalog.read(read_progress)


async def setup_attention(catalog: AsyncCatalog, data_dir: Path) -> tuple[Attention, ...]:
    """The Overview's line while steps are left. A recovery kit that was confirmed on the command line is a step done."""
    found = await progress(catalog)
    if not await trio.to_thread.run_sync((data_dir / recovery_kit.PENDING).exists):
        found = Progress(found.begun, found.done | {"recovery_kit"})
    step = found.next_step
    if step is None:
        return ()
    text = f"Setting up this box isn't finished. Next: {step.label.lower()}."
    return (Attention(tone="warn", text=text, url=step.url, action="Go on", needs=step.needs),)


async def kit_attention(data_dir: Path) -> tuple[Attention, ...]:
    """The Overview's line until the recovery kit is confirmed."""
    if not await trio.to_thread.run_sync((data_dir / recovery_kit.PENDING).exists):
        return ()
    step = BY_KEY["recovery_kit"]
    text = "The recovery kit isn't kept anywhere yet. If this box dies, all devices' tokens and certificates die with it."
    return (Attention(tone="warn", text=text, url=step.url, action="Save it", needs=step.needs),)
