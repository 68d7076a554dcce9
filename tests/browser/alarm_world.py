"""Rules and alarms of the browser tests: one in every state that a page shows, with hostile names."""

from __future__ import annotations

from typing import Final

from appliance.management.alarm import alarm_id_of
from appliance.management.rule import RuleDefinition, RuleScope
from appliance.management.rule_conditions import Connection, MissingFraction, Threshold
from appliance.management.rule_transition import AlarmKey, Transition
from storage.catalog import Catalog
from tests.browser.node_kit import TestNode
from tests.browser.world import HOSTILE_ID, HOSTILE_METRIC, HOSTILE_NAME, HOSTILE_TEXT

POSITION: Final = (1, 1)
METRIC: Final = "temperature_celsius"
HOT, LOST, ODD, SITE = "Oven too hot", "Not connected", HOSTILE_NAME, "Many send nothing"

RULE_IDS: Final = {name: f"{number:02x}" * 6 for number, name in enumerate((HOT, LOST, ODD, SITE), start=1)}


def populate(node: TestNode) -> None:
    """Fill the catalog; made once."""
    now_ms = node.services.clock.now_ms()
    book = node.services.alarms.book

    def write(catalog: Catalog) -> None:
        ids = {name: _rule(catalog, name) for name in (HOT, LOST, ODD, SITE)}
        book.rules_changed()

        def found(
            rule: str, device_id: str, series: str, ago_s: int, *, is_raised: bool = True, text: str = ""
        ) -> Transition:
            return Transition(
                key=AlarmKey(ids[rule], device_id, "", series),
                rule_version=1,
                is_raised=is_raised,
                at_ms=now_ms - ago_s * 1_000,
                value=93.2,
                explanation={"text": text or "Above 80 °C: 93.2 °C.", "unit": "°C"},
            )

        book.apply(
            catalog,
            [
                found(HOT, "press-0", METRIC, 7_000),
                found(HOT, "press-0", METRIC, 6_000, is_raised=False),
                found(HOT, "press-0", METRIC, 5_000),
                found(HOT, "press-1", METRIC, 4_000),
                found(HOT, "press-2", METRIC, 3_000),
                found(HOT, "press-2", METRIC, 2_000, is_raised=False),
                found(HOT, "press-3", METRIC, 9_000),
                found(LOST, "press-5", "", 1_000, text="Lost for 5 min."),
                found(ODD, HOSTILE_ID, HOSTILE_METRIC, 500, text=HOSTILE_TEXT),
                found(SITE, "", "", 400, text="4 of 7 devices send nothing."),
            ],
        )
        book.acknowledge(catalog, [alarm_id(ids[HOT], "press-1", METRIC)], actor="bert", note="I am at it")
        book.shelve(
            catalog,
            [alarm_id(ids[HOT], "press-3", METRIC)],
            until_ms=now_ms + 3_600_000,
            reason="The fan is on its way",
            actor="bert",
        )

    node.catalog(write)


def alarm_id(rule_id: str, device_id: str, series: str) -> str:
    """As the desk makes it."""
    return alarm_id_of(AlarmKey(rule_id, device_id, "", series))


def raise_alarm(node: TestNode, device_id: str, *, severity_of: str = HOT) -> str:
    """Another alarm of a rule, now; its id."""
    now_ms = node.services.clock.now_ms()
    rule_id = RULE_IDS[severity_of]
    found = Transition(
        key=AlarmKey(rule_id, device_id, "", METRIC),
        rule_version=1,
        is_raised=True,
        at_ms=now_ms,
        value=95.0,
        explanation={"text": "Above 80 °C: 95 °C.", "unit": "°C"},
    )
    node.catalog(lambda catalog: node.services.alarms.book.apply(catalog, [found]))
    return alarm_id(rule_id, device_id, METRIC)


def _rule(catalog: Catalog, name: str) -> str:
    definition = {
        HOT: RuleDefinition(
            severity="P1",
            scope=RuleScope(all=True),
            metric=METRIC,
            condition=Threshold(is_="above", limit=22.0, hysteresis=1.0),
            on_delay_s=60,
            text="Switch the oven off and look at its fan.",
            runbook="https://example.com/oven",
        ),
        LOST: RuleDefinition(
            severity="P2", scope=RuleScope(all=True), condition=Connection(), on_delay_s=300
        ),
        ODD: RuleDefinition(
            severity="P3",
            scope=RuleScope(devices=(HOSTILE_ID,)),
            metric=HOSTILE_METRIC,
            condition=Threshold(is_="above", limit=20.0),
        ),
        SITE: RuleDefinition(
            severity="P1", scope=RuleScope(all=True), condition=MissingFraction(fraction=0.5)
        ),
    }[name]
    rule_id = RULE_IDS[name]
    catalog.add_rule(
        name, definition, position=POSITION, by="anna", random_bytes=lambda _: bytes.fromhex(rule_id)
    )
    return rule_id
