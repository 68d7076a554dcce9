"""Live updates: the hub and the streams of server-sent events that follow it (see ui/DESIGN.md)."""

from ui.live.hub import Changes, ChangeSource, Frame, Hub, HubStatistics, Watcher

__all__ = ["ChangeSource", "Changes", "Frame", "Hub", "HubStatistics", "Subscription", "Watcher"]
