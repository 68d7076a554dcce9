"""A node stands in for one that is gone: not before it has been dead for a while, for devices that are here, and once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, Unavailable
from appliance.core.limits_catalog_stream import HAND_OVER_AFTER_MS, TAKE_OVER_AFTER_MS
from appliance.management.audit import Act
from appliance.management.commands import CommandWish
from appliance.management.execution import Came
from appliance.management.fleet import State
from appliance.management.replication_state import Link, Member, PeerState, ReplicationState
from appliance.management.rollouts import RolloutState
from appliance.run.standing_in import StandingIn, is_next
from appliance.updates.engine import Engine
from appliance.updates.fence import current_fence
from appliance.updates.surroundings import Surroundings
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.homes import IN_DOUBT
from storage.catalog.merging import Followed
from storage.catalog.notifications import NewNotification
from storage.catalog_stream.following import read_record
from storage.catalog_stream.record import encode_change
from tests.merge_kit import SiteNode, begin_at, begin_execution

ACT = Act(action="test")
OTHER = "01" * 16


@dataclass
class Site:
    """This node, and what it is told of the other one."""

    catalog: AsyncCatalog
    engine: Engine
    clock: ManualClock
    member: Member = "dead"
    link: Link = "down"
    state: State = "admitted"
    is_asked: bool = True
    said: list[str] = field(default_factory=list)
    nodes: set[str] = field(default_factory=set)
    away: list[Mapping[str, int]] = field(default_factory=list)

    def where(self, device_id: str) -> set[str]:
        return self.nodes

    def look(self, device_ids: list[str]) -> None:
        self.said += device_ids

    async def replication(self) -> ReplicationState | None:
        if not self.is_asked:
            raise Unavailable("The replicator does not answer.", hint="Wait.", code="replicator_away")
        peer = PeerState(
            node_id=OTHER, name="one", site_id="s", region="", is_of_this_site=True, state=self.state, link=self.link,
            since_ms=0, member=self.member, certificate_ends_at_ms=0,
        )  # fmt: skip
        return ReplicationState(
            at_ms=0, node_id="02" * 16, name="two", site_id="s", region="", authority="", safe_at="node", rpo_ms=0, rpo_worst_ms=0,
            peers=(peer,),
        )  # fmt: skip

    async def drives(self) -> bool:
        return await self.catalog.read(lambda catalog: catalog.drives_execution("e-1"))


@asynccontextmanager
async def site(
    folder: Path, *, notifies: bool = False, is_updated: bool = False
) -> AsyncIterator[tuple[Site, StandingIn]]:
    """The other node had begun an update of pump-1, which may have ended, and queued a command for it."""
    clock = ManualClock()
    one = SiteNode(folder, 1, clock)
    one.catalog.add_device("pump-1")
    one.catalog.add_command("c-1", "pump-1", CommandWish(method="reboot"), created_by="ada")
    begin_execution(one)
    if is_updated:
        with one.catalog.transaction():
            hlc = one.catalog.hlc
            one.catalog.execute("UPDATE executions SET state = 'succeeded', ended_at_ms = 1, hlc = ?", (hlc,))
            one.catalog.execute("UPDATE rollouts SET state = 'soaking', hlc = ?", (hlc,))
    if notifies:
        with one.catalog.transaction():
            one.catalog.make_notifications(
                NewNotification(
                    key=key,
                    alarm_id="",
                    episode=0,
                    step="test",
                    target_id="t-1",
                    target_name="t",
                    body="{}",
                    due_at_ms=1,
                )
                for key in ("waits", "is being sent")
            )
            assert one.catalog.begin_next_notification("t-1", 1) is not None
    records = [read_record(n, payload, OTHER) for n, payload in enumerate(one.payloads(), 1)]
    one.close()
    async with AsyncCatalog.opened(folder / "two.db", clock=clock, node_id=bytes([2]) * 16) as catalog:
        stream = Followed(node_id=OTHER, epoch=1, next_seq=len(records) + 1, hash=b"")
        await catalog.write(lambda writer: writer.apply_records(stream, records), by=ACT)
        engine = Engine(catalog, clock=clock, surroundings=Surroundings(clock, random=lambda: 0.5))
        here = Site(catalog, engine, clock)
        standing_in = StandingIn(
            catalog,
            engine,
            here,
            replication=here.replication,
            fleet=folder / "fleet",
            where=here.where,
            away=here.away.append,
            clock=clock,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            yield here, standing_in
            nursery.cancel_scope.cancel()


async def test_it_drives_what_a_dead_node_drove_once_the_device_is_here(tmp_path: Path) -> None:
    async with site(tmp_path) as (here, standing_in):
        await standing_in.look()
        here.engine.listening("pump-1", True)
        here.clock.advance(TAKE_OVER_AFTER_MS - 1)
        await standing_in.look()
        assert not await here.drives()
        here.clock.advance(1)
        await standing_in.look()
        assert await here.drives()
        assert set(here.said) == {"pump-1"}
        assert await here.catalog.read(current_fence) > 0
        assert standing_in.statistics() == {
            "dead_nodes": 1,
            "taken_over_total": 1,
            "commands_fetched_total": 1,
            "notifications_taken_total": 0,
            "handed_over_total": 0,
            "failures_total": 0,
        }
        await standing_in.look()
        assert standing_in.statistics()["taken_over_total"] == 1


async def test_it_tells_whose_devices_can_not_be_known_and_since_when(tmp_path: Path) -> None:
    async with site(tmp_path) as (here, standing_in):
        began_ms = here.clock.now_ms()
        await standing_in.look()
        here.clock.advance(5_000)
        await standing_in.look()
        assert here.away == [{OTHER: began_ms}] * 2, "the moment stays"
        here.is_asked = False
        await standing_in.look()
        assert len(here.away) == 2, "who can't be asked has told nothing new"
        here.is_asked, here.member, here.link = True, "alive", "up"
        await standing_in.look()
        here.state = "decommissioned"
        await standing_in.look()
        assert here.away[2:] == [{}, {OTHER: began_ms + 5_000}]


async def test_a_command_for_a_device_that_listens_here_is_said_here(tmp_path: Path) -> None:
    async with site(tmp_path) as (here, standing_in):
        here.member, here.link = "alive", "up"
        await standing_in.look()
        assert here.said == []
        here.engine.listening("pump-1", True)
        await standing_in.look()
        assert here.said == ["pump-1"]
        due = await here.catalog.write(lambda catalog: catalog.send_due_commands(["pump-1"], limit=5), by=ACT)
        assert [each.command_id for each in due] == ["c-1"]
        assert not await here.drives()


async def test_a_node_that_is_back_or_devices_that_are_elsewhere_are_left_alone(tmp_path: Path) -> None:
    async with site(tmp_path) as (here, standing_in):
        await standing_in.look()
        here.clock.advance(TAKE_OVER_AFTER_MS)
        await standing_in.look()
        assert not await here.drives()
        here.engine.listening("pump-1", True)
        here.member, here.link = "alive", "up"
        await standing_in.look()
        here.member, here.link = "dead", "down"
        await standing_in.look()
        assert not await here.drives()


async def test_a_node_that_was_taken_out_is_stood_in_for_at_once(tmp_path: Path) -> None:
    async with site(tmp_path) as (here, standing_in):
        here.engine.asked("pump-1")
        here.member, here.state = "unknown", "decommissioned"
        await standing_in.look()
        assert await here.drives()


async def test_what_another_node_drives_is_not_moved_here(tmp_path: Path) -> None:
    async with site(tmp_path) as (here, _):
        with pytest.raises(Conflict) as refused:
            await here.engine.do(lambda work: work.step("e-1", Came()))
        assert refused.value.code == "driven_elsewhere"


async def test_a_replicator_that_does_not_answer_is_said_once(tmp_path: Path) -> None:
    async with site(tmp_path) as (here, standing_in):
        here.is_asked = False
        await standing_in.look()
        await standing_in.look()
        assert standing_in.statistics()["failures_total"] == 2
        assert not await here.drives()


async def test_a_box_without_peers_asks_nobody(tmp_path: Path) -> None:
    async with site(tmp_path) as (here, standing_in):
        here.is_asked = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(standing_in.run)
            await trio.testing.wait_all_tasks_blocked(0.05)
            nursery.cancel_scope.cancel()
        assert standing_in.statistics()["failures_total"] == 0


async def test_what_a_dead_node_had_to_tell_people_is_told_by_one(tmp_path: Path) -> None:
    async with site(tmp_path, notifies=True) as (here, standing_in):

        async def due() -> list[str]:
            targets, _ = await here.catalog.read(
                lambda catalog: catalog.targets_to_serve(here.clock.now_ms())
            )
            return targets

        await standing_in.look()
        assert await due() == [], "its node may be back at any moment"
        here.clock.advance(TAKE_OVER_AFTER_MS)
        await standing_in.look()
        assert await due() == ["t-1"]
        assert standing_in.statistics()["notifications_taken_total"] == 2
        page = await here.catalog.read(
            lambda catalog: catalog.rows("SELECT error FROM notifications ORDER BY error")
        )
        assert [row[0] for row in page] == ["", IN_DOUBT]
        await standing_in.look()
        assert standing_in.statistics()["notifications_taken_total"] == 2


async def test_a_rollout_of_which_only_the_end_is_left_is_brought_there_by_one(tmp_path: Path) -> None:
    async with site(tmp_path, is_updated=True) as (here, standing_in):

        async def own() -> list[str]:
            found = await here.catalog.read(
                lambda catalog: catalog.rollouts_in([RolloutState.SOAKING], own=True)
            )
            return [each.rollout_id for each in found]

        await standing_in.look()
        here.clock.advance(TAKE_OVER_AFTER_MS - 1)
        await standing_in.look()
        assert await own() == []
        here.clock.advance(1)
        await standing_in.look()
        assert await own() == ["r-1"], "no device has to come here for that"
        assert standing_in.statistics()["taken_over_total"] == 1
        await standing_in.look()
        assert standing_in.statistics()["taken_over_total"] == 1


async def test_of_those_that_are_left_one_does_it(tmp_path: Path) -> None:
    async with site(tmp_path) as (here, _):
        state = await here.replication()
        assert state is not None
        (gone,) = state.peers
        lower = msgspec.structs.replace(gone, node_id="00" * 16, link="up", member="alive")
        for other, is_ours in (
            (lower, False),
            (msgspec.structs.replace(lower, node_id="03" * 16), True),
            (msgspec.structs.replace(lower, link="down", member="dead"), True),
            (msgspec.structs.replace(lower, is_of_this_site=False), True),
            (msgspec.structs.replace(lower, state="decommissioned"), True),
        ):
            now = msgspec.structs.replace(state, peers=(gone, other))
            assert is_next(now, [gone.node_id]) is is_ours


@dataclass
class Home(Site):
    """A node that drives an update of pump-1, and its mate, to which the device may move."""

    mate: SiteNode = field(kw_only=True)

    async def hear_each_other(self) -> None:
        """Each takes over what the other changed."""

        def hear(catalog: Catalog) -> None:
            payloads = self.mate.payloads()
            known = catalog.find_followed(OTHER)
            at = known.next_seq - 1 if known else 0
            records = [read_record(n, each, OTHER) for n, each in enumerate(payloads[at:], at + 1)]
            catalog.apply_records(
                Followed(node_id=OTHER, epoch=1, next_seq=len(payloads) + 1, hash=b""), records
            )

        await self.catalog.write(hear, by=ACT)
        payloads = await self.catalog.write(
            lambda catalog: [encode_change(row, ends_transaction=True) for row in catalog.outbox_after(0)],
            by=ACT,
        )
        known = self.mate.catalog.find_followed("02" * 16)
        at = known.next_seq - 1 if known else 0
        self.mate.take("02" * 16, payloads[at:], first_seq=at + 1)

    def mate_drives(self) -> bool:
        return self.mate.catalog.drives_execution("e-1")


@asynccontextmanager
async def home(folder: Path) -> AsyncIterator[tuple[Home, StandingIn]]:
    clock = ManualClock()
    mate = SiteNode(folder, 1, clock)
    mate.catalog.add_device("pump-1")
    async with AsyncCatalog.opened(folder / "two.db", clock=clock, node_id=bytes([2]) * 16) as catalog:
        engine = Engine(catalog, clock=clock, surroundings=Surroundings(clock, random=lambda: 0.5))
        here = Home(catalog, engine, clock, member="alive", link="up", mate=mate)
        await here.hear_each_other()
        await catalog.write(lambda writer: begin_at(writer, "02" * 16), by=ACT)
        standing_in = StandingIn(
            catalog,
            engine,
            here,
            replication=here.replication,
            fleet=folder / "fleet",
            where=here.where,
            away=here.away.append,
            clock=clock,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            await standing_in.look()
            yield here, standing_in
            nursery.cancel_scope.cancel()
    mate.close()


async def test_a_device_that_moves_takes_its_update_along(tmp_path: Path) -> None:
    async with home(tmp_path) as (here, standing_in):
        assert await here.drives()
        here.nodes = {OTHER}
        await standing_in.look()
        here.clock.advance(HAND_OVER_AFTER_MS - 1)
        await standing_in.look()
        assert await here.drives(), "it may be back at once"
        here.clock.advance(1)
        await standing_in.look()
        assert not await here.drives()
        assert not here.mate_drives(), "nobody drives it until the other one has heard of it"
        await here.hear_each_other()
        assert here.mate_drives()
        assert standing_in.statistics()["handed_over_total"] == 1
        rollout = await here.catalog.read(
            lambda catalog: catalog.rollouts_in([RolloutState.RUNNING], own=True)
        )
        assert [each.rollout_id for each in rollout] == ["r-1"], "the rollout stays where it is"
        assert [each.rollout_id for each in here.mate.catalog.rollouts_followed()] == ["r-1"]
        with here.mate.catalog.transaction():
            assert here.mate.catalog.open_executions("r-1") == ["e-1"]
        assert await here.catalog.read(lambda catalog: catalog.open_executions("r-1")) == []
        # It comes back: the other one hands it over in the same way, and it goes on here.
        here.mate.catalog.hand_over(["e-1"], "02" * 16)
        await here.hear_each_other()
        assert await here.drives()
        told: list[str] = []
        heard = trio.Event()

        def tell(devices: Iterable[str]) -> None:
            told.extend(devices)
            heard.set()

        here.engine.tell = tell
        here.engine.listening("pump-1", True)
        await standing_in.look()
        with trio.fail_after(60):
            await heard.wait()
        assert await here.drives(), "where it was before is no reason to give it away at once"
        assert set(told) == {"pump-1"}, "it is armed here again, and the device hears what is wanted"


@pytest.mark.parametrize("nodes", [set(), {""}, {"", OTHER}, {OTHER, "03" * 16}, {"03" * 16}])
async def test_nothing_is_handed_over_while_it_is_not_at_one_mate_alone(
    tmp_path: Path, nodes: set[str]
) -> None:
    async with home(tmp_path) as (here, standing_in):
        here.nodes = nodes
        await standing_in.look()
        here.clock.advance(HAND_OVER_AFTER_MS)
        await standing_in.look()
        assert await here.drives()


async def test_who_listens_here_or_whose_node_is_away_stays(tmp_path: Path) -> None:
    async with home(tmp_path) as (here, standing_in):
        here.nodes = {OTHER}
        here.engine.listening("pump-1", True)
        for link in ("up", "down"):
            here.link = "up" if link == "up" else "down"
            await standing_in.look()
            here.clock.advance(HAND_OVER_AFTER_MS)
            await standing_in.look()
            assert await here.drives()
            here.engine.listening("pump-1", False)
            here.nodes = {OTHER} if link == "up" else {""}
            await standing_in.look()


async def test_what_has_to_begin_again_goes_back_to_its_rollouts_home(tmp_path: Path) -> None:
    async with home(tmp_path) as (here, standing_in):
        await here.catalog.write(lambda catalog: catalog.hand_over(["e-1"], OTHER), by=ACT)
        await here.hear_each_other()
        with here.mate.catalog.transaction():
            here.mate.catalog.execute(
                "UPDATE executions SET state = 'queued', origin = ?, hlc = ? WHERE execution_id = 'e-1'",
                (here.mate.node_id, here.mate.catalog.hlc),
            )
        assert here.mate.catalog.has_handed_back()
        assert here.mate.catalog.hand_back() == 1
        assert not here.mate_drives()
        await here.hear_each_other()
        await standing_in.look()
        assert await here.drives()
