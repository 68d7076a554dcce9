"""What the replicator says of itself: how safe this node's data is, and how each other node does. Pure.

It goes over the replicator's control socket as one map and is what the page Sites, the API, metrics, the command line and the alarms
about it are made of. Times are wall time, UTC ms, or durations in ms; counts are records, but for fields named bytes.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from appliance.management.fleet import Domain, Role, State

Link = Literal["up", "down", "dialling", "refused"]
Member = Literal["alive", "suspect", "dead", "unknown"]


class HeldState(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that is held here, own or copy.

    Attributes:
        first_seq, next_seq: The records that are here; `epoch` of the newest.
        behind_ms, behind_entries: What its writer has and this copy lacks, as far as is known here; 0 for an own stream.
    """

    node_id: str
    name: str
    epoch: int
    first_seq: int
    next_seq: int
    bytes: int
    behind_ms: int = 0
    behind_entries: int = 0


class PeerState(msgspec.Struct, frozen=True, kw_only=True):
    """Another node as it is seen from here.

    Attributes:
        role: cloud: it holds no copies, and hands on to a tier what is shipped by it.
        link: refused: it was there and was not let in, or did not let us in; `problem` says why.
        since_ms: Since when the link is as it is.
        rtt_ms: Of the link, smoothed; None while there is none.
        relay: By whom it is reached while there is no link; "" where nobody does.
        member: What the nodes together believe of it. "dead" is a view: nothing is removed.
        lag_ms, lag_entries: Of our streams what it has not got, and since when the oldest of that waits.
        behind_ms, behind_entries: Of its streams what we have not got.
        backlog_bytes: What is under way to it or waits for the link.
        sent_bytes, received_bytes: Since this process started.
        bytes_per_s: What its link carried lately while something waited for it; None where that isn't known.
        clock_ahead_ms: How far its clock is ahead of ours (negative: behind), by the link's round trips; None if not known.
    """

    node_id: str
    name: str
    site_id: str
    region: str
    is_of_this_site: bool
    state: State
    role: Role = "edge"
    addresses: tuple[str, ...] = ()
    link: Link
    since_ms: int
    problem: str = ""
    rtt_ms: float | None = None
    relay: str = ""
    member: Member = "unknown"
    lag_ms: int = 0
    lag_entries: int = 0
    behind_ms: int = 0
    behind_entries: int = 0
    backlog_bytes: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    bytes_per_s: int | None = None
    clock_ahead_ms: int | None = None
    certificate_ends_at_ms: int


class ForkState(msgspec.Struct, frozen=True, kw_only=True):
    """Two histories of one stream; nothing of either is removed.

    Attributes:
        seq: The first record of which there are two.
        holders: Nodes that have one of the branches.
    """

    node_id: str
    name: str
    epoch: int
    seq: int
    holders: tuple[str, ...]
    found_at_ms: int


class TierRowsState(msgspec.Struct, frozen=True, kw_only=True):
    """Readings as rows in a region, as this box uploads them.

    Attributes:
        at_ms: When this was so: it is told every TIER_READINGS_PACE_S, or more often.
        schema: Of the rows.
        epoch, next_seq: The first record of this box's log whose rows are not there.
        lag_ms, lag_entries: Since when the oldest of those that are in the box's own store waits, and how many; None while it isn't known.
        rows: Uploaded since this process started.
        skipped_entries: Records that were gone from the log, or damaged, before their rows were uploaded; since this process started.
        erasures_waiting: Erasures of devices that are done here and not there.
        problem: Why it stands still; "" while it doesn't.
    """

    at_ms: int
    schema: str
    epoch: int = 0
    next_seq: int = 0
    lag_ms: int | None = None
    lag_entries: int | None = None
    rows: int = 0
    skipped_entries: int = 0
    erasures_waiting: int = 0
    problem: str = ""


class TierRegionState(msgspec.Struct, frozen=True, kw_only=True):
    """A region of the cloud tier, as this box ships to it.

    Attributes:
        holder: Its id among holders.
        is_live: What is new goes there first.
        problem: Why it takes nothing; "" while it does. `is_unfit`: people have to mend it.
        lag_ms, lag_entries: Of our own streams what it has not got, and since when the oldest of that waits; None while it isn't known.
        gap_count: Times that something was passed over since nobody had it any more.
        pieces, bytes: Put there since this process started.
        fenced: Times that another box had put a piece there first.
        mended, lost_entries: Pieces that it had lost and got again; records that it lost and nobody has.
        requests: What it was asked since this process started, by kind: put, get, list (a head that is looked at is one), remove.
        requests_per_day: What a day asks that goes on like that; None while too little was measured.
        key_generation: Of the key that seals what is put there now; 0: it is left readable.
        budget_wait_ms, budget_wait_worst_ms: What the bandwidth budget of all regions adds to the age of what is new, now and at worst since this
            process started; None without a budget.
        rows: Readings as rows; None where none are uploaded, or nothing was heard of that yet.
    """

    name: str
    holder: str
    is_live: bool
    problem: str = ""
    is_unfit: bool = False
    lag_ms: int | None = None
    lag_entries: int | None = None
    gap_count: int = 0
    pieces: int = 0
    bytes: int = 0
    fenced: int = 0
    failed: int = 0
    mended: int = 0
    lost_entries: int = 0
    requests: dict[str, int] = msgspec.field(default_factory=dict)
    requests_per_day: dict[str, int] | None = None
    key_generation: int = 0
    budget_wait_ms: int | None = None
    budget_wait_worst_ms: int | None = None
    rows: TierRowsState | None = None


class StoredState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a region was last seen to have a stream, by a cloud node.

    Attributes:
        node_id, name: The stream.
        next_seq: The first sequence that isn't there, of the newest epoch.
        last_at_ms: The time of the newest record there, by its writer's clock. at_ms: When it was seen.
    """

    node_id: str
    name: str
    region: str
    epoch: int
    next_seq: int
    last_at_ms: int
    at_ms: int


class SiteNodeState(msgspec.Struct, frozen=True, kw_only=True):
    """A box of some site, as a cloud node knows it: what it last said of itself.

    Attributes:
        heard_at_ms: When it last said so; None where it hasn't since this cloud node started. is_fresh: That is not long ago.
        at_risk_ms: For how long what it took in may be nowhere else: its rpo_ms, and the time since it said so where it is silent; since this cloud
            node began or it joined where it never did. None where it says that nobody could have a copy.
        rpo_ms, rpo_worst_ms, unsafe_entries: As in ReplicationState, of that box; None where it isn't known.
        lag_ms, lag_entries: What its live region has not got.
        problem: Why nothing of it is copied; "" where it is.
        stored: What regions behind this cloud node have of it.
        may_read: Whether its site lets this cloud node read it; None where that isn't known. Then devices, online: how many it has, and has
            online; alarms: active ones by priority, P1 to P3.
    """

    node_id: str
    name: str
    site_id: str
    region: str
    link: Link
    heard_at_ms: int | None
    is_fresh: bool
    at_risk_ms: int | None = None
    rpo_ms: int | None = None
    rpo_worst_ms: int | None = None
    unsafe_entries: int = 0
    lag_ms: int | None = None
    lag_entries: int | None = None
    problem: str = ""
    stored: tuple[StoredState, ...] = ()
    may_read: bool | None = None
    devices: int | None = None
    online: int | None = None
    alarms: tuple[int, int, int] | None = None


class ReadingState(msgspec.Struct, frozen=True, kw_only=True):
    """What was read at sites since the replicator started: at a cloud node what it asked, at a box what it was asked.

    Attributes:
        refused: With a reason. failed: Not in time, or the link was lost.
    """

    answered: int = 0
    refused: int = 0
    failed: int = 0


class PastState(msgspec.Struct, frozen=True, kw_only=True):
    """This box's own past, which it was restored without and has from its peers now.

    Attributes:
        state: fetching: it comes. waiting: nobody who is linked has more of it, or there is no room; `problem` says which. ready: it is here, and
            takes its place when Homeport is started the next time.
        done, total: Records.
    """

    state: Literal["fetching", "waiting", "ready"]
    done: int
    total: int
    problem: str = ""


class MissingState(msgspec.Struct, frozen=True, kw_only=True):
    """Records [first_seq, next_seq) of a log here that can't be read, and that nobody who is reached has.

    Attributes:
        node_id, name: The stream, as in HeldState.
    """

    node_id: str
    name: str
    epoch: int
    first_seq: int
    next_seq: int


class LostState(msgspec.Struct, frozen=True, kw_only=True):
    """Records [first_seq, next_seq) of a log here that somebody marked lost: a gap for good.

    Attributes:
        by, reason, at_ms: Who said so, why and when. key_id: Hexadecimal; of the node at which it was said, which signed it.
    """

    node_id: str
    name: str
    epoch: int
    first_seq: int
    next_seq: int
    by: str
    reason: str
    at_ms: int
    key_id: str


class BlobState(msgspec.Struct, frozen=True, kw_only=True):
    """Images of firmware, or archived days, of this box.

    Attributes:
        kind: `image` or `day`.
        count, safe_count: How many are here, and how many of these a box has too whose copy counts.
        unsafe_bytes: What would be lost of them with this box now.
        oldest_unsafe_at_ms: When the oldest of those was made, UTC ms; None where there is none.
        lacking_count: Files that this box is to have and doesn't yet.
        copies_bytes: Of copies of other boxes' days here. left_out_count: Of other boxes' days, those that there is no room for.
    """

    kind: Literal["image", "day"]
    count: int
    safe_count: int
    unsafe_bytes: int
    oldest_unsafe_at_ms: int | None
    lacking_count: int = 0
    copies_bytes: int = 0
    left_out_count: int = 0


class BlobTraffic(msgspec.Struct, frozen=True, kw_only=True):
    """What went of images and archived days since the replicator started. `wrong_count`: came, and were not what their digest says."""

    fetched_count: int
    fetched_bytes: int
    served_bytes: int
    wrong_count: int


class ReplicationState(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, as of `at_ms`.

    Attributes:
        safe_at: Which domain a copy has to be outside of to count.
        rpo_ms: The age of the oldest own record that no such copy has; 0 where all are safe; None where no node that could have one belongs
            to the fleet.
        rpo_worst_ms: The worst within 24 h.
        unsafe_entries, unsafe_bytes: What would be lost with this box now.
        problem: Why copying as a whole stands still; "" where it doesn't.
        unreadable: Which parts of logs can't be read here while nobody who is reached has them whole; "" for none. Copying goes on.
        past: What is still to come of this box's own log; None where nothing is.
        missing, lost: Records that nobody has who is reached, and those that are marked lost.
        blobs, blob_traffic: Images and archived days; nothing while no replicator looks after them.
        role: Of this node. sites: On a cloud node, the boxes of all sites; else nothing.
        reading: What a cloud node read at sites, or cloud nodes at this one.
    """

    at_ms: int
    node_id: str
    name: str
    site_id: str
    region: str
    authority: str
    safe_at: Domain
    rpo_ms: int | None
    rpo_worst_ms: int | None
    unsafe_entries: int = 0
    unsafe_bytes: int = 0
    peers: tuple[PeerState, ...] = ()
    held: tuple[HeldState, ...] = ()
    forks: tuple[ForkState, ...] = ()
    tier: tuple[TierRegionState, ...] = ()
    problem: str = ""
    unreadable: str = ""
    past: PastState | None = None
    missing: tuple[MissingState, ...] = ()
    lost: tuple[LostState, ...] = ()
    blobs: tuple[BlobState, ...] = ()
    blob_traffic: BlobTraffic | None = None
    role: Role = "edge"
    sites: tuple[SiteNodeState, ...] = ()
    reading: ReadingState = ReadingState()
