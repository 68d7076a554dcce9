"""Shared subscriptions: one group of sessions, each message to one of them.

A group is a cursor of its own. While a member can take a message it goes to the next one in turn; when none can (all are
away, or have no room) the group remembers the log sequence it has come to (`lag_seq`) and is fed from the log when one can
again. So nothing is dropped, and a slow member holds up nobody.

A message that a member had not acknowledged when its session ended is given to another (QoS 1), or to nobody (QoS 2,
[MQTT-4.8.2-5]); one that only waited for a member goes to another as soon as that member is away.

Source: MQTT 5.0 §4.8.2.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Final

from .mqtt.topics import SHARE_PREFIX

if TYPE_CHECKING:
    from .router import Grant
    from .state.session import Session

HANDED_COUNT_MAX: Final = 65_536
"""QoS 2 messages that are remembered behind one that a member keeps without an answer."""


class SharedGroup:
    """See the module's docstring.

    Args:
        name, topic_filter: The two parts of `$share/{name}/{topic_filter}`.
    """

    __slots__ = (
        "__weakref__",
        "_durable",
        "_present",
        "_turn",
        "handed",
        "is_changed",
        "lag_seq",
        "members",
        "name",
        "returned",
        "topic_filter",
        "unfinished",
    )

    def __init__(self, name: str, topic_filter: str) -> None:
        self.name = name
        self.topic_filter = topic_filter
        self.members: dict[int, tuple[Session, Grant]] = {}
        """By identity of the session, in the order of joining."""
        self._present: dict[int, tuple[Session, Grant]] = {}
        """Members whose clients are connected: those who are away, however many, cost nothing."""
        self._turn: list[tuple[Session, Grant]] = []
        self._durable: set[int] = set()
        self.is_changed = False
        """`through` is another than the last record said."""
        self.lag_seq: int | None = None
        self.returned: list[int] = []
        """Sequences that were given back, lowest first; they go before what `lag_seq` names."""
        self.unfinished: dict[int, None] = {}
        """What members have and have not acknowledged, in the order of giving; kept where a member is durable."""
        self.handed: set[int] = set()
        """QoS 2 messages that a record gave to a member for good, and that are not before all that is unfinished."""

    @property
    def full_filter(self) -> str:
        return f"{SHARE_PREFIX}{self.name}/{self.topic_filter}"

    @property
    def is_durable(self) -> bool:
        """Whether the group outlives a restart: a member's session does."""
        return bool(self._durable)

    def join(self, session: Session, grant: Grant) -> None:
        self.members[id(session)] = (session, grant)
        self.look_at(session)

    def leave(self, session: Session) -> bool:
        """Take a member out; False if there is none left."""
        self.members.pop(id(session), None)
        self.look_at(session)
        return bool(self.members)

    def look_at(self, session: Session) -> None:
        """A session has come or gone, with the group or with its client, or no longer outlives its connection."""
        key = id(session)
        member = self.members.get(key)
        self._turn.clear()
        self._present.pop(key, None)
        self._durable.discard(key)
        if member is not None and session.outbound.is_online:
            self._present[key] = member
        if member is not None and session.is_durable:
            self._durable.add(key)

    def choose(self) -> tuple[Session, Grant] | None:
        """The member whose turn it is of those who can take a message; None if there is none."""
        for _ in range(2 * len(self._present)):
            if not self._turn:
                self._turn = list(self._present.values())[::-1]
            member = self._turn.pop()
            if member[0].outbound.can_take:
                return member
        return None

    @property
    def wants_refill(self) -> bool:
        """Whether something waits for the group, and a member can take it."""
        return self.is_behind and any(session.outbound.can_take for session, _ in self._present.values())

    @property
    def is_behind(self) -> bool:
        return self.lag_seq is not None or bool(self.returned)

    def fall_behind(self, seq: int) -> None:
        """What comes from here on waits in the log."""
        if self.lag_seq is None:
            self.lag_seq = seq
            self.is_changed = True

    def caught_up(self) -> None:
        """What comes from here on goes to members at once."""
        self.lag_seq = None

    def give_out(self, seq: int) -> None:
        """A member has it now."""
        if self.is_durable:
            self.unfinished[seq] = None
            self.is_changed = True

    def finish(self, seq: int) -> None:
        """A member is done with it."""
        if self.unfinished.pop(seq, 0) is None:
            self.is_changed = True

    def give_back(self, seq: int) -> None:
        """A member doesn't have it any more, and somebody else must."""
        self.unfinished.pop(seq, None)
        insort(self.returned, seq)

    def advance(self, next_seq: int) -> int:
        """`first_unfinished`, for a record to say.

        Where a member keeps a message without an answer and too much was handed out since, that one is its own for good: it
        stays in flight to it, and a loss of power gives it to nobody else.
        """
        self.is_changed = False
        if len(self.handed) > HANDED_COUNT_MAX:
            oldest = sorted(self.handed)[-HANDED_COUNT_MAX // 2]
            self.unfinished = {seq: None for seq in self.unfinished if seq >= oldest}
        through = self.first_unfinished(next_seq)
        if self.handed and min(self.handed) < through:
            self.handed = {seq for seq in self.handed if seq >= through}
        return through

    def first_unfinished(self, next_seq: int) -> int:
        """The first record that is not done; what follows is given out again after a loss of power, `handed` apart.

        Args:
            next_seq: First record that has not been offered yet.
        """
        first = next_seq if self.lag_seq is None else self.lag_seq
        first = min(first, min(self.unfinished, default=first))
        return min(first, self.returned[0]) if self.returned else first

    # --- from the log, at the start -----------------------------------------------------------------------

    def apply_through(self, seq: int) -> None:
        """A record said that everything before this one is done."""
        self.lag_seq = seq
        self.handed = {handed for handed in self.handed if handed >= seq}
