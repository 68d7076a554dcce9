"""Which region is the live one: left when it is away, gone back to when it is steady, and never to and fro."""

from __future__ import annotations

from replication.tier.regions import AWAY_AFTER_MS, DOUBTFUL_MS, STEADY_MS, Regions


def well(regions: Regions, name: str, now_ms: int) -> None:
    regions.tries(name, now_ms)
    regions.worked(name, now_ms)


def test_the_first_one_is_live_and_stays_so_while_it_works() -> None:
    regions = Regions(["eu", "us"])
    for now_ms in range(0, 600_000, 5_000):
        well(regions, "eu", now_ms)
        well(regions, "us", now_ms)
        assert not regions.choose(now_ms)
    assert (regions.live, regions.moves) == ("eu", 0)


def test_one_that_fails_is_doubted_at_once_and_left_after_a_while() -> None:
    regions = Regions(["eu", "us"])
    well(regions, "us", 0)
    regions.tries("eu", 1_000)
    regions.failed("eu", "no route")
    assert regions.is_doubtful("eu", 1_000)
    assert not regions.choose(1_000 + AWAY_AFTER_MS - 1)
    assert regions.choose(1_000 + AWAY_AFTER_MS)
    assert (regions.live, regions["eu"].reason) == ("us", "no route")


def test_one_that_hangs_is_given_twice_as_long() -> None:
    regions = Regions(["eu", "us"])
    well(regions, "us", 0)
    regions.tries("eu", 0)
    assert not regions.is_doubtful("eu", DOUBTFUL_MS - 1)
    assert regions.is_doubtful("eu", DOUBTFUL_MS)
    assert not regions.choose(2 * AWAY_AFTER_MS - 1)
    assert regions.choose(2 * AWAY_AFTER_MS)


def test_where_none_works_the_live_one_stays() -> None:
    regions = Regions(["eu", "us"])
    for name in ("eu", "us"):
        regions.tries(name, 0)
        regions.failed(name, "no network")
    assert not regions.choose(10 * AWAY_AFTER_MS)
    assert regions.live == "eu"


def test_one_alone_is_never_left() -> None:
    regions = Regions(["eu"])
    regions.tries("eu", 0)
    regions.failed("eu", "no network", is_unfit=True)
    assert not regions.choose(10 * AWAY_AFTER_MS)
    assert regions.states[0].is_unfit


def test_the_preferred_one_is_gone_back_to_when_it_is_steady_and_lacks_nothing() -> None:
    regions = Regions(["eu", "us"])
    regions.tries("eu", 0)
    regions.failed("eu", "x")
    well(regions, "us", 0)
    regions.choose(AWAY_AFTER_MS)
    assert regions.live == "us"
    well(regions, "eu", 100_000)
    well(regions, "us", 100_000)
    assert not regions.choose(100_000 + STEADY_MS)  # it still lags
    regions["eu"].lags = False
    assert not regions.choose(100_000 + STEADY_MS - 1)
    regions.tries("eu", 200_000)
    regions.failed("eu", "once more")
    well(regions, "eu", 210_000)
    assert not regions.choose(100_000 + STEADY_MS)
    assert regions.choose(210_000 + STEADY_MS)
    assert (regions.live, regions.moves) == ("eu", 2)


def test_silence_alone_has_its_moments() -> None:
    regions = Regions(["eu", "us"])
    assert regions.next_at_ms(0) is None
    regions.tries("eu", 1_000)
    times = []
    now_ms = 1_000
    while (at_ms := regions.next_at_ms(now_ms)) is not None:
        times.append(at_ms)
        now_ms = at_ms
    assert times == [1_000 + DOUBTFUL_MS, 1_000 + AWAY_AFTER_MS, 1_000 + 2 * AWAY_AFTER_MS]


def test_what_was_not_asked_after_all_says_nothing() -> None:
    regions = Regions(["eu", "us"])
    regions.tries("eu", 1_000)
    regions.spared("eu", 1_000)
    assert regions.silent_ms("eu", 100_000) == 0
    regions.tries("eu", 2_000)
    regions.failed("eu", "no route")
    regions.spared("eu", 2_000)
    assert regions.silent_ms("eu", 100_000) == 98_000


def test_a_preferred_region_that_went_silent_is_not_live_again_before_it_answers() -> None:
    """Found by `homeport simulate --tier`: without a failure it looked steady, and the two took turns."""
    regions = Regions(["west", "east"])
    for name in ("west", "east"):
        regions.worked(name, 0)
        regions[name].lags = False
    now_ms = 2 * STEADY_MS
    regions.tries("west", now_ms)
    assert regions.choose(now_ms + 2 * AWAY_AFTER_MS)
    for later_ms in range(1_000, 60_000, 1_000):
        assert not regions.choose(now_ms + 2 * AWAY_AFTER_MS + later_ms)
    assert regions.live == "east"
