"""Acts on backups: what is refused before anything begins, and what is let go again when it can't be noted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.core.config import BackupConfig
from appliance.core.errors import Conflict, NotFound, Unavailable, UsageError
from appliance.identity import recovery_kit
from tests.acts import ACT
from tests.node_kit import Node, running_node
from ui import backup_acts
from ui.backup_desk import BackupDesk


def with_media(node: Node, media: Path) -> Node:
    media.mkdir()
    config = replace(node.services.config, backup=BackupConfig(directories=(media,)))
    desk = BackupDesk(config, node.services.keys, node.services.catalog, clock=node.clock)
    return node.with_services(config=config, backups=desk)


async def test_a_backup_that_can_not_be_noted_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    async with running_node(tmp_path / "data") as first:
        node = with_media(first, tmp_path / "media")
        recovery_kit.confirm(tmp_path / "data")

        async def away(*_: Any, **__: Any) -> None:
            raise Unavailable("The catalog is locked.", code="catalog_locked")

        with monkeypatch.context() as patched:
            patched.setattr(node.catalog, "write", away)
            with pytest.raises(Unavailable):
                await backup_acts.start(node.services, ACT, tmp_path / "media" / "usb")
        assert node.services.backups.statistics().running is None
        job = await backup_acts.start(node.services, ACT, tmp_path / "media" / "usb")
        assert node.services.backups.statistics().running is job
        with pytest.raises(Conflict):
            await backup_acts.start(node.services, ACT, tmp_path / "media" / "usb")


async def test_what_is_refused_before_anything_begins(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    async with running_node(tmp_path / "data") as first:
        node = with_media(first, tmp_path / "media")
        with pytest.raises(UsageError) as found:
            await backup_acts.start(node.services, ACT, tmp_path / "media" / "usb")
        assert found.value.code == "recovery_kit_unconfirmed"
        recovery_kit.confirm(tmp_path / "data")
        with pytest.raises(UsageError) as found:
            await backup_acts.start(node.services, ACT, tmp_path / "elsewhere")
        assert found.value.code == "backup_directory_refused"
        with pytest.raises(NotFound):
            await backup_acts.start(node.services, ACT, None)
        with pytest.raises(NotFound):
            await backup_acts.verify(node.services, ACT, "b", restore_test=False)
        assert node.services.backups.statistics().running is None
        assert await node.catalog.read(lambda catalog: catalog.backups()) == []
