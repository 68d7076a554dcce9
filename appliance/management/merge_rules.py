"""What becomes of each replicated table and field when two nodes changed it: the one table of it. Pure.

A register is a column, or columns that mean something only together. Its kind says what merge.py does. Why each field is of its kind stands
beside it; the rules of thumb are:

    last      what anybody can see and put right again: names, notes, order, and what only one node ever writes
    decided   what a person meant, and where losing one of two intentions in silence does harm: who may what, what a rule looks for,
              what is kept for how long. The last one is in force meanwhile, both are shown (storage/catalog/conflicts.py).
    first     what is never undone: a revocation counts from the earliest on
    greatest  what only grows: counts, the fence of firmware orders
    fenced    what one node at a time drives through states: the whole row of whoever has the higher fence
    stamp     when the row was last changed: of the change of the greatest clock
    added     entries of a history: by key, never changed

Secrets (password hashes, sealed second factors and passwords of targets, keyed hashes of tokens) are made with keys that all nodes of a
site have: they are copied like any other value.

Must not know: SQL, which node this is. A table that is not here (a later release's) is merged as one `last` register.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Final

from appliance.management.alarms import AlarmEvent, AlarmState, target
from appliance.management.row_change import Value

STAMPS: Final = frozenset({"origin", "hlc"})
"""Columns that every replicated row has; what they hold follows from the registers' clocks."""
WHOLE: Final = "*"


class Kind(StrEnum):
    """See the module's docstring."""

    LAST = "last"
    DECIDED = "decided"
    FIRST = "first"
    GREATEST = "greatest"
    FENCED = "fenced"
    STAMP = "stamp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """Columns that are merged as one.

    Attributes:
        name: Unique in its table; the column's own where it is one.
        fence: Of a fenced one: what the order of rows goes by before their clocks.
        final: Of a decided one: a value of its first column that nothing undoes.
    """

    name: str
    columns: tuple[str, ...]
    kind: Kind
    fence: tuple[str, ...] = ()
    final: Value = None

    @property
    def has_clock(self) -> bool:
        """Whether what stands depends on who wrote it when, and not on the values alone."""
        return self.kind not in (Kind.FIRST, Kind.GREATEST)

    @property
    def has_line(self) -> bool:
        """Whether its clock may be another than that of the row."""
        return self.has_clock and self.kind is not Kind.STAMP


@dataclass(frozen=True)
class TableRules:
    """Of one table.

    Attributes:
        registers: Columns in none of them are `last`, each by itself.
        whole: The kind of the one register that the whole row is; None where it has several.
        is_added: Rows are entries of a history.
        along: Column to column: the first counts as written only where the second was not.
        unique: Sets of columns that no two rows have the same values in; the first of a set is changed where they have (renaming.py).
        settle: What makes columns that follow from others what they must be.
        seed: A column that is not 0 in rows that Homeport itself makes on every node: making one says nothing against what somebody wrote.
    """

    registers: tuple[Register, ...] = ()
    whole: Register | None = None
    is_added: bool = False
    along: Mapping[str, str] = field(default_factory=dict)
    unique: tuple[tuple[str, ...], ...] = ()
    settle: Callable[[Mapping[str, Value]], Mapping[str, Value]] | None = None
    seed: str = ""

    @cached_property
    def _by_column(self) -> dict[str, Register]:
        return {column: register for register in self.registers for column in register.columns}

    def register_of(self, column: str) -> Register:
        """The register that a column is in."""
        if self.whole is not None:
            return self.whole
        found = self._by_column.get(column)
        return found or Register(name=column, columns=(column,), kind=Kind.LAST)

    def registers_of(self, columns: Collection[str]) -> list[Register]:
        """The registers of a row that has these columns."""
        if self.whole is not None:
            names = tuple(sorted(set(columns) - STAMPS))
            return [Register(name=WHOLE, columns=names, kind=self.whole.kind, fence=self.whole.fence)]
        found = {register.name: register for register in map(self.register_of, sorted(set(columns) - STAMPS))}
        return list(found.values())

    def wrote(self, changed: Collection[str]) -> set[str]:
        """The names of the registers that a change of these columns wrote."""
        counted = set(changed) - STAMPS
        for column, instead in self.along.items():
            if instead in counted:
                counted.discard(column)
        return {self.register_of(column).name for column in counted}

    def is_seed(self, values: Mapping[str, Value]) -> bool:
        """Whether every node makes this row by itself."""
        return bool(self.seed and values.get(self.seed))

    def settled(self, values: Mapping[str, Value]) -> Mapping[str, Value]:
        """The row with what follows from its registers."""
        return self.settle(values) if self.settle is not None else values


def _last(name: str, *columns: str) -> Register:
    return Register(name=name, columns=columns or (name,), kind=Kind.LAST)


def _decided(name: str, *columns: str, final: Value = None) -> Register:
    return Register(name=name, columns=columns or (name,), kind=Kind.DECIDED, final=final)


def _first(name: str, *columns: str) -> Register:
    return Register(name=name, columns=columns or (name,), kind=Kind.FIRST)


def _greatest(name: str) -> Register:
    return Register(name=name, columns=(name,), kind=Kind.GREATEST)


def _whole(kind: Kind = Kind.LAST, *fence: str) -> Register:
    return Register(name=WHOLE, columns=(), kind=kind, fence=fence)


def _settled_alarm(values: Mapping[str, Value]) -> Mapping[str, Value]:
    """Somebody acknowledged it on one node while another found that it was raised or over: both count."""
    if values.get("acknowledged_at_ms") is None:
        return values
    state = target(AlarmState(str(values["state"])), AlarmEvent.ACKNOWLEDGE)
    return values if state is None else {**values, "state": str(state)}


_CHANGED: Final = Register(name="updated_at_ms", columns=("updated_at_ms",), kind=Kind.STAMP)
_ADDED: Final = TableRules(whole=_whole(), is_added=True)
_ONE_WRITER: Final = TableRules(whole=_whole())
"""Rows that only the node that made them changes."""
_HOME: Final = TableRules(whole=_whole(Kind.FENCED, "home_fence", "home"))

MERGE_RULES: Final[Mapping[str, TableRules]] = {
    # --- Devices -------------------------------------------------------------------------------------------
    "devices": TableRules(
        registers=(
            # What it may connect as. One person adopting what another rejects must not be settled by who was later.
            _decided("state", final="decommissioned"),
            # Rights, as they are given together.
            _decided("rights", "kind", "access", "role"),
            # Scopes of people are made of groups: a lost one shows devices to somebody, or hides them.
            _decided("groups"),
            # Rollouts and rules choose by tags.
            _decided("tags"),
            _last("name"),
            # Other hardware took over the id: the serial is that of the last one.
            _last("hardware", "serial", "replaced_at_ms"),
            _first("first_contact_at_ms"),
            _first("created_at_ms"),
            _CHANGED,
        )
    ),
    "device_tokens": TableRules(registers=(_first("revoked_at_ms"), _last("expires_at_ms"))),
    "enrolments": TableRules(
        # By which claim and key a device is what it is; two boxes with one id came in on two nodes: somebody must look.
        registers=(_decided("enrolled", "claim_id", "key_hash", "enrolled_at_ms"), _last("given_at_ms"))
    ),
    "claims": TableRules(
        registers=(
            _first("revoked_at_ms"),
            # Used on two sides of a partition at once it is used once too often at most; adding up would count a copy twice.
            _greatest("use_count"),
        )
    ),
    "certificates": TableRules(registers=(_first("revoked", "revoked_at_ms", "revoked_because"),)),
    "groups": TableRules(registers=(_last("name"), _last("description"), _first("created_at_ms"), _CHANGED)),
    # --- People --------------------------------------------------------------------------------------------
    "users": TableRules(
        registers=(
            # What somebody may: a right that was taken away on one node must not come back unseen by a change on another.
            _decided("rights", "role", "scope"),
            _decided("disabled"),
            # The last password that somebody chose is the one that they know.
            _last("password_hash"),
            _last("totp_sealed"),
            _last("display_name"),
            # Sessions older than this are over, on every node.
            _greatest("credentials_changed_at_ms"),
            _first("created_at_ms"),
            _CHANGED,
        )
    ),
    "api_tokens": TableRules(registers=(_first("revoked_at_ms"),)),
    # Every key is another matter, most of the site's own rules among them.
    "settings": TableRules(registers=(_decided("value"),)),
    "audit": _ADDED,
    # --- How readings are read and kept --------------------------------------------------------------------
    "mappings": TableRules(
        registers=(
            # Half of one and half of the other would be a third that nobody wrote.
            _decided("definition", "pattern", "format", "metric", "fields"),
            _last("position"),
            _last("note"),
            _first("created_at_ms"),
            _CHANGED,
        )
    ),
    # Positions of the log of the node that made them.
    "mapping_sets": _ONE_WRITER,
    "replays": _ONE_WRITER,
    "erasures": _ONE_WRITER,
    # Files of the archive of the node that made them.
    "archived_days": _ONE_WRITER,
    "retention_classes": TableRules(
        # What it deletes is gone.
        registers=(_decided("definition", "metric", "hot_days", "archive_days"), _last("position"), _CHANGED)
    ),
    # --- What devices should be and do ---------------------------------------------------------------------
    "twins": TableRules(registers=(_decided("desired", "desired", "desired_at"), _first("created_at_ms"), _CHANGED)),
    "commands": _HOME,
    "artifacts": TableRules(
        registers=(
            # A manifest and who signed it.
            _decided("signed", "manifest", "signatures", "release_counter", "not_before_ms", "expires_at_ms"),
            _last("note"),
            _last("version"),
            _last("name"),
            _CHANGED,
        ),
        unique=(("version", "name"),),
    ),
    # Who may sign firmware is put in force as a set.
    "artifact_keys": TableRules(registers=(_decided("state"), _last("name"), _CHANGED)),
    "rollouts": _HOME,
    "rollout_events": _ADDED,
    "executions": TableRules(
        whole=_whole(Kind.FENCED, "home_fence", "home"), unique=(("number", "rollout_id", "device_id"),)
    ),
    "execution_events": _ADDED,
    # A key names all that it says.
    "known_bad": _ONE_WRITER,
    # --- Alarms --------------------------------------------------------------------------------------------
    "rules": TableRules(
        registers=(
            # A rule that is a mixture of two would find what nobody looks for.
            _decided("definition", "definition", "version"),
            # Off on one node and on on the other: nobody is told, or somebody is woken.
            _decided("is_enabled"),
            _last("name"),
            _first("created_at_ms"),
            _CHANGED,
        ),
        unique=(("name",),),
        seed="is_built_in",
    ),
    "alarms": TableRules(
        registers=(
            # What readings say; the device's home alone finds it.
            _last(
                "found", "rule_name", "rule_version", "severity", "state", "episode", "raised_count", "raised_total",
                "episode_began_at_ms", "raised_at_ms", "cleared_at_ms", "noted_at_ms", "stands_since_ms", "value", "unit",
                "explanation", "trace_id",
            ),
            # What people say, on whatever node.
            _last("acknowledged", "acknowledged_by", "acknowledged_at_ms", "acknowledge_note"),
            _last("shelved", "shelved_by", "shelved_at_ms", "shelved_until_ms", "shelve_reason"),
            _last("suppressed", "suppressed_by", "suppressed_until_ms"),
            _greatest("event_number"),
            _CHANGED,
        ),
        # Acknowledging moves the state, and is no finding.
        along={"state": "acknowledged_at_ms"},
        settle=_settled_alarm,
    ),
    "alarm_events": _ADDED,
    "maintenances": TableRules(
        # Ended on one node, made longer on the other: who is called at night depends on it.
        registers=(_decided("definition", "scope", "reason", "from_at_ms", "until_at_ms"), _CHANGED)
    ),
    "notification_targets": TableRules(
        registers=(
            # An address and the secret for it.
            _decided("settings", "kind", "settings", "secret_sealed"),
            _decided("is_enabled"),
            _last("name"),
            _CHANGED,
        ),
        unique=(("name",),),
    ),
    "on_call_lists": TableRules(
        registers=(_decided("definition"), _decided("is_enabled"), _last("name"), _CHANGED),
        unique=(("name",),),
    ),
    # The key is made of what it is for; the node that made it sends it.
    "notifications": _ONE_WRITER,
}  # fmt: skip

_UNKNOWN: Final = TableRules(whole=_whole())
_SETTINGS: Final[Mapping[str, TableRules]] = {
    # Devices refuse orders under a lower one (appliance/updates/fence.py): it never falls.
    "firmware_fence": TableRules(registers=(_greatest("value"),)),
}


def rules_of(table: str, key: str = "") -> TableRules:
    """The rules of a table; of a setting, those of its key."""
    if table == "settings" and key in _SETTINGS:
        return _SETTINGS[key]
    return MERGE_RULES.get(table, _UNKNOWN)
