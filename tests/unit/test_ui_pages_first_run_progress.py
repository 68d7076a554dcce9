"""How far the first run is."""

from __future__ import annotations

import itertools
from pathlib import Path

from appliance.identity import recovery_kit
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import Node, running_node
from ui.pages.first_run_progress import STEPS, note_done, progress, setup_attention


async def note(node: Node, key: str) -> None:
    def write(catalog: Catalog) -> None:
        note_done(catalog, key)

    await node.catalog.write(write, by=ACT)


def kit_is_pending(data_dir: Path) -> Path:
    """A data folder whose recovery kit nobody has confirmed."""
    pending = data_dir / recovery_kit.PENDING
    pending.parent.mkdir(parents=True, exist_ok=True)
    pending.touch()
    return data_dir


async def test_a_kit_that_was_confirmed_on_the_command_line_is_not_asked_for(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        for step in STEPS[: [step.key for step in STEPS].index("recovery_kit")]:
            await note(node, step.key)
        (line,) = await setup_attention(node.catalog, kit_is_pending(tmp_path / "box"))
        assert line.text.endswith("Next: recovery kit.")
        (tmp_path / "box" / recovery_kit.PENDING).unlink()
        (line,) = await setup_attention(node.catalog, tmp_path / "box")
        assert line.url == STEPS[-1].url


async def test_each_step_leads_to_the_next_and_the_overview_reminds(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        for step, after in itertools.pairwise(STEPS):
            await note(node, step.key)
            assert (await progress(node.catalog)).next_step == after
            (line,) = await setup_attention(node.catalog, kit_is_pending(tmp_path))
            assert line.url == after.url
        await note(node, STEPS[-1].key)
        assert (await progress(node.catalog)).next_step is None
        assert await setup_attention(node.catalog, kit_is_pending(tmp_path)) == ()


async def test_a_box_without_steps_is_not_nagged(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await note(node, "site")
        found = await progress(node.catalog)
        assert not found.begun
        assert await setup_attention(node.catalog, kit_is_pending(tmp_path)) == ()


async def test_a_device_from_anywhere_is_the_first_device(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        for step in STEPS[:-1]:
            await note(node, step.key)
        await node.catalog.write(lambda catalog: catalog.add_device("pump-1"), by=ACT)
        assert (await progress(node.catalog)).next_step is None


async def test_a_step_twice_counts_once(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await note(node, "owner")
        await note(node, "owner")
        assert await node.catalog.read(lambda catalog: catalog.get_setting("setup.done")) == ["owner"]
