"""Which topics are requests, where their answers go, and which filters hear what is pushed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.management.request_topics import (
    DeviceTopic,
    is_provisioning,
    is_reserved,
    listens,
    parse,
    template_of,
)
from broker.mqtt.topics import matches

REQUEST = "dm/provision/default/request"
REST = {
    "shadow": ["get", "update", "delete", "name/config/get", "name/$x:1_-/update", "name/get/delete"],
    "jobs": ["get", "start-next", "$next/get", "$next/update", "r1-pump/get", "r1-pump/update"],
    "streams": ["s1/describe/json", "s1/describe/cbor", "s1/get/json", f"{'s' * 128}/get/cbor"],
}
NO_REST = {
    "shadow": ["", "accepted", "get/accepted", "update/delta", "name/a b/get", "name//get", "name/a/put",
               f"name/{'n' * 65}/get", "name/a/get/accepted", "x/a/get"],
    "jobs": ["", "notify", "notify-next", "start-next/accepted", "$other/get", "a b/get", "j/accepted", "j/get/accepted",
             f"{'j' * 65}/get"],
    "streams": ["", "s1", "s1/get", "s1/get/xml", "s1/put/json", "s1/data/json", f"{'s' * 129}/get/json", "s 1/get/json"],
}  # fmt: skip
ALIAS = {"dm/pump": False, "$aws/things/pump": True}


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        (REQUEST, True),
        ("dm/provision/" + "x" * 64 + "/request", True),
        ("dm/provision/" + "x" * 65 + "/request", False),
        ("dm/provision//request", False),
        ("dm/provision/request", False),
        ("dm/provision/default/request/more", False),
        ("dm/provision/default/accepted", False),
        ("dm/provision/shadow/get", False),
        ("dm/pump/default/request", False),
        ("x/provision/default/request", False),
    ],
)
def test_requests_for_an_identity(topic: str, expected: bool) -> None:
    found = parse(topic)
    assert (found is not None) is expected
    if found is not None:
        assert (found.device_id, found.service, str(found)) == ("", "provision", topic)
        assert found.rejected() == topic.removesuffix("request") + "rejected"
        assert template_of(topic) == found.rest[0]


@pytest.mark.parametrize("prefix", ALIAS)
def test_requests_of_a_device(prefix: str) -> None:
    for service, rests in REST.items():
        for rest in rests:
            topic = f"{prefix}/{service}/{rest}"
            found = parse(topic)
            assert found == DeviceTopic("pump", service, tuple(rest.split("/")), ALIAS[prefix])
            assert str(found) == topic
            assert found.answer("a", "b") == f"{prefix}/{service}/a/b"
    for service, rests in NO_REST.items():
        for rest in rests:
            assert parse(f"{prefix}/{service}/{rest}") is None
    for service in ("telemetry", "status", "rpc", ""):
        assert parse(f"{prefix}/{service}/get") is None


def test_the_outcome_of_a_command_has_no_alias() -> None:
    assert parse("dm/pump/cmd/r1/resp") == DeviceTopic("pump", "cmd", ("r1", "resp"))
    for topic in (
        "dm/pump/cmd/r1",
        "dm/pump/cmd/r 1/resp",
        "dm/pump/cmd//resp",
        "$aws/things/pump/cmd/r1/resp",
    ):
        assert parse(topic) is None


@pytest.mark.parametrize("topic", ["dm", "dm/pump", "dm/pump/shadow", "dm//shadow/get", "$aws", "$aws/things/pump/shadow",
                                   "$aws/rules/x/shadow/get", "$aws/things//shadow/get", "x/pump/shadow/get", ""])  # fmt: skip
def test_what_is_too_short_or_of_another_kind(topic: str) -> None:
    assert parse(topic) is None


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("dm/pump/shadow/name/a/get", "dm/pump/shadow/name/a/get/rejected"),
        ("$aws/things/pump/jobs/j/update", "$aws/things/pump/jobs/j/update/rejected"),
        ("dm/pump/streams/s/get/cbor", "dm/pump/streams/s/rejected/cbor"),
        ("dm/pump/cmd/r/resp", "dm/pump/cmd/r/resp/rejected"),
    ],
)
def test_where_a_refusal_goes(topic: str, expected: str) -> None:
    found = parse(topic)
    assert found is not None
    assert found.rejected() == expected


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("dm/provision", True),
        ("dm/provision/anything/else", True),
        ("dm/provisions/x", False),
        ("dm", False),
        ("dm/pump", False),
        ("dm/pump/jobs", True),
        ("dm/pump/cmd/7", True),
        ("dm/pump/streams/s/data/json", True),
        ("dm/pump/jobsite/x", False),
        ("dm/pump/telemetry", False),
        ("$aws", True),
        ("$aws/things/pump/shadow/update/delta", True),
        ("aws/things", False),
    ],
)
def test_what_is_reserved(topic: str, expected: bool) -> None:
    assert is_reserved(topic.split("/")) is expected
    assert is_provisioning(topic.split("/")) is (topic + "/").startswith("dm/provision/")


@pytest.mark.parametrize(
    ("topic_filter", "native", "aws"),
    [
        ("dm/pump/#", True, False),
        ("dm/pump/cmd/+", True, False),
        ("dm/+/jobs/notify-next", True, False),
        ("#", True, False),
        ("+/+/+/+", True, False),
        ("dm/pump/telemetry/#", False, False),
        ("dm/other/#", False, False),
        ("dm/pump/jobs", False, False),
        ("dm/pump", False, False),
        ("dm/pump/jobs/$next/get/accepted", False, False),
        ("$aws/things/pump/#", False, True),
        ("$aws/#", False, True),
        ("$aws/things/+/shadow/update/delta", False, True),
        ("$aws/things/pump/jobs/notify", False, True),
        ("$aws/things/pump/cmd/+", False, False),
        ("$aws/things/other/jobs/notify", False, False),
        ("+/things/pump/jobs/notify", False, False),
    ],
)
def test_who_hears_what_is_pushed(topic_filter: str, native: bool, aws: bool) -> None:
    assert listens(topic_filter, "pump") == (native, aws)


LEVELS = st.sampled_from(
    ["dm", "$aws", "things", "pump", "other", "jobs", "cmd", "shadow", "notify", "update", "+"]
)
FILTERS = st.builds(
    lambda levels, tail: "/".join(levels) + tail,
    st.lists(LEVELS, min_size=1, max_size=6),
    st.sampled_from(["", "/#"]),
)
PUSHED = [
    "dm/pump/jobs/notify",
    "dm/pump/cmd/r1",
    "dm/pump/shadow/update/delta",
    "dm/pump/shadow/name/a/update/delta",
]
PUSHED_AWS = ["$aws/things/pump/jobs/notify", "$aws/things/pump/shadow/name/a/update/delta"]


@given(FILTERS)
def test_whatever_a_filter_gets_of_a_push_it_is_known_to_listen(topic_filter: str) -> None:
    native, aws = listens(topic_filter, "pump")
    assert native or not any(matches(topic_filter, topic) for topic in PUSHED)
    assert aws or not any(matches(topic_filter, topic) for topic in PUSHED_AWS)


@given(st.text(max_size=40) | st.lists(LEVELS, max_size=7).map("/".join))
def test_any_topic_is_a_request_or_none_and_every_request_is_reserved(topic: str) -> None:
    found = parse(topic)
    if found is not None:
        assert str(found) == topic
        assert is_reserved(topic.split("/"))
        assert is_reserved(found.rejected().split("/"))
