"""What is new reaches the live region in time and the others behind it; no region's failure, race or loss leaves a gap or a double."""

from __future__ import annotations

import random

import pytest

from replication.tier.shipping import FILL_PACE_MS, LATE_MS, ShippingOptions
from replication.tier.steps import EMPTY, Audit, Failed, FindEnd, Nothing, Parted, Ship
from storage.replicas.streams import StreamId
from tests.shipping_kit import STREAM, Rig, head_at, lose

MINUTE_MS = 60_000


def told(rig: Rig, name: str) -> int:
    head = rig.boxes[0].told.get(name)
    return head.next_seq if head is not None else 0


def test_what_is_new_is_in_the_live_region_within_its_pace_and_in_the_others_within_a_minute() -> None:
    rig = Rig("eu", "us")
    box = rig.box()
    rig.load(box, records=10, every_ms=500, for_ms=3 * MINUTE_MS)
    oldest_ms: list[int] = []

    def look() -> None:
        since_ms = box.machine._sources[STREAM].since_ms(told(rig, "eu")) if box.machine._sources else None
        if since_ms is not None:
            oldest_ms.append(rig.now_ms - since_ms)

    rig.run(3 * MINUTE_MS, each=look)
    assert max(oldest_ms) < 6_000
    assert rig.regions["eu"].gaps(STREAM) == rig.regions["us"].gaps(STREAM) == []
    rig.run(2 * FILL_PACE_MS)
    assert told(rig, "eu") == told(rig, "us") == box.head.next_seq
    assert len(rig.regions["us"].pieces[STREAM]) < len(rig.regions["eu"].pieces[STREAM]) / 3


def test_a_day_away_is_made_good_oldest_first_in_large_pieces_without_a_gap() -> None:
    rig = Rig("eu")
    box = rig.box()
    rig.regions["eu"].is_away = True
    box.grow(1_000_000)  # 1 GB
    rig.run(10 * MINUTE_MS)
    tries = sum(isinstance(step, FindEnd) for step in box.log)
    assert told(rig, "eu") == 0
    assert tries < 40
    rig.regions["eu"].is_away = False
    rig.run(2 * MINUTE_MS)
    assert told(rig, "eu") == 1_000_000
    assert rig.regions["eu"].gaps(STREAM) == []
    assert len(rig.regions["eu"].pieces[STREAM]) < 140


def test_another_region_has_what_is_new_while_the_live_one_is_away_and_the_first_is_live_again_when_it_has_all() -> (
    None
):
    rig = Rig("eu", "us")
    box = rig.box()
    rig.load(box, records=10, every_ms=500, for_ms=30 * MINUTE_MS)
    rig.run(5 * MINUTE_MS)
    rig.regions["eu"].is_away = True
    worst: list[int] = []

    def look() -> None:
        since_ms = box.machine._sources[STREAM].since_ms(max(told(rig, "eu"), told(rig, "us")))
        worst.append(0 if since_ms is None else rig.now_ms - since_ms)

    rig.run(60_000, each=look)
    assert max(worst) < 10_000
    assert box.machine.regions.live == "us"
    rig.run(5 * MINUTE_MS, each=look)
    rig.regions["eu"].is_away = False
    rig.run(2 * MINUTE_MS, each=look)
    assert box.machine.regions.live == "us"  # not to and fro
    assert told(rig, "eu") > box.head.next_seq - 10 * 200
    rig.run(5 * MINUTE_MS, each=look)
    assert box.machine.regions.live == "eu"
    assert box.machine.regions.moves == 2
    assert max(worst) < 10_000
    assert rig.regions["eu"].gaps(STREAM) == rig.regions["us"].gaps(STREAM) == []


def test_a_standby_region_gets_nothing_before_it_is_needed_and_all_of_it_then() -> None:
    rig = Rig("eu", "us")
    box = rig.box(options=ShippingOptions(is_filling=False))
    rig.load(box, records=10, every_ms=1_000, for_ms=10 * MINUTE_MS)
    rig.run(3 * MINUTE_MS)
    assert not rig.regions["us"].pieces
    rig.regions["eu"].is_away = True
    rig.run(2 * MINUTE_MS)
    assert rig.regions["us"].gaps(STREAM) == []
    assert min(rig.regions["us"].pieces[STREAM]) == 1
    assert told(rig, "us") >= box.head.next_seq - 70


def test_a_preferred_region_that_comes_back_gets_what_it_missed_before_what_is_new_waits_for_it() -> None:
    rig = Rig("eu", "us")
    box = rig.box(options=ShippingOptions(is_filling=False))
    rig.load(box, records=10, every_ms=1_000, for_ms=40 * MINUTE_MS)
    rig.run(3 * MINUTE_MS)
    rig.regions["eu"].is_away = True
    rig.run(20 * MINUTE_MS)
    rig.regions["eu"].is_away = False
    lacks: list[int] = []

    def look() -> None:
        if box.machine.regions.live == "eu":
            lacks.append(box.head.next_seq - told(rig, "eu"))

    rig.run(10 * MINUTE_MS, each=look)
    assert box.machine.regions.live == "eu"
    assert max(lacks) < 10 * 70, "it had all but the last minute when it became the live one"


def test_copies_of_others_streams_do_not_keep_a_box_in_its_second_region() -> None:
    rig = Rig("eu", "us")
    box = rig.box()
    rig.load(box, records=10, every_ms=1_000, for_ms=30 * MINUTE_MS)
    other = StreamId("ab" * 16, "telemetry")
    box.machine.holds(other, head_at(100), rig.now_ms, is_own=False)
    for region in ("eu", "us"):  # its writer ships it
        box.machine.told(region, other, head_at(100), rig.now_ms)
    rig.run(MINUTE_MS)
    rig.regions["eu"].is_away = True
    rig.run(2 * MINUTE_MS)
    assert box.machine.regions.live == "us"
    rig.regions["eu"].is_away = False
    rig.run(8 * MINUTE_MS)
    assert box.machine.regions.live == "eu"


def test_what_another_failure_domain_has_already_may_wait() -> None:
    rig = Rig("eu")
    box = rig.box()
    rig.load(box, records=10, every_ms=500, for_ms=5 * MINUTE_MS)
    rig.run(5 * MINUTE_MS, each=lambda: box.machine.is_safe(STREAM, box.head.next_seq))
    assert 3 <= len(rig.regions["eu"].pieces[STREAM]) <= 10


def test_two_that_ship_the_same_stream_leave_one_chain() -> None:
    rig = Rig("eu")
    boxes = [rig.box(), rig.box(options=ShippingOptions(pace_ms=4_900))]
    for box in boxes:
        rig.load(box, records=10, every_ms=500, for_ms=3 * MINUTE_MS)
    rig.run(4 * MINUTE_MS)
    assert rig.regions["eu"].gaps(STREAM) == []
    assert [box.told["eu"].next_seq for box in boxes] == [boxes[0].head.next_seq] * 2
    assert sum(box.machine.counts["eu"].fenced for box in boxes) > 0


def test_anothers_stream_is_left_alone_while_somebody_ships_it_and_shipped_when_nobody_does() -> None:
    rig = Rig("eu")
    box = rig.box(is_own=False)
    box.grow(100)
    box.machine.told("eu", STREAM, head_at(100), rig.now_ms)
    rig.run(5 * MINUTE_MS)
    assert box.log == []
    box.grow(200)
    rig.run(LATE_MS - 1_000)
    assert box.log == []
    rig.run(5_000)
    assert told(rig, "eu") == 200
    asked = len(box.log)
    rig.run(10 * MINUTE_MS)
    assert len(box.log) == asked


def test_what_is_not_kept_here_any_more_comes_from_the_other_region() -> None:
    rig = Rig("eu", "us")
    box = rig.box()
    box.grow(100)
    rig.run(2 * MINUTE_MS)
    rig.regions["us"].is_away = True
    for seq in range(200, 1_000, 100):
        box.grow(seq)
        rig.run(MINUTE_MS)
    box.grow(1_000, first_seq=700)
    rig.regions["us"].is_away = False
    rig.run(3 * MINUTE_MS)
    assert told(rig, "us") == 1_000
    assert rig.regions["us"].gaps(STREAM) == []
    assert any(isinstance(step, Ship) and step.from_region == "eu" for step in box.log)


def test_what_nobody_has_is_passed_over_and_said() -> None:
    rig = Rig("eu")
    box = rig.box()
    box.grow(100)
    rig.run(MINUTE_MS)
    rig.regions["eu"].is_away = True
    rig.run(MINUTE_MS)
    box.grow(1_000, first_seq=700)
    rig.regions["eu"].is_away = False
    rig.run(3 * MINUTE_MS)
    assert told(rig, "eu") == 1_000
    assert rig.regions["eu"].gaps(STREAM) == [(100, 700)]
    assert [view.gap_count for view in box.machine.views(0)] == [1]


def test_an_end_that_is_lost_is_told_and_put_again() -> None:
    rig = Rig("eu")
    box = rig.box()
    for seq in range(100, 600, 100):
        box.grow(seq)
        rig.run(6_000)
    last = max(rig.regions["eu"].pieces[STREAM])
    lose(rig.regions["eu"], last)
    told_less: list[int] = []
    rig.run(2 * MINUTE_MS, each=lambda: told_less.append(told(rig, "eu")))
    assert min(told_less) == last
    assert told(rig, "eu") == 500
    assert box.machine.counts["eu"].lost_ends == 1
    assert any(isinstance(step, Audit) for step in box.log)


def test_an_end_that_is_lost_while_more_comes_is_told_and_what_else_was_lost_is_looked_for_at_once() -> None:
    """Who ships meets it first, as a refusal: long before the end is looked at again, and as if somebody else had written there."""
    rig = Rig("eu")
    box = rig.box()
    for seq in range(100, 600, 100):
        box.grow(seq)
        rig.run(6_000)
    lost = lose(rig.regions["eu"], 200)
    end = max(rig.regions["eu"].pieces[STREAM])
    lose(rig.regions["eu"], end)
    told_less: list[int] = []
    box.grow(700)
    rig.run(30_000, each=lambda: told_less.append(told(rig, "eu")))
    assert min(told_less) == end
    assert told(rig, "eu") == 700
    assert rig.regions["eu"].pieces[STREAM][200] == lost
    assert (box.machine.counts["eu"].lost_ends, box.machine.counts["eu"].mended) == (1, 1)


def test_a_piece_that_is_lost_in_the_middle_is_found_by_the_audit() -> None:
    rig = Rig("eu")
    box = rig.box(options=ShippingOptions(audit_ms=10 * MINUTE_MS))
    for seq in range(100, 600, 100):
        box.grow(seq)
        rig.run(6_000)
    lost = lose(rig.regions["eu"], 200)
    rig.run(20 * MINUTE_MS)
    assert rig.regions["eu"].pieces[STREAM][200] == lost
    assert box.machine.counts["eu"].mended == 1


def test_a_budget_holds_and_nothing_but_time_is_lost() -> None:
    rig = Rig("eu", "us")
    box = rig.box(options=ShippingOptions(bytes_per_s=50_000))
    box.grow(10_000)  # 10 MB to each of two
    rig.run(MINUTE_MS)
    sent = sum(counts.bytes for counts in box.machine.counts.values())
    assert 50_000 * 55 < sent < 50_000 * 65 + 1_100_000  # a piece begins while there is something left
    now_ms, worst_ms = box.machine.budget.waits_ms(rig.now_ms) or (0, 0)
    assert 0 <= now_ms <= worst_ms
    assert 1_000 < worst_ms < MINUTE_MS
    rig.run(10 * MINUTE_MS)
    assert told(rig, "eu") == told(rig, "us") == 10_000
    assert box.machine.budget.waits_ms(rig.now_ms) == (0, worst_ms) or box.machine.counts["us"].bytes > sent
    assert rig.box().machine.budget.waits_ms(rig.now_ms) is None


def test_on_a_slow_line_pieces_become_small_and_the_region_is_not_taken_for_away() -> None:
    rig = Rig("eu", "us")
    rig.regions["eu"].bytes_per_ms = 6  # 50 kbit/s
    box = rig.box(options=ShippingOptions(is_filling=False))
    box.grow(20_000)
    rig.run(10 * MINUTE_MS)
    assert box.machine.regions.moves == 0
    sizes = [piece.size_bytes for piece in rig.regions["eu"].pieces[STREAM].values()]
    assert sizes[-1] <= 64 * 1024
    assert sum(sizes) > 6 * 9 * MINUTE_MS


def test_a_region_that_says_nothing_at_all_is_left_too() -> None:
    rig = Rig("eu", "us")
    rig.regions["eu"].latency_ms = 10**9
    box = rig.box()
    box.grow(100)
    rig.run(59_000)
    assert box.machine.regions.live == "us"
    assert told(rig, "us") == 100


def test_another_history_is_not_written_over_and_is_said() -> None:
    rig = Rig("eu")
    other = rig.box()
    other.grow(100)
    rig.run(6_000)
    machine = Rig("eu").box().machine
    [find] = machine.holds(STREAM, head_at(300), 0, is_own=True)
    assert isinstance(find, FindEnd)
    steps = machine.found(find, rig.regions["eu"].last(STREAM), 10)
    [ship] = [each for each in steps if isinstance(each, Ship)]
    assert ship.place.next_seq == 100
    machine.shipped(ship, Parted(), 6_010)
    assert "another history" in next(iter(machine.views(0))).problem
    assert not [each for each in machine.tick(30_000) if isinstance(each, Ship)]


def test_what_can_not_be_read_here_is_no_fault_of_the_region() -> None:
    rig = Rig("eu")
    machine = rig.box().machine
    [find] = machine.holds(STREAM, head_at(100), 0, is_own=True)
    assert isinstance(find, FindEnd)
    machine.found(find, None, 10)
    [ship] = [each for each in machine.tick(6_000) if isinstance(each, Ship)]
    machine.shipped(ship, Failed(reason="a frame is damaged", is_here=True), 6_020)
    assert machine.regions["eu"].reason == ""
    assert next(iter(machine.views(0))).problem == "a frame is damaged"


def test_a_stream_that_is_dropped_meanwhile_is_forgotten() -> None:
    rig = Rig("eu")
    machine = rig.box().machine
    [find] = machine.holds(STREAM, head_at(100), 0, is_own=True)
    assert isinstance(find, FindEnd)
    machine.drops(STREAM)
    machine.drops(StreamId("0b" * 16, "catalog"))
    assert machine.found(find, None, 10) == []
    ship = Ship(number=9, region="eu", stream=STREAM, place=EMPTY, bytes_max=1)
    assert machine.shipped(ship, Nothing(), 10) == []
    assert machine.audited(Audit(number=9, region="eu", stream=STREAM), Failed(reason="x"), 10) == []
    assert list(machine.views(0)) == []
    assert machine.next_at_ms(10) is None


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_all_is_in_both_regions_in_the_end(seed: int) -> None:
    rng = random.Random(seed)
    rig = Rig("eu", "us", seed=seed)
    box = rig.box(options=ShippingOptions(audit_ms=5 * MINUTE_MS, is_filling=bool(seed % 2)))
    rig.box(is_own=False)
    for other in rig.boxes:
        rig.load(other, records=7, every_ms=700, for_ms=20 * MINUTE_MS)
    for _ in range(20):
        region = rig.regions[rng.choice(["eu", "us"])]
        match rng.randrange(4):
            case 0:
                region.is_away = not region.is_away
            case 1:
                region.latency_ms = rng.choice([5, 200, 3_000, 15_000])
            case 2:
                kept = region.pieces.get(STREAM, {})
                if len(kept) > 2:
                    lose(region, rng.choice(sorted(kept)))
            case 3:
                pass
        rig.run(MINUTE_MS)
        for name, head in box.told.items():
            for peer in rig.boxes[1:]:
                peer.machine.told(name, STREAM, head, rig.now_ms)
    for region in rig.regions.values():
        region.is_away, region.latency_ms = False, 5
    rig.run(40 * MINUTE_MS)
    live = box.machine.regions.live
    for name in ("eu", "us") if seed % 2 else (live,):
        assert rig.regions[name].gaps(STREAM) == []
        last = rig.regions[name].last(STREAM)
        assert last is not None
        assert last.next_seq == box.head.next_seq
        assert min(rig.regions[name].pieces[STREAM]) == 1
