"""Whatever is read ahead, and wherever the store is closed meanwhile: in the end it is the store that was filled in order."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio

from tests.backlog_kit import ByHand, Stream
from tests.log_kit import append, open_log


async def _same(seed: int, folder: Path) -> int:
    choose = random.Random(seed)
    stream = Stream(seed)
    writer = open_log(folder / "log")
    (folder / "b").mkdir()
    mixed = ByHand(folder / "b" / "t.duckdb", folder / "log")
    passed_over = 0
    for _ in range(choose.randrange(10, 40)):
        append(writer, stream.block(choose.randrange(1, 40)))
        what = choose.random()
        mixed.reading.look()
        if what < 0.2 and mixed.reading.waiting():
            mixed.reading.pass_over(is_rebuild=False)
            passed_over += 1
        elif what < 0.5:
            await mixed.step(choose.choice((1, 50)))
        elif what < 0.7 and mixed.reading.behind is not None:
            await mixed.step(choose.choice((1, 50)), is_behind=True)
        elif what < 0.8:
            mixed.restart()
        elif what < 0.85:
            mixed.store.tidy()
    writer.close()
    await mixed.to_the_end()
    (folder / "a").mkdir()
    in_order = ByHand(folder / "a" / "t.duckdb", folder / "log")
    while await in_order.step():
        pass
    # A newest value that was sent on both sides of a gap arrived when the one did that was read first.
    expected, found = map(stream.first_arrivals, (in_order.contents(), mixed.contents()))
    in_order.close()
    mixed.close()
    for name, value in expected.items():
        assert found[name] == value, f"{name} differs, seed {seed}"
    assert len(expected["rows"]) > 10  # type: ignore[arg-type]
    return passed_over


@pytest.mark.parametrize("count", [3, pytest.param(200, marks=pytest.mark.long)], ids=["sample", "many"])
def test_a_backlog_gives_the_store_that_was_filled_in_order(count: int) -> None:
    first = random.SystemRandom().randrange(1 << 32)
    print(f"seeds from {first}")
    passed_over = 0
    for seed in range(first, first + count):
        with TemporaryDirectory() as folder:
            passed_over += trio.run(_same, seed, Path(folder))
    assert passed_over
