"""Which topics cross a bridge, in which direction and under which name: pure.

A rule has one topic filter and a prefix on either side: what is `local_prefix` + X here is `remote_prefix` + X there.
So `a`, which `a/#` matches too, doesn't cross where `a/` is the prefix: nothing of it would be left.
A prefix is empty or ends in `/` and has no wildcard (appliance/core/bridge_config.py), so both filters are valid where
the rule's own is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.mqtt.topics import matches


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRule:
    """See the module's docstring. `qos` is the highest that is used, 0..2."""

    topic_filter: str
    qos: int
    local_prefix: str = ""
    remote_prefix: str = ""

    @property
    def local_filter(self) -> str:
        return self.local_prefix + self.topic_filter

    @property
    def remote_filter(self) -> str:
        return self.remote_prefix + self.topic_filter

    def to_remote(self, topic: str) -> str:
        """The name there of a topic that matches `local_filter`."""
        return self.remote_prefix + topic[len(self.local_prefix) :]

    def to_local(self, topic: str) -> str:
        """The name here of a topic that matches `remote_filter`."""
        return self.local_prefix + topic[len(self.remote_prefix) :]


def outgoing(rules: Sequence[TopicRule], topic: str) -> tuple[str, int] | None:
    """Where a local topic goes: its name at the remote and the highest QoS; None if no rule has it.

    Of several rules the one with the highest QoS counts, of equal ones the first: a message goes out once.
    """
    found = [
        rule for rule in rules if topic.startswith(rule.local_prefix) and matches(rule.local_filter, topic)
    ]
    if not found:
        return None
    rule = max(found, key=lambda rule: rule.qos)
    return rule.to_remote(topic), rule.qos


def incoming(rules: Sequence[TopicRule], topic: str) -> str | None:
    """The local name of a topic that the remote has sent; None if no rule has it."""
    found = [
        rule for rule in rules if topic.startswith(rule.remote_prefix) and matches(rule.remote_filter, topic)
    ]
    if not found:
        return None
    return max(found, key=lambda rule: rule.qos).to_local(topic)
