"""Packet identifiers of the remote's QoS 2 messages: which ones we have, so that each is taken once. Pure.

A message is *begun* (saved, together with where the log ended then), appended to our log, *taken*, and acknowledged with
PUBREC; PUBREL ends it. If we are killed between begun and taken, the log behind that place says whether it has the message:
the records of a bridge carry the packet identifier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class IncomingIds:
    """See the module's docstring.

    Args:
        taken: Identifiers whose message is in our log and that are not released.
        begun: Identifier → first sequence at which its message can stand in the log.
    Attributes:
        has_news: Something has changed since somebody set this to False.
    """

    def __init__(self, taken: Iterable[int] = (), begun: Mapping[int, int] | None = None) -> None:
        self._taken = set(taken)
        self._begun = dict(begun or {})
        self.has_news = False

    def __contains__(self, packet_id: int) -> bool:
        return packet_id in self._taken

    @property
    def taken(self) -> list[int]:
        return sorted(self._taken)

    @property
    def begun(self) -> dict[int, int]:
        return dict(self._begun)

    def begin(self, packet_ids: Iterable[int], head_seq: int) -> None:
        """Their messages are about to be appended to the log, which ends at `head_seq`."""
        self._begun |= dict.fromkeys(packet_ids, head_seq)
        self.has_news = True

    def took(self, packet_ids: Iterable[int]) -> None:
        """Their messages are in the log, on disk."""
        for packet_id in packet_ids:
            self._begun.pop(packet_id, None)
            self._taken.add(packet_id)
        self.has_news = True

    def settle(self, found: Iterable[int]) -> None:
        """Of those begun, these are in the log and no others."""
        self._taken |= set(found) & self._begun.keys()
        self._begun.clear()
        self.has_news = True

    def release(self, packet_id: int) -> None:
        """PUBREL has come: the identifier is free."""
        if packet_id in self._taken:
            self._taken.discard(packet_id)
            self.has_news = True

    def forget(self) -> None:
        """The remote has lost the session: its identifiers mean nothing any more."""
        if self._taken or self._begun:
            self._taken.clear()
            self._begun.clear()
            self.has_news = True
