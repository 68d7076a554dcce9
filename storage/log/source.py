"""What a cursor needs of a log, whether it is one stream or several that are read as one."""

from __future__ import annotations

from typing import Protocol

from appliance.core.limits import READ_BYTES_DEFAULT
from storage.log.block import Block
from storage.log.head import Head


class LogSource(Protocol):
    """As storage.log.reader.LogReader, which says what each means and raises."""

    def head(self) -> Head: ...
    def first_seq(self) -> int: ...
    def read(self, seq: int, *, bytes_max: int = READ_BYTES_DEFAULT) -> list[Block]: ...
    def seq_at_time(self, time_ms: int) -> int: ...
    def close(self) -> None: ...
