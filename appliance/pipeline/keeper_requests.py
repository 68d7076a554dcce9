"""What people ask of the keeper: it waits its turn between two steps, bounded, and whoever asked waits or looks later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from appliance.core.errors import HomeportError, LimitExceeded, StorageError
from appliance.core.limits import ARCHIVE_REQUEST_COUNT_MAX
from appliance.pipeline.waiting_work import Asked, WaitingWork

_Call = Callable[[], Awaitable[Any]]


class Requests(WaitingWork[_Call]):
    """Requests to the keeper, each with words for whoever looks."""

    count_max = ARCHIVE_REQUEST_COUNT_MAX

    def refusal(self) -> LimitExceeded:
        return LimitExceeded(
            f"{self.count_max} requests to the archive wait already.",
            hint="The page Storage says what is being done; ask again when it is.",
            code="archive_request_count",
        )

    async def answer(self, asked: Asked[_Call]) -> HomeportError | None:
        """Do it, tell whoever waits, and return what went wrong."""
        failure: HomeportError | None = None
        try:
            asked.answer = await asked.call()
        except HomeportError as error:
            failure = error
        except OSError as error:
            failure = StorageError(
                f"The archive's disk failed: {error}.",
                hint="Look at the disk's room and health.",
                code="archive_disk",
            )
        finally:
            asked.error = failure
            asked.done.set()
        return failure
