"""What this box's clock asks an operator to look at."""

from __future__ import annotations

from appliance.core.believed_time import BelievedTime, ClockDoubt
from appliance.core.clock import Clock
from appliance.core.clock_words import CLOCK_HINT, clock_doubt_text, day_text
from appliance.core.limits import CLOCK_STEP_TOLD_MS
from ui.pages.format import duration_text
from ui.pages.views import Attention


def clock_attention(believed: BelievedTime, clock: Clock) -> tuple[Attention, ...]:
    """Lines for the Overview: that the clock is not believed, or was set within the last day."""
    believed.look()
    if believed.doubt is not ClockDoubt.NONE:
        text = clock_doubt_text(believed.doubt, clock.now_ms(), believed.off_by_ms)
        return (Attention(tone="bad", text=f"{text} {CLOCK_HINT}"),)
    step = believed.last_step
    if step is None or clock.mono_ms() - step.at_mono_ms >= CLOCK_STEP_TOLD_MS:
        return ()
    how = f"{'ahead' if step.by_ms > 0 else 'back'} by {duration_text(abs(step.by_ms))}"
    ago = duration_text(max(0, clock.mono_ms() - step.at_mono_ms))
    text = f"This box's clock was set {how} {ago} ago: readings without a time of their own that came before stand where it was, {day_text(step.from_ms)}."
    return (Attention(tone="warn", text=text),)
