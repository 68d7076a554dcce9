"""What all commands print by: tables and errors."""

from __future__ import annotations

import pytest

from appliance.cli.common import fail, printable, table
from appliance.core.errors import UsageError

HOSTILE = "no space\x1b]52;c;ZXZpbA==\x07\r\nroot#"


def test_what_devices_say_is_no_command_to_a_terminal() -> None:
    text = table([{"device": "d1", "why": HOSTILE}, {"device": "d2"}], {"device": "DEVICE", "why": "WHY"})
    assert len(text.splitlines()) == 3
    assert all(each.isprintable() for line in text.splitlines() for each in line)
    assert "no space\N{REPLACEMENT CHARACTER}]52;c" in text
    assert table([], {"device": "DEVICE"}) == "(none)"


def test_lists_and_nothing_in_a_table() -> None:
    text = table([{"tags": ["a", "b\x1b"], "note": None}], {"tags": "TAGS", "note": "NOTE"})
    assert text.splitlines()[1] == "a, b\N{REPLACEMENT CHARACTER}"


def test_an_error_that_quotes_a_device_is_none_either(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fail(UsageError(f"It said: {HOSTILE}", hint="Look.\nTwice."), as_json=False)
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "\r" not in said
    assert "Look.\nTwice." in said


def test_a_value_for_a_terminal() -> None:
    assert printable(5) == "5"
    assert printable("grün ✓") == "grün ✓"
