"""Devices and values as pages show them."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.management.firmware_report import FirmwareReport
from storage.catalog import Device
from ui.pages.device_facts import device_view, newest_view
from ui.pages.looks import FRESHNESS, PRESENCE, QUALITY, REGISTRY

NOW_MS = 1_700_000_000_000


@dataclass(frozen=True, kw_only=True)
class Live:
    device_id: str = "a"
    presence: str = "online"
    presence_since_ms: int | None = NOW_MS - 5_000
    presence_reason: str = ""
    last_seen_at_ms: int | None = NOW_MS - 1_000
    last_reading_at_ms: int | None = NOW_MS - 1_000
    address: str = "192.0.2.1:5"
    watermark_at_ms: int | None = None
    watermark_received_at_ms: int | None = None
    expect_ms: int | None = None
    clock_offset_ms: int | None = None
    firmware: FirmwareReport | None = None


@dataclass(frozen=True, kw_only=True)
class Newest:
    metric: str
    value: float | int | str | bool | None
    observed_at_ms: int = NOW_MS
    received_at_ms: int = NOW_MS
    quality: int = 0
    is_kept_copy: bool = False

    @property
    def counts_at_ms(self) -> int | None:
        return None if self.is_kept_copy else self.received_at_ms


def device(state: str = "active") -> Device:
    return Device(
        device_id="a",
        kind="device",
        access="own",
        state=state,  # type: ignore[arg-type]
        name="A",
        tags=(),
        first_contact_at_ms=None,
        created_at_ms=0,
        updated_at_ms=0,
    )


def test_a_device_that_was_never_heard_of_is_never_seen() -> None:
    view = device_view(device(), None, now_ms=NOW_MS, stale_after_ms=60_000)
    assert view.look is PRESENCE["never_seen"]
    assert view.fresh is FRESHNESS["never"]


def test_what_the_catalog_says_comes_before_presence() -> None:
    view = device_view(device("rejected"), Live(), now_ms=NOW_MS, stale_after_ms=60_000)
    assert view.look is REGISTRY["rejected"]


def test_reasons_are_words_and_foreign_ones_are_shown_whole_but_harmless() -> None:
    lost = device_view(
        device(), Live(presence="lost", presence_reason="keep_alive"), now_ms=NOW_MS, stale_after_ms=1
    )
    assert lost.reason == "keep alive passed without a packet"
    other = device_view(device(), Live(presence_reason="x\u202ey" * 200), now_ms=NOW_MS, stale_after_ms=1)
    assert other.reason.startswith("x\\u202ey")
    assert other.reason.endswith("…")


def test_values_have_units_only_when_they_are_numbers() -> None:
    number = newest_view("a", Newest(metric="t_celsius", value=21.5), now_ms=NOW_MS, stale_after_ms=60_000)
    text = newest_view(
        "a", Newest(metric="t_celsius", value="broken" * 100), now_ms=NOW_MS, stale_after_ms=60_000
    )
    assert (number.text, number.unit, number.quality) == ("21.5", "°C", QUALITY["good"])
    assert text.unit == ""
    assert text.is_cut


def test_grouped_digits_are_not_taken_for_hidden_characters() -> None:
    value = newest_view("a", Newest(metric="n", value=1_204_331), now_ms=NOW_MS, stale_after_ms=60_000)
    assert value.text == "1\u202f204\u202f331"
