"""The window against a plain set: what is new is new once; a bounded one never calls a new number a duplicate."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.arrays import i64
from appliance.core.limits import DEDUP_BOOT_COUNT_MAX
from appliance.management import dedup
from appliance.management.dedup import SeenSequences, Verdict, Window

numbers = st.lists(st.one_of(st.integers(0, 40), st.integers(0, 2**63 - 1)), max_size=80)


def intervals_of(seen: set[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in sorted(seen):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def see_all(seen: SeenSequences, device: str, seqs: list[int], observed: list[int]) -> dict[int, Verdict]:
    """Readings of the boot that a device is in."""
    return seen.see_all([seen.window_now(device)], np.zeros(len(seqs), np.int64), i64(seqs), i64(observed))


@settings(deadline=None)
@given(numbers)
def test_a_window_is_a_set(sequence: list[int]) -> None:
    window, seen = Window("d", "b"), set[int]()
    for seq in sequence:
        verdict, merged = window.see(seq)
        assert verdict is (Verdict.DUPLICATE if seq in seen else Verdict.NEW)
        assert merged == 0
        seen.add(seq)
    assert window.intervals() == intervals_of(seen)


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), max_size=120))
def test_a_full_window_doubts_but_never_lies(sequence: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dedup, "DEDUP_INTERVAL_COUNT_MAX", 4)
        window, seen = Window("d", "b"), set[int]()
        for seq in sequence:
            verdict, _ = window.see(seq)
            assert len(window.intervals()) <= 4
            if verdict is Verdict.NEW:
                assert seq not in seen
                seen.add(seq)
            elif verdict is Verdict.DUPLICATE:
                assert seq in seen
            else:
                assert seq <= window.floor


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y"]), st.integers(0, 15)), max_size=60)
)
def test_all_devices_and_boots_apart_and_after_a_reload(
    readings: list[tuple[str, str, int]],
) -> None:
    seen, model = SeenSequences(), set[tuple[str, str, int]]()
    for position, (device, boot_id, seq) in enumerate(readings):
        windows, at = seen.windows([device], [boot_id])
        verdicts = seen.see_all(windows, at, i64([seq]), i64([position]))
        assert (0 in verdicts) == ((device, boot_id, seq) in model)
        model.add((device, boot_id, seq))
        if position % 7 == 6:
            changed, _ = seen.take_changes()
            reloaded = SeenSequences()
            everything = {(w.device, w.boot_id): w for w in changed}
            for device_, boots in seen._windows.items():
                everything.update(((device_, w.boot_id), w) for w in boots.values())
            for window in everything.values():
                reloaded.load(
                    window.device, window.boot_id, window.intervals(), current=seen.is_current(window),
                    floor=window.floor, newest_ms=window.newest_ms,
                )  # fmt: skip
            seen = reloaded


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 12), st.integers(0, 6)), min_size=1, max_size=60
    ),
    st.lists(st.integers(1, 59), max_size=3),
)
def test_many_at_once_are_as_one_after_the_other(
    readings: list[tuple[str, int, int]], cuts: list[int]
) -> None:
    together, single = SeenSequences(), SeenSequences()
    expected, found = dict[int, Verdict](), dict[int, Verdict]()
    for position, (device, seq, ms) in enumerate(readings):
        for verdict in see_all(single, device, [seq], [ms]).values():
            expected[position] = verdict
    bounds = sorted({0, len(readings), *(cut for cut in cuts if cut < len(readings))})
    for start, end in pairwise(bounds):
        part = readings[start:end]
        names = sorted({device for device, _, _ in part})
        verdicts = together.see_all(
            [together.window_now(name) for name in names],
            i64([names.index(device) for device, _, _ in part]),
            i64([seq for _, seq, _ in part]),
            i64([ms for _, _, ms in part]),
        )
        found.update((start + at, verdict) for at, verdict in verdicts.items())
    assert found == expected
    assert together.restarts_total == single.restarts_total
    for name in "abc":
        one, other = together.window_now(name), single.window_now(name)
        assert (one.intervals(), one.newest_ms) == (other.intervals(), other.newest_ms)


def test_without_a_boot_id_a_newer_time_tells_a_restart_from_a_duplicate() -> None:
    seen = SeenSequences()

    def see(seq: int, ms: int) -> Verdict:
        return see_all(seen, "d", [seq], [ms]).get(0, Verdict.NEW)

    assert [see(seq, 1_000 + seq) for seq in (1, 2, 3)] == [Verdict.NEW] * 3
    assert see(2, 1_002) is Verdict.DUPLICATE
    assert see(1, 2_000) is Verdict.NEW  # counts anew, later: it was started again
    assert see(2, 2_001) is Verdict.NEW
    assert see(2, 2_001) is Verdict.DUPLICATE
    assert seen.restarts_total == 1


def test_a_named_boot_is_never_restarted_by_time() -> None:
    seen = SeenSequences()
    seen.boot("d", "boot-1")
    assert see_all(seen, "d", [1, 1], [10, 20]) == {1: Verdict.DUPLICATE}


def test_the_boot_used_longest_ago_is_dropped_and_reported() -> None:
    seen = SeenSequences()
    for boot in range(DEDUP_BOOT_COUNT_MAX + 2):
        seen.boot("d", f"boot-{boot}")
        see_all(seen, "d", [1], [boot])
    changed, dropped = seen.take_changes()
    assert dropped == [("d", "boot-0"), ("d", "boot-1")]
    assert {w.boot_id for w in changed} == {"boot-2", "boot-3", "boot-4", "boot-5"}
    assert seen.window_count == DEDUP_BOOT_COUNT_MAX
    assert seen.current_boot_id("d") == "boot-5"


def test_both_windows_change_when_the_boot_does() -> None:
    seen = SeenSequences()
    seen.boot("d", "one")
    seen.take_changes()
    assert seen.boot("d", "two")
    assert not seen.boot("d", "two")
    changed, _ = seen.take_changes()
    assert {(w.boot_id, seen.is_current(w)) for w in changed} == {("one", False), ("two", True)}


def test_a_full_window_reports_what_it_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "DEDUP_INTERVAL_COUNT_MAX", 2)
    seen = SeenSequences()
    window = seen.window_now("d")
    see_all(seen, "d", [10, 20, 30, 15], [1, 2, 3, 0])
    assert seen.merged_total == 1
    assert window.floor == 20
    assert see_all(seen, "d", [15], [0]) == {0: Verdict.TOO_OLD}
