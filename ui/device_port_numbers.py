"""What the pages' metrics need of the devices' HTTPS port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from appliance.identity.device_rate_limit import DeviceRateStatistics


class DevicePortNumbers(Protocol):
    """Numbers of the devices' HTTPS port (appliance.device_port.statistics)."""

    @property
    def connections(self) -> int: ...
    @property
    def accepted(self) -> int: ...
    @property
    def refused_by_code(self) -> Mapping[str, int]: ...
    @property
    def answers(self) -> Mapping[tuple[str, int], int]:
        """By route and status."""

    @property
    def rate(self) -> DeviceRateStatistics: ...
