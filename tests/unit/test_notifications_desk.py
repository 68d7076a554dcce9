"""The desk: secrets sealed and never said, a password that goes elsewhere is asked for again, tries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, NotFound, UsageError
from appliance.identity import SiteKeys
from appliance.management.notification_targets import Email, Mqtt, Settings, Webhook
from appliance.management.on_call import Member, OnCallDefinition
from appliance.notifications.desk import NotificationDesk
from appliance.notifications.scheduler import Scheduler
from appliance.notifications.sender import Sender
from appliance.notifications.telling import Telling
from appliance.notifications.ways import seal_label
from storage.catalog import AsyncCatalog
from storage.catalog.notification_targets import NotificationTarget
from tests.acts import ACT
from tests.notification_kit import SILENT, RememberingWay

MAIL = Email(to="a@example.org", from_="b@example.org", host="smtp.example.org", username="box")


@dataclass
class Scene:
    catalog: AsyncCatalog
    keys: SiteKeys
    desk: NotificationDesk
    way: RememberingWay

    async def add(self, settings: Settings, secret: str = "", name: str = "Anna") -> NotificationTarget:
        return await self.catalog.write(
            lambda writer: self.desk.add_target(
                writer, name=name, settings=settings, secret=secret, is_enabled=True
            ),
            by=ACT,
        )


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    clock = ManualClock()
    keys = SiteKeys.load_or_create(folder)
    async with AsyncCatalog.opened(folder / "catalog.db", clock=clock, node_id=keys.node_id) as catalog:
        way = RememberingWay()
        telling = Telling(clock=clock, flap_ms=1, default_base_url="https://box")
        count = iter(range(1, 100))
        desk = NotificationDesk(
            catalog,
            keys,
            telling,
            Scheduler(catalog, telling, clock=clock),
            Sender(catalog, way, clock=clock, random=lambda: 0.0),
            clock=clock,
            random_bytes=lambda size: next(count).to_bytes(size, "big"),
        )
        yield Scene(catalog, keys, desk, way)


async def test_a_secret_is_sealed_and_stands_nowhere_in_clear(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        target = await it.add(Webhook(url="https://a/"), "s3cret-words")
        assert target.has_secret
        assert "s3cret" not in repr(target)
        sealed = await it.catalog.read(lambda reader: reader.target_secret_sealed(target.target_id))
        assert it.keys.unseal(seal_label(target.target_id), sealed) == b"s3cret-words"
        await it.catalog.write(
            lambda writer: it.desk.edit_target(writer, target.target_id, secret="an0ther-one"), by=ACT
        )
        rows = await it.catalog.read(
            lambda reader: [
                *map(tuple, reader.rows("SELECT before, after, detail FROM audit")),
                *map(tuple, reader.rows("SELECT row, before FROM outbox")),
            ]
        )
        assert rows
        assert "s3cret" not in repr(rows)
        assert "an0ther" not in repr(rows)
        audited = await it.catalog.read(lambda reader: reader.rows("SELECT after FROM audit"))
        assert all(sealed.hex() not in str(row[0]) for row in audited)
        gone = await it.catalog.write(
            lambda writer: it.desk.edit_target(writer, target.target_id, secret=""), by=ACT
        )
        assert not gone.has_secret


async def test_a_password_that_would_go_elsewhere_is_asked_for_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        target = await it.add(MAIL, "hunter2")

        async def edit(settings: Settings, secret: str | None = None) -> NotificationTarget:
            return await it.catalog.write(
                lambda writer: it.desk.edit_target(
                    writer, target.target_id, settings=settings, secret=secret
                ),
                by=ACT,
            )

        other = Email(to="a@example.org", from_="b@example.org", host="evil.example.org", username="box")
        for settings in (other, Webhook(url="https://evil.example.org/")):
            with pytest.raises(UsageError) as caught:
                await edit(settings)
            assert caught.value.code == "target_secret_wanted"
        elsewhere = Email(
            to="new@example.org", from_="b@example.org", host="smtp.example.org", username="box"
        )
        assert (await edit(elsewhere)).has_secret
        assert (await edit(other, "hunter3")).settings == other


async def test_what_can_not_be_a_target_is_not_made(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        with pytest.raises(UsageError):
            await it.add(Webhook(url="nonsense"))
        await it.add(Mqtt(topic="a"))
        with pytest.raises(Conflict):
            await it.add(Mqtt(topic="b"))
        webhook = await it.add(Webhook(url="https://a/"), name="W")
        edited = await it.catalog.write(
            lambda writer: it.desk.edit_target(writer, webhook.target_id, name="V", is_enabled=False), by=ACT
        )
        assert (edited.name, edited.is_enabled, edited.settings) == ("V", False, webhook.settings)


async def test_lists_are_checked(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        target = await it.add(Mqtt(topic="a"))
        good = OnCallDefinition(members=(Member(name="Anna", targets=(target.target_id,)),))
        made = await it.catalog.write(
            lambda writer: it.desk.add_on_call(writer, name="Site", definition=good, is_enabled=True), by=ACT
        )
        assert made.definition == good
        for bad, kind in (
            (OnCallDefinition(), UsageError),
            (OnCallDefinition(members=(Member(name="A", targets=("none",)),)), NotFound),
        ):
            with pytest.raises(kind):
                await it.catalog.write(
                    lambda writer, bad=bad: it.desk.edit_on_call(writer, made.list_id, definition=bad),  # type: ignore[misc]
                    by=ACT,
                )
        renamed = await it.catalog.write(
            lambda writer: it.desk.edit_on_call(writer, made.list_id, name="North"), by=ACT
        )
        assert renamed.name == "North"


async def test_a_try_says_what_came_of_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        target = await it.add(Mqtt(topic="a"))
        sent = await it.desk.try_target(target.target_id, by=ACT)
        assert (sent.state, sent.outcome) == ("sent", "HTTP 200 after 5 ms.")
        assert sent.step.startswith("test/")
        assert "https://box/alarms/notifications" in sent.body
        it.way.answers[target.target_id] = [SILENT]
        failed = await it.desk.try_target(target.target_id, by=ACT)
        assert (failed.state, failed.error) == ("given_up", "Nobody answers.")
        with pytest.raises(NotFound):
            await it.desk.try_target("none", by=ACT)
        numbers = await it.desk.statistics()
        assert numbers.counts.by_state == {"sent": 1, "given_up": 1}
        assert numbers.counts.given_up_recently == 0  # tries don't count
        assert numbers.sender.attempts == {("mqtt", "sent"): 1, ("mqtt", "failed"): 1}
