"""A catalog made of its streams is the one that they were written of."""

from __future__ import annotations

from pathlib import Path

from appliance.core.clock import ManualClock
from storage.catalog import Catalog
from storage.catalog_stream.rebuilding import rebuild_catalog
from tests.catalog_stream_kit import carry_over, open_stream
from tests.storage_log_kit import NODE_ID

OWN = NODE_ID.hex()


def rows(catalog: Catalog) -> dict[str, list[tuple[object, ...]]]:
    return {
        table: [tuple(row) for row in catalog.rows(f"SELECT * FROM {table} ORDER BY 1")]
        for table in ("devices", "device_tokens", "users", "settings", "audit")
    }


def test_every_row_is_there_again(tmp_path: Path) -> None:
    clock = ManualClock()
    first = Catalog.open(tmp_path / "first.db", clock=clock, node_id=NODE_ID)
    for number in range(30):
        clock.advance(1_000)
        first.add_device(f"d{number}", name="pump")
        first.set_token(f"d{number}", bytes([number]) * 32)
    for number in range(0, 30, 2):
        clock.advance(1_000)
        first.edit_device(f"d{number}", name=f"renamed {number}")
    stream = open_stream(tmp_path / "log")
    carry_over(first, stream)
    stream.close()
    again = Catalog.open(tmp_path / "again.db", clock=clock, node_id=NODE_ID)
    seen: list[int] = []
    count, damaged = rebuild_catalog(again, [(OWN, tmp_path / "log")], own_id=OWN, progress=seen.append)
    assert not damaged
    assert count == seen[-1] >= 75
    assert rows(again) == rows(first)
    assert again.list_followed() == []
    assert again.outbox_count() == 0, "nothing of it is a change of this box"
    clock.advance(1_000)
    again.add_device("later")
    assert again.outbox_after(0)[-1].hlc > max(row[0] for row in first.rows("SELECT max(hlc) FROM devices"))
    first.close()
    again.close()


def test_an_empty_stream_makes_an_empty_catalog(tmp_path: Path) -> None:
    again = Catalog.open(tmp_path / "again.db", clock=ManualClock(), node_id=NODE_ID)
    assert rebuild_catalog(again, [(OWN, tmp_path / "none")], own_id=OWN) == (0, [])
    again.close()


def test_what_is_damaged_is_told_and_the_rest_is_there(tmp_path: Path) -> None:
    clock = ManualClock()
    first = Catalog.open(tmp_path / "first.db", clock=clock, node_id=NODE_ID)
    stream = open_stream(tmp_path / "log")
    for number in range(3):
        clock.advance(1_000)
        first.add_device(f"d{number}")
        carry_over(first, stream)
    stream.close()
    first.close()
    path = next((tmp_path / "log").glob("*.open"))
    data = bytearray(path.read_bytes())
    data[data.index(b'"device_id":"d1"')] ^= 1
    path.write_bytes(data)
    again = Catalog.open(tmp_path / "again.db", clock=clock, node_id=NODE_ID)
    _, damaged = rebuild_catalog(again, [(OWN, tmp_path / "log")], own_id=OWN)
    assert len(damaged) == 1
    assert [device.device_id for device in again.list_devices().devices] == ["d0", "d2"]
    again.close()
