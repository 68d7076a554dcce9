"""The page Storage: days, classes, restoring, erasures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from storage.catalog import Catalog
from tests.acts import ACT
from tests.keeper_stand_in import TODAY, Keeper
from tests.node_kit import running_node
from tests.people_kit import person


async def test_it_shows_days_classes_and_what_is_wrong(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        page = (await client.get("/storage")).text
        for text in (
            "2025-11-17", "in the archive", "12 not archived yet", "default-000.parquet: it is missing", "damaged",
            "1 day in the archive is not", "41 days", "what fits no other", "Nothing was erased.",
        ):  # fmt: skip
            assert text in page, text
        assert 'action="/storage/restore"' not in page
        assert "Make or change a class" not in page
        keeper = node.services.keeper
        assert isinstance(keeper, Keeper)
        keeper.days_left = 3.2
        keeper.now = replace(
            keeper.now, state="failing", incident="archiving: no room.", hint="Free some.", faulty_days=0
        )
        page = (await client.get("/storage")).text
        assert "archiving: no room. Free some." in page
        assert "3 days</span>" in page
        older = (await client.get("/storage?before=2026-01-06")).text
        assert "2025-11-17" in older
        assert "2026-01-06" not in older


async def test_without_an_archived_day_it_says_that_no_rate_is_known(tmp_path: Path) -> None:
    """Not "0 readings a day", nor "more than ten years"."""
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        keeper = node.services.keeper
        assert isinstance(keeper, Keeper)
        assert "not known yet" not in (await client.get("/storage")).text
        keeper.rate_bytes, keeper.days_left = 0.0, None
        page = (await client.get("/storage")).text
        assert page.count("known once a day was archived") == 2
        assert "not known yet" in page
        assert "ten years" not in page


async def test_a_day_is_restored_until_a_date(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        page = (await client.get("/storage")).text
        assert page.count('action="/storage/restore"') == 1
        begun = await client.post("/storage/restore", data={"day": "2025-11-17", "until": "2026-03-04"})
        assert begun.headers["location"] == "/storage?done=restore"
        assert "being brought back" in (await client.get("/storage?done=restore")).text
        keeper = node.services.keeper
        assert isinstance(keeper, Keeper)
        assert keeper.restored == [(TODAY - 100, TODAY + 7)]
        late = await client.post("/storage/restore", data={"day": "2025-11-17", "until": "2020-01-01"})
        assert late.status_code == 422
        assert "is over" in late.text


async def test_classes_are_made_changed_and_removed(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        wish = {"class_id": "vib", "metric": "vib_*", "hot_days": "7", "archive_days": "0", "position": ""}
        made = await client.post("/storage/retention", data=wish)
        assert made.headers["location"] == "/storage?done=class#retention"
        page = (await client.get("/storage")).text
        assert "<code>vib_*</code>" in page
        assert "for ever" in page
        for field, value in (
            ("hot_days", "x"),
            ("hot_days", "0"),
            ("class_id", "Not one"),
            ("archive_days", "3"),
        ):
            refused = await client.post("/storage/retention", data={**wish, field: value})
            assert refused.status_code in (400, 422)
            assert 'value="vib_*"' in refused.text
        first = {**wish, "class_id": "all", "metric": "*", "position": "1"}
        assert (await client.post("/storage/retention", data=first)).status_code == 303
        classes = await node.catalog.read(lambda catalog: catalog.retention_classes())
        assert [each.class_id for each in classes] == ["all", "vib"]
        gone = await client.post("/storage/retention", data={"class_id": "vib", "remove": "1"})
        assert gone.headers["location"] == "/storage?done=removed#retention"


async def test_readings_are_erased_once_the_id_was_typed(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "admin") as client:
        await node.catalog.write(lambda catalog: catalog.add_device("d1"), by=ACT)
        assert 'href="/devices/d1/erase"' in (await client.get("/devices/d1")).text
        assert "Backups made before keep them" in (await client.get("/devices/d1/erase")).text
        refused = await client.post("/devices/d1/erase", data={"confirm": "d2"})
        assert refused.status_code == 422
        asked = await client.post("/devices/d1/erase", data={"confirm": "d1"})
        assert asked.headers["location"] == "/storage#erasures"
        page = (await client.get("/storage")).text
        assert "under way" in page
        twice = await client.post("/devices/d1/erase", data={"confirm": "d1"})
        assert twice.status_code == 409

        def done(catalog: Catalog) -> None:
            (erasure,) = catalog.list_erasures()
            catalog.note_erased(erasure.erasure_id, epoch=1, before_seq=9, reading_count=12_345)

        await node.catalog.write(done, by=ACT)
        page = (await client.get("/storage")).text
        assert "12\u202f345" in page
        assert "not yet" in page
