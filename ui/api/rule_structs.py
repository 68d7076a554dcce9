"""What the endpoints about rules take and answer. A definition is told apart by the `kind` of its condition: docs/RULES.md."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from appliance.core.limits_alarms import RULE_COUNT_MAX, RULE_NAME_LENGTH_MAX
from appliance.management.rule import RuleDefinition, Severity
from appliance.management.rule_file import FiledRule
from ui.api.structs import Answer, Limit, Query, Request

RuleName = Annotated[str, Meta(min_length=1, max_length=RULE_NAME_LENGTH_MAX)]
Kind = Literal[
    "threshold",
    "rate",
    "repetition",
    "no_data",
    "stuck",
    "missing_fraction",
    "comparison",
    "anomaly",
    "connection",
    "node",
]


class RuleQuery(Query, kw_only=True, frozen=True):
    """Which rules: of these kinds and severities, switched on or off, with `q` in their name or metric."""

    kind: tuple[Kind, ...] = ()
    severity: tuple[Severity, ...] = ()
    enabled: bool | None = None
    q: Annotated[str, Meta(max_length=200)] = ""
    cursor: Annotated[str, Meta(max_length=RULE_NAME_LENGTH_MAX)] | None = None
    limit: Limit = 100


class NewRule(Request, kw_only=True, frozen=True):
    """A rule to add; it holds from the log's head on."""

    name: RuleName
    enabled: bool = True
    definition: RuleDefinition


class RuleEdit(Request, kw_only=True, frozen=True):
    """What is to change of a rule; what is left out stays. Another definition is a new version, which begins anew."""

    name: RuleName | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    definition: RuleDefinition | UnsetType = UNSET


class Rule(Answer, kw_only=True, frozen=True):
    """A rule. `definition_version` counts the changes of its definition; `version` is another after every change. A built-in one can
    be changed and switched off, not removed."""

    rule_id: str
    name: str
    kind: Kind
    enabled: bool
    built_in: bool
    definition: RuleDefinition
    definition_version: int
    created_by: str
    created_at_ms: int
    updated_at_ms: int
    version: str


class RulePage(Answer, kw_only=True, frozen=True):
    """Rules in the order of their names, `count` in all. Give `next_cursor` as `cursor` for the next page; null at the end."""

    rules: tuple[Rule, ...]
    count: int
    next_cursor: str | None


class RuleVersion(Answer, kw_only=True, frozen=True):
    """What held for a rule from a record of this node's log on; `definition` is null where it was switched off or removed."""

    name: str
    definition_version: int
    definition: RuleDefinition | None
    from_epoch: int
    from_seq: int
    changed_by: str
    changed_at_ms: int


class RuleVersions(Answer, kw_only=True, frozen=True):
    """The newest first."""

    versions: tuple[RuleVersion, ...]


class RuleFile(Answer, kw_only=True, frozen=True):
    """All rules, as `POST /rules/import` takes them; `homeport_rules` is the format's number."""

    homeport_rules: int
    rules: tuple[FiledRule, ...]


class RuleTryQuery(Query, kw_only=True, frozen=True):
    """A definition as JSON, and the past that it is tried on: the last 24 hours unless said otherwise, 7 days at most."""

    definition: Annotated[str, Meta(min_length=2, max_length=16_000)]
    from_ms: Annotated[int, Meta(ge=0)] | None = None
    to_ms: Annotated[int, Meta(ge=0)] | None = None


class TriedAlarm(Answer, kw_only=True, frozen=True):
    """An alarm that a rule would have raised; `until_ms` is null where it would be active still."""

    device_id: str
    group_id: str
    series: str
    at_ms: int
    until_ms: int | None
    value: float | None
    text: str


class RuleTried(Answer, kw_only=True, frozen=True):
    """What a rule would have raised: the newest first, at most 1,000 of `count`. `by_device` counts them, "" for groups and the site."""

    alarms: tuple[TriedAlarm, ...]
    count: int
    by_device: dict[str, int]
    reading_count: int
    series_count: int
    from_ms: int
    to_ms: int
    warm_up_ms: int


class RuleImport(Request, kw_only=True, frozen=True):
    """Rules to make, or to change where there is one of the same name. Others stay as they are."""

    homeport_rules: int
    rules: Annotated[tuple[FiledRule, ...], Meta(max_length=RULE_COUNT_MAX)]


class RulesImported(Answer, kw_only=True, frozen=True):
    """What an import did, by the rules' names."""

    made: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
