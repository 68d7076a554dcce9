"""Whose traces somebody sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import NotFound, Unavailable
from appliance.management.audit import LOCAL
from appliance.tracing.span import DEVICE, Span
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.people_kit import audit_of
from ui import trace_desk

NORTH = frozenset({"north"})


def span(trace: int, device: str = "") -> Span:
    attributes: dict[str, str | bool | int | float] = {DEVICE: device} if device else {}
    return Span(f"{trace:032x}", f"{hash(device) & 0xFFFF_FFFF:016x}", "", "process", 5, 1, 2, attributes)


async def fill(node: Node) -> None:
    def write(catalog: Catalog) -> None:
        for group_id, device in (("north", "pump"), ("south", "fan")):
            catalog.add_group(group_id)
            catalog.add_device(device, groups=(group_id,))

    await node.catalog.write(write, by=ACT)
    node.services.tracing.recorder.add(
        [span(1, "pump"), span(2, "fan"), span(3, "pump"), span(3, "fan"), span(4), span(5, "stranger")]
    )


async def test_a_scope_sees_what_is_all_theirs(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await fill(node)
        services = node.services

        async def seen(scope: frozenset[str] | None) -> list[int]:
            return [
                int(each.trace_id, 16) for each in await trace_desk.newest(services, scope=scope, limit=9)
            ]

        assert await seen(None) == [5, 3, 2, 1]
        assert await seen(NORTH) == [1], "nothing of others, not even beside one's own"
        of_pump = await trace_desk.of_device(services, "pump", scope=None, limit=9)
        assert [int(each.trace_id, 16) for each in of_pump] == [3, 1]
        assert len(await trace_desk.of_device(services, "pump", scope=None, limit=1)) == 1
        with pytest.raises(NotFound):
            await trace_desk.of_device(services, "fan", scope=NORTH, limit=9)
        for trace, scope, is_seen in (
            (1, NORTH, True),
            (2, NORTH, False),
            (4, NORTH, False),
            (4, None, True),
        ):
            if is_seen:
                assert (await trace_desk.one(services, f"{trace:032x}", scope=scope)).spans
            else:
                with pytest.raises(NotFound, match="isn't known"):
                    await trace_desk.one(services, f"{trace:032x}", scope=scope)


async def test_the_next_reading_is_asked_for_and_noted(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await fill(node)
        assert await trace_desk.trace_next(node.services, LOCAL, "pump", scope=None) == 900_000
        assert node.broker.asked == [("trace_next", {"device": "pump"})]
        assert [entry[2] for entry in await audit_of(node, trace_desk.TRACE_NEXT)] == ["pump"]
        with pytest.raises(NotFound):
            await trace_desk.trace_next(node.services, LOCAL, "fan", scope=NORTH)
        node.broker.connected = False
        with pytest.raises(Unavailable):
            await trace_desk.trace_next(node.services, LOCAL, "pump", scope=None)


async def test_a_broker_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_node(tmp_path) as node:
        await fill(node)
        monkeypatch.setattr(type(node.broker), "_trace_next", lambda self, **_: {}, raising=False)
        with pytest.raises(Unavailable, match="understood"):
            await trace_desk.trace_next(node.services, LOCAL, "pump", scope=None)
