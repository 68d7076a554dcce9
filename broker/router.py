"""Which sessions get a message: the subscription tree, asked once per topic of a block."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from .delivery import Recipe, recipe
from .mqtt.subscriptions import SubscriptionTree
from .mqtt.topics import SharedFilter, parse_shared
from .shared import SharedGroup

if TYPE_CHECKING:
    from .state.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A subscription as it was granted.

    Attributes:
        qos: 0, 1 or 2.
        retain_as_published: The RETAIN flag is passed on as the publisher set it (MQTT 5.0 §3.8.3.1).
        no_local: The subscriber's own publishes are not sent to it (MQTT 5.0 §3.8.3.1).
        identifiers: Subscription identifiers that its messages carry: its own, and in a grant that stands for
            overlapping ones those of all (MQTT 5.0 §3.3.4).
        since_seq: First log record that it gets.
    """

    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    identifiers: tuple[int, ...] = ()
    since_seq: int
    _recipes: tuple[Recipe, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        made = tuple(
            recipe(min(qos, self.qos), retain and self.retain_as_published, self.identifiers)
            for qos in range(3)
            for retain in (False, True)
        )
        object.__setattr__(self, "_recipes", made)

    def recipe(self, qos: int, is_retained: bool) -> Recipe:
        """How a message published with these is delivered."""
        return self._recipes[qos * 2 + is_retained]

    def retained_recipe(self, qos: int) -> Recipe:
        """How a retained message is, that is sent because of the subscription (MQTT 5.0 §3.3.1.3)."""
        return recipe(min(qos, self.qos), True, self.identifiers)


def packed_options(grant: Grant) -> int:
    """A grant's options as a number, for the log and the checkpoint: QoS, no local, retain as published."""
    return grant.qos | grant.no_local << 2 | grant.retain_as_published << 3


def unpacked_grant(options: int, identifiers: tuple[int, ...], since_seq: int) -> Grant:
    """The grant of `packed_options`."""
    return Grant(
        qos=options & 3,
        no_local=bool(options & 4),
        retain_as_published=bool(options & 8),
        identifiers=identifiers,
        since_seq=since_seq,
    )


Receivers: TypeAlias = tuple[list[tuple["Session", Grant]], list[SharedGroup]]
"""Sessions, each once, and shared subscriptions, each of which chooses one of its own."""
NOBODY: Receivers = ([], [])


class Router:
    """Subscriptions of all sessions."""

    def __init__(self) -> None:
        self._tree: SubscriptionTree[tuple[Session, Grant] | SharedGroup] = SubscriptionTree()
        self.groups: dict[SharedFilter, SharedGroup] = {}
        self.subscription_count = self.shared_count = 0
        self.change_count = 0

    def subscribe(self, session: Session, topic_filter: str, grant: Grant) -> None:
        """Add a subscription, or replace the one with the same filter (MQTT 5.0 §3.8.4)."""
        shared = parse_shared(topic_filter)
        self.change_count += 1
        if topic_filter not in session.filters:
            self.subscription_count += 1
            self.shared_count += shared is not None
            session.filter_bytes += len(topic_filter)
        session.filters[topic_filter] = grant
        if shared is None:
            self._tree.add(topic_filter, id(session), (session, grant))
            return
        group = self.groups.get(shared)
        if group is None:
            group = self.groups[shared] = SharedGroup(*shared)
            self._tree.add(group.topic_filter, id(group), group)
        session.groups[topic_filter] = group
        group.join(session, grant)

    def unsubscribe(self, session: Session, topic_filter: str) -> bool:
        """Remove a subscription; False if there was none."""
        if session.filters.pop(topic_filter, None) is None:
            return False
        self.change_count += 1
        self.subscription_count -= 1
        session.filter_bytes -= len(topic_filter)
        shared = parse_shared(topic_filter)
        if shared is None:
            self._tree.remove(topic_filter, id(session))
            return True
        self.shared_count -= 1
        group = session.groups.pop(topic_filter)
        if not group.leave(session):
            self._tree.remove(group.topic_filter, id(group))
            del self.groups[shared]
        return True

    def forget(self, session: Session) -> None:
        """Remove all subscriptions of a session that ends."""
        for topic_filter in list(session.filters):
            self.unsubscribe(session, topic_filter)

    def grants_by_session(self, topic: str) -> dict[int, list[Grant]]:
        """Subscriptions that match a topic, by `id` of their session; shared ones are left out. For what is sent past the queues."""
        found: dict[int, list[Grant]] = {}
        for key, entry in self._tree.match_once(topic):
            if not isinstance(entry, SharedGroup):
                found.setdefault(key, []).append(entry[1])
        return found

    def receivers(self, topic: bytes) -> Receivers:
        """Who gets messages of a topic: each session once, with the highest QoS of its subscriptions.

        Source: MQTT 5.0 §3.3.4 (overlapping subscriptions may be answered with one copy, which carries all their
        subscription identifiers).
        """
        found = self._tree.match(topic.decode())
        if not found:
            return NOBODY
        single: dict[int, tuple[Session, Grant]] = {}
        overlapping: dict[int, list[Grant]] = {}
        groups: list[SharedGroup] = []
        for key, entry in found:
            if isinstance(entry, SharedGroup):
                groups.append(entry)
            elif (held := single.setdefault(key, entry)) is not entry:
                overlapping.setdefault(key, [held[1]]).append(entry[1])
        for key, grants in overlapping.items():
            single[key] = (single[key][0], merged(*grants))
        return list(single.values()), groups


def merged(*grants: Grant) -> Grant:
    """What overlapping subscriptions of a session give a message that all of them match; one thousand cost one object."""
    if len(grants) == 1:
        return grants[0]
    by_qos = sorted(grants, key=lambda grant: grant.qos, reverse=True)
    highest = by_qos[0]
    identifiers = tuple(chain.from_iterable(grant.identifiers for grant in by_qos))
    since_seq = min(grant.since_seq for grant in grants)
    no_local = all(grant.no_local for grant in grants)
    retain_as_published = any(grant.retain_as_published for grant in grants)
    wanted = (identifiers, since_seq, no_local, retain_as_published)
    if wanted == (highest.identifiers, highest.since_seq, highest.no_local, highest.retain_as_published):
        return highest
    return Grant(
        qos=highest.qos,
        identifiers=identifiers,
        since_seq=since_seq,
        no_local=no_local,
        retain_as_published=retain_as_published,
    )
