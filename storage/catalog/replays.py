"""Replays: dead letters read again by newer mappings, as events at positions of the log.

A replay is done in parts; each says where the store's cursor stood and which letters were taken, so that a rebuild does the same at
the same place. The store knows a part is done before it is written here (appliance/pipeline/replay_desk.py).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from appliance.core.errors import Conflict, NotFound
from appliance.core.ids import RandomBytes
from appliance.core.limits import REPLAY_COUNT_MAX, REPLAY_WAITING_COUNT_MAX
from storage.catalog.database import CatalogDatabase

ReplayState = Literal["requested", "done", "failed"]
_ID_BYTES: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDone:
    """A part of a replay: where the cursor stood, and the letters behind `after` up to `through`."""

    epoch: int
    at_seq: int
    after: tuple[int, int]
    through: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A replay. Times are UTC ms; "" stands for any reason, pattern, device.

    Attributes:
        epoch, at_seq: Letters of records before it are meant.
        letter_count: Letters that were read again. message_count: Of them, those that became readings; row_count: how many.
        still_dead: Of them, those that stay dead letters.
        detail: Why it failed, or waits.
    """

    replay_id: str
    reason: str
    pattern: str
    device_id: str
    epoch: int
    at_seq: int
    state: ReplayState
    parts: tuple[PartDone, ...]
    letter_count: int
    message_count: int
    row_count: int
    still_dead: int
    detail: str
    requested_at_ms: int
    done_at_ms: int | None


class ReplayTable(CatalogDatabase):
    """Methods of the catalog about replays."""

    def request_replay(
        self,
        *,
        reason: str = "",
        pattern: str = "",
        device_id: str = "",
        epoch: int,
        at_seq: int,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> Replay:
        """Ask for letters to be read again.

        Args:
            epoch, at_seq: The log's head: letters of records before it are meant.
        Raises:
            Conflict: `replay_waiting`: too many are not done yet.
        """
        with self.transaction():
            found = self.row("SELECT count(*) FROM replays WHERE state = 'requested'")
            assert found
            if found[0] >= REPLAY_WAITING_COUNT_MAX:
                raise Conflict(
                    f"{REPLAY_WAITING_COUNT_MAX} replays wait already.",
                    hint="Wait until one is done; the page Dead letters shows them.",
                    code="replay_waiting",
                )
            self.execute(
                "DELETE FROM replays WHERE state <> 'requested' AND replay_id NOT IN "
                "(SELECT replay_id FROM replays ORDER BY requested_at_ms DESC LIMIT ?)",
                (REPLAY_COUNT_MAX,),
            )
            replay_id = random_bytes(_ID_BYTES).hex()
            self.execute(
                "INSERT INTO replays (replay_id, reason, topic, device_id, epoch, at_seq, state, requested_at_ms, origin, hlc) "
                "VALUES (?, ?, ?, ?, ?, ?, 'requested', ?, ?, ?)",
                (
                    replay_id,
                    reason,
                    pattern,
                    device_id,
                    epoch,
                    at_seq,
                    self._clock.now_ms(),
                    self.origin,
                    self.hlc,
                ),
            )
            return self.get_replay(replay_id)

    def get_replay(self, replay_id: str) -> Replay:
        """Raises:
        NotFound: `replay_unknown`.
        """
        found = self.row("SELECT * FROM replays WHERE replay_id = ?", (replay_id,))
        if found is None:
            raise NotFound(
                f"There is no replay “{replay_id[:100]}”.",
                hint="Look at the list of replays.",
                code="replay_unknown",
            )
        return _replay(found)

    def list_replays(self, *, limit: int) -> list[Replay]:
        """The newest first."""
        return [
            _replay(row)
            for row in self.rows(
                "SELECT * FROM replays ORDER BY requested_at_ms DESC, replay_id DESC LIMIT ?", (limit,)
            )
        ]

    def replays_of_log(self) -> list[Replay]:
        """Of this node's log: those that have parts, or wait for one, the oldest first. A rebuild does them again."""
        return [
            _replay(row)
            for row in self.rows(
                "SELECT * FROM replays WHERE origin = (SELECT node_id FROM change_clock) ORDER BY requested_at_ms, replay_id"
            )
        ]

    def note_replay(
        self,
        replay_id: str,
        *,
        parts: Sequence[PartDone],
        letters: int,
        messages: int,
        rows: int,
        still_dead: int,
        state: ReplayState,
        detail: str = "",
    ) -> Replay:
        """Write down how far a replay is."""
        with self.transaction():
            done_at_ms = None if state == "requested" else self._clock.now_ms()
            written = [[part.epoch, part.at_seq, *part.after, *part.through] for part in parts]
            self.execute(
                "UPDATE replays SET parts = ?, letter_count = ?, message_count = ?, row_count = ?, still_dead = ?, state = ?, "
                "detail = ?, done_at_ms = ?, hlc = ? WHERE replay_id = ?",
                (
                    json.dumps(written),
                    letters,
                    messages,
                    rows,
                    still_dead,
                    state,
                    detail[:500],
                    done_at_ms,
                    self.hlc,
                    replay_id,
                ),
            )
            return self.get_replay(replay_id)


def _replay(row: Any) -> Replay:
    return Replay(
        replay_id=row["replay_id"],
        reason=row["reason"],
        pattern=row["topic"],
        device_id=row["device_id"],
        epoch=row["epoch"],
        at_seq=row["at_seq"],
        state=row["state"],
        parts=tuple(
            PartDone(epoch=e, at_seq=at, after=(ae, a), through=(te, t))
            for e, at, ae, a, te, t in json.loads(row["parts"])
        ),
        letter_count=row["letter_count"],
        message_count=row["message_count"],
        row_count=row["row_count"],
        still_dead=row["still_dead"],
        detail=row["detail"],
        requested_at_ms=row["requested_at_ms"],
        done_at_ms=row["done_at_ms"],
    )
