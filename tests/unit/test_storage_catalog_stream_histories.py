"""Of several histories of a stream the one of the highest epoch counts, in whatever folder it is."""

from __future__ import annotations

from pathlib import Path

from appliance.core.clock import ManualClock
from storage.catalog import Catalog
from storage.catalog_stream.following import CopyReader
from storage.catalog_stream.histories import newest_history
from storage.log import new_epoch
from storage.log.disk import OsDisk
from tests.catalog_stream_kit import carry_over, open_stream
from tests.storage_log_kit import NODE_ID

BRANCH = "catalog.fork-0123abcd"


def write(directory: Path, *names: str, epoch: int = 0) -> None:
    if epoch:
        new_epoch.ask(OsDisk(), directory, at_least=epoch)
    clock = ManualClock()
    catalog = Catalog.open(directory.with_name(f"{directory.name}.db"), clock=clock, node_id=NODE_ID)
    stream = open_stream(directory)
    for name in names:
        catalog.add_device(name)
    carry_over(catalog, stream)
    stream.close()
    catalog.close()


def test_the_highest_epoch_counts(tmp_path: Path) -> None:
    whole = tmp_path / "copies" / "catalog"
    assert newest_history(whole) is None
    whole.parent.mkdir()
    assert newest_history(whole) is None
    write(whole, "a", "b", "c")
    assert newest_history(whole) == whole
    assert newest_history(whole, with_whole=False) is None
    write(whole.with_name(BRANCH), "a")
    assert newest_history(whole) == whole
    write(whole.with_name(BRANCH), "x", epoch=2)
    assert newest_history(whole) == whole.with_name(BRANCH)
    assert newest_history(whole, with_whole=False) == whole.with_name(BRANCH)
    (whole.with_name(BRANCH) / "head").write_bytes(b"none")
    assert newest_history(whole) == whole


def test_what_is_before_a_branch_is_not_gone(tmp_path: Path) -> None:
    branch = tmp_path / "copies" / BRANCH
    branch.parent.mkdir()
    write(branch, "a")
    reader = CopyReader(NODE_ID.hex(), branch)
    batch = reader.read(None)
    assert batch is not None
    assert batch.passed_over == 0
    assert batch.records[0].change is not None
    assert batch.records[0].change.key == "a"
    reader.close()
