"""What the pipeline asks of the catalog: whose readings are kept. Wired in appliance.run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from appliance.core.limits import TOPIC_ROUTE_COUNT_MAX


class DeviceDirectory(Protocol):
    """The catalog's devices, as the pipeline sees them."""

    async def known(self, device_ids: Sequence[str]) -> Collection[str]:
        """Those of the ids whose readings are kept: in the catalog as active or waiting for adoption.

        Raises:
            Unavailable, StorageError: the catalog can't say now; the pipeline asks again.
        """

    async def first_contact(self, device_ids: Sequence[str]) -> Collection[str]:
        """Devices that `known` didn't name have been heard of.

        With devices.first_contact = "wait", creates those that aren't in the catalog as waiting for adoption.

        Returns:
            Those whose readings are kept from now on; none with "refuse".
        """

    async def of_site(self, device_ids: Sequence[str]) -> Collection[str]:
        """Devices that `known` didn't name have been heard of by another node of the site, and by that one alone.

        Returns:
            Those that are in no catalog here: that node has taken them, and what it knows of them comes after their readings. Raises as `known`.
        """


class Admissions:
    """The pipeline's memory of the directory's answers; bounded, and forgotten when the catalog changes.

    Attributes:
        elsewhere: Of those that are about to be asked about, who was heard of by other nodes of the site alone.
    """

    def __init__(self, *, device_count_max: int = TOPIC_ROUTE_COUNT_MAX) -> None:
        self._accepted: dict[str, bool] = {}
        self._device_count_max = device_count_max
        self._is_stale = False
        self.elsewhere: frozenset[str] = frozenset()

    def is_accepted(self, device_id: str) -> bool:
        """The directory's answer. Only for devices of the batch that `unknown` was last asked about."""
        return self._accepted[device_id]

    def unknown(self, device_ids: Collection[str]) -> list[str]:
        """Those that must be asked about before their batch can be built."""
        # Only here, between two batches: no answer may vanish while a batch is built from it.
        if self._is_stale or len(self._accepted) > self._device_count_max:
            self._is_stale = False
            self._accepted = {}
        return sorted(set(device_ids) - self._accepted.keys())

    def note(self, device_ids: Collection[str], accepted: Collection[str]) -> None:
        kept = set(accepted)
        self._accepted.update((device_id, device_id in kept) for device_id in device_ids)

    def forget(self) -> None:
        """A device was added, adopted or rejected: ask again from the next batch on. From any thread."""
        self._is_stale = True
