"""Which servers and streams are refused, and that the reason is said."""

from __future__ import annotations

from typing import Any

import pytest

from replication.tier.engine import TierUnfit
from replication.tier.engines.jetstream_fitness import (
    check_server,
    check_stream,
    check_synced,
    members_of,
    stream_config,
    unseen,
)

GOOD = {"version": "2.15.1", "max_payload": 32 << 20}


def answer(name: str, sync: object = True, **values: Any) -> dict[str, Any]:
    return {
        "server": {"name": name},
        "data": {"jetstream": {"config": {"sync_always": sync}}, **GOOD, **values},
    }


@pytest.mark.parametrize("version", ["2.11.0", "2.15.1", "3.0.0-dev", "v2.12.3"])
def test_a_server_of_today_is_fit(version: str) -> None:
    check_server(GOOD | {"version": version})


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"version": "2.9.10"}, "too old"),
        ({"version": "2.10.27"}, "too old"),
        ({"version": "next"}, "too old"),
        ({"max_payload": 1 << 20}, "takes messages of 1048576 bytes at most"),
        ({"max_payload": None}, "takes messages"),
    ],
)
def test_a_server_that_is_old_or_takes_too_little(values: dict[str, object], word: str) -> None:
    with pytest.raises(TierUnfit, match=word):
        check_server(GOOD | values)


def test_the_stream_that_is_made_is_fit() -> None:
    check_stream(stream_config("tier", 3), "tier", 3)
    check_stream(stream_config("tier", 5), "tier", 3)
    check_stream(stream_config("tier", 3) | {"max_bytes": 10**12}, "tier", 3)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"storage": "memory"}, "in memory"),
        ({"num_replicas": 1}, "has 1 copies"),
        ({"persist_mode": "async"}, "before it has written"),
        ({"retention": "workqueue"}, "consumers have read"),
        ({"max_age": 1}, "what is old"),
        ({"max_bytes": 10, "discard": "old"}, "the oldest when it is full"),
        ({"max_msgs": 10, "discard": "old"}, "the oldest when it is full"),
        ({"max_msgs_per_subject": 1}, "few messages"),
        ({"max_msg_size": 1 << 20}, "largest piece"),
        ({"no_ack": True}, "acknowledges nothing"),
        ({"sealed": True}, "takes nothing"),
        ({"allow_direct": False}, "directly"),
        ({"subjects": ["other.>"]}, "does not take"),
    ],
)
def test_a_stream_that_loses_something_is_refused(values: dict[str, object], word: str) -> None:
    with pytest.raises(TierUnfit, match=word):
        check_stream(stream_config("tier", 3) | values, "tier", 3)


def test_who_holds_the_stream() -> None:
    info = {"cluster": {"leader": "n2", "replicas": [{"name": "n3"}, {"name": "n1"}, {}]}}
    assert members_of(info) == ("n1", "n2", "n3")
    assert members_of({}) == ()
    assert members_of({"cluster": {"replicas": [{"name": "n1"}]}}) == ("n1",)


def test_a_majority_that_syncs_is_enough_and_others_do_not_matter() -> None:
    members = ("n1", "n2", "n3")
    check_synced([answer("n1"), answer("n2"), answer("elsewhere", False)], members)
    check_synced([answer("alone")], ())
    for few in ([], [answer("n1")], [answer("n1"), answer("n1")], [answer("n1"), answer("elsewhere")]):
        with pytest.raises(TierUnfit, match="Of 3 NATS servers that hold the stream"):
            check_synced(few, members)
    with pytest.raises(TierUnfit, match="Of 1 "):
        check_synced([{}, {"server": None}][:0], ())


@pytest.mark.parametrize("sync", [False, None, "true"])
def test_one_that_acknowledges_first_is_refused_by_name(sync: object) -> None:
    with pytest.raises(TierUnfit, match="n3 acknowledges before its disk has it") as caught:
        check_synced([answer("n1"), answer("n2"), answer("n3", sync)], ("n1", "n2", "n3"))
    assert "sync_interval: always" in caught.value.hint
    with pytest.raises(TierUnfit, match="too old"):
        check_synced([answer("n1", version="2.10.0")], ("n1",))
    assert "sync=trust" in unseen().hint
