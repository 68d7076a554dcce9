"""Requests to an S3-compatible object store: each within its time, counted, tried again where that is right, its errors in our words.

Knows nothing of pieces. Paths are below the tier's prefix.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import obstore
import trio
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from appliance.core.limits_replication import TIER_LISTED_COUNT, TIER_TRIES_MAX
from replication.tier.engine import TierAway, TierUnfit
from replication.tier.engines.asyncio_thread import AsyncioThread
from replication.tier.engines.pace import Pace
from replication.tier.engines.requests import Kind, Requests

T = TypeVar("T")
_PAUSE_S: Final = 0.3
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9.]{1,60})</Code>")
_STATUS: Final = re.compile(r"status code: ([0-9]{3}[A-Za-z ]{0,40})")
_FORBIDDEN: Final = ("401", "403")
_RIGHTS: Final[dict[Kind, str]] = {
    "put": "s3:PutObject",
    "get": "s3:GetObject",
    "list": "s3:ListBucket",
    "remove": "s3:DeleteObject",
}
_OF_OURS: Final = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
)
"""What stores say of credentials, rather than of a right."""


class AlreadyThere(Exception):
    """The store refused to put an object, because there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """What a request gave: bytes of an object, its whole size, and which version of it that is."""

    data: bytes
    size_bytes: int
    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An object in a listing."""

    path: str
    size_bytes: int
    version: str | None


class ObjectRequests:
    """Requests to one bucket, below one prefix."""

    def __init__(
        self, store: S3Store, thread: AsyncioThread, pace: Pace, requests: Requests, prefix: str
    ) -> None:
        self._store, self._thread, self._pace, self.requests = store, thread, pace, requests
        # The library's own prefix is not used: it takes slashes at the end of paths away, which listings need.
        self._prefix = f"{prefix}/" if prefix else ""

    async def put(self, path: str, data: bytes, *, tries_max: int = TIER_TRIES_MAX) -> str | None:
        """Put an object where there is none; gives its version.

        Raises:
            AlreadyThere: as its name says; where an earlier try of this call did it without our hearing of it, too.
        """

        async def put() -> str | None:
            done = await obstore.put_async(
                self._store, self._prefix + path, data, mode="create", use_multipart=False
            )
            return done["e_tag"]

        begun = time.monotonic()
        try:
            version = await self._ask("put", put, size_bytes=len(data), tries_max=tries_max)
        except (AlreadyExistsError, PreconditionError) as error:
            raise AlreadyThere from error
        self.requests.put_bytes += len(data)
        self._pace.took(len(data), time.monotonic() - begun)
        return version

    async def get(self, path: str, length: int | None = None) -> Got | None:
        """An object, or its first bytes; None where there is none."""
        if length is None:
            options: obstore.GetOptions = {}
        else:
            options = {"range": (0, length)}

        async def get() -> Got:
            result = await obstore.get_async(self._store, self._prefix + path, options=options)
            meta = result.meta
            return Got(
                data=(await result.bytes_async()).to_bytes(), size_bytes=meta["size"], version=meta["e_tag"]
            )

        try:
            got = await self._ask("get", get)
        except FileNotFoundError:
            return None
        self.requests.got_bytes += len(got.data)
        return got

    async def list_page(self, folder: str, after: str = "") -> list[Listed]:
        """The first objects below a folder, in the store's order; fewer than TIER_LISTED_COUNT are all there are.

        Args:
            after: Only those whose paths come after this one.
        """

        async def list_page() -> Sequence[obstore.ObjectMeta]:
            stream = obstore.list(
                self._store,
                self._prefix + folder,
                offset=self._prefix + after if after else None,
                chunk_size=TIER_LISTED_COUNT,
            )
            async for page in stream:
                return page
            return ()

        page = await self._ask("list", list_page)
        start = len(self._prefix)
        return [
            Listed(path=meta["path"][start:], size_bytes=meta["size"], version=meta["e_tag"]) for meta in page
        ]

    async def folders(self, folder: str) -> list[str]:
        """The names of the folders in a folder, in order."""

        async def folders() -> Sequence[str]:
            found = await obstore.list_with_delimiter_async(self._store, self._prefix + folder)
            return found["common_prefixes"]

        return sorted(path.rstrip("/").rpartition("/")[2] for path in await self._ask("list", folders))

    async def remove(self, path: str) -> None:
        """Remove an object, if it is there."""

        async def remove() -> None:
            await obstore.delete_async(self._store, self._prefix + path)

        try:
            await self._ask("remove", remove)
        except FileNotFoundError:
            return

    async def _ask(
        self,
        kind: Kind,
        work: Callable[[], Awaitable[T]],
        *,
        size_bytes: int = 0,
        tries_max: int = TIER_TRIES_MAX,
    ) -> T:
        deadline_s = self._pace.deadline_s(size_bytes)
        begun = time.monotonic()
        with trio.move_on_after(deadline_s):
            for tries_left in reversed(range(tries_max)):
                self.requests.count(kind)
                try:
                    return await self._thread.run(work)
                except (AlreadyExistsError, PreconditionError):
                    raise
                except FileNotFoundError as error:
                    if "NoSuchBucket" in str(error) or kind == "put":
                        raise _no_bucket(error) from error
                    raise
                except (PermissionDeniedError, UnauthenticatedError) as error:
                    raise _forbidden(kind, error) from None  # which repeats what was signed
                except BaseError as error:
                    # What is wrong with a listing comes as this, whatever it is.
                    status = _status_of(error)
                    if status.startswith(_FORBIDDEN):
                        raise _forbidden(kind, error) from None  # which repeats what was signed
                    if "NoSuchBucket" in str(error):
                        raise _no_bucket(error) from error
                    self.requests.failed_count += 1
                    if not tries_left:
                        raise TierAway(
                            f"The object store didn't {kind}: {_said(error)}.",
                            hint="It is tried again by itself; look whether the store can be reached from here.",
                            code="tier_away",
                        ) from error
                await trio.sleep(_PAUSE_S)
        self.requests.failed_count += 1
        if size_bytes:
            self._pace.gave_up(size_bytes, time.monotonic() - begun)
        raise TierAway(
            f"The object store didn't {kind} within {deadline_s:.0f} s.",
            hint="It is tried again by itself, with smaller pieces; look whether the link to it is up and not full.",
            code="tier_away",
        )


def _no_bucket(error: Exception) -> TierUnfit:
    return TierUnfit(
        f"The object store has no such bucket ({_said(error)}).",
        hint="Make the bucket, or correct its name in the tier's address.",
        code="tier_unfit",
    )


def _status_of(error: Exception) -> str:
    found = _STATUS.search(str(error))
    return found[1] if found else ""


def _forbidden(kind: Kind, error: Exception) -> TierUnfit:
    said = _said(error)
    if said in _OF_OURS:
        return TierUnfit(
            f"The object store doesn't accept the credentials ({said}).",
            hint="Correct the key id and the secret in the file of credentials.",
            code="tier_unfit",
        )
    if "TimeTooSkewed" in said:
        return TierUnfit(
            f"The object store finds this box's clock wrong ({said}).",
            hint="Set the clock; it may differ by 15 minutes.",
            code="tier_unfit",
        )
    return TierUnfit(
        f"The object store doesn't let this box {kind} objects ({said}).",
        hint=f"Give the key's owner the right {_RIGHTS[kind]} for the tier's prefix.",
        code="tier_unfit",
    )


def _said(error: Exception) -> str:
    """The store's own word for what was wrong. Nothing else of its answer is shown: it repeats the key id, and what was signed."""
    text = str(error)
    if found := _CODE.search(text):
        return found[1]
    if status := _status_of(error):
        return status
    return "it can't be reached" if "error sending request" in text else type(error).__name__
