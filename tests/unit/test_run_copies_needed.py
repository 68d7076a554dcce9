"""What of its copies a box still reads itself."""

from __future__ import annotations

from pathlib import Path

from appliance.core.config import Config, NodeConfig
from appliance.run import layout
from appliance.run.copies_needed import NOBODY_READS, copies_needed
from storage.log.cursor_file import CursorFile
from storage.log.disk import OsDisk
from storage.replicas.streams import StreamId

NODE = "b" * 32


def test_a_copy_is_needed_from_where_the_node_has_read_it(tmp_path: Path) -> None:
    config = Config(node=NodeConfig(data_dir=tmp_path, run_dir=tmp_path / "run"))
    stream = StreamId(NODE, "telemetry")
    needed_seq = copies_needed(config)
    assert needed_seq(stream) == NOBODY_READS, "it is of another site, or nobody has begun"
    path = layout.replica(config, NODE, "telemetry") / "cursors" / "pipeline"
    cursor = CursorFile(OsDisk(), path)
    cursor.publish(17)
    cursor.close()
    assert needed_seq(stream) == 17
    assert needed_seq(StreamId(NODE, "catalog")) == NOBODY_READS
    path.write_bytes(b"")
    assert needed_seq(stream) == 0, "what can't be read needs everything"
