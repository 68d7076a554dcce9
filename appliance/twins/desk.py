"""Twins for whoever needs them: devices by their requests, the API and the pages, and others of the node that want to hear of changes.

Whoever changes a twin for a person writes by `TwinTable` in a transaction of their own (under the person's name, with what they checked
first) and says so here (`changed`); what devices say is put together with what others say at the time (writer.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from appliance.core.clock import Clock
from appliance.core.errors import LimitExceeded
from appliance.core.limits_twins import (
    TWIN_DESIRED_BY_DEVICE_COUNT_MAX,
    TWIN_DESIRED_BY_DEVICE_WINDOW_S,
    TWIN_DESIRED_DEVICE_COUNT_MAX,
)
from appliance.core.token_bucket import BucketTable, Quota
from appliance.management.twin import TwinChange
from appliance.twins.listening import Listening
from appliance.twins.telling import Telling, TellingStatistics
from appliance.twins.writer import BatchWriter
from storage.catalog import AsyncCatalog
from storage.catalog.twins import KeptTwin, TwinChanged

Subscriber = Callable[[TwinChanged], None]


class TwinDesk:
    """See the module's docstring. Used from one event loop."""

    def __init__(
        self, catalog: AsyncCatalog, writer: BatchWriter, listening: Listening, *, clock: Clock
    ) -> None:
        self._catalog = catalog
        self._writer = writer
        self._telling = Telling(catalog, listening, clock=clock)
        self._clock = clock
        self._wishes = BucketTable(
            Quota("desired-by-device", TWIN_DESIRED_BY_DEVICE_COUNT_MAX, TWIN_DESIRED_BY_DEVICE_WINDOW_S),
            count_max=TWIN_DESIRED_DEVICE_COUNT_MAX,
        )
        self._subscribers: list[Subscriber] = []

    async def run(self) -> None:
        """Say what is due. Runs until cancelled."""
        await self._telling.run()

    async def get(self, device_id: str, name: str) -> KeptTwin:
        """The twin.

        Raises:
            NotFound: `twin_unknown`. UsageError: `twin_name_invalid`. Unavailable: the catalog is busy.
        """
        return await self._catalog.read(lambda reader: reader.get_twin(device_id, name), pool="devices")

    async def update_by_device(self, device_id: str, name: str, change: TwinChange) -> TwinChanged:
        """Put a change on top of a twin. Raises LimitExceeded: `desired_too_often`, and as TwinTable.update_twin and BatchWriter.write."""
        if change.desired is not None:
            self._take_wish(device_id)
        changed = await self._writer.write(lambda catalog: catalog.update_twin(device_id, name, change))
        self.changed(changed, client_token=change.client_token)
        return changed

    async def delete_by_device(self, device_id: str, name: str, *, version: int | None) -> TwinChanged:
        """Delete a twin. Raises LimitExceeded: `desired_too_often`, and as TwinTable.delete_twin and BatchWriter.write."""
        self._take_wish(device_id)
        changed = await self._writer.write(
            lambda catalog: catalog.delete_twin(device_id, name, version=version)
        )
        self.changed(changed)
        return changed

    def _take_wish(self, device_id: str) -> None:
        """Refuse a device that changes what is desired of it too often: that is replicated, and kept for long."""
        now_mono_ms = self._clock.mono_ms()
        bucket = self._wishes.bucket(device_id, now_mono_ms)
        if bucket.wait_ms(now_mono_ms):
            raise LimitExceeded(
                "The device has changed what is desired of it, or deleted twins, too often.",
                hint=f"Two changes a minute are taken, {TWIN_DESIRED_BY_DEVICE_COUNT_MAX} at once; report as often as you like.",
                code="desired_too_often",
            )
        bucket.take()

    def changed(self, changed: TwinChanged, *, client_token: str | None = None) -> None:
        """Have a change that is committed said to its device and to subscribers."""
        self._telling.tell(changed, client_token=client_token)
        for subscriber in tuple(self._subscribers):
            subscriber(changed)

    def look(self, device_ids: Iterable[str]) -> None:
        """Another node of the site changed what these devices are wanted to be."""
        self._telling.look(device_ids)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Be told of each change after its commit; returns how to end it.

        Args:
            subscriber: Quick, must not raise.
        """
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def statistics(self) -> TellingStatistics:
        return self._telling.statistics()
