"""Marking records lost that nobody has any more: looked for once more, then signed and kept, and a gap from then on. For trio."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio

from appliance.core.clock import Clock
from appliance.core.errors import Conflict, NotFound, Unavailable
from replication.mender import Mender
from storage.log.disk import OsDisk
from storage.log.lost import WORDS_LENGTH_MAX, LostRange, keep_lost, sign_lost
from storage.log.signer import Signer
from storage.replicas.rotten import RottenFrames
from storage.replicas.streams import StreamId

ASK_S: Final = 8.0
"""For all holders together: whoever asks on the control socket waits for 10 s."""


class Losing:
    """See the module.

    Args:
        directory: Where a stream is that is held here.
        signer: Of this node.
    """

    def __init__(
        self, mender: Mender, directory: Callable[[StreamId], Path], signer: Signer, clock: Clock
    ) -> None:
        self._mender, self._directory, self._signer, self._clock = mender, directory, signer, clock

    async def mark(
        self, stream: StreamId, epoch: int, first_seq: int, next_seq: int, *, by: str, reason: str
    ) -> LostRange:
        """Marks a range that is missing, as the page Sites shows it; durable when this returns.

        Args:
            by, reason: For people; the first WORDS_LENGTH_MAX characters are kept.
        Raises:
            NotFound: `range_not_missing`. Conflict: `range_is_held`, `range_not_provable`. Unavailable: `holders_not_asked`.
            LimitExceeded: `lost_count`. StorageError, OSError: the disk failed.
        """
        part = self._missing(stream, epoch, first_seq, next_seq)
        if not part.prev_hash or not part.end_hash:
            raise Conflict(
                f"Nothing says any more between which records {first_seq} to {next_seq - 1} of {stream} lay.",
                hint="What is around them is damaged too: mend or mark that first.",
                code="range_not_provable",
            )
        with trio.move_on_after(ASK_S) as time:
            holder = await self._mender.holder_of(stream, part)
        if time.cancelled_caught:
            raise Unavailable(
                "Not all boxes that are connected have said whether they have these records.",
                hint="Try again in a minute.",
                code="holders_not_asked",
            )
        if holder:
            raise Conflict(
                f"Records {first_seq} to {next_seq - 1} of {stream} aren't lost: {holder} has the first of them.",
                hint="They are mended from there within a minute or two.",
                code="range_is_held",
            )
        lost = sign_lost(
            LostRange(
                node_id=stream.node_id,
                stream=stream.name,
                epoch=epoch,
                first_seq=first_seq,
                next_seq=next_seq,
                prev_hash=part.prev_hash,
                end_hash=part.end_hash,
                by=by[:WORDS_LENGTH_MAX],
                reason=reason[:WORDS_LENGTH_MAX],
                at_ms=self._clock.now_ms(),
            ),
            self._signer,
        )
        await trio.to_thread.run_sync(partial(keep_lost, OsDisk(), self._directory(stream), lost))
        self._mender.marked(stream, part, lost)
        return lost

    def _missing(self, stream: StreamId, epoch: int, first_seq: int, next_seq: int) -> RottenFrames:
        wanted = (stream, epoch, first_seq, next_seq)
        for held, part in self._mender.rotten:
            if isinstance(part, RottenFrames) and wanted == (held, part.epoch, part.first_seq, part.next_seq):
                return part
        raise NotFound(
            f"No records {first_seq} to {next_seq - 1} of epoch {epoch} of {stream} are known to be missing here.",
            hint="homeport log missing lists those that are, as a scrub found them; they may have been mended meanwhile.",
            code="range_not_missing",
        )
