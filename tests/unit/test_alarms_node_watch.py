"""The node looks after itself: delays, rates, restarts, and a catalog that is away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from appliance.alarms.book import AlarmBook
from appliance.alarms.node_watch import NodeWatcher, NodeWatching
from appliance.core.clock import ManualClock
from appliance.core.errors import ConfigError, Unavailable
from appliance.management.node_watches import RULE_PREFIX, definition_of
from appliance.management.rule import Rule, RuleDefinition, RuleScope
from appliance.management.rule_conditions import NodeWatch, Stuck
from appliance.management.rule_transition import Transition
from storage.catalog import AsyncCatalog, Catalog
from tests.acts import ACT


def rule(name: str, *, version: int = 1, limit: float | None = None) -> Rule:
    definition = (
        definition_of(name)
        if limit is None
        else RuleDefinition(severity="P2", condition=NodeWatch(what=name, limit=limit))
    )
    return Rule(rule_id=RULE_PREFIX + name, version=version, name=name, definition=definition)


class Steps:
    """Looks at certain moments."""

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules
        self.watching = NodeWatching()
        self.active: set[str] = set()

    def at(self, second: float, **facts: float | None) -> list[tuple[str, bool, float | None]]:
        found = self.watching.step(
            self.rules,
            facts,
            frozenset(self.active),
            now_ms=1_800_000_000_000 + int(second * 1_000),
            now_mono_ms=int(second * 1_000),
        )
        for each in found:
            (self.active.add if each.is_raised else self.active.discard)(each.key.rule_id)
        return [(each.key.series, each.is_raised, each.value) for each in found]


def test_it_waits_for_its_delays() -> None:
    steps = Steps(rule("lag"))
    assert steps.at(0, lag=100) == []
    assert steps.at(59, lag=90) == []
    assert steps.at(60, lag=80) == [("lag", True, 80)]
    assert steps.at(70, lag=80) == []
    assert steps.at(80, lag=1) == []
    assert steps.at(100, lag=70) == []
    assert steps.at(110, lag=2) == []
    assert steps.at(169, lag=2) == []
    assert steps.at(170, lag=2) == [("lag", False, 2)]


def test_what_is_not_known_changes_nothing() -> None:
    steps = Steps(rule("lag"))
    steps.at(0, lag=100)
    assert steps.at(60, lag=None) == []
    assert steps.at(61) == []
    assert steps.at(62, lag=100) == [], "it begins anew"
    assert steps.at(122, lag=100) == [("lag", True, 100)]


def test_what_counts_by_the_hour_is_what_came_within_one() -> None:
    steps = Steps(rule("dead_letters"))
    assert steps.at(0, dead_letters=5_000) == [], "what was there before is not of this hour"
    assert steps.at(10, dead_letters=5_100) == []
    assert steps.at(20, dead_letters=5_101) == [("dead_letters", True, 101)]
    assert steps.at(3_620, dead_letters=5_101) == [("dead_letters", False, 0)]
    assert steps.at(3_630, dead_letters=90) == [], "whoever counts began anew"
    assert steps.at(3_640, dead_letters=101) == [("dead_letters", True, 101)]


def test_after_a_restart_what_is_over_is_cleared_and_what_goes_on_is_not_raised_again() -> None:
    steps = Steps(rule("broker"), rule("audit"))
    steps.active = {RULE_PREFIX + "broker", RULE_PREFIX + "audit"}
    assert steps.at(0, broker=0, audit=1) == []
    assert steps.at(10, broker=0, audit=1) == [("broker", False, 0)]


def test_another_version_begins_anew() -> None:
    steps = Steps(rule("lag"))
    steps.at(0, lag=100)
    steps.rules = (rule("lag", version=2),)
    assert steps.at(60, lag=100) == []
    assert steps.at(120, lag=100) == [("lag", True, 100)]


def test_others_rules_are_not_its_own() -> None:
    stuck = RuleDefinition(severity="P3", scope=RuleScope(all=True), condition=Stuck(for_s=60))
    steps = Steps(Rule(rule_id="r", version=1, name="r", definition=stuck), rule("unheard_of", limit=1))
    assert steps.at(0, unheard_of=5) == []


def test_it_says_what_is_so() -> None:
    found = NodeWatching().step([rule("work_queue")], {"work_queue": 3}, frozenset(), now_ms=7, now_mono_ms=0)
    assert [(each.at_ms, each.explanation) for each in found] == [
        (7, {"text": "3 devices are in the work queue.", "limit": 0, "unit": ""})
    ]


class Book:
    def __init__(self) -> None:
        self.applied: list[Transition] = []

    def apply(self, catalog: Catalog, found: Sequence[Transition]) -> None:
        self.applied += found


class Numbers:
    def __init__(self) -> None:
        self.facts: Mapping[str, float | None] = {}
        self.error: Exception | None = None

    async def __call__(self) -> Mapping[str, float | None]:
        if self.error is not None:
            raise self.error
        return self.facts


async def test_it_asks_and_applies_and_outlives_a_catalog_that_is_away(tmp_path: Path) -> None:
    clock, book, numbers = ManualClock(), Book(), Numbers()
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=bytes(16)) as catalog:

        def add(writer: Catalog) -> None:
            for name in ("work_queue", "lag"):
                writer.add_rule(
                    name, definition_of(name), position=(0, 1), by="", built_in_id=RULE_PREFIX + name
                )
            writer.edit_rule(RULE_PREFIX + "lag", is_enabled=False, position=(0, 1), by="")

        await catalog.write(add, by=ACT)
        watcher = NodeWatcher(catalog, book, numbers, clock=clock)
        numbers.error = Unavailable("It is away.", hint="Wait.")
        await watcher.look()
        await watcher.look()
        assert book.applied == []
        numbers.error = None
        numbers.facts = {"work_queue": 2, "lag": 10_000}
        await watcher.look()
        assert [(each.key.rule_id, each.value) for each in book.applied] == [("node-work_queue", 2)]
        numbers.error = ConfigError("A defect.", hint="")
        with pytest.raises(ConfigError):
            await watcher.look()


async def test_nodes_of_one_site_end_no_alarms_of_one_another(tmp_path: Path) -> None:
    clock = ManualClock(now_ms=1_800_000_000_000)
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=bytes(16)) as catalog:

        def add(writer: Catalog) -> None:
            name = "work_queue"
            writer.add_rule(name, definition_of(name), position=(0, 1), by="", built_in_id=RULE_PREFIX + name)

        await catalog.write(add, by=ACT)
        book = AlarmBook(clock=clock, flap_ms=0, wait_ms=0)
        suffix = ""
        facts = [Numbers(), Numbers()]
        ours = NodeWatcher(catalog, book, facts[0], clock=clock, suffix=lambda: suffix)
        theirs = NodeWatcher(catalog, book, facts[1], clock=clock, suffix=lambda: " bbbbbbbb")

        async def active() -> list[str]:
            rules = [RULE_PREFIX + "work_queue"]
            found = await catalog.read(lambda reader: reader.active_alarms_of_rules(rules))
            return [each.series for each in found]

        async def look(our_number: int) -> list[str]:
            facts[0].facts, facts[1].facts = {"work_queue": our_number}, {"work_queue": 0}
            for _ in range(3):
                clock.advance(3_600_000)
                await ours.look()
            shown = await active()
            await theirs.look()
            return shown

        assert await look(2) == ["work_queue"]
        assert await active() == [], "of before it had a site; nobody speaks for it any more"
        suffix = " aaaaaaaa"
        assert await look(2) == ["work_queue aaaaaaaa"]
        assert await active() == ["work_queue aaaaaaaa"], "it is no other node's to end"
        assert await look(0) == []
