"""The Overview says when the audit is not what it should be, and nothing else about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acts import ACT
from tests.node_kit import running_node
from ui import audit_desk
from ui.pages.audit_attention import audit_attention


async def test_well_broken_and_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_node(tmp_path) as node:
        desk = node.services.audit
        await node.catalog.write(lambda c: [c.add_device("d1"), c.add_device("d2")], by=ACT)
        await desk.check()
        assert audit_attention(desk) == ()
        await node.catalog.write(lambda c: c.execute("DROP TRIGGER audit_no_delete"), by=ACT)
        await node.catalog.write(lambda c: c.execute("DELETE FROM audit WHERE seq = 1"), by=ACT)
        await desk.check()
        (line,) = audit_attention(desk)
        assert line.tone == "bad"
        assert "homeport audit verify" in line.text
        monkeypatch.setattr(audit_desk, "AUDIT_ENTRY_COUNT_ALARM", 0)
        bad, large = audit_attention(desk)
        assert (bad.tone, large.tone) == ("bad", "warn")
