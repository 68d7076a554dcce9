"""How far the pipeline has come, published for each stream that it reads: what comes before may be removed by whoever keeps that stream.

As PublishedCursor, whose place it takes, on a box that is alone. On a site the position is kept in the site's numbers (`data_dir/site/needed`: a
rebuild goes by it), and told to the own log's writer and to the holder of each copy in the stream's own (`cursors/pipeline` in its folder).
"""

from __future__ import annotations

from pathlib import Path

from appliance.core.errors import StorageError
from appliance.pipeline.published_cursor import PublishedCursor
from storage.log.names import CURSORS
from storage.site import SiteOrder

NAME = "pipeline"


class SiteCursor:
    """For one thread at a time.

    Args:
        own: The file for the own log's writer. needed: The one in the site's numbers.
    """

    def __init__(self, order: SiteOrder, own: Path, needed: Path) -> None:
        self._order = order
        self._own = PublishedCursor(own)
        self._needed = PublishedCursor(needed)
        self._of: dict[Path, PublishedCursor] = {order.own_log: self._own}

    def publish(self, next_seq: int) -> StorageError | None:
        """As PublishedCursor.publish, with a number of the site."""
        if self._order.is_plain:
            return self._own.publish(next_seq)
        if next_seq == self._needed.said:
            return None
        # First what a rebuild begins with: nothing that it needs may go before.
        failure = self._needed.publish(next_seq)
        if failure is not None:
            return failure
        try:
            positions = self._order.positions(next_seq)
            self._order.compact(next_seq)
        except (OSError, StorageError) as error:
            return StorageError(
                f"The order of the site can't be read or shortened: {error}.",
                hint="Look at the disk: the logs keep everything until it can.",
                code="cursor_unpublished",
            )
        for folder, seq in positions.items():
            if folder.is_dir():  # a copy that is gone is not begun by this
                failure = self._cursor_of(folder).publish(seq) or failure
        return failure

    def published(self) -> int:
        """As PublishedCursor.published, a number of the site."""
        # What was said while this box was alone is a number of both.
        return (0 if self._order.is_plain else self._needed.published()) or self._own.published()

    def close(self) -> None:
        for cursor in (self._needed, *self._of.values()):
            cursor.close()

    def _cursor_of(self, folder: Path) -> PublishedCursor:
        if folder not in self._of:
            self._of[folder] = PublishedCursor(folder / CURSORS / NAME)
        return self._of[folder]
