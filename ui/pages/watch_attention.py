"""What the Overview says of rules and anomalies when they don't keep up."""

from __future__ import annotations

from appliance.core.limits import BACKLOG_BATCH_MESSAGES_MAX
from appliance.pipeline.watch_statistics import WatchFeedStatistics, WatchState
from ui.pages.views import Attention


def watch_attention(watch: WatchFeedStatistics | None, *, is_whole_site: bool) -> list[Attention]:
    """Nothing while they are up to date, or nearly.

    Args:
        is_whole_site: Whether whoever looks may see what belongs to no device of theirs: an incident names rules.
    """
    if watch is None:
        return []
    if watch.state is WatchState.FAILED:
        why = f" {watch.incident}." if is_whole_site else ""
        return [
            Attention(
                tone="bad",
                text=f"Rules stand still: no new alarm is raised. Readings go on.{why} It is tried again by itself.",
            )
        ]
    if watch.state is WatchState.WAITING:
        return [
            Attention(
                tone="bad",
                text="Rules wait until what they found is in the catalog. Readings go on; nothing is lost.",
            )
        ]
    if watch.state is WatchState.REBUILDING and watch.behind_records > BACKLOG_BATCH_MESSAGES_MAX:
        return [
            Attention(
                tone="warn",
                text=f"Rules and anomalies: {watch.doing}. Alarms that are active stay, new ones come when it is done.",
            )
        ]
    return []
