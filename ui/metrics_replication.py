"""How safe this box's data is, and how other boxes do, as metrics. A box that belongs to no fleet has none of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ui.metrics_table import Collected
from ui.replication import ReplicationNow

LINK_STATES = ("up", "down", "dialling", "refused")


def add_replication(out: Collected, now: ReplicationNow, broker: Mapping[str, Any]) -> None:
    """Nothing of another box where the replicator does not answer: an absent number is not a good one.

    Args:
        broker: The broker's statistics, for what it follows of the site's other nodes.
    """
    followed = broker.get("site")
    for node_id, numbers in followed.items() if isinstance(followed, Mapping) else ():
        out.add("homeport_site_behind_records", numbers.get("behind_records"), node_id)
        out.add("homeport_site_messages", numbers.get("messages"), node_id)
        out.add("homeport_site_skipped_records", numbers.get("skipped_records"), node_id)
    if now.is_alone:
        return
    out.add("homeport_replicator_up", now.state is not None and not now.state.problem)
    if now.state is None:
        return
    state = now.state
    out.add("homeport_rpo_seconds", None if state.rpo_ms is None else state.rpo_ms / 1_000)
    out.add("homeport_rpo_worst_seconds", None if state.rpo_worst_ms is None else state.rpo_worst_ms / 1_000)
    out.add("homeport_unsafe_records", state.unsafe_entries)
    out.add("homeport_unsafe_bytes", state.unsafe_bytes)
    out.add("homeport_forks", len(state.forks))
    for peer in state.peers:
        if peer.state != "admitted":
            continue
        for word in LINK_STATES:
            out.add("homeport_peer_link", peer.link == word, peer.node_id, peer.name, word)
        out.add("homeport_peer_lag_seconds", peer.lag_ms / 1_000, peer.node_id, "sent")
        out.add("homeport_peer_lag_seconds", peer.behind_ms / 1_000, peer.node_id, "received")
        out.add("homeport_peer_lag_records", peer.lag_entries, peer.node_id, "sent")
        out.add("homeport_peer_lag_records", peer.behind_entries, peer.node_id, "received")
        out.add("homeport_peer_backlog_bytes", peer.backlog_bytes, peer.node_id)
        out.add("homeport_peer_bytes", peer.sent_bytes, peer.node_id, "sent")
        out.add("homeport_peer_bytes", peer.received_bytes, peer.node_id, "received")
        if peer.rtt_ms is not None:
            out.add("homeport_peer_round_trip_seconds", peer.rtt_ms / 1_000, peer.node_id)
    for region in state.tier:
        out.add("homeport_tier_up", not region.problem, region.name)
        out.add("homeport_tier_live", region.is_live, region.name)
        out.add(
            "homeport_tier_lag_seconds", None if region.lag_ms is None else region.lag_ms / 1_000, region.name
        )
        out.add("homeport_tier_lag_records", region.lag_entries, region.name)
        out.add("homeport_tier_key_generation", region.key_generation, region.name)
        out.add("homeport_tier_bytes", region.bytes, region.name)
        for what, count in (
            ("put", region.pieces),
            ("fenced", region.fenced),
            ("failed", region.failed),
            ("mended", region.mended),
        ):
            out.add("homeport_tier_pieces", count, region.name, what)
        out.add("homeport_tier_lost_records", region.lost_entries, region.name)
        out.add("homeport_tier_gaps", region.gap_count, region.name)
        for kind, count in region.requests.items():
            out.add("homeport_tier_requests", count, region.name, kind)
        for kind, count in (region.requests_per_day or {}).items():
            out.add("homeport_tier_requests_per_day", count, region.name, kind)
        for what, wait_ms in (("now", region.budget_wait_ms), ("worst", region.budget_wait_worst_ms)):
            out.add(
                "homeport_tier_budget_wait_seconds",
                None if wait_ms is None else wait_ms / 1_000,
                region.name,
                what,
            )
        if (rows := region.rows) is not None:
            out.add("homeport_tier_rows", rows.rows, region.name)
            out.add("homeport_tier_rows_working", not rows.problem, region.name)
            out.add("homeport_tier_rows_skipped_records", rows.skipped_entries, region.name)
            out.add("homeport_tier_rows_erasures_waiting", rows.erasures_waiting, region.name)
            if rows.lag_entries is not None and rows.lag_ms is not None:
                out.add("homeport_tier_rows_lag_records", rows.lag_entries, region.name)
                out.add("homeport_tier_rows_lag_seconds", rows.lag_ms / 1_000, region.name)
    for box in state.sites:
        out.add("homeport_cloud_box_heard", box.is_fresh, box.node_id, box.name, box.site_id)
        # What a silent box said last is not how it is.
        if box.is_fresh and box.rpo_ms is not None:
            out.add("homeport_cloud_box_rpo_seconds", box.rpo_ms / 1_000, box.node_id, box.name, box.site_id)
        if box.at_risk_ms is not None:
            out.add(
                "homeport_cloud_box_at_risk_seconds",
                box.at_risk_ms / 1_000,
                box.node_id,
                box.name,
                box.site_id,
            )
    end = "cloud" if state.role == "cloud" else "site"
    for what, count in msgspec.structs.asdict(state.reading).items():
        out.add("homeport_site_reading", count, end, what)
    for blobs in state.blobs:
        out.add("homeport_blobs", blobs.safe_count, blobs.kind, "copied")
        out.add("homeport_blobs", blobs.count - blobs.safe_count, blobs.kind, "only_here")
        out.add("homeport_blobs_unsafe_bytes", blobs.unsafe_bytes, blobs.kind)
        out.add("homeport_blobs_lacking", blobs.lacking_count, blobs.kind)
        if blobs.kind == "day":
            out.add("homeport_day_copies_bytes", blobs.copies_bytes)
            out.add("homeport_day_copies_left_out", blobs.left_out_count)
    if traffic := state.blob_traffic:
        for what, size_bytes in (("fetched", traffic.fetched_bytes), ("served", traffic.served_bytes)):
            out.add("homeport_blob_bytes", size_bytes, what)
        out.add("homeport_blobs_wrong", traffic.wrong_count)
    for held in state.held:
        out.add("homeport_copy_bytes", held.bytes, held.node_id, held.name)
