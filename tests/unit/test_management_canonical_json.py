"""The same document is the same bytes."""

from __future__ import annotations

from appliance.management.canonical_json import canonical


def test_keys_are_in_order_and_nothing_is_between() -> None:
    assert (
        canonical({"b": [1, {"d": None, "c": True}], "a": 'ä\n"/'})
        == '{"a":"ä\\n\\"/","b":[1,{"c":true,"d":null}]}'
    )
