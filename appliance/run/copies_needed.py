"""What of its copies a box still reads itself: what its node has published in each copy's folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from appliance.core.config import Config
from appliance.pipeline.site_cursor import NAME
from appliance.run import layout
from storage.log.cursor_file import read_cursor
from storage.log.disk import OsDisk
from storage.log.names import CURSORS
from storage.replicas.streams import StreamId

NOBODY_READS: Final = 2**63 - 1


def copies_needed(config: Config) -> Callable[[StreamId], int]:
    """From where on the node has to read a copy, to store what is in it or to build the store anew; nothing of one that it doesn't read."""

    def needed_seq(stream: StreamId) -> int:
        path = layout.replica(config, stream.node_id, stream.name) / CURSORS / NAME
        if stream.branch or not path.exists():
            return NOBODY_READS
        try:
            return read_cursor(OsDisk(), path)
        except OSError:
            return 0  # what can't be read needs everything

    return needed_seq
