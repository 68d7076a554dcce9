"""Rules that come with Homeport, so that a box says what is wrong before anybody has written one.

They are made at a start when they aren't there, under ids that are the same on every node, and are like others from then on: they can be changed
and switched off. A release that adds one adds it to boxes that exist.
"""

from __future__ import annotations

from typing import Final

from appliance.management.node_watches import RULE_PREFIX, WATCHES, definition_of
from appliance.management.rule import RuleDefinition, RuleScope
from appliance.management.rule_conditions import Anomaly, Connection, MissingFraction, NoData
from storage.catalog import Catalog
from storage.catalog.rules import Position

_ALL: Final = RuleScope(all=True)
_OF_DEVICES: Final[dict[str, tuple[str, RuleDefinition]]] = {
    "unusual": (
        "Something is unusual",
        RuleDefinition(
            severity="P3",
            scope=_ALL,
            condition=Anomaly(),
            text="Look at the chart: is it the device, or what it measures? Shelve it when it is known.",
        ),
    ),
    "no-data": (
        "A device sends nothing",
        RuleDefinition(
            severity="P2",
            scope=_ALL,
            condition=NoData(),
            on_delay_s=60,
            text="Look at its page: is it connected? Its power, its network, its firmware.",
        ),
    ),
    "device-lost": (
        "A device is lost",
        RuleDefinition(
            severity="P3",
            scope=_ALL,
            condition=Connection(),
            on_delay_s=300,
            text="It did not say goodbye: look at its power and its network.",
        ),
    ),
    "many-silent": (
        "Many devices send nothing",
        RuleDefinition(
            severity="P1",
            scope=_ALL,
            condition=MissingFraction(fraction=0.5),
            text="What do they have in common: a switch, an access point, a fuse?",
        ),
    ),
}
BUILT_IN: Final[dict[str, tuple[str, RuleDefinition]]] = {
    **_OF_DEVICES,
    **{RULE_PREFIX + name: (watched.title, definition_of(name)) for name, watched in WATCHES.items()},
}
"""Rule id → name and definition."""


def bring_built_in(catalog: Catalog, position: Position) -> int:
    """Make those that aren't there; all in one transaction. In the catalog's writer.

    Returns:
        How many were made.
    Raises:
        LimitExceeded: there are too many rules already.
    """
    made = 0
    with catalog.transaction():
        known = {each.rule_id for each in catalog.list_rules()}
        for rule_id, (name, definition) in BUILT_IN.items():
            if rule_id in known:
                continue
            free = name if catalog.rule_named(name) is None else f"{name} ({rule_id})"
            catalog.add_rule(free, definition, position=position, by="homeport", built_in_id=rule_id)
            made += 1
    return made
