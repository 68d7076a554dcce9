"""Which devices and metrics a question means: names within what whoever asks may see, wildcards resolved and bounded.

A device outside the scope is one that isn't there. Metrics that a wildcard stands for come from the newest values in memory, which
has every metric that a device ever had: finding them asks nothing of the store.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from appliance.core.errors import NotAuthorized, NotFound, UsageError
from appliance.core.limits import QUERY_SERIES_COUNT_MAX, QUERY_WILDCARD_COUNT_MAX
from appliance.management.permissions import Scope
from storage.catalog import Catalog
from ui.services import LiveView, Services
from ui.telemetry_question import has_wildcard, matcher


async def find_devices(
    services: Services, names: Sequence[str], scope: Scope, *, count_max: int
) -> list[str]:
    """The devices that names mean, each once: in the order of the names, of one wildcard in the order of the ids.

    Args:
        names: Ids, or with `*` and `?`; one that is an id as it stands is that device. Empty for all devices in the scope.
    Raises:
        NotFound: `device_unknown`: a name that no device in the scope has.
        UsageError: `device_count_too_large`: more than `count_max`. `wildcard_count_too_large`.
    """
    wildcards = sum(map(has_wildcard, names))
    if wildcards > QUERY_WILDCARD_COUNT_MAX:
        raise UsageError(
            f"That are {wildcards} names with wildcards; {QUERY_WILDCARD_COUNT_MAX} may be used at once.",
            hint="Use wider ones, or name the devices.",
            code="wildcard_count_too_large",
        )

    def read(catalog: Catalog) -> dict[str, None]:
        found: dict[str, None] = {}
        everyone: list[str] | None = None
        for name in names or ("*",):
            if (device := catalog.find_device(name, scope=scope)) is not None:
                found[device.device_id] = None
                continue
            if has_wildcard(name):
                everyone = catalog.device_ids(scope=scope) if everyone is None else everyone
                matched = dict.fromkeys(filter(matcher(name).match, everyone))
                if matched or not names:
                    found |= matched
                    continue
            raise NotFound(
                f"There is no device “{name[:200]}”.",
                hint="Look at the list of devices; ids are case-sensitive, * stands for any characters.",
                code="device_unknown",
            )
        return found

    found = list(await services.catalog.read(read))
    if len(found) > count_max:
        raise UsageError(
            f"That are {len(found)} devices; {count_max} may be asked for at once.",
            hint="Name fewer, or ask for the top of them.",
            code="device_count_too_large",
        )
    return found


def series_of(
    live: LiveView, devices: Sequence[str], metrics: Sequence[str], *, count_max: int = QUERY_SERIES_COUNT_MAX
) -> list[tuple[str, str]]:
    """(device, metric) of a question, devices in the order given, of each its metrics in the order of their names.

    Args:
        metrics: Names, or with `*` and `?`; empty for all. A name that no device has is asked for all the same, of each device:
            the store may know it from before.
    Raises:
        UsageError: `series_count_too_large`.
    """
    known = {device: live.newest(device) for device in devices}
    matches: dict[str, bool] = {}
    """Of each name once: devices of a kind have the same metrics."""
    plain = {name for name in metrics if not any(name in newest for newest in known.values())}
    literal = {name for name in metrics if not has_wildcard(name) or name not in plain}
    patterns = [matcher(name) for name in (metrics or ("*",)) if name not in literal]
    asked_anyway = literal & plain

    def is_meant(name: str) -> bool:
        if name not in matches:
            matches[name] = name in literal or any(each.match(name) for each in patterns)
        return matches[name]

    found = [
        (device, name)
        for device, newest in known.items()
        for name in sorted(asked_anyway.union(filter(is_meant, newest)))
    ]
    if len(found) > count_max:
        raise UsageError(
            f"That are {len(found)} series (a device's metric each); {count_max} may be asked for at once.",
            hint="Name fewer devices or metrics.",
            code="series_count_too_large",
        )
    return found


async def metrics_of(live: LiveView, devices: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """The metrics that names mean, for an export over devices: plain names as they are, wildcards resolved.

    Args:
        metrics: Empty for all, which stays empty; otherwise the answer never is, since that would mean all.
    """
    patterns = [matcher(name) for name in metrics if has_wildcard(name)]
    found = {name: None for name in metrics if not has_wildcard(name)}
    if patterns:
        every: set[str] = set()
        for device in devices:
            every.update(live.newest(device))
            # Making the names of one device takes some microseconds, of 10,000 of them too long for others to wait.
            await trio.lowlevel.checkpoint()
        found |= dict.fromkeys(name for name in sorted(every) if any(each.match(name) for each in patterns))
    return list(found or metrics)


async def require_seen(services: Services, devices: Sequence[str], scope: Scope) -> None:
    """Refuse to go on with devices that have left the scope meanwhile.

    Raises:
        NotAuthorized: `scope_too_narrow`. Unavailable: the catalog can't be asked.
    """
    if scope is None:
        return
    seen = await services.catalog.read(lambda catalog: catalog.count_devices(ids=devices, scope=scope))
    if seen != len(devices):
        raise NotAuthorized(
            "A device of it is not in your groups any more.", hint="Ask again.", code="scope_too_narrow"
        )
