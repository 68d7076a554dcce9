"""Payloads of load runs."""

from __future__ import annotations

import json

import pytest

from device_fw_sim.load import payloads


@pytest.mark.parametrize("size_bytes", [60, 100, 1_000])
def test_json_payloads_have_exactly_that_size_and_differ(size_bytes: int) -> None:
    made = payloads.json_payloads(500, size_bytes, 1)
    assert {len(each) for each in made} == {size_bytes}
    assert len(set(made)) == 500
    assert all(json.loads(each)["n"] == index for index, each in enumerate(made))


def test_stamped_telemetry_has_time_and_numbers_of_its_own() -> None:
    made = payloads.telemetry_payloads(1_000, "boot", 1)
    assert len({len(each) for each in made}) == 1
    seen = set()
    for turn in (0, 1, 2):
        # Line by line is what a ring of packets is, as far as stamping sees.
        stamped = payloads.stamp(b"\n".join(made), 1_700_000_000_123 + turn, turn).splitlines()
        for line in stamped:
            message = json.loads(line)
            assert message["ts"] == 1_700_000_000_123 + turn
            assert message["boot_id"] == "boot"
            assert len(message["v"]) == 5
            seen.add(message["seq"])
    assert len(seen) == 3_000
    assert sorted(seen) == sorted(seen, key=int)
