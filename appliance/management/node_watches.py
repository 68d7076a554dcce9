"""What a node watches about itself: a row for each, with its unit, its usual limit, and what it says. Pure; the table is the rule.

A watch is a rule like others (condition `node`): it can be changed and switched off. Its runbook is docs/runbooks/NAME.md.
Where the numbers come from is wired by the composition root; a number that isn't known changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from appliance.management.rule import RuleDefinition, Severity
from appliance.management.rule_conditions import NodeWatch

RULE_PREFIX: Final = "node-"
"""Of the id of the rule that comes with Homeport for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One row.

    Attributes:
        title: The rule's name. unit: Of the limit, "" for a count or a state (1 is so, 0 isn't).
        is_: On which side of the limit something is wrong.
        is_rate: The number is a total since the start; what counts is how much it grew within the last hour.
        on_delay_s: So long it must be so. says: For people, with {value}, {limit} and {box}; todo: what to do first.
        is_of_boxes: On a cloud node, of each box of a site, with an alarm for each; elsewhere of none.
    """

    title: str
    unit: str
    is_: Literal["above", "below"]
    limit: float
    severity: Severity
    says: str
    todo: str
    is_rate: bool = False
    on_delay_s: float = 0.0
    off_delay_s: float = 0.0
    is_of_boxes: bool = False


WATCHES: Final[dict[str, Watched]] = {
    "broker": Watched(
        title="The broker is away",
        unit="",
        is_="above",
        limit=0,
        severity="P1",
        says="The broker process does not answer: devices may not be served.",
        todo="It is started again by itself. If it stays away, look at `journalctl -u homeport`.",
        on_delay_s=30,
        off_delay_s=10,
    ),
    "disk_level": Watched(
        title="The disk is full",
        unit="",
        is_="above",
        limit=1,
        severity="P1",
        says="The disk is so full that devices' readings are not acknowledged; they keep them.",
        todo="Free some room, or let the archive go to another disk.",
        on_delay_s=10,
        off_delay_s=60,
    ),
    "disk_days": Watched(
        title="The disk fills up",
        unit="days",
        is_="below",
        limit=7,
        severity="P2",
        says="At the present rate the disk is full in {value} days; {limit} are the limit.",
        todo="Look at the page Storage: shorten what is kept, or add a disk.",
        on_delay_s=3_600,
        off_delay_s=3_600,
    ),
    "disk_failures": Watched(
        title="The disk refused to write",
        unit="",
        is_="above",
        limit=0,
        severity="P1",
        says="The disk refused to write {value} times within an hour. Nothing that was acknowledged is lost.",
        todo="Look at its health, and make a backup now.",
        is_rate=True,
    ),
    "log_damaged": Watched(
        title="The log is damaged",
        unit="",
        is_="above",
        limit=0,
        severity="P1",
        says="{value} ranges of the log can't be read.",
        todo="Run `homeport log verify`, and look at the disk's health.",
    ),
    "log_dropped": Watched(
        title="Readings were dropped from the log",
        unit="",
        is_="above",
        limit=0,
        severity="P1",
        says="{value} records left the log within an hour before anything had read them: it reached its quota.",
        todo="Look why the store is behind, and give the log more room (`quota_percent` in `[log]`).",
        is_rate=True,
    ),
    "lag": Watched(
        title="Readings arrive late in the store",
        unit="s",
        is_="above",
        limit=60,
        severity="P2",
        says="Readings are {value} s behind on their way to the store; {limit} s are the limit. They are safe in the log.",
        todo="Look at the machine's load and at the page Storage.",
        on_delay_s=60,
        off_delay_s=60,
    ),
    "store": Watched(
        title="The store is away",
        unit="",
        is_="above",
        limit=0,
        severity="P2",
        says="The time-series store takes no readings. They are safe in the log, and not yet searchable.",
        todo="The page Storage says why; it is tried again by itself.",
        on_delay_s=60,
        off_delay_s=30,
    ),
    "dead_letters": Watched(
        title="Messages can't be read",
        unit="",
        is_="above",
        limit=100,
        severity="P3",
        says="{value} messages within an hour could not be turned into readings; {limit} are the limit.",
        todo="The page Dead letters groups them by reason.",
        is_rate=True,
    ),
    "catalog_pool": Watched(
        title="The catalog's connections are nearly used up",
        unit="",
        is_="above",
        limit=0.8,
        severity="P2",
        says="A pool of the catalog's connections is in use to a share of {value}; {limit} is the limit.",
        todo="Look at the disk: when it is slow, each question takes long.",
        on_delay_s=5,
        off_delay_s=30,
    ),
    "clock": Watched(
        title="Nothing keeps the clock in step",
        unit="",
        is_="above",
        limit=0,
        severity="P3",
        says="The box's clock is not kept in step with any time server.",
        todo="Set up chrony or systemd-timesyncd with a server that the site reaches.",
        on_delay_s=3_600,
        off_delay_s=60,
    ),
    "certificate_days": Watched(
        title="The box's certificate ends",
        unit="days",
        is_="below",
        limit=21,
        severity="P2",
        says="The certificate of pages and brokers ends in {value} days; {limit} are the limit.",
        todo="Restart Homeport: it makes a new one.",
    ),
    "authority_days": Watched(
        title="The authority of devices' certificates ends",
        unit="days",
        is_="below",
        limit=60,
        severity="P2",
        says="The authority of devices' certificates ends in {value} days; {limit} are the limit.",
        todo="Fetch the recovery kit and run `homeport ca renew`.",
    ),
    "backup_age": Watched(
        title="The newest backup is old",
        unit="intervals",
        is_="above",
        limit=2,
        severity="P2",
        says="The newest backup is {value} intervals old; {limit} are the limit.",
        todo="The page Backups says why none was made.",
    ),
    "rpo": Watched(
        title="Readings are only on this box",
        unit="s",
        is_="above",
        limit=150,
        severity="P2",
        says="What this box took in for the last {value} s is on no other box; {limit} s are the limit.",
        todo="The page Sites says which box is away and why. Don't switch this one off meanwhile.",
        off_delay_s=10,
    ),
    "rpo_long": Watched(
        title="Readings are only on this box for long",
        unit="s",
        is_="above",
        limit=300,
        severity="P1",
        says="What this box took in for the last {value} s is on no other box; {limit} s are the limit.",
        todo="The page Sites says which box is away and why. Don't switch this one off meanwhile.",
        off_delay_s=10,
    ),
    "site_rpo": Watched(
        title="A site's readings may be only there",
        unit="s",
        is_="above",
        limit=150,
        severity="P2",
        says="What {box} took in for the last {value} s is not known to be anywhere else; {limit} s are the limit.",
        todo="The page Sites says when it was heard last: look whether the site has power and a network.",
        off_delay_s=10,
        is_of_boxes=True,
    ),
    "site_rpo_long": Watched(
        title="A site's readings may be only there for long",
        unit="s",
        is_="above",
        limit=300,
        severity="P1",
        says="What {box} took in for the last {value} s is not known to be anywhere else; {limit} s are the limit.",
        todo="The page Sites says when it was heard last: look whether the site has power and a network.",
        off_delay_s=10,
        is_of_boxes=True,
    ),
    "replicator": Watched(
        title="Nothing is copied to other boxes",
        unit="",
        is_="above",
        limit=0,
        severity="P2",
        says="The process that copies to other boxes does not answer, or stands still.",
        todo="It is started again by itself. If it stays away, look at `journalctl -u homeport`.",
        on_delay_s=60,
        off_delay_s=30,
    ),
    "unreadable": Watched(
        title="Parts of logs can't be read, and nobody has them",
        unit="",
        is_="above",
        limit=0,
        severity="P2",
        says="Parts of logs can't be read on this box, and no box and no cloud that is reached has them whole.",
        todo="The page Sites names them. They are asked for again each minute; look at the disk, and bring back boxes that are away.",
        on_delay_s=60,
        off_delay_s=30,
    ),
    "forks": Watched(
        title="Two boxes wrote as the same one",
        unit="",
        is_="above",
        limit=0,
        severity="P1",
        says="Of {value} logs there are two histories: a copy of a box is running, or an old disk came back.",
        todo="The page Sites names the box. Switch the copy off; nothing of either is removed.",
    ),
    "drill": Watched(
        title="This box could not be had back as it is",
        unit="",
        is_="above",
        limit=0,
        severity="P3",
        says="The last restore that was tried beside the data failed, or what came back was not what is here.",
        todo="The page Sites says what is different; try it again with `homeport drill`.",
    ),
    "audit": Watched(
        title="The audit was changed",
        unit="",
        is_="above",
        limit=0,
        severity="P1",
        says="The audit is not what this box signed.",
        todo="Run `homeport audit verify`: somebody changed it, or a catalog was put back from a backup.",
    ),
    "work_queue": Watched(
        title="Devices need a hand after an update",
        unit="",
        is_="above",
        limit=0,
        severity="P2",
        says="{value} devices are in the work queue.",
        todo="Each has its next step there.",
    ),
    "notifications": Watched(
        title="People could not be told",
        unit="",
        is_="above",
        limit=0,
        severity="P2",
        says="{value} notifications within an hour were given up.",
        todo="The page Notifications says which target refused, and why.",
    ),
    "rules": Watched(
        title="Rules are not evaluated",
        unit="",
        is_="above",
        limit=0,
        severity="P1",
        says="Rules are behind or off: what is wrong now may not be found.",
        todo="`homeport doctor` says why. Alarms that were there stay.",
        on_delay_s=300,
        off_delay_s=10,
    ),
}


def definition_of(name: str) -> RuleDefinition:
    """The rule that comes with Homeport for a watch."""
    watched = WATCHES[name]
    return RuleDefinition(
        severity=watched.severity,
        condition=NodeWatch(what=name),
        on_delay_s=watched.on_delay_s,
        off_delay_s=watched.off_delay_s,
        text=watched.todo,
        runbook=f"runbooks/{name}.md",
    )


def is_wrong(watched: Watched, limit: float | None, value: float) -> bool:
    """Whether a number is on the wrong side of the limit (None: the usual one)."""
    border = watched.limit if limit is None else limit
    return value > border if watched.is_ == "above" else value < border


def sentence(watched: Watched, limit: float | None, value: float, box: str = "") -> str:
    """What is wrong, for people.

    Args:
        box: Which it is about, where there are several.
    """
    border = watched.limit if limit is None else limit
    return watched.says.format(value=f"{value:.4g}", limit=f"{border:.4g}", box=box)
