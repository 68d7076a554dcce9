"""A plan as sentences."""

from __future__ import annotations

from dataclasses import replace

from appliance.management.gates import Gate
from appliance.management.rollout_plan import Plan, Policy, Targets
from appliance.management.waves import DEFAULT_WAVES, Wave
from appliance.management.windows import Window
from ui.pages.rollout_plan_words import (
    gate_text,
    limits_text,
    stop_text,
    targets_text,
    waves_text,
    window_text,
)


def test_waves() -> None:
    assert (
        waves_text(DEFAULT_WAVES)
        == "First 1 device, then up to 5 % of all, then up to 25 % of all, then the rest."
    )
    assert waves_text((Wave(100, True),)) == "All devices at once."


def test_gates_and_stops() -> None:
    assert gate_text(Plan()) == (
        "A wave is followed by the next when at least 95 % of those started have succeeded, 30 min have passed"
        " and the updated devices are as well as before their update."
    )
    bare = replace(Plan(), gate=Gate(success_percent=50, soak_s=0, health=False))
    assert (
        gate_text(bare)
        == "A wave is followed by the next when at least 50 % of those started have succeeded."
    )
    assert "2 devices or 5 %" in stop_text(Plan())
    assert stop_text(replace(Plan(), on_stop="rollback_all")).endswith(
        "all its devices back to the version before."
    )


def test_windows() -> None:
    assert window_text(None) == "At any time."
    assert window_text(Window.of((), "22:00", "04:00")) == (
        "From 22:00 to 04:00 of the next day, every day, in the site's time."
    )
    assert window_text(Window.of(("sun", "mon"), "01:00", "02:00")) == (
        "From 01:00 to 02:00, Monday and Sunday, in the site's time."
    )


def test_limits() -> None:
    texts = limits_text(replace(Plan(), bandwidth_bytes_s=1024), Policy())
    assert texts[0] == "At most 50 devices at the same time; bandwidth: 1.0 KiB/s together."
    assert limits_text(Plan(), Policy())[0].endswith("no limit of its own.")
    assert "15 min" in texts[3]
    assert texts[1] == "A device starts within 1 min after its turn came."
    assert limits_text(replace(Plan(), start_spread_s=0), Policy())[1] == "A device starts at its turn."


def test_targets() -> None:
    assert targets_text(Targets(all=True)) == "All devices."
    assert targets_text(
        Targets(groups=("a", "b"), tags=("t",), devices=("d",), hw=("h",), except_=("x", "y"))
    ) == (
        "Devices in the group a or b, devices with the tag t and 1 device by name, of the hardware h only, without 2 devices by name."
    )
