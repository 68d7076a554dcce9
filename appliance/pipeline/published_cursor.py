"""How far the pipeline has come, published for the log's writer: what comes before may be removed.

It is published after the store has committed, from the pipeline's thread. The file is made when it is first needed, so that
a node starts on a full disk too; as long as there is none, the log keeps everything.
"""

from __future__ import annotations

from pathlib import Path

from appliance.core.errors import StorageError
from storage.log.cursor_file import CursorFile, read_cursor
from storage.log.disk import OsDisk


class PublishedCursor:
    """For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: CursorFile | None = None
        self._published: int | None = None

    def publish(self, next_seq: int) -> StorageError | None:
        """Say that everything before is in the store, durably; nothing if it was said.

        Returns:
            None, or why it could not be said: the disk failed, or has no room for the file's one page.
        """
        if next_seq == self._published:
            return None
        try:
            if self._file is None:
                self._file = CursorFile(OsDisk(), self._path)
            self._file.publish(next_seq)
        except OSError as error:
            return StorageError(
                f"The pipeline's cursor can't be published in {self._path}: {error}.",
                hint="Look at the disk: the log keeps everything until it can.",
                code="cursor_unpublished",
            )
        self._published = next_seq
        return None

    @property
    def said(self) -> int | None:
        """What this process said last; None for nothing."""
        return self._published

    def published(self) -> int:
        """What was last said, also by a process before this one; 0 for nothing, and where it can't be read."""
        if self._published is not None:
            return self._published
        try:
            return read_cursor(OsDisk(), self._path)
        except OSError:
            return 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
