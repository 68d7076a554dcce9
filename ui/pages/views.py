"""What templates are given: plain frozen values, ready to print. Only ui/pages/facts*.py makes them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from urllib.parse import quote

from ui.pages.looks import FRESHNESS, QUALITY, Look, Tone, presence_look


def dom_id(kind: str, *names: str) -> str:
    """An element id that any name may stand behind: letters and hex digits only, so it is safe in a selector."""
    digest = hashlib.blake2b("\0".join(names).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{kind}-{digest}"


def device_url(device_id: str) -> str:
    """The device's page; every character that means something in a URL is escaped, "/" too."""
    return "/devices/" + quote(device_id, safe="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    tone: Tone
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """One line of "needs attention": what it is and the one link to act on it."""

    tone: Tone
    text: str
    url: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCount:
    look: Look
    count: int
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewView:
    """The Overview's numbers; None where the box does not know."""

    counts: tuple[StateCount, ...]
    attention: tuple[Attention, ...]
    message_rate: float
    lag_p95_ms: int | None
    store_look: Look
    store_text: str
    rows_total: int
    dead_letters_total: int
    broker_look: Look
    connections: int | None
    log_bytes: int | None
    log_next_seq: int
    disk_free_bytes: int | None
    disk_total_bytes: int
    clock_look: Look
    uptime_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A device as a row or as the head of its page. Times are UTC ms, None for never."""

    device_id: str
    name: str = ""
    registry_state: str = "active"
    presence: str = "never_seen"
    since_ms: int | None = None
    reason: str = ""
    last_seen_at_ms: int | None = None
    last_reading_at_ms: int | None = None
    freshness: str = "never"
    stale_after_ms: int = 60_000
    address: str = ""
    first_contact_at_ms: int | None = None
    dom_id: str = field(init=False)
    url: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dom_id", dom_id("d", self.device_id))
        object.__setattr__(self, "url", device_url(self.device_id))

    @property
    def look(self) -> Look:
        return presence_look(self.presence, self.registry_state)

    @property
    def fresh(self) -> Look:
        return FRESHNESS[self.freshness]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestView:
    """The newest value of one metric; `label` (its name) and `text` are cut at PAGE_TEXT_LENGTH_MAX, nothing hidden."""

    device_id: str
    metric: str
    label: str
    text: str
    unit: str
    observed_at_ms: int
    received_at_ms: int
    freshness: str
    stale_after_ms: int
    quality_word: str = "good"
    is_cut: bool = False

    @property
    def dom_id(self) -> str:
        return dom_id("v", self.device_id, self.metric)

    @property
    def fresh(self) -> Look:
        return FRESHNESS[self.freshness]

    @property
    def quality(self) -> Look:
        return QUALITY[self.quality_word]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingView:
    total: int
    rows: tuple[DeviceView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A filter: `look` None stands for "all"."""

    look: Look | None
    count: int
    url: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterView:
    topic: str
    device_id: str
    received_at_ms: int | None
    payload: str
    size_bytes: int
    is_cut: bool
    position: str
    detail: str

    @property
    def device_url(self) -> str:
        return device_url(self.device_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterGroup:
    word: str
    hint: str
    letters: tuple[DeadLetterView, ...]
