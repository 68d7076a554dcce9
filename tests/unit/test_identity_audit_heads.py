"""The newest entry is signed, and a history that was rewritten never is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.core.clock import ManualClock
from appliance.core.errors import ConfigError, StorageError
from appliance.core.limits import AUDIT_UNSIGNED_MS_MAX
from appliance.identity import SiteKeys, audit_heads
from appliance.identity.audit_heads import AuditSigning, is_signed_by, read_head_file, sign_head
from appliance.identity.keys import NodeSigner
from appliance.management.audit import Act
from storage.catalog import AsyncCatalog, Catalog
from tests.audit_kit import ANNA, NOW_MS, chain, falsify, rechain

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@asynccontextmanager
async def signing(tmp_path: Path) -> AsyncIterator[tuple[AuditSigning, AsyncCatalog, ManualClock]]:
    keys = SiteKeys.load_or_create(tmp_path)
    clock = ManualClock(now_ms=NOW_MS)
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=keys.node_id) as catalog:
        made = AuditSigning(catalog, keys.signer, origin=keys.node_id.hex(), data_dir=tmp_path, clock=clock)
        yield made, catalog, clock


async def add(catalog: AsyncCatalog, *names: str) -> None:
    def write(catalog_: Catalog) -> None:
        for name in names:
            catalog_.add_device(name)

    await catalog.write(write, by=Act(action="device.create", actor=ANNA))


def test_a_signature_is_of_one_head_and_one_key() -> None:
    signer = NodeSigner(KEY)
    head = sign_head(signer, chain(1)[0], now_ms=NOW_MS)
    assert is_signed_by(head, signer.key_id)
    assert not is_signed_by(head, bytes(32))
    for changed in (
        replace(head, seq=2),
        replace(head, hash="0" * 64),
        replace(head, origin="x"),
        replace(head, signed_at_ms=1),
        replace(head, signature="00" * 64),
        replace(head, signature="no hexadecimal"),
        replace(head, key_id="00" * 32),
    ):
        assert not is_signed_by(changed, signer.key_id)


async def test_what_is_new_is_signed_and_kept_twice(tmp_path: Path) -> None:
    async with signing(tmp_path) as (made, catalog, clock):
        assert await made.sign() is None
        assert made.statistics().seq == 0
        await add(catalog, "d1", "d2")
        head = await made.sign()
        assert head is not None
        assert (head.seq, head.signed_at_ms) == (2, NOW_MS)
        assert read_head_file(tmp_path) == head
        assert (tmp_path / "identity" / "audit.head").stat().st_mode & 0o777 == 0o600
        assert await catalog.read(lambda c: list(c.audit_heads(head.origin))) == [head]
        clock.advance(60_000)
        assert await made.sign() == head, "nothing is new"
        await add(catalog, "d3")
        again = await made.sign()
        assert again is not None
        assert again.seq == 3
        assert (made.statistics().signed_total, made.statistics().broken) == (2, False)


async def test_after_a_restart_it_goes_on(tmp_path: Path) -> None:
    async with signing(tmp_path) as (made, catalog, _):
        await add(catalog, "d1")
        first = await made.sign()
    async with signing(tmp_path) as (made, catalog, _):
        assert await made.sign() == first
        await add(catalog, "d2")
        assert (await made.sign()) != first


async def test_a_history_that_was_rewritten_is_not_signed(tmp_path: Path) -> None:
    async with signing(tmp_path) as (made, catalog, _):
        await add(catalog, "d1", "d2")
        first = await made.sign()
    falsify(
        tmp_path / "catalog.db",
        lambda c: rechain(c, lambda e: replace(e, actor="bert") if e.seq == 1 else e),
    )
    async with signing(tmp_path) as (made, catalog, _):
        with pytest.raises(StorageError, match="another one") as refused:
            await made.sign()
        assert refused.value.code == "audit_broken"
        await made.try_to_sign()
        numbers = made.statistics()
        assert (numbers.broken, numbers.failures_total) == (True, 1)
        assert read_head_file(tmp_path) == first


async def test_a_catalog_of_before_is_not_signed(tmp_path: Path) -> None:
    async with signing(tmp_path) as (made, catalog, _):
        await add(catalog, "d1", "d2")
        await made.sign()

    def cut(connection: object) -> None:
        connection.execute("DELETE FROM audit WHERE seq = 2")  # type: ignore[attr-defined]
        connection.execute("DELETE FROM audit_heads")  # type: ignore[attr-defined]

    falsify(tmp_path / "catalog.db", cut)
    async with signing(tmp_path) as (made, _, _):
        with pytest.raises(StorageError, match="missing"):
            await made.sign()


async def test_a_head_of_another_key_is_not_gone_on_from(tmp_path: Path) -> None:
    async with signing(tmp_path) as (made, catalog, _):
        await add(catalog, "d1")
        await made.sign()
    (tmp_path / "identity" / "node.key").unlink()
    async with signing(tmp_path) as (made, _, _):
        with pytest.raises(StorageError, match="not of this node's key"):
            await made.sign()


async def test_a_long_history_without_any_signature_is_not_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_heads, "AUDIT_UNSIGNED_COUNT_MAX", 2)
    async with signing(tmp_path) as (made, catalog, clock):
        await add(catalog, "d1", "d2", "d3")
        clock.advance(AUDIT_UNSIGNED_MS_MAX + 1)
        with pytest.raises(StorageError, match="no signature at all"):
            await made.sign()


async def test_a_file_that_is_no_head_is_said_and_counted(tmp_path: Path) -> None:
    async with signing(tmp_path) as (made, catalog, _):
        await add(catalog, "d1")
        path = tmp_path / "identity" / "audit.head"
        path.write_text("{}")
        path.chmod(0o600)
        with pytest.raises(ConfigError, match="does not hold a signed head"):
            read_head_file(tmp_path)
        await made.try_to_sign()
        assert made.statistics().failures_total == 1
