"""A whole site signs in at once, each device with a token, or a certificate, of its own: all are in within a minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.bench_sign_in import SIGNED_IN_S_WANTED, measure

KINDS = ("tokens over TCP", "tokens over TLS", "certificates")


@pytest.mark.parametrize("kind", KINDS)
def test_some(tmp_path: Path, kind: str) -> None:
    result = measure(tmp_path, kind, 50, give_up_s=SIGNED_IN_S_WANTED)
    assert (result["served"]["served"], result["served"]["failures"]) == (50, {})


@pytest.mark.long
@pytest.mark.parametrize(("kind", "count"), [("tokens over TCP", 10_000), ("certificates", 2_000)])
def test_a_whole_site_within_a_minute(tmp_path: Path, kind: str, count: int) -> None:
    """The deadline is the promise: whoever is not in by then stops trying."""
    result = measure(tmp_path, kind, count, give_up_s=SIGNED_IN_S_WANTED)
    assert result["served"]["served"] == count
