"""Notifications for tests: a site with an alarm desk whose moves are told, targets, lists, and ways that remember what they were given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from appliance.management.notification_body import Body, of_json
from appliance.management.notification_targets import Mqtt
from appliance.management.on_call import Member, OnCallDefinition
from appliance.notifications.sender import Sender
from appliance.notifications.sent import Sent
from appliance.notifications.telling import Telling
from storage.catalog.notification_targets import NotificationTarget
from storage.catalog.notifications import NewNotification, Notification
from tests.acts import ACT
from tests.alarm_kit import FLAP_MS, Site, a_site


def new(
    key: str, target_id: str = "anna", *, alarm_id: str = "", step: str = "raised", **changes: Any
) -> NewNotification:
    values: dict[str, Any] = {
        "episode": 1,
        "target_name": target_id.title(),
        "body": "{}",
        "due_at_ms": 5,
        **changes,
    }
    return NewNotification(key=key, alarm_id=alarm_id, step=step, target_id=target_id, **values)


@dataclass
class ToldSite:
    """A site whose alarms are told."""

    site: Site
    telling: Telling

    async def target(self, target_id: str, *, is_enabled: bool = True) -> None:
        await self.site.catalog.write(
            lambda catalog: catalog.add_target(
                target_id,
                name=target_id.title(),
                settings=Mqtt(topic=f"alarms/{target_id}"),
                secret_sealed=b"",
                is_enabled=is_enabled,
            ),
            by=ACT,
        )

    async def on_call(self, list_id: str = "l1", *targets: str, **changes: Any) -> None:
        members = (Member(name="Anna", targets=targets or ("anna",)),)
        definition = OnCallDefinition(**{"members": members, **changes})
        await self.site.catalog.write(
            lambda catalog: catalog.add_on_call(list_id, name=list_id, definition=definition), by=ACT
        )

    async def look(self) -> None:
        """As the scheduler does."""
        is_more = True
        while is_more and await self.site.catalog.read(self.telling.is_due):
            is_more = (await self.site.catalog.write(self.telling.look, by=ACT)).is_more

    async def pass_time(self, ms: int) -> None:
        await self.site.pass_time(ms)
        await self.look()

    async def rows(self) -> Sequence[Notification]:
        """What was made, the oldest first."""
        page = await self.site.catalog.read(lambda catalog: catalog.list_notifications(limit=1_000))
        return page.notifications[::-1]

    async def steps(self, *, states: bool = False) -> list[str]:
        """Step and target of each, in order."""
        rows = sorted(await self.rows(), key=lambda row: (row.created_at_ms, row.step, row.target_id))
        return [f"{row.step} {row.target_id}" + (f" {row.state}" if states else "") for row in rows]

    async def bodies(self) -> list[Body]:
        return [of_json(row.body) for row in await self.rows()]


@asynccontextmanager
async def a_told_site(folder: Path) -> AsyncIterator[ToldSite]:
    """With the target `anna`, and no list."""
    told: list[ToldSite] = []
    async with a_site(
        folder, on_moves=lambda catalog, moves: told[0].telling.on_moves(catalog, moves)
    ) as site:
        telling = Telling(
            clock=site.clock, flap_ms=FLAP_MS, default_base_url="https://box:8443/", default_site="Plant"
        )
        told.append(ToldSite(site, telling))
        await told[0].target("anna")
        yield told[0]


@dataclass
class RememberingWay:
    """A way that remembers what it sent; `answers` says what comes of it, by target, the last one again and again.

    Attributes:
        defects: What is raised, by key.
    """

    answers: dict[str, list[Sent]] = field(default_factory=dict)
    sent: list[tuple[str, str]] = field(default_factory=list)
    hold: dict[str, trio.Event] = field(default_factory=dict)
    is_held: dict[str, trio.Event] = field(default_factory=dict)
    defects: dict[str, Exception] = field(default_factory=dict)

    async def send(self, target: NotificationTarget, notification: Notification) -> Sent:
        self.sent.append((target.target_id, notification.notification_id))
        if target.target_id in self.hold:
            self.is_held.setdefault(target.target_id, trio.Event()).set()
            await self.hold[target.target_id].wait()
        if notification.notification_id in self.defects:
            raise self.defects[notification.notification_id]
        answers = self.answers.get(target.target_id, [OK])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def keys(self, target_id: str) -> list[str]:
        return [key for target, key in self.sent if target == target_id]


OK = Sent(is_sent=True, words="HTTP 200 after 5 ms.", is_answer=True)
SILENT = Sent(is_sent=False, words="Nobody answers.")
REFUSED = Sent(is_sent=False, words="HTTP 400", is_answer=True)


@asynccontextmanager
async def running(sender: Sender) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.run)
        yield
        nursery.cancel_scope.cancel()
