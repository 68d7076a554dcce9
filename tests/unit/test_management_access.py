"""Who may publish and subscribe to what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import UsageError
from appliance.management.access import (
    AccessPolicy,
    Principal,
    Role,
    check_device_id,
    provisioning_name,
    role_unknown,
    wanted_device_id,
)

POLICY = AccessPolicy(
    [
        "site/+/dev/{device}/telemetry",
        "tele/{device}/SENSOR",
        "shop/{device}/{metric}",
        "raw/{device}/#",
        "no/device",
    ]
)
D1 = Principal(name="d1")
SITE = Principal(name="dash", kind="application", access="site")


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("dm/d1/telemetry", True),
        ("dm/d1/event", True),
        ("dm/d1/cmd/7/resp", False),
        ("dm/d1/jobs/notify-next", False),
        ("$aws/things/d1/shadow/update", False),
        ("dm/d1", False),
        ("dm/d10/telemetry", False),
        ("dm/d2/telemetry", False),
        ("site/7/dev/d1/telemetry", True),
        ("site/7/8/dev/d1/telemetry", False),
        ("site/7/dev/d2/telemetry", False),
        ("site/7/dev/d1/telemetry/x", False),
        ("tele/d1/SENSOR", True),
        ("tele/d1/STATE", False),
        ("shop/d1/weight", True),
        ("shop/d1", False),
        ("raw/d1", True),
        ("raw/d1/a/b", True),
        ("raw/d2/a/b", False),
        ("no/device", False),
        ("other", False),
        ("$SYS/broker", False),
        ("", False),
    ],
)
def test_a_device_publishes_under_its_own_name_only(topic: str, allowed: bool) -> None:
    assert POLICY.may_publish(D1, topic) is allowed


@pytest.mark.parametrize(
    ("topic_filter", "allowed"),
    [
        ("dm/d1/#", True),
        ("dm/d1/cmd/+", True),
        ("dm/d1", True),
        ("$aws/things/d1/#", True),
        ("$aws/things/d1/jobs/notify-next", True),
        ("$aws/things/d2/#", False),
        ("$aws/#", False),
        ("$share/g/dm/d1/#", True),
        ("$share/g/dm/d2/#", False),
        ("dm/+/cmd", False),
        ("dm/#", False),
        ("#", False),
        ("+/d1/#", False),
        ("$SYS/#", False),
        ("tele/d1/SENSOR", False),
    ],
)
def test_a_device_subscribes_to_its_own_topics_only(topic_filter: str, allowed: bool) -> None:
    assert POLICY.may_subscribe(D1, topic_filter) is allowed


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("dm/d2/set/1", True),
        ("dm/d2/cmd/1", False),
        ("dm/d2/shadow/update", False),
        ("dm/dash/shadow/update", False),
        ("$aws/things/d2/jobs/notify", False),
        ("anything", True),
        ("$SYS", False),
        ("$SYS/x", False),
        ("$SYSTEM/x", True),
        ("$SYS/broker/connection/site.bridge/state", True),
        ("$SYS/broker/connection/site/bridge/state", False),
        ("$SYS/broker/connection/site.bridge/other", False),
    ],
)
def test_an_application_of_the_site_publishes_anywhere_but_into_the_brokers_own(
    topic: str, allowed: bool
) -> None:
    assert POLICY.may_publish(SITE, topic) is allowed


@pytest.mark.parametrize("topic_filter", ["#", "$SYS/#", "dm/+/status", "$share/g/#"])
def test_an_application_of_the_site_subscribes_to_everything(topic_filter: str) -> None:
    assert POLICY.may_subscribe(SITE, topic_filter)


@given(st.text(alphabet="abd1/+#$", max_size=12), st.text(alphabet="abd1", min_size=1, max_size=3))
def test_no_topic_of_another_device_is_ever_open(topic: str, name: str) -> None:
    if AccessPolicy(["x/{device}/y"]).may_publish(Principal(name=name), topic):
        assert topic.startswith(f"dm/{name}/") or topic == f"x/{name}/y"


def test_without_mappings_only_the_default_topics_are_open() -> None:
    assert not AccessPolicy().may_publish(D1, "tele/d1/SENSOR")


@pytest.mark.parametrize("pattern", ["x{device}/y", "{device}/{device}", "a/{device}b"])
def test_a_pattern_with_a_part_of_a_level_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError) as refused:
        AccessPolicy([pattern])
    assert refused.value.code == "topic_pattern_invalid"


@pytest.mark.parametrize("device_id", ["a", "boiler-1", "Kessel 2", "ä", "a$", "x" * 128, "a.b:c"])
def test_device_ids(device_id: str) -> None:
    assert check_device_id(device_id) == device_id


@pytest.mark.parametrize(
    "device_id",
    [
        "",
        "a/b",
        "+",
        "a#",
        "\x00",
        "a\x7f",
        "x" * 129,
        "ä" * 65,
        " a",
        "a ",
        "$a",
        ".",
        "..",
        "a\u2028b",
        "site",
        "provision",
    ],
)
def test_what_can_not_be_a_device_id(device_id: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_device_id(device_id)
    assert refused.value.code == "device_id_invalid"
    assert refused.value.hint


ROLES = {
    "board": Role.of(subscribe=["dm/+/status", "$SYS/#", "mine/%c"]),
    "bridge": Role.of(publish=["$SYS/broker/connection/+/state", "#"]),
    "control": Role.of(publish=["dm/+/set/#", "dm/+/cmd/#", "room/%u/set", "+/x"], subscribe=["room/%u/#"]),
}
WITH_ROLES = AccessPolicy(["tele/{device}/SENSOR"], ROLES)


def of_role(role: str) -> Principal:
    return Principal(name="p1", kind="application", role=role)


@pytest.mark.parametrize(
    ("role", "topic", "allowed"),
    [
        ("control", "dm/d7/set/1", True),
        ("control", "dm/d7/cmd/1", False),
        ("control", "dm/d7/telemetry", False),
        ("control", "dm/p1/anything", True),
        ("control", "tele/p1/SENSOR", True),
        ("control", "room/p1/set", True),
        ("control", "room/p2/set", False),
        ("control", "$SYS/x", False),
        ("control", "$SYS/broker/connection/x/state", False),
        ("bridge", "$SYS/broker/connection/x/state", True),
        ("bridge", "$SYS/broker/connection/x/y", False),
        ("bridge", "a/b", True),
        ("board", "dm/d7/status", False),
        ("gone", "dm/p1/x", True),
        ("gone", "dm/d7/set/1", False),
        ("", "dm/d7/set/1", False),
    ],
)
def test_a_role_publishes_its_patterns_and_its_own(role: str, topic: str, allowed: bool) -> None:
    assert WITH_ROLES.may_publish(of_role(role), topic, "c1") is allowed


@pytest.mark.parametrize(
    ("role", "topic_filter", "allowed"),
    [
        ("board", "dm/+/status", True),
        ("board", "dm/d7/status", True),
        ("board", "$share/g/dm/+/status", True),
        ("board", "$share/g/dm/#", False),
        ("board", "dm/+/+", False),
        ("board", "$SYS/broker/#", True),
        ("board", "mine/c1", True),
        ("board", "mine/c2", False),
        ("board", "mine/+", False),
        ("control", "room/p1/+", True),
        ("control", "$SYS/#", False),
        ("control", "dm/p1/#", True),
        ("gone", "dm/+/status", False),
        ("board", "$share/g", False),
    ],
)
def test_a_role_subscribes_to_what_one_pattern_covers(role: str, topic_filter: str, allowed: bool) -> None:
    assert WITH_ROLES.may_subscribe(of_role(role), topic_filter, "c1") is allowed


@pytest.mark.parametrize("client_id", ["+", "#", "a/b", "", "$SYS"])
def test_no_client_id_opens_more_than_itself(client_id: str) -> None:
    for topic_filter in ("mine/+", "mine/#", "mine/a/b", "mine/a", "mine/", "#"):
        assert not WITH_ROLES.may_subscribe(of_role("board"), topic_filter, client_id)


def test_nobody_is_given_the_brokers_own_topics_to_publish() -> None:
    with pytest.raises(UsageError) as refused:
        Role.of(publish=["$SYS/broker/#"])
    assert refused.value.code == "topic_pattern_invalid"
    assert WITH_ROLES.knows_role("board")
    assert not WITH_ROLES.knows_role("gone")


def test_a_role_that_nobody_wrote_is_refused_with_those_that_there_are() -> None:
    assert role_unknown("x", ["a", "b"]).hint == "Known: a, b."
    assert "[[broker_role]]" in role_unknown("x", []).hint


def test_the_proof_of_a_principal_is_never_shown() -> None:
    assert "secret" not in repr(Principal(name="d", proof=b"secret"))


class TestRequests:
    ASK = "dm/provision/default/request"
    ENROLLING = Principal(name=provisioning_name("pump"), kind="provisioning")

    def test_who_enrols_may_ask_and_nothing_else(self) -> None:
        policy = AccessPolicy(["site/{device}/x"])
        assert policy.may_ask(self.ENROLLING, self.ASK)
        assert policy.may_ask(Principal(name="pump"), self.ASK), "a device renews what it has"
        assert not policy.may_ask(Principal(name="$local", kind="application", access="site"), self.ASK)
        for topic in (
            "dm/pump/telemetry",
            f"dm/{self.ENROLLING.name}/telemetry",
            "site/pump/x",
            "dm/provision/x/y",
        ):
            assert not policy.may_ask(self.ENROLLING, topic)
            assert not policy.may_publish(self.ENROLLING, topic)
        for topic_filter in ("#", "dm/pump/#", f"dm/{self.ENROLLING.name}/#", "$SYS/#"):
            assert not policy.may_subscribe(self.ENROLLING, topic_filter)

    def test_nobody_publishes_there_and_everybody_may_listen(self) -> None:
        policy = AccessPolicy([], {"all": Role.of(publish=["dm/#"])})
        for principal in (
            Principal(name="site", kind="application", access="site"),
            Principal(name="provision"),
            Principal(name="r", role="all"),
        ):
            for topic in (self.ASK, "dm/provision/default/accepted", "dm/provision"):
                assert not policy.may_publish(principal, topic)
        for principal in (self.ENROLLING, Principal(name="pump")):
            for topic_filter in ("dm/provision/+/accepted", "$share/g/dm/provision/#"):
                assert policy.may_subscribe(principal, topic_filter)

    def test_the_wanted_id_is_in_the_name(self) -> None:
        assert wanted_device_id(provisioning_name("provision")) == ""
        assert wanted_device_id(provisioning_name("pump")) == "pump"


@pytest.mark.parametrize(
    ("principal", "topic", "allowed"),
    [
        (D1, "dm/d1/shadow/get", True),
        (D1, "$aws/things/d1/jobs/$next/get", True),
        (D1, "dm/d1/cmd/7/resp", True),
        (D1, "dm/d2/shadow/get", False),
        (D1, "$aws/things/d2/jobs/$next/get", False),
        (D1, "dm/d1/shadow/get/accepted", False),
        (D1, "dm/d1/telemetry", False),
        (SITE, "dm/d1/shadow/update", False),
        (SITE, "dm/dash/shadow/update", False),
        (Principal(name="$local", kind="application", access="site"), "dm/$local/shadow/get", False),
        (Principal(name=provisioning_name("d1"), kind="provisioning"), "dm/d1/shadow/get", False),
    ],
)
def test_a_device_asks_below_its_own_name_only(principal: Principal, topic: str, allowed: bool) -> None:
    assert POLICY.may_ask(principal, topic) is allowed
