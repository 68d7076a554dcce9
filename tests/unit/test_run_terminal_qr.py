"""The address as a QR code in a terminal."""

from __future__ import annotations

from appliance.run.terminal_qr import address_to_show, qr_lines

FROM_OUTSIDE = "https://192.0.2.1:8443/"


def test_it_fits_an_80_by_24_terminal() -> None:
    lines = qr_lines(FROM_OUTSIDE)
    assert len(lines) <= 18
    assert {len(line) for line in lines} <= set(range(60))
    assert set("".join(lines)) <= set(" ▀▄█\n")


def test_the_address_is_one_that_another_machine_can_open() -> None:
    lines = [
        "Open https://127.0.0.1:8443/",
        "Open https://[::1]:8443/",
        f"Open {FROM_OUTSIDE}",
        "Setup code X",
    ]
    assert address_to_show(lines) == FROM_OUTSIDE
    assert address_to_show(lines[:2]) == ""
    assert address_to_show(["Open https://[2001:db8::1]:8443/"]) == "https://[2001:db8::1]:8443/"
