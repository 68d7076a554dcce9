"""Places for exports."""

from __future__ import annotations

import pytest

from appliance.core.errors import LimitExceeded
from appliance.core.limits import TELEMETRY_EXPORT_COUNT_MAX
from ui.telemetry_exports import ExportStatistics, TelemetryExports


def test_places_are_bounded_and_come_back_whichever_way_an_export_ends() -> None:
    exports = TelemetryExports()
    assert TELEMETRY_EXPORT_COUNT_MAX == 2

    def fail() -> None:
        with exports.place() as first, exports.place() as second:
            with pytest.raises(LimitExceeded) as refused, exports.place():
                raise AssertionError("there was a third place")
            assert refused.value.code == "telemetry_export_count"
            assert exports.statistics().running == 2
            first.sent_bytes = 10
            second.sent_bytes, second.is_whole = 7, True
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert exports.statistics() == ExportStatistics(
        running=0, completed_total=1, broken_off_total=1, refused_total=1, sent_bytes_total=17
    )
