"""Homeport's bridge and a real mosquitto at the other end, in both directions, through outages and kills."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_fw_sim.load import Credential
from tests.interop import brokers
from tests.interop.bridging import box, bridge_settings, client, eventually
from tests.ports import free_port

OUT = 'direction = "out"\ntopic = "a/#"\nqos = 2\nremote_prefix = "site/"'
IN = 'direction = "in"\ntopic = "cmd/#"\nqos = 2\nremote_prefix = "site/"'


def memory_mib(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_messages_cross_in_both_directions(tmp_path: Path, version: str) -> None:
    with (
        brokers.mosquitto(tmp_path / "m", tls_listener=False) as remote,
        box(tmp_path / "h", bridge_settings(remote.port, OUT, IN, more=f'version = "{version}"')) as homeport,
        client(remote, "there", "site/a/#") as there,
        client(homeport.broker, "here", "cmd/#") as here,
    ):
        homeport.wait_state("connected")
        for qos in (0, 1, 2):
            here.publish("a/b", b"out %d" % qos, qos=qos)
            there.publish("site/cmd/x", b"in %d" % qos, qos=qos)
        here.publish("other", b"stays here")
        eventually(lambda: len(there.got) == 3, "three messages out")
        eventually(lambda: len(here.got) == 3, "three messages in")
        assert {topic for topic, _, _ in there.got} == {"site/a/b"}
        assert {topic for topic, _, _ in here.got} == {"cmd/x"}
        assert there.payloads() == [b"out 0", b"out 1", b"out 2"]
        assert here.payloads() == [b"in 0", b"in 1", b"in 2"]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_retained_messages_are_retained_at_the_other_side(tmp_path: Path, version: str) -> None:
    with (
        brokers.mosquitto(tmp_path / "m", tls_listener=False) as remote,
        client(remote, "before") as before,
    ):
        before.publish("site/cmd/kept", b"from before", retain=True)
        settings = bridge_settings(remote.port, OUT, IN, more=f'version = "{version}"')
        with box(tmp_path / "h", settings) as homeport, client(homeport.broker, "here") as here:
            homeport.wait_state("connected")
            here.publish("a/kept", b"of here", retain=True)
            before.publish("site/cmd/live", b"from now", retain=True)
            eventually(lambda: homeport.report()["received_messages"] == 2, "both are here")
            eventually(lambda: homeport.report()["acknowledged_messages"] == 1, "it is there")
            with (
                client(homeport.broker, "late", "cmd/#") as late_here,
                client(remote, "late", "site/a/#") as late_there,
            ):
                eventually(lambda: len(late_here.got) == 2 and late_there.got, "retained ones")
                assert sorted(late_here.got) == [
                    ("cmd/kept", b"from before", True),
                    ("cmd/live", b"from now", True),
                ]
                assert late_there.got == [("site/a/kept", b"of here", True)]


def test_an_outage_of_the_remote_costs_nothing(tmp_path: Path) -> None:
    """Killed in the middle, away for a while, back with what it had persisted. [MQTT3-7.0.0-1]"""
    with (
        brokers.mosquitto(tmp_path / "m", tls_listener=False, persistence=True) as remote,
        box(tmp_path / "h", bridge_settings(remote.port, OUT)) as homeport,
        client(homeport.broker, "here") as here,
    ):
        homeport.wait_state("connected")
        with client(remote, "there", "site/a/#") as there:
            for number in range(100):
                here.publish("a/b", b"%d" % number)
            eventually(lambda: len(there.got) == 100, "the first hundred")
        remote.stop()
        homeport.wait_state("waiting")
        assert homeport.report()["hint"]
        for number in range(100, 300):
            here.publish("a/b", b"%d" % number)
        eventually(lambda: homeport.report()["lag_records"] >= 200, "the backlog is told")
        assert homeport.report()["lag_ms"] > 0
        remote.start()
        with client(remote, "there", "site/a/#") as there:
            eventually(lambda: len(set(there.payloads())) >= 200, "the rest")
            assert {int(p) for p in there.payloads()} >= set(range(100, 300))
            eventually(lambda: homeport.report()["lag_records"] == 0, "no lag is left")


def test_messages_for_us_wait_at_the_remote_while_we_are_away(tmp_path: Path) -> None:
    with (
        brokers.mosquitto(tmp_path / "m", tls_listener=False) as remote,
        box(tmp_path / "h", bridge_settings(remote.port, IN)) as homeport,
        client(homeport.broker, "here", "cmd/#") as here,
        client(remote, "there") as there,
    ):
        homeport.wait_state("connected")
        homeport.kill_bridge()
        for number in range(200):
            there.publish("site/cmd/x", b"%d" % number, qos=1 + number % 2)
        homeport.start_bridge()
        eventually(lambda: len(here.got) >= 200, "all of them")
        assert sorted(int(p) for p in here.payloads()) == list(range(200))


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_sigkill_in_the_middle_loses_nothing_and_qos_2_comes_once(tmp_path: Path, version: str) -> None:
    """The bridge process is killed again and again while messages flow in both directions."""
    count = 1500
    settings = bridge_settings(remote_port := free_port(), OUT, IN, more=f'version = "{version}"')
    with (
        brokers.mosquitto(tmp_path / "m", tls_listener=False, port=remote_port) as remote,
        box(tmp_path / "h", settings) as homeport,
        client(homeport.broker, "here", "cmd/#") as here,
        client(remote, "there", "site/a/#") as there,
    ):
        homeport.wait_state("connected")
        killed = 0
        for number in range(count):
            qos = 1 + number % 2
            here.client.publish("a/b", b"%d" % number, qos=qos)
            there.client.publish("site/cmd/x", b"%d" % number, qos=qos)
            if number % 300 == 150:
                sent = len(there.got)
                eventually(lambda sent=sent: len(there.got) > sent + 3, "messages flow")  # type: ignore[misc]
                homeport.kill_bridge()
                killed += 1
                homeport.start_bridge()
        for side in (here, there):
            eventually(
                lambda side=side: len(set(side.payloads())) == count,  # type: ignore[misc]
                "all of them",
                deadline_s=60,
            )
        assert killed == 5
        for side in (here, there):
            numbers = [int(payload) for payload in side.payloads()]
            exactly_once = [number for number in numbers if number % 2]
            assert len(exactly_once) == len(set(exactly_once)), "QoS 2 came twice"


def test_two_homeports_with_the_same_topics_do_not_storm(tmp_path: Path) -> None:
    """Each is a bridge to the other, both ways: the worst that can be configured. A message comes three times at most."""
    both = 'direction = "both"\ntopic = "s/#"\nqos = 1'
    ports = [free_port(), free_port()]
    credentials = 'user_name = "interop"\npassword_file = "password"'
    with (
        box(tmp_path / "a", bridge_settings(ports[1], both, more=credentials), port=ports[0]) as first,
        box(tmp_path / "b", bridge_settings(ports[0], both, more=credentials), port=ports[1]) as second,
    ):
        for mine, other in ((first, second), (second, first)):
            path = mine.broker.folder / "password"
            path.touch(mode=0o600)
            path.write_text(other.broker.credentials[0].password + "\n")
            mine.kill_bridge()  # it may be in its pause of a minute, since the file wasn't there
            mine.start_bridge()
        first.wait_state("connected")
        second.wait_state("connected")
        with (
            client(first.broker, "c1", "s/#") as one,
            client(second.broker, "c2", "s/#") as two,
        ):
            one.publish("s/x", b"from one")
            two.publish("s/y", b"from two")
            eventually(lambda: {b"from one", b"from two"} <= set(two.payloads()), "both at two")
            eventually(lambda: {b"from one", b"from two"} <= set(one.payloads()), "both at one")
            for number in range(3):
                one.publish("s/z", b"%d" % number)
            eventually(lambda: set(two.payloads()) >= {b"0", b"1", b"2"}, "and more")

            def looped() -> int:
                return sum(each.report()["looped_messages"] for each in (first, second))

            # Of each message both circles end: the one of the bridges out and the one of the bridges in.
            eventually(lambda: looped() == 2 * 5, "all circles have ended")
            copies = (3 * 4 + 2, 2 * 4 + 3)
            eventually(lambda: (len(one.got), len(two.got)) == copies, f"{copies} copies")


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_two_homeports_with_one_bridge_exchange_each_message_once(tmp_path: Path, version: str) -> None:
    both = 'direction = "both"\ntopic = "s/#"\nqos = 1'
    port = free_port()
    with (
        brokers.homeport(tmp_path / "b", port=port) as other,
        (tmp_path / "password").open("x") as file,
    ):
        file.write(other.credentials[0].password)
        file.flush()
        (tmp_path / "password").chmod(0o600)
        more = f'version = "{version}"\nuser_name = "interop"\npassword_file = "{tmp_path / "password"}"'
        with (
            box(tmp_path / "a", bridge_settings(port, both, more=more)) as homeport,
            client(homeport.broker, "c1", "s/#") as one,
            client(other, "c2", "s/#") as two,
        ):
            homeport.wait_state("connected")
            one.publish("s/x", b"from one")
            two.publish("s/y", b"from two")
            one.publish("s/x", b"end of one")
            two.publish("s/y", b"end of two")
            wanted = [b"end of one", b"end of two", b"from one", b"from two"]
            eventually(lambda: len(one.got) >= 4 and len(two.got) >= 4, "all four on both sides")
            eventually(lambda: homeport.report()["lag_records"] == 0, "nothing is under way")
            assert sorted(one.payloads()) == wanted
            assert sorted(two.payloads()) == wanted


@pytest.mark.parametrize("clean_session", ["true", "false"])
def test_mosquitto_is_a_bridge_into_homeport(tmp_path: Path, clean_session: str) -> None:
    """mosquitto as it comes, with its own bridge in both directions and its notifications on."""
    with brokers.homeport(tmp_path / "h") as homeport:
        who = homeport.credentials[0]
        settings = f"""connection up
address 127.0.0.1:{homeport.port}
remote_username {who.username}
remote_password {who.password}
remote_clientid mosquitto-bridge
cleansession {clean_session}
try_private true
topic a/# out 1 "" site/
topic cmd/# in 1 "" site/
topic both/# both 2
"""
        with (
            brokers.mosquitto(tmp_path / "m", tls_listener=False, settings=settings) as mosquitto,
            client(homeport, "state", "$SYS/broker/connection/+/state") as state,
            client(homeport, "here", "site/a/#", "both/#") as here,
            client(mosquitto, "there", "cmd/#", "both/#") as there,
        ):
            eventually(lambda: b"1" in state.payloads(), "mosquitto says that it is connected")
            there.publish("a/b", b"to homeport", qos=1)
            here.publish("site/cmd/x", b"to mosquitto", qos=1)
            eventually(lambda: here.payloads() == [b"to homeport"], "out")
            eventually(lambda: there.payloads() == [b"to mosquitto"], "in")
            here.publish("both/x", b"1", qos=2)
            there.publish("both/y", b"2", qos=2)
            eventually(lambda: len(here.got) == 3 and len(there.got) == 3, "both ways")
            here.publish("both/x", b"last", qos=1)
            eventually(lambda: there.payloads()[-1] == b"last" and b"last" in here.payloads(), "the last one")
            assert sorted(here.payloads()) == [b"1", b"2", b"last", b"to homeport"], "nothing came back"
            assert sorted(there.payloads()) == [b"1", b"2", b"last", b"to mosquitto"]
            here.publish("site/cmd/kept", b"kept", retain=True)
            eventually(lambda: len(there.got) == 5, "the retained one")
            with client(mosquitto, "late", "cmd/kept") as late:
                eventually(lambda: late.got == [("cmd/kept", b"kept", True)], "it is retained there")


def test_over_tls_with_a_password_and_what_is_said_when_either_is_wrong(tmp_path: Path) -> None:
    credential = Credential(username="site-7", password="a-good-password")
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("wrong\n")
    with brokers.mosquitto(tmp_path / "m", credentials=[credential]) as remote:
        bridge = f"""[[bridge]]
name = "up"
address = "127.0.0.1:{remote.tls_port}"
ca_file = "{remote.ca_file}"
user_name = "site-7"
password_file = "{password}"
[[bridge_topic]]
bridge = "up"
direction = "out"
topic = "a/#"
"""
        with (
            box(tmp_path / "h", bridge) as homeport,
            client(homeport.broker, "here") as here,
            client(remote, "there", "a/#") as there,
        ):
            homeport.wait_state("waiting")
            assert homeport.report()["code"] == "bridge_not_authorized"
            password.unlink()
            homeport.wait_state("stopped")
            assert homeport.report()["code"] == "bridge_password_file"
            homeport.kill_bridge()
            password.touch(mode=0o600)
            password.write_text("a-good-password\n")
            here.publish("a/b", b"while the process was away")
            homeport.start_bridge()
            homeport.wait_state("connected")
            eventually(lambda: there.payloads() == [b"while the process was away"], "over TLS")
        assert b"a-good-password" not in (homeport.broker.folder / "bridge.log").read_bytes()


def test_a_hundred_thousand_records_of_backlog_are_streamed(tmp_path: Path) -> None:
    """Two in a thousand match; the bridge was never there while they came, and its memory stays what it was."""
    settings = bridge_settings(free_port(), OUT, more='begin = "oldest"')
    port = int(settings.split("127.0.0.1:")[1].split('"')[0])
    with (
        box(tmp_path / "h", settings) as homeport,
        client(homeport.broker, "here", version=4) as here,
    ):
        homeport.wait_state("waiting")
        for number in range(200):
            for _ in range(499):
                here.client.publish("noise/of/the/day", b"x" * 50, qos=0)
            here.publish("a/b", b"%d" % number)
        with (
            brokers.mosquitto(tmp_path / "m", tls_listener=False, port=port) as remote,
            client(remote, "there", "site/a/#") as there,
        ):
            homeport.kill_bridge()
            homeport.start_bridge()
            eventually(lambda: len(set(there.payloads())) == 200, "all that match", deadline_s=60)
            assert [int(payload) for payload in there.payloads()] == list(range(200)), "in their order"
            eventually(lambda: homeport.report()["lag_records"] == 0, "no lag is left")
            assert homeport.bridge is not None
            assert memory_mib(homeport.bridge.pid) < 200
