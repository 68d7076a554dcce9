"""broker/bridge/refusals.py"""

from __future__ import annotations

import pytest

from broker.bridge.refusals import code_of, refusal


@pytest.mark.parametrize(
    ("reason_code", "code", "words"),
    [
        (None, "bridge_connection_lost", "It broke."),
        (0x86, "bridge_bad_user_name_or_password", "It broke. (bad user name or password)"),
        (0x8B, "bridge_server_shutting_down", "It broke. (server shutting down)"),
        (0xF0, "bridge_reason_240", "It broke. (reason code 240)"),
    ],
)
def test_every_refusal_has_words_a_code_and_a_next_step(
    reason_code: int | None, code: str, words: str
) -> None:
    error = refusal("It broke.", reason_code)
    assert (error.message, error.code) == (words, code)
    assert error.hint
    if reason_code is not None:
        assert code_of(reason_code) == code
