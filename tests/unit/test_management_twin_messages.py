"""What devices ask about twins and are told, in the shapes of AWS IoT's Device Shadow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.core.errors import Conflict, HomeportError, LimitExceeded, NotFound, Unavailable, UsageError
from appliance.core.limits_twins import TWIN_REQUEST_BYTES_MAX
from appliance.management.twin import SectionChange, Twin, TwinChange, too_many
from appliance.management.twin_messages import (
    TwinAsked,
    accepted_delete,
    accepted_get,
    accepted_update,
    decode_asked,
    decode_update,
    delta_message,
    documents_message,
    rejected,
    status_of,
    token_of,
)


def said(payload: bytes | None) -> Any:
    assert payload is not None
    return json.loads(payload)


def changed(twin: Twin, at_s: int, **members: Any) -> Twin:
    return twin.updated(decode_update(json.dumps(members).encode()), at_s)


def test_an_update_is_read() -> None:
    change = decode_update(
        b'{"state": {"desired": {"a": null}, "reported": null}, "version": 3, "clientToken": "t"}'
    )
    assert change == TwinChange(
        desired=SectionChange(values={"a": None}),
        reported=SectionChange(is_cleared=True),
        version=3,
        client_token="t",
    )
    assert decode_update(b'{"state": {}, "other": 1}') == TwinChange()


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"[]", "no JSON object"),
        (b"{}", "“state” is missing"),
        (b'{"state": null}', "“state” is no object"),
        (b'{"state": {"delta": {}}}', "unknown member “delta”"),
        (b'{"state": {"desired": []}}', "“desired” is neither"),
        (b'{"state": {}, "version": -1}', "“version”"),
        (b'{"state": {}, "version": true}', "“version”"),
        (b'{"state": {}, "version": 1.0}', "“version”"),
        (b'{"state": {}, "clientToken": 1}', "“clientToken”"),
        (b'{"state": {}, "clientToken": "' + b"x" * 65 + b'"}', "“clientToken”"),
        (b'{"state": {"desired": {"a": "\\udc00"}}}', "surrogate"),
        (b'{"state": {}', "well-formed"),
    ],
)
def test_an_update_that_makes_no_sense_is_refused(payload: bytes, why: str) -> None:
    with pytest.raises(UsageError) as refused:
        decode_update(payload)
    assert why in refused.value.message
    assert said(rejected(refused.value, now_s=5, client_token=None))["code"] == 400


def test_a_payload_that_is_too_large_is_not_read() -> None:
    with pytest.raises(LimitExceeded) as refused:
        decode_update(b" " * (TWIN_REQUEST_BYTES_MAX + 1))
    assert status_of(refused.value) == 413


def test_get_and_delete_say_little() -> None:
    assert decode_asked(b"") == TwinAsked()
    assert decode_asked(b'{"clientToken": "t", "version": 2}') == TwinAsked(version=2, client_token="t")
    with pytest.raises(UsageError):
        decode_asked(b"[]")


def test_the_token_of_what_was_refused_is_found_where_it_can_be() -> None:
    assert token_of(b'{"clientToken": "t"}') == "t"
    assert token_of(b'{"clientToken": 5}') is None
    assert token_of(b"") is None
    assert token_of(b"\xff") is None


def test_get_is_answered_with_the_state_its_delta_and_its_times() -> None:
    twin = changed(Twin(), 10, state={"desired": {"a": 1, "b": {"c": [1, 2]}}, "reported": {"a": 2}})
    assert said(accepted_get(twin, now_s=20, client_token="t")) == {
        "state": {
            "desired": {"a": 1, "b": {"c": [1, 2]}},
            "reported": {"a": 2},
            "delta": {"a": 1, "b": {"c": [1, 2]}},
        },
        "metadata": {
            "desired": {"a": {"timestamp": 10}, "b": {"c": [{"timestamp": 10}, {"timestamp": 10}]}},
            "reported": {"a": {"timestamp": 10}},
        },
        "version": 1,
        "timestamp": 20,
        "clientToken": "t",
    }
    empty = changed(Twin(), 10, state={"desired": None})
    assert said(accepted_get(empty, now_s=20, client_token=None))["state"] == {}


def test_an_update_is_answered_with_what_was_asked() -> None:
    change = decode_update(b'{"state": {"reported": {"a": 1, "b": null}, "desired": null}}')
    twin = Twin().updated(change, 10)
    assert said(accepted_update(twin, change, now_s=11)) == {
        "state": {"desired": None, "reported": {"a": 1, "b": None}},
        "metadata": {"desired": {}, "reported": {"a": {"timestamp": 10}}},
        "version": 1,
        "timestamp": 11,
    }
    one = decode_update(b'{"state": {"desired": {"a": 1}}}')
    assert said(accepted_update(twin.updated(one, 12), one, now_s=12))["state"] == {"desired": {"a": 1}}


def test_a_deletion_is_answered_with_its_version() -> None:
    twin = changed(Twin(), 10, state={}).deleted()
    assert said(accepted_delete(twin, now_s=11, client_token="t")) == {
        "version": 2,
        "timestamp": 11,
        "clientToken": "t",
    }


def test_the_delta_is_said_while_there_is_one() -> None:
    twin = changed(Twin(), 10, state={"desired": {"a": {"b": 1, "c": 2}}})
    twin = changed(twin, 11, state={"reported": {"a": {"b": 1}}})
    assert said(delta_message(twin, now_s=12, client_token="t")) == {
        "state": {"a": {"c": 2}},
        "metadata": {"a": {"c": {"timestamp": 10}}},
        "version": 2,
        "timestamp": 12,
        "clientToken": "t",
    }
    done = changed(twin, 12, state={"reported": {"a": {"c": 2}}})
    assert delta_message(done, now_s=13) is None


def test_documents_have_the_twin_before_and_after() -> None:
    first = changed(Twin(), 10, state={"desired": {"a": 1}})
    second = changed(first, 11, state={"reported": {"a": 2}})
    made = said(documents_message(Twin(), first, now_s=10))
    assert (made["previous"], made["current"]["version"]) == (None, 1)
    both = said(documents_message(first, second, now_s=11, client_token="t"))
    assert both["previous"]["state"] == {"desired": {"a": 1}}
    assert both["current"]["state"] == {"desired": {"a": 1}, "reported": {"a": 2}}
    assert (both["timestamp"], both["clientToken"]) == (11, "t")


def test_a_wrong_version_is_refused_with_the_current_state() -> None:
    twin = changed(Twin(), 10, state={"desired": {"a": 1}})
    with pytest.raises(Conflict) as refused:
        twin.updated(TwinChange(version=7), 11)
    answer = said(rejected(refused.value, now_s=12, client_token="t", current=twin))
    assert (answer["code"], answer["reason"], answer["version"], answer["clientToken"]) == (
        409,
        "twin_version",
        1,
        "t",
    )
    assert answer["state"] == {"desired": {"a": 1}, "delta": {"a": 1}}
    assert "version 1, not 7" in answer["message"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("x"), 400),
        (NotFound("x"), 404),
        (Conflict("x"), 409),
        (LimitExceeded("x", code="twin_too_large"), 413),
        (too_many(), 422),
        (LimitExceeded("x", code="writes_waiting"), 429),
        (Unavailable("x"), 500),
    ],
)
def test_refusals_have_the_numbers_of_aws_iot(error: HomeportError, status: int) -> None:
    assert status_of(error) == status
