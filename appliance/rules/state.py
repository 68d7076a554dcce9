"""The state of all rules as bytes: saved, checked, and put back.

A head of a fixed length (name, version, checksum) and MessagePack: names of devices and groups, which rules, columns as they lie in memory. What can't
be read, or doesn't fit together, is refused as a whole. Slots of rules that don't hold any more are left out; rules and series that are
new begin anew.

Must not know: what the columns mean beyond the numbers that point from one to another.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from appliance.core.arrays import I64
from appliance.management.rule import Rule
from appliance.management.rule_transition import AlarmKey
from appliance.rules.connection import NUMBER_OF_PRESENCE
from appliance.rules.delays import Delayed
from appliance.rules.holding import Episode, Held, Holding
from appliance.rules.instances import Instances
from appliance.rules.table import damaged

_HEAD: Final = b"homeport rules 1"
_CHECKSUM_BYTES: Final = 4


class _State(msgspec.Struct):
    """What is saved."""

    devices: list[str]
    groups: list[str]
    series_count: int
    rules: dict[int, tuple[str, int]]
    left_out: dict[int, int]
    counts: dict[str, int]
    columns: dict[str, dict[str, bytes]]
    intervals: dict[str, bytes]
    horizon_ms: int
    broker_started_ms: int
    expects: dict[int, int]
    presence: dict[int, tuple[int, int]]
    arrivals: tuple[bytes, bytes]
    interval_notes: tuple[bytes, bytes, bytes]
    compared: tuple[bytes, bytes, bytes]
    comparing: tuple[bytes, bytes, bytes, bytes]
    reasons: dict[int, dict[str, Any]]
    held: list[Held]
    episodes: list[tuple[AlarmKey, list[Episode]]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_State).decode


def save_state(instances: Instances, holding: Holding) -> bytes:
    """All of it."""
    silences, comparisons = instances.silences, instances.comparisons
    state = _State(
        devices=instances.places.devices.names,
        groups=instances.places.groups.names,
        series_count=len(instances.places.metrics),
        rules={number: (rule.rule_id, rule.version) for number, rule in instances.rules.items()},
        left_out=instances.left_out,
        counts={name: table.count for name, table in instances.tables.items()},
        columns={name: table.columns() for name, table in instances.tables.items()},
        intervals=silences.intervals.columns(),
        horizon_ms=silences.horizon_ms,
        broker_started_ms=silences.broker_started_ms,
        expects=silences.expects,
        presence=instances.connections.presence,
        arrivals=_packed(silences.arrivals, 2),  # type: ignore[arg-type]
        interval_notes=_packed(silences.intervals.waiting, 3),  # type: ignore[arg-type]
        compared=(
            comparisons.values.tobytes(),
            comparisons.times.tobytes(),
            comparisons.arrived.tobytes(),
        ),
        comparing=_packed(comparisons.waiting, 4),  # type: ignore[arg-type]
        reasons=instances.anomalies.reasons,
        held=[held for waiting in holding.held.values() for held in waiting],
        episodes=list(holding.episodes.items()),
    )
    body = _encode(state)
    return _HEAD + zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "little") + body


def load_state(data: bytes, instances: Instances, rules: Sequence[Rule]) -> Holding:
    """Fill instances that are empty but for their membership.

    Args:
        rules: Those that hold.
    Raises:
        StorageError: `rule_state_damaged`; the instances are then to be thrown away.
    """
    start = len(_HEAD) + _CHECKSUM_BYTES
    if data[: len(_HEAD)] != _HEAD:
        raise damaged("it is of another version")
    body = data[start:]
    if zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "little") != data[len(_HEAD) : start]:
        raise damaged("its checksum is wrong")
    try:
        state = _decode(body)
    except msgspec.DecodeError as error:
        raise damaged(str(error)) from error
    return _Loader(state, instances).load({(rule.rule_id, rule.version): rule for rule in rules})


class _Loader:
    """Puts a decoded state back, each number that points somewhere checked."""

    def __init__(self, state: _State, instances: Instances) -> None:
        self._state, self._instances = state, instances

    def load(self, rules: dict[tuple[str, int], Rule]) -> Holding:
        state, instances = self._state, self._instances
        places, silences = instances.places, instances.silences
        for name in state.devices:
            places.devices.number(name)
        for name in state.groups:
            places.groups.number(name)
        places.grow(max(0, state.series_count))
        _need(len(places.metrics) == state.series_count, "there were more series")
        for name, table in instances.tables.items():
            table.restore(state.counts.get(name, -1), state.columns.get(name, {}))
            self._check(table)
        members = silences.table.parent
        _need(_within(members, -1, instances.fractions.table.count), "a member of no fraction")
        whose = instances.fractions.table.rule[members[members >= 0]]
        _need(bool((whose == silences.table.rule[members >= 0]).all()), "a member of another rule's fraction")
        silences.intervals.restore(state.series_count, state.intervals)
        silences.horizon_ms, silences.broker_started_ms = state.horizon_ms, state.broker_started_ms
        _need(
            all(0 <= each < len(places.devices) for each in (*state.expects, *state.presence)),
            "an unknown device",
        )
        _need(
            all(0 <= each < len(NUMBER_OF_PRESENCE) for each, _ in state.presence.values()),
            "an unknown presence",
        )
        silences.expects, instances.connections.presence = dict(state.expects), dict(state.presence)
        self._load_waiting()
        reasons = state.reasons
        _need(all(0 <= slot < instances.anomalies.table.count for slot in reasons), "a reason of nothing")
        instances.anomalies.reasons = dict(reasons)
        holding = Holding()
        for held in state.held:
            _need(bool(held.transitions) and 0 <= held.device < len(places.devices), "what waits")
            holding.held.setdefault(held.transitions[0].key, []).append(held)
        holding.episodes = dict(state.episodes)
        kept = {number: rules[key] for number, key in state.rules.items() if key in rules}
        instances.adopt(kept, state.left_out)
        holding.drop_rules_but({(rule.rule_id, rule.version) for rule in kept.values()})
        instances.use(list(rules.values()))
        instances.settle()
        return holding

    def _check(self, table: Delayed) -> None:
        places = self._instances.places
        _need(bool(np.isin(table.rule, np.array(list(self._state.rules), np.int64)).all()), "an unknown rule")
        _need(_within(table.series, -1, self._state.series_count), "an unknown series")
        _need(_within(table.device, -1, len(places.devices)), "an unknown device")
        _need(_within(table.group, -1, len(places.groups)), "an unknown group")

    def _load_waiting(self) -> None:
        state, silences, comparisons = self._state, self._instances.silences, self._instances.comparisons
        rows, arrived = _unpacked(state.arrivals, "i8", "i8")
        _need(_within(rows, 0, silences.table.count), "an arrival of nothing")
        silences.arrivals = [(rows, arrived)] if len(rows) else []
        series, interval, arrived = _unpacked(state.interval_notes, "i8", "i8", "i8")
        _need(_within(series, 0, state.series_count), "an interval of nothing")
        silences.intervals.waiting = [(series, interval, arrived)] if len(series) else []
        values, times, came = _unpacked(state.compared, "f8", "i8", "i8")
        _need(len(values) <= state.series_count, "too many values")
        comparisons.values, comparisons.times, comparisons.arrived = values, times, came
        series, instant, observed, values = _unpacked(state.comparing, "i8", "i8", "i8", "f8")
        _need(_within(series, 0, len(comparisons.values)), "a value of nothing")
        comparisons.waiting = [(series, instant, observed, values)] if len(series) else []


def _packed(parts: Sequence[tuple[NDArray[Any], ...]], count: int) -> tuple[bytes, ...]:
    """Columns that lie in pieces, each as bytes."""
    return tuple(b"".join(part[at].tobytes() for part in parts) for at in range(count))


def _unpacked(columns: Sequence[bytes], *types: str) -> list[NDArray[Any]]:
    """Columns of one length."""
    _need(all(len(each) % 8 == 0 for each in columns), "a column's length")
    arrays = [np.frombuffer(each, kind).copy() for each, kind in zip(columns, types, strict=True)]
    _need(len({len(each) for each in arrays}) == 1, "columns' lengths")
    return arrays


def _within(column: I64, low: int, beyond: int) -> bool:
    return not len(column) or (int(column.min()) >= low and int(column.max()) < beyond)


def _need(is_so: bool, what: str) -> None:
    if not is_so:
        raise damaged(what)
