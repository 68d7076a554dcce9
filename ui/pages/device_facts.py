"""Devices as pages show them: the catalog's row beside what the live view knows of it right now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from appliance.core.limits import PAGE_TEXT_LENGTH_MAX
from appliance.management.clock_offset import clock_word
from appliance.management.freshness import freshness, value_freshness
from appliance.management.freshness import stale_after_ms as stale_after_ms_of
from appliance.management.readings import Quality
from appliance.management.units import unit_of
from storage.catalog.rows import Device
from ui.pages.format import Value, duration_text, value_text, visible
from ui.pages.views import DeviceView, NewestView
from ui.services import DeviceLive, LiveView, NewestValue

_REASON_TEXT: Final[dict[str, str]] = {
    "connected": "",
    "client_disconnect": "it said goodbye",
    "keep_alive": "keep alive passed without a packet",
    "connection_lost": "the connection broke",
    "takeover": "the same client id connected again",
    "kicked": "closed by an operator",
    "protocol_error": "it broke the protocol",
    "draining": "this box was stopping",
    "broker_restart": "the broker was restarted",
    "will": "its will said so",
    "status": "its status said so",
    "box_away": "the box that it was connected to is not heard of",
}


def cut(text: str, length_max: int = PAGE_TEXT_LENGTH_MAX) -> tuple[str, bool]:
    """A foreign text that fits a page, nothing in it hidden, and whether something was left off."""
    return (visible(text), False) if len(text) <= length_max else (visible(text[:length_max]) + "…", True)


def clock_text(offset_ms: int | None) -> str:
    """How far a clock is from the box's, in words; "" while that isn't known or less than a second."""
    if offset_ms is None or abs(offset_ms) < 1_000:
        return ""
    return f"{duration_text(abs(offset_ms))} {'ahead' if offset_ms > 0 else 'behind'}"


def device_view(device: Device, live: DeviceLive | None, *, now_ms: int, stale_after_ms: int) -> DeviceView:
    """One device. Without a live entry it has never been seen.

    Args:
        stale_after_ms: Of a device that doesn't say how often it reports.
    """
    if live is None:
        return DeviceView(
            device_id=device.device_id,
            name=device.name,
            registry_state=device.state,
            stale_after_ms=stale_after_ms,
            first_contact_at_ms=device.first_contact_at_ms,
            tags=device.tags,
            groups=device.groups,
        )
    after_ms = stale_after_ms_of(live.expect_ms, stale_after_ms)
    reason = live.presence_reason or ""
    return DeviceView(
        device_id=device.device_id,
        name=device.name,
        registry_state=device.state,
        presence=str(live.presence),
        since_ms=live.presence_since_ms,
        reason=cut(_REASON_TEXT.get(reason, reason.replace("_", " ")))[0],
        last_seen_at_ms=live.last_seen_at_ms,
        last_reading_at_ms=live.last_reading_at_ms,
        freshness=str(freshness(live.last_reading_at_ms, now_ms, after_ms)),
        stale_after_ms=after_ms,
        expect_ms=live.expect_ms,
        watermark_at_ms=live.watermark_at_ms,
        clock=clock_word(live.clock_offset_ms),
        clock_text=clock_text(live.clock_offset_ms),
        address=cut(live.address or "")[0],
        firmware=live.firmware.version if live.firmware is not None else "",
        first_contact_at_ms=device.first_contact_at_ms,
        tags=device.tags,
        groups=device.groups,
    )


def device_views(
    devices: Sequence[Device], live: LiveView, *, now_ms: int, stale_after_ms: int
) -> tuple[DeviceView, ...]:
    """The rows of a page, in the order given."""
    return tuple(
        device_view(d, live.device(d.device_id), now_ms=now_ms, stale_after_ms=stale_after_ms)
        for d in devices
    )


def newest_view(device_id: str, newest: NewestValue, *, now_ms: int, stale_after_ms: int) -> NewestView:
    """One metric's newest value as text with its unit, age, freshness and quality.

    Args:
        stale_after_ms: Of its device.
    """
    # Only text comes from the device as it is; our own numbers hold spaces that `cut` would show as codes.
    value = newest.value
    text, is_cut = cut(value) if isinstance(value, str) else (value_text(value), False)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return NewestView(
        device_id=device_id,
        metric=newest.metric,
        label=cut(newest.metric)[0],
        text=text,
        unit=unit_of(newest.metric) if is_number else "",
        observed_at_ms=newest.observed_at_ms,
        received_at_ms=newest.received_at_ms,
        counts_at_ms=newest.counts_at_ms,
        freshness=str(value_freshness(newest.counts_at_ms, now_ms, stale_after_ms)),
        is_kept_copy=newest.is_kept_copy,
        stale_after_ms=stale_after_ms,
        quality_word=Quality(newest.quality).name.lower(),
        is_cut=is_cut,
    )


def newest_views(
    device_id: str,
    newest: Mapping[str, NewestValue],
    *,
    now_ms: int,
    stale_after_ms: int,
    count_max: int = 200,
) -> tuple[NewestView, ...]:
    """All metrics of a device by name; the first `count_max` of a device that has very many."""
    return tuple(
        newest_view(device_id, newest[name], now_ms=now_ms, stale_after_ms=stale_after_ms)
        for name in sorted(newest)[:count_max]
    )


def numeric_metrics(newest: Mapping[str, NewestValue]) -> list[str]:
    """Metrics that can be drawn: those with a unit first, other numbers, then booleans; each by name."""

    def rank(name: str) -> tuple[int, str]:
        is_boolean = isinstance(newest[name].value, bool)
        return (2 if is_boolean else 0 if unit_of(name) else 1, name)

    return sorted((name for name, value in newest.items() if is_drawable(value.value)), key=rank)


def is_drawable(value: Value) -> bool:
    """Numbers and booleans can be drawn; text can't."""
    return isinstance(value, int | float)
