"""One root; every error says what and what next."""

from __future__ import annotations

from device_fw_sim.errors import OptionsError, SimError


def test_text_has_message_and_hint() -> None:
    assert str(OptionsError("Wrong.", hint="Do it right.")) == "Wrong. Do it right."
    assert str(SimError("Wrong.")) == "Wrong."


def test_codes_are_stable() -> None:
    assert OptionsError.code == "options_invalid"
    assert SimError.code == "sim_failed"
