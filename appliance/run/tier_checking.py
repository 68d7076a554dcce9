"""Whether a region can be connected, as an answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from appliance.core.errors import HomeportError
from replication.tier.engine import Opening

Connect = Callable[[], AbstractAsyncContextManager[Any]]


async def checked(opening: Opening | Connect, within_s: float) -> dict[str, Any]:
    """Connect once: `is_good`, or `problem` and `hint`."""
    try:
        with trio.fail_after(within_s):
            async with opening():
                return {"is_good": True, "problem": "", "hint": ""}
    except HomeportError as error:
        return {"is_good": False, "problem": error.message, "hint": error.hint or ""}
    except trio.TooSlowError:
        return {"is_good": False, "problem": "It did not answer in time.", "hint": "Look at the network."}
