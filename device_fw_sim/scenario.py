"""Faults from a scenario file: JSON, checked key by key.

    {"faults": [{"name": "silent", "count": 2, "after_s": 20, "for_s": 60, "every_s": 300}]}

`every_s` null means once; `after_s` null means somewhere in the first 5 to 20 s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from device_fw_sim.errors import OptionsError
from device_fw_sim.faults import FaultKind, FaultRequest

_Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    name: FaultKind
    count: Annotated[int, msgspec.Meta(ge=0, le=10_000)]
    after_s: _Seconds | None = None
    for_s: _Seconds = 30.0
    every_s: _Seconds | None = 120.0


class _Scenario(msgspec.Struct, forbid_unknown_fields=True):
    faults: list[_Entry]


def load(path: Path) -> tuple[FaultRequest, ...]:
    """Fault requests of a scenario file.

    Raises:
        OptionsError: It can't be read, or a key or value isn't known; the message says where.
    """
    try:
        scenario = msgspec.json.decode(path.read_bytes(), type=_Scenario)
    except OSError as error:
        raise OptionsError(f"{path} can't be read: {error.strerror}.", hint="Check the path.") from error
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise OptionsError(
            f"{path}: {error}.", hint="See `homeport sim fleet --help` for the form."
        ) from error
    requests = []
    for entry in scenario.faults:
        if entry.every_s is not None and entry.every_s <= entry.for_s:
            raise OptionsError(
                f"{path}: {entry.name.value} comes every {entry.every_s:g} s and lasts {entry.for_s:g} s.",
                hint="Let every_s be larger than for_s, or null for once.",
            )
        requests.append(
            FaultRequest(
                kind=entry.name,
                count=entry.count,
                after_s=entry.after_s,
                for_s=entry.for_s,
                every_s=entry.every_s,
            )
        )
    return tuple(requests)
