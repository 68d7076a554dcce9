"""Which nodes are followed, and what devices are told of brokers."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from appliance.core.clock import ManualClock
from appliance.core.errors import StorageError
from broker.router import Router
from broker.site import site_feed
from broker.site.brokers_topic import TOPIC
from broker.site.site_feed import SiteFeed, SiteNodes, SiteView
from broker.state.retained import RetainedMessages
from storage.log.columns import Kind
from tests.broker_kit import wait_until
from tests.unit.test_broker_site_follower import Plane

A, B = "aa" * 16, "bb" * 16
OWN = ("mqtts://own.example:8883",)


class Scene:
    """A site that a test changes."""

    def __init__(self, folder: Path) -> None:
        self.view = SiteView(own_brokers=OWN)
        self.error: StorageError | None = None
        self.look_count = 0
        self.plane = Plane()
        self.retained = RetainedMessages(messages_max=10, bytes_max=1_000)
        self.feed = SiteFeed(
            SiteNodes(look=self._look, directory_of=lambda node_id: folder / node_id),
            plane=self.plane,
            router=Router(),
            retained=self.retained,
            clock=ManualClock(),
            is_held=lambda: False,
        )

    def _look(self) -> SiteView:
        self.look_count += 1
        if self.error is not None:
            raise self.error
        return self.view

    async def looked(self) -> None:
        """The site was looked at twice since, so that what came of the first look is done."""
        before = self.look_count
        await wait_until(lambda: self.look_count >= before + 2)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_feed, "LOOK_INTERVAL_S", 0.01)


async def test_nodes_are_followed_while_the_site_has_them(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.feed.run)
        await scene.looked()
        assert scene.feed.statistics() == {}
        assert scene.feed.server_reference() == ""
        assert scene.plane.records == []
        scene.view = SiteView(own_brokers=OWN, others={B: ["mqtts://b.example:8883"], A: []})
        await scene.looked()
        assert scene.feed.statistics().keys() == {A, B}
        assert scene.feed.server_reference() == "b.example:8883"
        scene.view = SiteView(own_brokers=OWN, others={A: []})
        await scene.looked()
        assert scene.feed.statistics().keys() == {A}
        nursery.cancel_scope.cancel()


async def test_devices_are_told_once_and_again_when_it_changes(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.view = SiteView(own_brokers=OWN, others={A: ["mqtts://a.example:8883"]})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.feed.run)
        await scene.looked()
        await scene.looked()
        (said,) = scene.plane.records
        assert (said.kind, said.topic, said.flags) == (Kind.SERVER_PUBLISH, TOPIC, 0b11)
        assert said.payload == b'{"brokers":["mqtts://own.example:8883","mqtts://a.example:8883"]}'
        scene.view = SiteView(own_brokers=OWN, others={B: ["mqtts://b.example:8883"]})
        await scene.looked()
        assert [record.payload for record in scene.plane.records[1:]] == [
            b'{"brokers":["mqtts://own.example:8883","mqtts://b.example:8883"]}'
        ]
        nursery.cancel_scope.cancel()


async def test_what_was_known_counts_while_it_can_not_be_known(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.view = SiteView(own_brokers=OWN, others={A: []})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.feed.run)
        await scene.looked()
        scene.error = StorageError("The roster can't be read.", hint="Look at the disk.")
        scene.view = SiteView(own_brokers=OWN)
        await scene.looked()
        assert scene.feed.statistics().keys() == {A}
        scene.error = None
        await scene.looked()
        assert scene.feed.statistics() == {}
        nursery.cancel_scope.cancel()
