"""A bridge as the pages show it, and what of it needs attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ui.api.bridge_structs import Bridge, BridgeTopic
from ui.bridges import NOT_RUNNING
from ui.pages.format import plural, visible
from ui.pages.looks import BRIDGE, UNKNOWN, Look
from ui.pages.views import Attention, dom_id


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicLine:
    """What crosses: the name here, the direction, the name there."""

    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeView:
    """A bridge as a card.

    Attributes:
        problem: What went wrong last and what to do, nothing hidden in it: the other broker may have written a part of it.
        left_out: What did not cross, by why.
    """

    bridge: Bridge
    problem: str
    topics: tuple[TopicLine, ...]
    look: Look
    dom_id: str
    is_problem: bool
    left_out: tuple[tuple[str, int], ...]


def _topic_line(topic: BridgeTopic) -> TopicLine:
    here, there = topic.local_prefix + topic.topic, topic.remote_prefix + topic.topic
    arrow = {"out": "→", "in": "←"}.get(topic.direction, "↔")
    text = here if here == there and topic.direction == "both" else f"{here} {arrow} {there}"
    return TopicLine(title=f"{topic.direction.capitalize()}, QoS {topic.qos}", text=visible(text))


def view_of(bridge: Bridge) -> BridgeView:
    left_out = (
        ("not wanted by the other broker", bridge.refused_messages),
        ("too large, or of a topic that can't be", bridge.dropped_messages),
        ("expired before they could be sent", bridge.expired_messages),
        ("had been here before", bridge.looped_messages),
        ("gone from the log before they were looked at", bridge.gone_records),
    )
    return BridgeView(
        bridge=bridge,
        problem=visible(f"{bridge.error} {bridge.hint}".strip()),
        topics=tuple(_topic_line(each) for each in bridge.topics),
        look=BRIDGE.get(bridge.state, UNKNOWN),
        dom_id=dom_id("bridge", bridge.name),
        is_problem=bool(bridge.error) and bridge.state not in ("connected", "connecting", "starting"),
        left_out=tuple(each for each in left_out if each[1]),
    )


def attention_to(found: Sequence[Bridge]) -> tuple[Attention, ...]:
    """A line for the Overview where bridges are down; nothing is lost meanwhile, so it is a warning."""
    down = [each for each in found if each.state in ("waiting", "stopped", NOT_RUNNING)]
    if not down:
        return ()
    text = f"{plural(len(down), 'bridge is', 'bridges are')} down: {', '.join(each.name for each in down)}."
    return (Attention(tone="warn", text=text, url="/bridges", action="See why"),)
