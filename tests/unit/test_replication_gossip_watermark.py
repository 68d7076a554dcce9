"""How old what isn't safe is: never too young, whatever is forgotten, and 0 when all is safe."""

from __future__ import annotations

from replication.effects import Place
from replication.gossip.fleet_view import FleetView, PeerInfo
from replication.gossip.watermark import (
    BOUNDARY_COUNT_MAX,
    HISTORY_BUCKET_MS,
    KNOWN_PLACE_COUNT_MAX,
    RpoHistory,
    Watermark,
)

US, MATE, FAR = "aa" * 16, "bb" * 16, "cc" * 16
FLEET = FleetView(
    US,
    [
        PeerInfo(node_id=US, site_id="1", region="north"),
        PeerInfo(node_id=MATE, site_id="1", region="north"),
        PeerInfo(node_id=FAR, site_id="2", region="north"),
    ],
)
HASH = b"h" * 32


def filled(count: int) -> Watermark:
    mark = Watermark(US)
    for n in range(1, count + 1):
        mark.reached(n + 1, HASH, n * 10)
    return mark


def test_the_age_is_that_of_the_first_frame_that_is_not_safe() -> None:
    mark = filled(10)
    assert mark.rpo_ms(FLEET, "node", 200) == 190
    assert mark.store(MATE, 6)
    assert not mark.store(MATE, 6)
    assert mark.rpo_ms(FLEET, "node", 200) == 140  # record 6 was written at 60
    mark.store(MATE, 11)
    assert mark.rpo_ms(FLEET, "node", 10**9) == 0


def test_each_domain_has_an_age_of_its_own() -> None:
    mark = filled(10)
    mark.store(MATE, 11)
    mark.store(FAR, 3)
    assert [mark.safe_seq(FLEET, domain) for domain in ("node", "site", "region")] == [11, 3, 1]
    assert mark.rpo_ms(FLEET, "site", 200) == 170
    assert mark.rpo_ms(FLEET, "region", 200) == 190


def test_what_we_store_ourselves_and_what_strangers_store_is_not_safe() -> None:
    mark = filled(3)
    assert not mark.store(US, 4)
    mark.store("dd" * 16, 4)
    assert mark.safe_seq(FLEET, "node") == 1


def test_a_holder_that_lost_its_disk_counts_no_more() -> None:
    mark = filled(10)
    mark.store(FAR, 11)
    mark.lose(FAR, 4)
    assert mark.safe_seq(FLEET, "site") == 4
    assert mark.rpo_ms(FLEET, "site", 200) == 160
    mark.lose(FAR, 9)
    assert mark.safe_seq(FLEET, "site") == 4


def test_much_that_is_not_safe_takes_little_memory_and_is_never_told_younger_than_it_is() -> None:
    count = 3 * BOUNDARY_COUNT_MAX
    mark = filled(count)
    assert len(mark._seqs) <= BOUNDARY_COUNT_MAX
    now_ms = count * 10
    for seq in (1, 2, 3, 500, count // 2, count - 1, count):
        assert mark.age_ms(seq, now_ms) >= now_ms - seq * 10
    assert mark.age_ms(count + 1, now_ms) == 0


def test_a_place_is_ours_only_with_our_hash() -> None:
    mark = filled(5)
    assert mark.proof(Place(epoch=1, next_seq=3, hash=HASH)) is True
    assert mark.proof(Place(epoch=1, next_seq=3, hash=b"x" * 32)) is False
    assert mark.proof(Place(epoch=1, next_seq=99, hash=HASH)) is False
    many = filled(KNOWN_PLACE_COUNT_MAX + 10)
    assert many.proof(Place(epoch=1, next_seq=3, hash=HASH)) is None


def test_a_log_that_was_put_back_forgets_what_came_after() -> None:
    mark = filled(10)
    mark.store(FAR, 11)
    mark.began_anew(5)
    assert mark.safe_seq(FLEET, "site") == 5
    mark.reached(6, b"n" * 32, 500)
    assert mark.rpo_ms(FLEET, "site", 600) == 100
    assert mark.proof(Place(epoch=1, next_seq=7, hash=HASH)) is False


def test_the_worst_of_a_day_is_forgotten_after_a_day() -> None:
    history = RpoHistory()
    history.add("site", 5000, 0)
    history.add("site", 100, HISTORY_BUCKET_MS // 2)
    history.add("site", 70, 20 * HISTORY_BUCKET_MS)
    assert history.worst_ms("site") == 5000
    history.add("site", 1, 26 * HISTORY_BUCKET_MS)
    assert history.worst_ms("site") == 70
    assert history.worst_ms("region") == 0
