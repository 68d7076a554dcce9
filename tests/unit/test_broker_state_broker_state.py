"""The broker's state as the sum of the log's records: live, from the log, and from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from appliance.core.errors import LogDamaged
from broker.open_block import PendingRecord
from broker.state.broker_state import BrokerState
from broker.state.checkpoint import Checkpoint, decode_checkpoint, encode_checkpoint
from storage.log.columns import Kind
from tests.protocol import builder
from tests.session_kit import CONFIG, Stage, recovered
from tests.unit.test_broker_state_replay import WILL


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.end()


class TestRetained:
    def test_live_and_from_the_log_it_is_the_same(self, stage: Stage) -> None:
        stage.publish(b"000", b"001", topic="a", retain=True, qos=2)
        stage.publish(b"not kept", topic="b")
        stage.add(b"expires", "c", retain=True, properties=builder.p32(0x02, 7))
        stage.clock.advance(5)
        stage.add(b"later", "d", retain=True, kind=Kind.SERVER_PUBLISH)
        stage.publish(b"removed", topic="f", retain=True)
        stage.publish(b"", topic="f", retain=True)
        live = {m.topic: m for m in stage.state.retained.messages()}
        again = recovered(CONFIG, stage.log).retained
        assert {m.topic: m for m in again.messages()} == live
        assert set(live) == {b"a", b"c", b"d"}
        assert (live[b"a"].payload, live[b"a"].qos, live[b"a"].client_id) == (b"001", 2, "sender")
        assert live[b"c"].expires_at_ms == live[b"c"].received_at_ms + 7000
        assert live[b"d"].received_at_ms == live[b"c"].received_at_ms + 5

    def test_of_another_node_the_later_one_counts_live_and_from_the_log(self, stage: Stage) -> None:
        received_at_ms = stage.now_ms
        stage.clock.advance(10)
        for topic, age_ms in (("older", 20), ("newer", -20)):
            stage.publish(b"own", topic=topic, retain=True)
            stage.record(
                PendingRecord(
                    Kind.SITE_PUBLISH,
                    ("other", "other"),
                    topic=topic.encode(),
                    payload=b"other",
                    flags=1,
                    received_at_ms=received_at_ms - age_ms,
                )
            )
            stage.commit()
        live = {m.topic: m for m in stage.state.retained.messages()}
        assert {topic: m.payload for topic, m in live.items()} == {b"older": b"own", b"newer": b"other"}
        assert live[b"newer"].received_at_ms == received_at_ms + 20
        assert {m.topic: m for m in recovered(CONFIG, stage.log).retained.messages()} == live

    def test_changes_are_counted(self, stage: Stage) -> None:
        before = stage.state.change_count
        stage.publish(b"000", topic="a")
        assert stage.state.change_count == before
        stage.publish(b"000", topic="a", retain=True)
        stage.publish(b"", topic="a", retain=True)
        assert stage.state.change_count == before + 2

    def test_how_far_it_has_come(self, stage: Stage) -> None:
        stage.publish(b"000")
        assert stage.state.next_seq == stage.log.next_seq
        stage.publish(b"000", retain=True)
        assert stage.state.next_seq == stage.log.next_seq
        assert recovered(CONFIG, stage.log).next_seq == stage.log.next_seq


class TestCheckpoint:
    def test_there_and_back(self, stage: Stage) -> None:
        stage.publish(b"000", topic="a", retain=True)
        client = stage.connect()
        client.subscribe("t", "$share/g/u", options=2)
        stage.publish(b"001", topic="u", qos=2)
        stage.publish(b"002", topic="t", qos=1)
        checkpoint = stage.checkpoint()
        state = BrokerState.empty(CONFIG)
        state.restore(checkpoint)
        assert state.next_seq == stage.log.next_seq
        assert decode_checkpoint(encode_checkpoint(state.checkpoint())) == checkpoint
        assert [message.topic for message in state.retained.messages()] == [b"a"]
        session = state.sessions.get("c")
        assert session is not None
        assert len(session.outbound.in_flight) == 2

    def test_who_does_not_last_is_only_kept_for_the_will(self, stage: Stage) -> None:
        stage.connect("ends", expiry_s=0)
        stage.connect("will", expiry_s=0, will=WILL)
        stage.connect("lasts")
        assert [fields["client_id"] for fields in stage.checkpoint().sessions] == ["will", "lasts"]

    def test_groups_of_those_who_do_not_last_are_not_kept(self, stage: Stage) -> None:
        stage.connect("ends", expiry_s=0).subscribe("$share/g/t")
        assert stage.checkpoint().groups == []
        stage.connect("lasts").subscribe("$share/g/t")
        assert len(stage.checkpoint().groups) == 1

    @pytest.mark.parametrize(
        ("sessions", "groups"),
        [([{}], []), ([{"client_id": 1}], []), ([], [("g", "t", 1, [])]), ([], [("g",)])],
    )
    def test_nonsense_is_damage(
        self, sessions: list[dict[str, object]], groups: list[Sequence[object]]
    ) -> None:
        state = BrokerState.empty(CONFIG)
        with pytest.raises(LogDamaged, match="checkpoint"):
            state.restore(Checkpoint(next_seq=1, retained=[], sessions=sessions, groups=groups))
