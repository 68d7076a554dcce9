"""Why something is unusual, as a sentence and as numbers. Pure."""

from __future__ import annotations

from typing import Any

from appliance.management.watched import WORD_OF_FINDING, Finding


def number(value: float) -> str:
    """Four digits, as a person reads them."""
    text = f"{value:.4g}"
    return f"{value:.0f}" if "e" in text and 1 <= abs(value) < 1e9 else text


def _spreads(spreads: float) -> str:
    return f"{spreads:.1f} spreads" if spreads < 1_000 else "more than 1000 spreads"


def of_value(
    finding: Finding, *, value: float, usual: float, now: float, spreads: float, score: float, by_hour: bool
) -> dict[str, Any]:
    """Of a reading.

    Args:
        value: The reading. usual: What was to be expected; of variance the usual distance from it.
        now: Of findings that last, the mean of late; of variance the distance of late.
        by_hour: Whether the usual is that of this hour.
    """
    of_what = "the usual for this hour" if by_hour else "the usual"
    numbers: dict[str, Any] = {
        "finding": WORD_OF_FINDING.get(finding, "none"),
        "score": round(score, 6),
        "value": value,
        "usual": usual,
        "now": now,
        "spreads": spreads,
        "by_hour": by_hour,
    }
    if finding is Finding.OUTLIER:
        side = "above" if value >= usual else "below"
        text = f"{number(abs(value - usual))} {side} {of_what}, {_spreads(spreads)}"
    elif finding is Finding.LEVEL_SHIFT:
        side = "above" if now >= usual else "below"
        text = f"for some time {number(abs(now - usual))} {side} {of_what}, {_spreads(spreads)}"
    elif finding is Finding.DRIFT:
        way = "up" if now >= usual else "down"
        text = f"drifting {way}: {number(abs(now - usual))} from {number(usual)}, the level of a long time, {_spreads(spreads)}"
    elif finding is Finding.VARIANCE:
        ratio = now / usual if usual > 0 else 0.0
        text = f"varies {number(ratio)} times as much as usual" if ratio >= 1 else _calmer(ratio)
    else:
        text = "as usual"
    return {"text": text, **numbers}


def _calmer(ratio: float) -> str:
    return (
        "hardly varies any more" if ratio < 0.01 else f"varies less than usual: {number(100 * ratio)} % of it"
    )


def of_silence(*, silent_s: float, gap_s: float, score: float) -> dict[str, Any]:
    """Of a series that is not heard."""
    return {
        "text": f"no reading for {duration(silent_s)}, usually one every {duration(gap_s)}",
        "finding": WORD_OF_FINDING[Finding.DROP_OUT],
        "score": round(score, 6),
        "silent_s": silent_s,
        "gap_s": gap_s,
    }


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    for unit, length in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{number(round(seconds / length, 1))} {unit}"
    return f"{number(round(seconds, 1))} s"
