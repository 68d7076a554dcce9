"""Trying a rule for API and pages: which series it may be about, out of what devices have sent, and the try itself."""

from __future__ import annotations

from appliance.alarms.rule_try import RuleTries, TryOut, devices_wanted, metrics_wanted
from appliance.core.limits_rule_try import RULE_TRY_SERIES_COUNT_MAX
from appliance.management.rule import RuleDefinition
from storage.catalog.membership import read_membership
from ui.services import Services

Series = list[tuple[str, str]]


async def try_rule(
    services: Services, definition: RuleDefinition, from_ms: int, to_ms: int
) -> tuple[TryOut, Series]:
    """Try a checked definition on what the devices of its scope, as of now, have sent.

    Returns:
        What it would have raised, and the series (device, metric) that it was tried on.
    Raises:
        As RuleTries.try_out.
    """
    membership = await services.catalog.read(read_membership)
    series: Series = []
    expect_ms: dict[str, int] = {}
    for device_id in devices_wanted(definition, membership):
        newest = services.live.newest(device_id)
        known = sorted(name for name, each in newest.items() if isinstance(each.value, int | float))
        series += [(device_id, metric) for metric in metrics_wanted(definition, known)]
        expected = services.live.device(device_id).expect_ms
        if expected is not None:
            expect_ms[device_id] = expected
        if len(series) > RULE_TRY_SERIES_COUNT_MAX:
            break  # It is refused, with how many there are at least.
    tries = RuleTries(services.telemetry, turn=services.rule_try_turn)
    tried = await tries.try_out(definition, series, membership, from_ms, to_ms, expect_ms=expect_ms)
    return tried, series
