"""ui/replication.py, over the API, in the metrics, as alarms and on the pages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.core.errors import Unavailable
from appliance.management.replication_state import (
    BlobState,
    BlobTraffic,
    ForkState,
    HeldState,
    PastState,
    PeerState,
    ReplicationState,
    SiteNodeState,
    StoredState,
    TierRegionState,
    TierRowsState,
)
from storage.site.statistics import SiteStatistics, StreamStatistics
from tests.node_kit import NOW_MS, Node, running_node
from ui.app import create_app
from ui.metrics import render
from ui.node_facts import box_facts, node_facts
from ui.pages.format import count_text
from ui.pages.sites_facts import copies_of, sites_attention, sites_view
from ui.pages.sites_words import outlook, safe_text
from ui.pages.tier_facts import region_views, regions_away
from ui.replication import ReplicationNow, replication

A, B, C, D, SITE = "a" * 32, "b" * 32, "c" * 32, "d" * 32, "1" * 32
ROOF = PeerState(
    node_id=B,
    name="roof",
    site_id=SITE,
    region="<north>",
    is_of_this_site=True,
    state="admitted",
    link="up",
    since_ms=NOW_MS - 60_000,
    rtt_ms=1.5,
    member="alive",
    sent_bytes=10,
    certificate_ends_at_ms=NOW_MS + 86_400_000,
)
AWAY = msgspec.structs.replace(
    ROOF,
    node_id=C,
    name="barn<b>",
    site_id="2" * 32,
    is_of_this_site=False,
    link="down",
    rtt_ms=None,
    member="dead",
    lag_ms=7_200_000,
    lag_entries=1_234,
    clock_ahead_ms=-3_600_000,
    problem="connection refused <i>",
)
BLOBS = (
    BlobState(kind="image", count=2, safe_count=2, unsafe_bytes=0, oldest_unsafe_at_ms=None, lacking_count=4),
    BlobState(
        kind="day",
        count=3,
        safe_count=2,
        unsafe_bytes=2_048,
        oldest_unsafe_at_ms=NOW_MS - 3_600_000,
        copies_bytes=4_096,
        left_out_count=5,
    ),
)
TRAFFIC = BlobTraffic(fetched_count=1, fetched_bytes=2, served_bytes=3, wrong_count=6)
STATE = ReplicationState(
    at_ms=NOW_MS,
    node_id=A,
    name="cellar",
    site_id=SITE,
    region="",
    authority="c" * 64,
    safe_at="node",
    rpo_ms=2_000,
    rpo_worst_ms=61_000,
    unsafe_entries=7,
    peers=(ROOF, AWAY, msgspec.structs.replace(AWAY, node_id=D, name="gone", state="decommissioned")),
    held=(
        HeldState(node_id=A, name="telemetry", epoch=2, first_seq=1, next_seq=100, bytes=4_096),
        HeldState(
            node_id=B,
            name="telemetry",
            epoch=1,
            first_seq=5,
            next_seq=9,
            bytes=8_192,
            behind_ms=9_000,
            behind_entries=3,
        ),
    ),
)
EU = TierRegionState(
    name="eu",
    holder="e" * 32,
    is_live=True,
    lag_ms=900,
    lag_entries=1,
    pieces=12,
    bytes=4_096,
    mended=2,
    lost_entries=5,
    gap_count=1,
    requests={"put": 12, "get": 1, "list": 7, "remove": 0},
    requests_per_day={"put": 17_280, "get": 1, "list": 2_880, "remove": 0},
    budget_wait_ms=1_500,
    budget_wait_worst_ms=90_000,
    rows=TierRowsState(
        at_ms=NOW_MS,
        schema="readings",
        epoch=1,
        next_seq=9,
        lag_ms=90_000,
        lag_entries=12,
        rows=4_000,
        skipped_entries=2,
        erasures_waiting=1,
        problem="no right <b>",
    ),
)
US = msgspec.structs.replace(
    EU,
    name="us",
    holder="f" * 32,
    is_live=False,
    problem="no route <b>",
    lag_ms=None,
    lag_entries=None,
    requests_per_day=None,
    budget_wait_ms=None,
)
CLOUDY = msgspec.structs.replace(STATE, tier=(EU, US), peers=())
FORKED = msgspec.structs.replace(
    STATE,
    rpo_ms=400_000,
    unsafe_bytes=4_096,
    forks=(ForkState(node_id=B, name="telemetry", epoch=1, seq=3, holders=(A, C), found_at_ms=2),),
)


def with_state(node: Node, state: ReplicationState | Unavailable | None) -> Node:
    async def ask() -> ReplicationState | None:
        if isinstance(state, Unavailable):
            raise state
        return state

    services = replace(node.services, replication=ask)
    return replace(node, services=services, app=create_app(services))


AT_CLOUD = msgspec.structs.replace(
    CLOUDY,
    role="cloud",
    sites=(
        SiteNodeState(
            node_id=B,
            name="mill<b>",
            site_id="5" * 32,
            region="",
            link="up",
            heard_at_ms=NOW_MS,
            is_fresh=True,
            rpo_ms=900,
            rpo_worst_ms=61_000,
            unsafe_entries=2,
            lag_ms=900,
            lag_entries=2,
            stored=(
                StoredState(
                    node_id=B,
                    name="telemetry",
                    region="eu",
                    epoch=1,
                    next_seq=4_322,
                    last_at_ms=NOW_MS,
                    at_ms=NOW_MS,
                ),
                StoredState(
                    node_id=B,
                    name="catalog",
                    region="eu",
                    epoch=1,
                    next_seq=9,
                    last_at_ms=NOW_MS,
                    at_ms=NOW_MS,
                ),
            ),
        ),
        SiteNodeState(
            node_id=C,
            name="quarry",
            site_id="6" * 32,
            region="",
            link="down",
            heard_at_ms=None,
            is_fresh=False,
            at_risk_ms=200_000,
        ),
        SiteNodeState(
            node_id=D,
            name="barn",
            site_id="5" * 32,
            region="",
            link="up",
            heard_at_ms=NOW_MS,
            is_fresh=True,
            at_risk_ms=400_000,
            rpo_ms=400_000,
            unsafe_entries=9,
            problem="no route <i>",
        ),
    ),
)
CLOUDY_FORKED = msgspec.structs.replace(
    FORKED, tier=(EU, US), sites=AT_CLOUD.sites, blobs=BLOBS, blob_traffic=TRAFFIC
)

SILENT = Unavailable("The replicator does not answer.", hint="It is started again <soon>.")


async def test_a_box_that_is_alone_is_told_how_not_to_be(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        alone = with_state(node, None)
        async with alone.admin() as client:
            page = (await client.get("/sites")).text
            assert "This box is alone" in page
            assert "homeport peer invite" in page
            assert 'href="/sites"' in page, "in the navigation"
            assert "other box" not in (await client.get("/")).text
            answer: dict[str, Any] = (await client.get("/api/v1/replication")).json()
            assert (answer["is_alone"], answer["state"], answer["problem"]) == (True, None, "")
        facts = await node_facts(alone.services)
        assert {facts[name] for name in ("rpo", "rpo_long", "replicator", "unreadable", "forks")} == {0}
        assert "homeport_rpo_seconds" not in render(alone.services, log_head=None).decode()


async def test_each_box_is_shown_with_what_happens_next(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, with_state(node, STATE).admin() as client:
        page = (await client.get("/sites")).text
        assert "Everything but the last moments is on another box." in page
        assert "roof" in page
        assert "region &lt;north&gt;" in page
        assert "barn&lt;b&gt;" in page
        assert "connection refused &lt;i&gt;" in page
        assert "<i>" not in page.replace("<i class", "")
        assert f"When it is back it gets {count_text(1_234)} records of the last 2.0 h" in page
        assert "Its clock is 1.0 h behind this box" in page
        assert "written here" in page
        assert "3 records, 9.0 s behind" in page
        assert "It was taken out for good" in page
        overview = (await client.get("/")).text
        assert "1 box is away: barn&lt;b&gt;." in overview
        assert "safe elsewhere" in overview
        assert "Only here" not in overview
        answer = (await client.get("/api/v1/replication")).json()
        assert answer["state"]["rpo_ms"] == 2_000
        assert [peer["name"] for peer in answer["state"]["peers"]] == ["roof", "barn<b>", "gone"]


async def test_each_region_of_the_cloud_is_shown_with_what_it_lacks_and_had_lost(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, with_state(node, CLOUDY).admin() as client:
        page = (await client.get("/sites")).text
        assert "Everything but the last moments is on another box or in the cloud." in page
        assert "Cloud eu" in page
        assert "takes what is new" in page
        assert "no route &lt;b&gt;" in page
        assert "What is new goes to eu meanwhile." in page
        assert "that nobody has any more" in page
        assert "nobody had what was there" in page
        assert "<b>1 record</b>" in page
        assert '<b>17\u202f280</b> <span class="muted">put, ' in page
        assert "not measured for long enough yet" in page
        assert page.count("Held back by the budget") == 1
        assert "Readings don&#39;t go there as rows: no right &lt;b&gt;" in page
        assert "<b>12 records</b>" in page
        assert "2 records without rows" in page
        assert "1 erasure to be carried out there" in page
        metrics = (await client.get("/health/metrics")).text
        assert 'homeport_tier_rows_total{region="eu"} 4000.0' in metrics
        assert 'homeport_tier_rows_lag_seconds{region="eu"} 90.0' in metrics
        assert 'homeport_tier_rows_working{region="eu"} 0.0' in metrics
        overview = (await client.get("/")).text
        assert "1 region of the cloud takes nothing: us." in overview


def test_rows_that_stand_still_need_attention() -> None:
    assert regions_away(msgspec.structs.replace(CLOUDY, tier=(EU,))) == "Readings don't go as rows to: eu."
    well = msgspec.structs.replace(EU, rows=None)
    assert regions_away(msgspec.structs.replace(CLOUDY, tier=(well,))) == ""


def test_what_happens_next_with_a_region_in_words() -> None:
    back = msgspec.structs.replace(EU, is_live=False, lag_ms=600_000, lag_entries=9)
    behind = msgspec.structs.replace(US, problem="", lag_ms=70_000, lag_entries=9)
    late = msgspec.structs.replace(behind, lag_ms=700_000)
    unfit = msgspec.structs.replace(US, is_unfit=True)
    unknown = msgspec.structs.replace(US, problem="")
    says = [
        region_views(msgspec.structs.replace(CLOUDY, tier=tier))[at].outlook
        for at, tier in (
            (0, (EU,)),
            (0, (back, EU)),
            (1, (EU, behind)),
            (1, (EU, late)),
            (1, (EU, unfit)),
            (1, (EU, unknown)),
            (0, (US,)),
        )
    ]
    assert says == [
        "",
        "It is catching up, and takes what is new first again when it has worked for five minutes.",
        "It is filled behind the live region, every minute.",
        "It is catching up with 9 records of the last 12 min.",
        "It is tried again by itself; the reason has to be put right first.",
        "How far it is is asked now.",
        "When it is back it gets what it lacks, oldest first; nothing has to be done.",
    ]


@pytest.mark.parametrize(
    ("past", "text"),
    [
        (PastState(state="fetching", done=30, total=120), "had from other boxes: 25 % of 120 records."),
        (PastState(state="waiting", done=1, total=2), "still with other boxes, 1 record."),
        (
            PastState(state="waiting", done=0, total=2, problem="Nobody <b>"),
            "2 records: Nobody &lt;b&gt;",
        ),
        (PastState(state="ready", done=2, total=2), "takes its place when Homeport is started the next time"),
    ],
)
async def test_the_past_that_is_still_to_come_is_said(tmp_path: Path, past: PastState, text: str) -> None:
    async with running_node(tmp_path) as node:
        state = msgspec.structs.replace(STATE, past=past)
        async with with_state(node, state).admin() as client:
            assert text in (await client.get("/sites")).text


async def test_what_is_only_here_and_two_histories_are_said_first(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, with_state(node, FORKED).admin() as client:
        page = (await client.get("/sites")).text
        assert "Only here, and not on another box: 7 records of the last 7 min" in page
        assert "Two boxes wrote the telemetry log of roof from record 3 on (epoch 1)" in page
        assert "Held by cellar (this box), barn&lt;b&gt;" in page
        overview = (await client.get("/")).text
        assert "Two boxes wrote as the same one: 1 log has two histories." in overview
        assert "Only here" in overview


async def test_a_replicator_that_does_not_answer_is_no_good_news(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        silent = with_state(node, SILENT)
        async with silent.admin() as client:
            assert "can&#39;t be known now" in (await client.get("/sites")).text
            assert (
                "What other boxes have is not known: The replicator does not answer."
                in (await client.get("/")).text
            )
            answer = (await client.get("/api/v1/replication")).json()
            assert (answer["is_alone"], answer["state"]) == (False, None)
            assert answer["problem"].startswith("The replicator does not answer.")
        facts = await node_facts(silent.services)
        assert (facts["replicator"], facts["rpo"], facts["forks"], facts["unreadable"]) == (
            1,
            None,
            None,
            None,
        )
        text = render(silent.services, log_head=None, replication=await replication(silent.services)).decode()
        assert "homeport_replicator_up 0.0" in text
        assert "homeport_rpo_seconds " not in text


async def test_what_rotted_everywhere_is_told_as_itself_and_not_as_copies_that_stand_still(
    tmp_path: Path,
) -> None:
    rotten = msgspec.structs.replace(STATE, unreadable="2 parts of logs can't be read <b>.")
    async with running_node(tmp_path) as node:
        asked = with_state(node, rotten)
        facts = await node_facts(asked.services)
        text = render(asked.services, log_head=None, replication=await replication(asked.services)).decode()
        async with asked.admin() as client:
            overview = (await client.get("/")).text
    assert (facts["unreadable"], facts["replicator"]) == (1, 0)
    assert "homeport_replicator_up 1.0" in text
    assert "2 parts of logs can&#39;t be read &lt;b&gt;." in overview
    assert "Nothing is copied" not in overview


async def test_metrics_and_alarms(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        node.broker.statistics["site"] = {
            B: {"behind_records": 4, "messages": 5, "skipped_records": 6, "error": ""}
        }
        asked = with_state(node, msgspec.structs.replace(FORKED, blobs=BLOBS, blob_traffic=TRAFFIC))
        facts = await node_facts(asked.services)
        text = render(asked.services, log_head=None, replication=await replication(asked.services)).decode()
    assert (facts["rpo"], facts["rpo_long"], facts["forks"], facts["replicator"]) == (400, 400, 1, 0)
    for line in (
        "homeport_rpo_seconds 400.0",
        "homeport_rpo_worst_seconds 61.0",
        "homeport_unsafe_records 7.0",
        "homeport_forks 1.0",
        f'homeport_peer_link{{name="roof",node="{B}",state="up"}} 1.0',
        f'homeport_peer_lag_seconds{{direction="sent",node="{C}"}} 7200.0',
        f'homeport_peer_round_trip_seconds{{node="{B}"}} 0.0015',
        f'homeport_copy_bytes{{log="telemetry",node="{B}"}} 8192.0',
        'homeport_blobs{kind="day",state="copied"} 2.0',
        'homeport_blobs{kind="day",state="only_here"} 1.0',
        'homeport_blobs_unsafe_bytes{kind="day"} 2048.0',
        'homeport_blobs_lacking{kind="image"} 4.0',
        "homeport_day_copies_bytes 4096.0",
        "homeport_day_copies_left_out 5.0",
        'homeport_blob_bytes_total{direction="served"} 3.0',
        "homeport_blobs_wrong_total 6.0",
        f'homeport_site_messages_total{{node="{B}"}} 5.0',
    ):
        assert line in text
    assert D not in text, "a box that was taken out"


@pytest.mark.parametrize(
    ("safe_at", "rpo_ms", "said"),
    [
        ("node", None, "everything is only here"),
        ("site", 0, "Everything but the last moments is at another site."),
        ("region", 60_000, "Only here, and not in another region: 7 records of the last 1 min"),
    ],
)
def test_how_safe_it_is_in_words(safe_at: str, rpo_ms: int | None, said: str) -> None:
    assert said in safe_text(msgspec.structs.replace(STATE, safe_at=safe_at, rpo_ms=rpo_ms))


def test_what_happens_next_in_words() -> None:
    change = msgspec.structs.replace
    assert outlook(ROOF) == "It has all that this box wrote, and this box all of its."
    behind = change(ROOF, behind_ms=60_000, behind_entries=3)
    assert "of its own 3 records are on the way here" in outlook(behind)
    assert "power and a network" in outlook(AWAY)
    late = change(ROOF, lag_ms=60_000, lag_entries=10, backlog_bytes=10_000_000)
    assert "the oldest first" in outlook(late)
    assert outlook(change(late, bytes_per_s=12_500)).endswith("Its link carries about 12.2 KiB a second.")
    assert "nothing waits for it" in outlook(change(AWAY, lag_entries=0, lag_ms=0))
    assert "put right first" in outlook(change(AWAY, link="refused"))
    assert "catching up" in outlook(change(AWAY, relay=A))


def test_nothing_is_asked_of_a_box_that_is_alone() -> None:
    assert ReplicationNow().is_alone
    assert not ReplicationNow(problem="x").is_alone


def test_the_overview_says_in_a_line_how_safe_it_is() -> None:
    def said(now: ReplicationNow) -> tuple[str, str]:
        look, text = copies_of(now)
        return look.word, text

    assert said(ReplicationNow()) == ("alone", "")
    assert said(ReplicationNow(problem="x")) == ("not known", "")
    assert said(ReplicationNow(state=STATE)) == ("safe elsewhere", "")
    assert said(ReplicationNow(state=msgspec.structs.replace(STATE, rpo_ms=None))) == ("only here", "")
    assert said(ReplicationNow(state=msgspec.structs.replace(STATE, rpo_ms=60_000))) == (
        "partly only here",
        "the last 1 min would be lost with this box",
    )


def test_what_is_not_read_of_other_boxes_is_said() -> None:
    streams = tuple(
        StreamStatistics(node_id=each, branch="", next_seq=1, waiting=0, skipped=0, stopped=why)
        for each, why in ((B, "It is another one."), (C, ""), ("f" * 32, "It ends."))
    )
    now = ReplicationNow(state=STATE, site=SiteStatistics(incident="No space.", streams=streams))
    first, second, third = sites_view(now).unread
    assert "No space." in first
    assert "Readings of roof" in second
    assert "Readings of ffffffff…" in third
    texts = [line.text for line in sites_attention(now)]
    assert second in texts


async def test_a_cloud_node_shows_the_boxes_of_all_sites(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, with_state(node, AT_CLOUD).admin() as client:
        page = (await client.get("/sites")).text
        assert (
            "2 sites with 3 boxes, 1 not heard from, 1 with more than moments that are nowhere else." in page
        )
        assert "mill&lt;b&gt;" in page
        assert "Site 55555555" in page
        assert count_text(4_321) in page
        assert "the last 900 ms" in page
        assert "not yet" in page
        assert "so far 3 min that may be only there" in page
        assert "barn: no route &lt;i&gt;" in page
        assert "It keeps none of them itself" in page
        assert "A box of this site" not in page, "it serves no devices, so nobody can stand in for it"
        assert "Try it now" not in page, "no box holds what it has"
        answer = (await client.get("/api/v1/replication")).json()
        assert [each["name"] for each in answer["state"]["sites"]] == ["mill<b>", "quarry", "barn"]


@pytest.mark.parametrize(
    ("count", "says"),
    [(1, "1 site with 1 box, all safe."), (0, "No box of a site belongs to the fleet yet.")],
)
async def test_how_all_sites_do_is_said_in_a_sentence(tmp_path: Path, count: int, says: str) -> None:
    state = msgspec.structs.replace(AT_CLOUD, sites=AT_CLOUD.sites[:count])
    async with running_node(tmp_path) as node, with_state(node, state).admin() as client:
        assert says in (await client.get("/sites")).text


async def test_a_cloud_node_measures_boxes_and_says_nothing_of_the_silent_one(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        asked = with_state(node, AT_CLOUD)
        collected = render(
            asked.services, log_head=None, replication=await replication(asked.services)
        ).decode()
    labels = f'name="mill<b>",node="{B}",site="{"5" * 32}"'
    silent = f'name="quarry",node="{C}",site="{"6" * 32}"'
    assert f"homeport_cloud_box_heard{{{labels}}} 1.0" in collected
    assert f"homeport_cloud_box_rpo_seconds{{{labels}}} 0.9" in collected
    assert 'homeport_site_reading_total{end="cloud",what="answered"} 0.0' in collected
    assert f"homeport_cloud_box_heard{{{silent}}} 0.0" in collected
    assert f"homeport_cloud_box_rpo_seconds{{{silent}}}" not in collected
    assert f"homeport_cloud_box_at_risk_seconds{{{silent}}} 200.0" in collected
    assert f"homeport_cloud_box_at_risk_seconds{{{labels}}}" not in collected


async def test_a_cloud_node_watches_each_box(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        facts = await box_facts(with_state(node, AT_CLOUD).services)
        silent = await box_facts(with_state(node, Unavailable("It is away.", hint="Wait.")).services)
        alone = await box_facts(node.services)
    mill, quarry, barn = f"mill<b>/{B[:8]}", f"quarry/{C[:8]}", f"barn/{D[:8]}"
    assert facts == {
        "site_rpo": {mill: None, quarry: 200, barn: 400},
        # It was not heard of since the start, and for less than the limit: it may have been silent for long before.
        "site_rpo_long": {mill: None, quarry: None, barn: 400},
    }
    assert silent == {}
    assert alone == {}


async def test_on_a_cloud_node_all_that_is_about_devices_is_left_out(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        config = replace(node.services.config, node=replace(node.services.config.node, role="cloud"))
        services = replace(with_state(node, AT_CLOUD).services, config=config)
        cloud = replace(node, services=services, app=create_app(services))
        async with cloud.admin() as client:
            home = await client.get("/", follow_redirects=False)
            assert (home.status_code, home.headers["location"]) == (303, "/sites")
            page = (await client.get("/sites")).text
            assert 'href="/settings"' in page
            for path in ("/devices", "/telemetry", "/firmware", "/broker"):
                assert f'href="{path}"' not in page
        assert (await node_facts(cloud.services))["broker"] == 0


async def test_a_box_says_of_a_cloud_node_that_it_holds_nothing(tmp_path: Path) -> None:
    cloud = msgspec.structs.replace(ROOF, role="cloud", lag_entries=0)
    away = msgspec.structs.replace(cloud, node_id=C, link="down")
    state = msgspec.structs.replace(STATE, peers=(cloud, away))
    async with running_node(tmp_path) as node, with_state(node, state).admin() as client:
        page = (await client.get("/sites")).text
    assert "what is shipped by it goes to its regions" in page
    assert "waits here meanwhile" in page


async def test_images_and_days_without_a_copy_are_counted_on_the_page(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        asked = with_state(node, msgspec.structs.replace(STATE, blobs=BLOBS))
        async with asked.admin() as client:
            page = (await client.get("/sites")).text
    assert "<b>2 of 2</b>" in page
    assert "<b>2 of 3</b>" in page
    assert "are only here, the oldest since" in page
    assert "5 older days have no room here" in page
