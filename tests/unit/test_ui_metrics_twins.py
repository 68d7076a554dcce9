"""Numbers of twins and commands as metrics."""

from __future__ import annotations

from pathlib import Path

from tests.node_kit import running_node
from tests.twin_kit import twin_scene
from ui.metrics_table import Collected
from ui.metrics_twins import add_twins


async def test_what_devices_write_and_are_told_is_counted(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    async with running_node(tmp_path / "node") as node, twin_scene(tmp_path) as scene:
        object.__setattr__(node.services, "twins", scene.room)
        await scene.listen("pump")
        await scene.ask("dm/pump/shadow/update", {"state": {"desired": {"a": 1}}})
        await scene.ask("dm/pump/shadow/update", {"state": {}, "version": 9})
        await scene.until_said(2)
        await scene.until(lambda: scene.room.desk.statistics().told_total == 2)
        out = Collected()
        add_twins(out, node.services)
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for metric in out.families()
            for sample in metric.samples
        }
    assert found["homeport_device_writes_total", "written"] == 1
    assert found["homeport_device_writes_total", "refused"] == 1
    assert found["homeport_twin_messages_total", "told"] == 2
    assert found["homeport_commands_sent_total",] == 0
    assert found["homeport_device_writes_waiting",] == 0
