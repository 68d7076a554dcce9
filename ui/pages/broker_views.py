"""What the broker's templates are given: rows with their links, and what an operator is told of the numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from ui.api import broker_structs as structs
from ui.pages.dead_letters import payload_text
from ui.pages.device_facts import cut
from ui.pages.format import count_text, plural, visible
from ui.pages.looks import CLIENT, Look
from ui.pages.views import Attention, device_url, dom_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientView:
    """A client as a row or as the head of its page. `facts` is None for one that was shown and is gone."""

    client_id: str
    facts: structs.Client | None

    @property
    def dom_id(self) -> str:
        return dom_id("c", self.client_id)

    @property
    def label(self) -> str:
        return visible(self.client_id)

    @property
    def url(self) -> str:
        return "/broker/client?" + urlencode({"id": self.client_id})

    @property
    def principal_url(self) -> str:
        return device_url(self.facts.principal) if self.facts else ""

    @property
    def look(self) -> Look:
        if self.facts is None:
            return CLIENT["gone"]
        if not self.facts.is_connected:
            return CLIENT["away"]
        return CLIENT["lagging" if self.facts.is_lagging else "connected"]

    @property
    def waiting(self) -> int:
        """Deliveries that were sent and not answered, or wait in the queue."""
        return self.facts.in_flight + self.facts.queued_messages if self.facts else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainedView:
    """A retained message as a row; `payload` is text, cut, with nothing hidden in it."""

    message: structs.RetainedMessage
    topic: str
    payload: str
    is_cut: bool

    @classmethod
    def of(cls, message: structs.RetainedMessage) -> RetainedView:
        text, is_cut = payload_text(message.payload)
        return cls(
            message=message,
            topic=cut(message.topic)[0],
            payload=text or "(empty)",
            is_cut=is_cut or len(message.payload) < message.payload_bytes,
        )

    @property
    def clear_url(self) -> str:
        return f"/broker/retained/clear?seq={self.message.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A count by a name of the broker's, as people read it."""

    word: str
    count: int


def words(counts: dict[str, int]) -> tuple[Word, ...]:
    """Counts by name, the largest first; "keep_alive" is read "keep alive"."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(Word(word=name.replace("_", " "), count=count) for name, count in ordered if count)


def rows(page: structs.ClientPage) -> tuple[ClientView, ...]:
    return tuple(ClientView(client_id=one.client_id, facts=one) for one in page.clients)


def rows_of(client_ids: Iterable[str], page: structs.ClientPage) -> tuple[ClientView, ...]:
    """The rows of a page that is open: in their places, those that are gone too."""
    found = {one.client_id: one for one in page.clients}
    return tuple(ClientView(client_id=client_id, facts=found.get(client_id)) for client_id in client_ids)


def attention(broker: structs.Broker) -> tuple[Attention, ...]:
    """What an operator has to know of the broker, worst first."""
    lines = []
    if not broker.connected:
        lines.append(
            Attention(
                tone="bad",
                text="The broker is away: devices can't deliver. It is being started again. The numbers are the last known.",
            )
        )
    if broker.disk.log_is_full:
        lines.append(
            Attention(
                tone="bad",
                text="The disk is full: nothing is acknowledged, devices keep what they have. Make room on it; the broker goes on by itself.",
            )
        )
    if broker.queues.lagging_subscribers:
        who = plural(broker.queues.lagging_subscribers, "subscriber is", "subscribers are")
        lines.append(
            Attention(
                tone="warn",
                text=f"{who} too slow and fed from the log, {count_text(broker.queues.lag_records_most)} records behind at most. Nothing is lost.",
            )
        )
    if lost := broker.sessions.dropped_messages_total + broker.sessions.lost_messages_total:
        lines.append(
            Attention(
                tone="warn",
                text=f"{plural(lost, 'message')} for clients that were away too long had to go since the start. Each client's page says how many were its own.",
            )
        )
    return tuple(lines)
