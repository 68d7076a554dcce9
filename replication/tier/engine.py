"""The contract between Homeport and what keeps copies in a cloud: an object store, a JetStream cluster, a database.

Small on purpose: pieces of streams, which are put in order and never changed, and objects, which are small or parts of something
large, put once. All that Homeport needs of consistency is in two calls: `put` refuses a piece that does not fit, and `put_object` refuses
a second object of the same name. An engine has no thread or task that outlives `closed`; every call may be cancelled.

For trio. Libraries that block or want asyncio are used in threads, behind this.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from appliance.core.errors import Conflict, StorageError, Unavailable
from appliance.core.limits import MIB
from replication.tier.engines.requests import EngineStatistics
from replication.tier.pieces import Piece, PieceName
from storage.replicas.streams import StreamId

OBJECT_BYTES_MAX: Final = 8 * MIB
"""Of one object; a larger thing (an image, an archived day) is cut into parts."""
OBJECT_KEY_LENGTH_MAX: Final = 200


class Fenced(Conflict):
    """A piece does not fit where it was to be put: somebody else wrote there, or more is there than was known.

    Attributes:
        last: The last piece that is there of this epoch; None where there is none.
    """

    def __init__(self, message: str, *, last: PieceName | None) -> None:
        super().__init__(
            message,
            hint="Look whether another box runs with this box's identity (`homeport peer list`); nothing was overwritten.",
            code="tier_fenced",
        )
        self.last = last


class TierAway(Unavailable):
    """The engine can't be reached, or is not able to take or give anything now. Trying again later is right."""


class TierUnfit(StorageError):
    """The engine does not do what copies need: its settings lose what it acknowledged, or a right is missing. For people to mend."""


class Engine(Protocol):
    """One engine in one region, connected. Every method but the iterators' first step may raise:

    Raises:
        TierAway: as above; what was to be put may be there or not.
        TierUnfit: as above.
    """

    @property
    def piece_bytes_max(self) -> int:
        """A piece of frames may be this large before it was packed; a single frame that is larger is a piece all the same."""
        ...

    def statistics(self) -> EngineStatistics:
        """What was asked of it since it was connected; raises nothing."""
        ...

    async def put(self, piece: Piece, *, is_mending: bool = False) -> None:
        """Keep a piece; durable, as the engine understands it, when this returns. The same piece again changes nothing.

        Args:
            is_mending: It takes the place of one that was lost: others of the epoch come after it, and the engine only sees that
                nothing begins there.
        Raises:
            Fenced: the last piece of this epoch is not the one that it follows; or, where none is there, it is for the caller to know
                that none should be.
        """
        ...

    async def last(self, stream: StreamId, epoch: int) -> PieceName | None:
        """The last piece of an epoch of a stream; None where there is none."""
        ...

    async def epochs(self) -> dict[StreamId, list[int]]:
        """The streams of which there is anything, and the epochs of each in ascending order."""
        ...

    def pieces(self, stream: StreamId, epoch: int, from_seq: int = 0) -> AsyncIterator[PieceName]:
        """The pieces of an epoch that end after `from_seq`, in order of their sequences. What comes meanwhile may be among them."""
        ...

    async def get(self, name: PieceName) -> bytes:
        """The bytes of a piece, as they were put; not verified.

        Raises:
            NotFound: `piece_gone`: it is not there (any more).
        """
        ...

    async def remove(self, name: PieceName) -> None:
        """Remove a piece; one that is not there is no error."""
        ...

    async def put_object(self, key: str, data: bytes) -> bool:
        """Keep an object, if none of that name is there. Durable when it returns.

        Args:
            key: Of [A-Za-z0-9._-] in levels that / separates, OBJECT_KEY_LENGTH_MAX characters at most.
            data: OBJECT_BYTES_MAX at most.
        Returns:
            False where one was there already, which stays; whether it is the same is for the caller to look at.
        """
        ...

    async def get_object(self, key: str) -> bytes | None:
        """The bytes of an object; None where there is none."""
        ...

    def objects(self, prefix: str = "") -> AsyncIterator[str]:
        """The keys of objects that begin with `prefix`, in ascending order."""
        ...

    async def remove_object(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...


class Opening(Protocol):
    """How an engine is connected to: one for each kind of address (engines/opening.py)."""

    def __call__(self) -> AbstractAsyncContextManager[Engine]:
        """Connect, and look whether the engine keeps what it acknowledges.

        Raises:
            TierAway, TierUnfit: as above.
        """
        ...
