"""What a dead letter remembers of its device: the boot, and whether its number was noted."""

from __future__ import annotations

from appliance.management.dedup import SeenSequences
from appliance.management.mapping import FieldRule, TopicMapping
from appliance.pipeline.dead_letters import Boots, boots_then
from tests.log_kit import Record
from tests.pipeline_kit import Bench


def status(boot: bytes) -> Record:
    return Record(b'{"state": "online", "boot_id": "%s"}' % boot, topic=b"dm/dev-1/status")


def test_each_letter_has_the_boot_its_device_was_in() -> None:
    bench = Bench()
    batch, _ = bench.build(
        [Record(b"{"), status(b"a"), Record(b"{"), status(b"b"), Record(b"{")], [Record(b"{")]
    )
    assert [letter.boot_id for letter in batch.dead_letters] == ["", "a", "b", "b"]


def test_a_letter_knows_whether_its_number_was_noted() -> None:
    only = (FieldRule(path="x", metric="y"),)
    bench = Bench(
        [
            TopicMapping(pattern="t/{device}", fields=only, only_fields=True),
            TopicMapping(pattern="u/{device}"),
        ]
    )
    batch, _ = bench.build(
        [
            Record(b'{"seq": 1, "v": {"a": 1}}', topic=b"t/d"),
            Record(b"5", topic=b"u/d"),
            Record(b'{"seq": 1, "v": {"a": {"": 1}}}', topic=b"u/e"),
            Record(b'{"seq": -1, "v": {"a": 1}}', topic=b"t/d"),
            Record(b"{", topic=b"t/d"),
        ]
    )
    noted = {(letter.reason, letter.is_noted) for letter in batch.dead_letters}
    assert noted == {
        ("no_values", True), ("no_metric", True), ("bad_metric_name", True), ("bad_seq", False), ("bad_json", False),
    }  # fmt: skip


def test_the_boots_of_letters_are_the_changes_between_them() -> None:
    seen = SeenSequences()
    seen.boot("d", "now")
    changes = boots_then(seen, ["d", "e", "d", "d", "d"], ["a", None, "a", "b", None])
    boots = Boots(changes, seen)
    assert [boots.of("d", record) for record in (0, 2, 3, 4)] == ["a", "a", "b", "now"]
    assert boots.of("e", 1) == ""
    assert seen.current_boot_id("d") == "now"
