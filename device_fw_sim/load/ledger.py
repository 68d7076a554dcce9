"""Which messages have been delivered: by one subscription, or by all members of a shared one together. Sans-IO.

The messages of a publisher are numbered 0, 1, 2 … So what has come is one number, up to which there is no gap, and the
few numbers behind it that were jumped over. Those stay few, since a publisher sends no more than its window ahead of
what was delivered.
"""

from __future__ import annotations

from collections.abc import Iterable


class DeliveryLedger:
    """Counts per publisher.

    Args:
        publishers: Whose messages the subscription asks for.
        is_shared: Several subscribers take turns, so the next number may come to another of them first.
    """

    __slots__ = ("_jumped", "delivered", "duplicate", "is_shared", "late", "next_of")

    def __init__(self, publishers: Iterable[int], *, is_shared: bool) -> None:
        self.is_shared = is_shared
        self.next_of = dict.fromkeys(publishers, 0)
        """By publisher, the number that comes next."""
        self.delivered = 0
        """Messages, each counted once."""
        self.duplicate = 0
        self.late = 0
        """Delivered behind a newer one of the same publisher."""
        self._jumped: dict[int, set[int]] = {}

    def accept(self, publisher: int, number: int) -> bool:
        """Count a message that is not the next one, or of which it isn't known; False for a duplicate."""
        following = self.next_of[publisher]
        jumped = self._jumped.get(publisher)
        if number >= following:
            if number > following:
                self._jumped.setdefault(publisher, set()).update(range(following, number))
            self.next_of[publisher] = number + 1
        elif jumped is not None and number in jumped:
            jumped.remove(number)
            if not self.is_shared:
                self.late += 1
        else:
            self.duplicate += 1
            return False
        self.delivered += 1
        return True

    def missing(self, sent_of: list[int]) -> int:
        """Messages that were sent and have not come.

        Args:
            sent_of: By publisher, how many were sent.
        """
        behind = sum(sent_of[publisher] - following for publisher, following in self.next_of.items())
        return behind + sum(map(len, self._jumped.values()))
