"""Commands: the table, what may be asked, what is said and answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.core.errors import UsageError
from appliance.core.limits_twins import COMMAND_ANSWER_BYTES_MAX, COMMAND_PARAMS_BYTES_MAX
from appliance.management.commands import (
    ENDED,
    OPEN,
    TRANSITIONS,
    CommandAnswer,
    CommandEvent,
    CommandState,
    CommandWish,
    as_mermaid,
    decode_answer,
    decode_params,
    is_id,
    message,
    sources,
    target,
)


def test_every_state_is_reached_and_what_has_ended_moves_no_more() -> None:
    assert set(TRANSITIONS.values()) == set(CommandState)
    assert {a for a, _ in TRANSITIONS} == OPEN
    assert set(CommandState) == OPEN | ENDED
    assert {event for _, event in TRANSITIONS} == set(CommandEvent)


def test_no_open_state_is_for_ever() -> None:
    assert all(target(state, CommandEvent.DEADLINE) in ENDED for state in OPEN)


def test_only_what_nobody_got_is_ever_said_again() -> None:
    """At most once: the way back from SENT is the broker's word that it delivered no copy."""
    back = {event for (a, event), b in TRANSITIONS.items() if b is CommandState.QUEUED}
    assert back == {CommandEvent.PUT_BACK}
    assert sources(CommandEvent.PUSHED) == (CommandState.QUEUED,)
    assert target(CommandState.EXPIRED, CommandEvent.PUSHED) is None


def test_what_was_said_can_not_be_taken_back() -> None:
    assert sources(CommandEvent.CANCELED) == (CommandState.QUEUED,)


def test_the_drawing_has_every_move() -> None:
    drawing = as_mermaid()
    assert drawing.count("-->") == 1 + len(TRANSITIONS) + len(ENDED)
    assert "sent --> unanswered: deadline" in drawing


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        (CommandWish(method=""), "command_method_invalid"),
        (CommandWish(method="a b"), "command_method_invalid"),
        (CommandWish(method="-a"), "command_method_invalid"),
        (CommandWish(method="x" * 65), "command_method_invalid"),
        (CommandWish(method="x", when_away="drop"), "command_when_away_invalid"),  # type: ignore[arg-type]
        (CommandWish(method="x", expires_in_ms=999), "command_expiry_invalid"),
        (CommandWish(method="x", expires_in_ms=7 * 86_400_000 + 1), "command_expiry_invalid"),
        (CommandWish(method="x", params="y" * COMMAND_PARAMS_BYTES_MAX), "command_params_invalid"),
        (CommandWish(method="x", params=[[[[[[[[[1]]]]]]]]]), "command_params_invalid"),
        (CommandWish(method="x", params="\ud800"), "json_invalid"),
    ],
)
def test_what_no_device_can_be_asked_is_refused(wish: CommandWish, code: str) -> None:
    with pytest.raises(UsageError) as refused:
        wish.check()
    assert refused.value.code == code


def test_a_wish_that_makes_sense_is_taken() -> None:
    CommandWish(method="relay/3.set", params={"on": True}, expires_in_ms=1_000).check()
    assert is_id("0af9:_-")
    assert not is_id("a/b")


def test_params_are_typed_as_json() -> None:
    assert decode_params("  ") is None
    assert decode_params('{"s": 5}') == {"s": 5}
    for text in ("{", "\ud800", "9" * 3 * COMMAND_PARAMS_BYTES_MAX):
        with pytest.raises(UsageError):
            decode_params(text)


def test_the_message_has_method_params_expiry_and_fence() -> None:
    assert json.loads(message(method="reboot", params=None, expires_at_ms=5)) == {
        "m": "reboot",
        "p": None,
        "exp": 5,
        "fence": 0,
    }


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (b'{"ok": true}', CommandAnswer(ok=True)),
        (b'{"ok": true, "r": [1], "e": "ignored"}', CommandAnswer(ok=True, result=[1])),
        (
            b'{"ok": false, "e": "busy", "r": {"a": 1}}',
            CommandAnswer(ok=False, result={"a": 1}, error="busy"),
        ),
        (b'{"ok": false, "e": null}', CommandAnswer(ok=False)),
    ],
)
def test_an_answer_is_read(payload: bytes, answer: CommandAnswer) -> None:
    assert decode_answer(payload) == answer
    assert answer.event is (CommandEvent.ANSWERED_OK if answer.ok else CommandEvent.ANSWERED_ERROR)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'{"ok": 1}',
        b'{"ok": false, "e": 5}',
        b'{"ok": true, "r": [[[[[[[[[1]]]]]]]]]}',
        b'{"ok": true, "r": "\\ud800"}',
        b'{"ok": true, "r": "' + b"x" * COMMAND_ANSWER_BYTES_MAX + b'"}',
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(payload: bytes) -> None:
    with pytest.raises(UsageError):
        decode_answer(payload)


def test_a_long_reason_is_cut() -> None:
    answer: Any = decode_answer(json.dumps({"ok": False, "e": "x" * 5_000}).encode())
    assert len(answer.error) == 1_000
