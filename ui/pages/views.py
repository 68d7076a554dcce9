"""What templates are given: plain frozen values, ready to print. Only ui/pages/facts*.py makes them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

from appliance.management.permissions import Permission
from ui.pages.addresses import device_url as device_url
from ui.pages.looks import DEVICE_CLOCK, FRESHNESS, QUALITY, Look, Tone, presence_look
from ui.pages.rollout_views import RolloutView


def dom_id(kind: str, *names: str) -> str:
    """An element id that any name may stand behind: letters and hex digits only, so it is safe in a selector."""
    digest = hashlib.blake2b("\0".join(names).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{kind}-{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    tone: Tone
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """One line of "needs attention": what it is and the one link to act on it, for those who may."""

    tone: Tone
    text: str
    url: str = ""
    action: str = ""
    needs: Permission = "node.read"


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
    rollouts: tuple[RolloutView, ...]
    message_rate: float
    lag_p95_ms: int | None
    store_look: Look
    store_text: str
    rows_total: int
    dead_letters: int
    broker_look: Look
    connections: int | None
    log_bytes: int | None
    log_next_seq: int
    disk_free_bytes: int | None
    disk_total_bytes: int
    clock_look: Look
    copies_look: Look
    copies_text: str
    uptime_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A device as a row or as the head of its page. Times are UTC ms, None for never; `firmware` is "" where it never said.

    Attributes:
        alarm_severity: Of the worst of its active alarms; "" for none.
    """

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
    expect_ms: int | None = None
    watermark_at_ms: int | None = None
    clock: str = "unknown"
    clock_text: str = ""
    address: str = ""
    firmware: str = ""
    first_contact_at_ms: int | None = None
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    alarm_severity: str = ""
    alarm_count: int = 0
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

    @property
    def clock_look(self) -> Look:
        return DEVICE_CLOCK[self.clock]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestView:
    """The newest value of one metric; `label` (its name) and `text` are cut at PAGE_TEXT_LENGTH_MAX, nothing hidden.

    Attributes:
        counts_at_ms: From when on it ages; None when that can't be known.
    """

    device_id: str
    metric: str
    label: str
    text: str
    unit: str
    observed_at_ms: int
    received_at_ms: int
    counts_at_ms: int | None
    freshness: str
    stale_after_ms: int
    quality_word: str = "good"
    is_kept_copy: bool = False
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlCellView:
    """A value of an answer in SQL; `look` is the class of its cell."""

    text: str
    look: Literal["num", "when", "words"]
    is_null: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlAnswerView:
    """An answer in SQL: name and type of each column, and its first rows."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[SqlCellView, ...], ...]
    row_count: int
    shown_count: int
    cut_by: str
    duration_ms: float
    missing_days: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlExampleView:
    """A question to begin with."""

    title: str
    text: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterGroupView:
    """Dead letters of one reason and pattern.

    Attributes:
        mend_url: The editor with this pattern, "" where no mapping can mend it. is_replayed: Whether reading it again makes sense.
    """

    word: str
    reason: str
    pattern: str
    pattern_value: str
    hint: str
    count: int
    first_at_ms: int
    last_at_ms: int
    sample: DeadLetterView
    mend_url: str
    is_replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayView:
    """How far a replay is. Times are UTC ms."""

    what: str
    is_done: bool
    letter_count: int
    row_count: int
    still_dead: int
    requested_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingView:
    """A mapping; `mapping_id` is "" for one that can't be changed here."""

    mapping_id: str
    position: int
    pattern: str
    format: str
    metric: str
    fields: tuple[str, ...]
    only_fields: bool
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedRowView:
    """A reading that a message would give."""

    device_id: str
    metric: str
    value: str
    observed_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedView:
    """What would become of one message."""

    topic: str
    received_at_ms: int
    payload: str
    is_cut: bool
    fits: bool
    rows: tuple[TriedRowView, ...]
    more: int
    reason: str
    hint: str
    detail: str
    taken_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TryOutView:
    """Tried messages, the newest first."""

    messages: tuple[TriedView, ...]
    fit_count: int
    looked_at: int
    is_whole: bool
