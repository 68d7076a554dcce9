"""Whose readings are kept, and who is put on the list of those waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from appliance.core.clock import ManualClock, SystemClock
from appliance.core.errors import Unavailable
from appliance.core.limits import CACHE_TTL_MS
from appliance.run.directory import CONTACT_MESSAGE_COUNT_MAX, CatalogDirectory, FirstContacts
from storage.catalog import AsyncCatalog
from tests.acts import ACT


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[AsyncCatalog]:
    async with AsyncCatalog.opened(
        tmp_path / "catalog.db", clock=SystemClock(), node_id=bytes(16)
    ) as catalog:
        yield catalog


async def test_readings_are_kept_of_active_and_waiting_devices_only(tmp_path: Path) -> None:
    async with opened(tmp_path) as catalog:
        directory = CatalogDirectory(catalog, SystemClock(), waits=True)
        await catalog.write(lambda writer: writer.add_device("active"), by=ACT)
        await catalog.write(
            lambda writer: writer.note_first_contact(["waiting", "rejected"], at_ms=1), by=ACT
        )
        await catalog.write(lambda writer: writer.reject_device("rejected"), by=ACT)
        asked = ["active", "waiting", "rejected", "stranger"]
        assert sorted(await directory.known(asked)) == ["active", "waiting"]


@pytest.mark.parametrize("waits", [True, False])
async def test_a_first_contact_waits_only_where_that_is_configured(tmp_path: Path, waits: bool) -> None:
    async with opened(tmp_path) as catalog:
        directory = CatalogDirectory(catalog, SystemClock(), waits=waits)
        kept = await directory.first_contact(["stranger", "not/an/id"])
        assert list(kept) == (["stranger"] if waits else [])
        assert await catalog.read(lambda reader: reader.device_ids()) == list(kept)


async def test_names_from_the_broker_are_listed_and_a_flood_is_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path) as catalog:
        contacts = FirstContacts(CatalogDirectory(catalog, SystemClock(), waits=True))
        with capture_logs() as said:
            for number in range(CONTACT_MESSAGE_COUNT_MAX + 3):
                contacts.note([f"d{number:02}"])
        assert [each["event"] for each in said] == ["too many unknown devices at once"] * 3
        listed = trio.Event()
        writes = 0

        def count(_changes: object) -> None:
            nonlocal writes
            writes += 1
            if writes == CONTACT_MESSAGE_COUNT_MAX:
                listed.set()

        unsubscribe = catalog.subscribe(count)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(contacts.run)
            with trio.fail_after(60):
                await listed.wait()
            nursery.cancel_scope.cancel()
        unsubscribe()
        ids = await catalog.read(lambda reader: reader.device_ids())
        assert ids == [f"d{number:02}" for number in range(CONTACT_MESSAGE_COUNT_MAX)]


class FailsOnce(CatalogDirectory):
    """A catalog that can't be written the first time."""

    def __init__(self, catalog: AsyncCatalog) -> None:
        super().__init__(catalog, SystemClock(), waits=True)
        self.calls = 0
        self.listed = trio.Event()

    async def first_contact(self, device_ids: Sequence[str]) -> Collection[str]:
        self.calls += 1
        if self.calls == 1:
            raise Unavailable("The catalog is busy.", hint="Try again in a moment.")
        kept = await super().first_contact(device_ids)
        self.listed.set()
        return kept


async def test_a_catalog_that_fails_does_not_end_the_listing(tmp_path: Path) -> None:
    async with opened(tmp_path) as catalog:
        directory = FailsOnce(catalog)
        contacts = FirstContacts(directory)
        contacts.note(["lost"])
        contacts.note(["kept"])
        with capture_logs() as said:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(contacts.run)
                with trio.fail_after(60):
                    await directory.listed.wait()
                nursery.cancel_scope.cancel()
        assert [(each["event"], bool(each["hint"])) for each in said] == [
            ("unknown devices could not be listed", True)
        ]
        assert await catalog.read(lambda reader: reader.device_ids()) == ["kept"]


async def test_known_devices_are_answered_for_from_memory_while_the_catalog_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*args: object, **kwargs: object) -> None:
        raise Unavailable("It is locked.", hint="Wait.", code="catalog_locked")

    clock = ManualClock()
    async with opened(tmp_path) as catalog:
        directory = CatalogDirectory(catalog, clock, waits=False)
        for device_id in ("a", "b"):
            await catalog.write(lambda writer, name=device_id: writer.add_device(name), by=ACT)  # type: ignore[misc]
        assert sorted(await directory.known(["a", "b", "stranger"])) == ["a", "b"]
        clock.advance(CACHE_TTL_MS)
        monkeypatch.setattr(catalog, "read", away)
        assert sorted(await directory.known(["a", "b"])) == ["a", "b"]
        await catalog.write(lambda writer: writer.decommission_device("b"), by=ACT)
        for asked in (["b"], ["a", "stranger"]):
            with pytest.raises(Unavailable):
                await directory.known(asked)


async def test_a_device_of_another_node_is_taken_until_the_catalog_knows_better(tmp_path: Path) -> None:
    async with opened(tmp_path) as catalog:
        directory = CatalogDirectory(catalog, SystemClock(), waits=True)
        assert await directory.of_site(["new"]) == ["new"]
        await directory.first_contact(["waits"])
        assert await directory.of_site(["new", "waits"]) == ["new"]
        assert await directory.known(["new", "waits"]) == ["waits"]
