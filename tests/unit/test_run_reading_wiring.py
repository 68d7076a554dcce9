"""What a cloud node reads at a site, over the sockets between node and replicator: who is asked, what is told, and what an absent process is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.core.clock import ManualClock
from appliance.core.errors import HomeportError, NotAuthorized, NotFound, UsageError
from appliance.management.fleet import entry_of
from appliance.management.site_reading import SiteSummary
from appliance.run import layout
from appliance.run.gateway_wiring import CloudNode, with_summary
from appliance.run.reading_wiring import SiteAsking, read_site, reading_room, reading_state, site_reader
from replication.control import ControlServer, ask
from replication.tier.gateway_messages import SiteReport
from replication.tier.reading import ReadingCounts
from replication.tier.reading_messages import ReadingAnswer, ReadingQuestion
from tests.gateway_kit import BOX, CLOUD, End
from tests.node_kit import Node, running_node
from tests.site_reading_kit import add_device, allow
from tests.unit.test_management_site_reports import node as a_node
from tests.unit.test_run_gateway_wiring import FakeRoster

QUESTION = ReadingQuestion("devices", "", "", "anna")
REPORT = SiteReport(900, 61_000, 2, 900, 2, "")
CLOUD_ENTRY = entry_of(a_node(CLOUD, "cloud-1", "52" * 16, "cloud"))
BOX_ENTRY = entry_of(a_node(BOX, "mill", "51" * 16))
ROSTER: Any = FakeRoster(CLOUD_ENTRY, BOX_ENTRY)


@asynccontextmanager
async def asking(folder: Path) -> AsyncIterator[tuple[Node, SiteAsking]]:
    """A node that serves its replicator, and what that asks it with."""
    async with running_node(folder) as node:
        config = node.services.config
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reading_room(config, node.services, node.app))
            with trio.fail_after(60):
                while not layout.reading_socket(config).exists():  # noqa: ASYNC110 - another task's socket
                    await trio.sleep(0.01)
            yield node, SiteAsking(config, lambda: ROSTER)
            nursery.cancel_scope.cancel()


def code_of(answer: ReadingAnswer) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["code"]


async def test_a_box_answers_cloud_nodes_of_its_fleet_and_nobody_else(tmp_path: Path) -> None:
    async with asking(tmp_path) as (node, site):
        await add_device(node, "d1")
        assert code_of(await site.answer(CLOUD, QUESTION)) == (403, "reading_not_allowed")
        await allow(node)
        answer = await site.answer(CLOUD, QUESTION)
        assert [each["device_id"] for each in json.loads(answer.body)["devices"]] == ["d1"]
        # A box that is none, one that is gone, and one that nobody knows.
        for peer in (BOX, "99" * 16):
            assert code_of(await site.answer(peer, QUESTION)) == (403, "reading_not_allowed")
        assert await site.summary() == SiteSummary(allowed=(CLOUD,), devices=1, online=1, alarms=(0, 0, 0))
        with pytest.raises(NotFound) as caught:
            await ask(layout.reading_socket(node.services.config), "users")
        assert caught.value.code == "question_unknown"


async def test_a_node_that_is_away_is_said_and_nothing_is_told(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        site = SiteAsking(node.services.config, lambda: ROSTER)
        assert code_of(await site.answer(CLOUD, QUESTION)) == (503, "site_node_away")
        assert await site.summary() is None


async def test_a_node_that_hangs_or_babbles_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.run.reading_wiring.READING_NODE_S", 0.05)
    async with running_node(tmp_path) as node, trio.open_nursery() as nursery:

        async def answer(question: str, fields: object) -> dict[str, Any]:
            if question == "summary":
                await trio.sleep_forever()
            return {"status": "fine"}

        config = node.services.config
        await nursery.start(ControlServer(layout.reading_socket(config), answer).serve)
        site = SiteAsking(config, lambda: ROSTER)
        assert await site.summary() is None
        assert code_of(await site.answer(CLOUD, QUESTION)) == (503, "site_node_away")
        nursery.cancel_scope.cancel()


def test_numbers_are_told_only_where_reading_is_allowed() -> None:
    summary = SiteSummary(allowed=(CLOUD,), devices=4, online=3, alarms=(1, 0, 2))
    assert with_summary(REPORT, None, CLOUD) == REPORT
    told = with_summary(REPORT, summary, CLOUD)
    assert (told.may_read, told.devices, told.online, told.alarms) == (True, 4, 3, (1, 0, 2))
    kept = with_summary(REPORT, summary, "c1" * 16)
    assert (kept.may_read, kept.devices, kept.alarms) == (False, None, None)


async def test_a_cloud_node_asks_only_boxes_that_said_that_it_may() -> None:
    cloud = CloudNode(End(CLOUD, BOX), {}, roster=lambda: ROSTER, clock=ManualClock())
    asked: list[str] = []

    async def answered(peer: str, question: ReadingQuestion) -> ReadingAnswer:
        asked.append(peer)
        return ReadingAnswer(200, b"{}")

    cloud.reader.ask = answered  # type: ignore[method-assign]
    fields = {"part": "devices", "device_id": "", "query": "", "person": "anna"}
    for may_read in (None, False):
        cloud.said(BOX, with_summary(REPORT, None, CLOUD) if may_read is None else replace_may(REPORT))
        with pytest.raises(NotAuthorized, match="site of mill"):
            await read_site(cloud, BOX, fields)
    summary = SiteSummary(allowed=(CLOUD,), devices=4, online=3, alarms=(1, 0, 2))
    cloud.said(BOX, with_summary(REPORT, summary, CLOUD))
    assert await read_site(cloud, BOX, fields) == {"status": 200, "body": b"{}"}
    (state,) = cloud.sites({BOX: "up"})
    assert (state.may_read, state.devices, state.online, state.alarms) == (True, 4, 3, (1, 0, 2))
    for peer in (CLOUD, "99" * 16):
        with pytest.raises(NotFound):
            await read_site(cloud, peer, fields)
    for wrong in ({**fields, "query": "x" * 4_000}, {**fields, "person": None}, {}):
        with pytest.raises(UsageError):
            await read_site(cloud, BOX, wrong)
    with pytest.raises(NotFound, match="no cloud node"):
        await read_site(None, BOX, fields)
    assert asked == [BOX]


def replace_may(report: SiteReport) -> SiteReport:
    return with_summary(report, SiteSummary(allowed=(), devices=1, online=1, alarms=(0, 0, 0)), CLOUD)


async def test_the_cloud_nodes_pages_hear_what_its_replicator_says(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, trio.open_nursery() as nursery:
        config = node.services.config
        said: dict[str, Any] = {"status": 200, "body": b"{}"}

        async def answer(question: str, fields: object) -> dict[str, Any]:
            assert question == "read_site"
            return said

        await nursery.start(ControlServer(layout.replicator_socket(config), answer).serve)
        read = site_reader(config)
        assert await read(BOX, "devices", "", "", "anna") == (200, b"{}")
        said["body"] = "no bytes"
        with pytest.raises(HomeportError) as caught:
            await read(BOX, "devices", "", "", "anna")
        assert caught.value.code == "replicator_away"
        nursery.cancel_scope.cancel()


def test_counts_are_told() -> None:
    state = reading_state(ReadingCounts(answered=3, refused=2, failed=1))
    assert (state.answered, state.refused, state.failed) == (3, 2, 1)
