"""What devices ask about their twins, from topic to answer: natively and by the alias, over a real catalog."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from appliance.core.errors import Unavailable
from storage.catalog import Catalog
from storage.catalog import twins as table
from tests.twin_kit import twin_scene

SHADOW = "dm/pump/shadow"


@pytest.mark.parametrize("prefix", ["dm/pump", "$aws/things/pump"])
@pytest.mark.parametrize("below", ["shadow", "shadow/name/config"])
async def test_a_twin_is_updated_read_and_deleted(tmp_path: Path, prefix: str, below: str) -> None:
    twin = f"{prefix}/{below}"
    async with twin_scene(tmp_path) as scene:
        topic, answer = await scene.ask(f"{twin}/get", {"clientToken": "t"})
        assert (topic, answer["code"], answer["clientToken"]) == (f"{twin}/get/rejected", 404, "t")
        topic, answer = await scene.ask(
            f"{twin}/update", {"state": {"reported": {"a": 1}}, "clientToken": "u"}
        )
        assert topic == f"{twin}/update/accepted"
        assert answer == {
            "state": {"reported": {"a": 1}},
            "metadata": {"reported": {"a": {"timestamp": 1_700_000_000}}},
            "version": 1,
            "timestamp": 1_700_000_000,
            "clientToken": "u",
        }
        topic, answer = await scene.ask(f"{twin}/get")
        assert (topic, answer["state"]) == (f"{twin}/get/accepted", {"reported": {"a": 1}})
        topic, answer = await scene.ask(f"{twin}/delete", {"version": 1, "clientToken": "d"})
        assert (topic, answer["version"], answer["clientToken"]) == (f"{twin}/delete/accepted", 2, "d")
        assert (await scene.ask(f"{twin}/get"))[1]["code"] == 404


async def test_both_prefixes_are_one_twin(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        await scene.ask("$aws/things/pump/shadow/update", {"state": {"reported": {"a": 1}}})
        assert (await scene.ask(f"{SHADOW}/get"))[1]["state"] == {"reported": {"a": 1}}
        assert (await scene.ask(f"{SHADOW}/name/other/get"))[1]["code"] == 404


async def test_a_stale_version_is_refused_with_the_current_state(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        await scene.ask(f"{SHADOW}/update", {"state": {"desired": {"a": 1}}})
        stale = {"state": {"desired": {"a": 2}}, "version": 7, "clientToken": "t"}
        topic, answer = await scene.ask(f"{SHADOW}/update", stale)
        assert topic == f"{SHADOW}/update/rejected"
        assert (answer["code"], answer["reason"], answer["clientToken"]) == (409, "twin_version", "t")
        assert (answer["version"], answer["state"]["desired"]) == (1, {"a": 1})
        assert (await scene.ask(f"{SHADOW}/delete", {"version": 7}))[1]["version"] == 1


async def test_a_refusal_stands_also_where_the_current_state_can_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with twin_scene(tmp_path) as scene:
        await scene.ask(f"{SHADOW}/update", {"state": {"desired": {"a": 1}}})

        def busy(catalog: Catalog, device_id: str, name: str) -> None:
            raise Unavailable("Busy.")

        monkeypatch.setattr(table.TwinTable, "get_twin", busy)
        _, answer = await scene.ask(f"{SHADOW}/update", {"state": {}, "version": 7})
        assert answer["code"] == 409
        assert "state" not in answer
        assert (await scene.ask(f"{SHADOW}/get"))[1]["code"] == 500


@pytest.mark.parametrize(
    ("said", "code"),
    [(b"\xff", 400), ({"state": 5}, 400), ({"state": {"desired": {"a": "x" * 9_000}}}, 413)],
)
async def test_what_makes_no_sense_is_refused(tmp_path: Path, said: object, code: int) -> None:
    async with twin_scene(tmp_path) as scene:
        topic, answer = await scene.ask(f"{SHADOW}/update", said)
        assert (topic, answer["code"]) == (f"{SHADOW}/update/rejected", code)
        assert answer["message"]


async def test_names_that_only_aws_has_are_refused(tmp_path: Path) -> None:
    async with twin_scene(tmp_path) as scene:
        topic, answer = await scene.ask(f"{SHADOW}/name/$package/get")
        assert (topic, answer["reason"]) == (f"{SHADOW}/name/$package/get/rejected", "twin_name_invalid")


async def test_many_devices_at_once_are_few_transactions(tmp_path: Path) -> None:
    devices = [f"d{number}" for number in range(50)]
    async with twin_scene(tmp_path, *devices) as scene:
        async with trio.open_nursery() as nursery:
            for each in devices:
                nursery.start_soon(
                    lambda device_id: scene.ask(
                        f"dm/{device_id}/shadow/update", {"state": {"reported": {"a": 1}}}, name=device_id
                    ),
                    each,
                )
        written = scene.room.writer_statistics()
        assert (written.written_total, written.waiting) == (50, 0)
        assert written.batches_total <= 5
