"""What pages, API and command line do about notifications: targets with their secrets, and trying one.

A secret is sealed here and goes no other way out than to the receiver. Whoever changes where a mail account's password would be sent to has to
give the password again: otherwise changing the server's name would be a way to learn it.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.core.clock import Clock
from appliance.core.errors import UsageError
from appliance.core.ids import RandomBytes
from appliance.core.limits_notifications import NOTIFICATION_GIVE_UP_MS
from appliance.identity.keys import SiteKeys
from appliance.management.audit import Act
from appliance.management.escalation import key_of
from appliance.management.notification_targets import Email, Settings, check
from appliance.management.on_call import OnCallDefinition
from appliance.management.on_call import check as check_on_call
from appliance.notifications.scheduler import Scheduler, SchedulerStatistics
from appliance.notifications.sender import Sender, SenderStatistics
from appliance.notifications.telling import Telling
from appliance.notifications.ways import seal_label
from storage.catalog import AsyncCatalog
from storage.catalog.catalog import Catalog
from storage.catalog.notification_targets import NotificationTarget
from storage.catalog.notifications import NewNotification, Notification, NotificationCounts
from storage.catalog.on_call_lists import OnCallRow

_ID_BYTES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationStatistics:
    """Numbers of notifications.

    Attributes:
        counts: As they stand in the catalog; of a day for those that were given up.
    """

    sender: SenderStatistics
    scheduler: SchedulerStatistics
    counts: NotificationCounts


class NotificationDesk:
    """See the module's docstring. Methods that take a Catalog run within a transaction of its writer."""

    def __init__(
        self,
        catalog: AsyncCatalog,
        keys: SiteKeys,
        telling: Telling,
        scheduler: Scheduler,
        sender: Sender,
        *,
        clock: Clock,
        random_bytes: RandomBytes,
    ) -> None:
        self._catalog = catalog
        self._keys = keys
        self.telling = telling
        self.scheduler = scheduler
        self.sender = sender
        self._clock = clock
        self._random_bytes = random_bytes

    def add_target(
        self, writer: Catalog, *, name: str, settings: Settings, secret: str, is_enabled: bool
    ) -> NotificationTarget:
        """Make a target.

        Args:
            secret: "" for none.
        Raises:
            UsageError: `target_invalid`. Conflict: `target_exists`. LimitExceeded: `target_count`.
        """
        check(name, settings, secret=_bytes(secret))
        target_id = self._random_bytes(_ID_BYTES).hex()
        return writer.add_target(
            target_id,
            name=name,
            settings=settings,
            secret_sealed=self._sealed(target_id, _bytes(secret)),
            is_enabled=is_enabled,
        )

    def edit_target(
        self,
        writer: Catalog,
        target_id: str,
        *,
        name: str | None = None,
        settings: Settings | None = None,
        secret: str | None = None,
        is_enabled: bool | None = None,
    ) -> NotificationTarget:
        """Change a target; None leaves something as it is, a secret of "" takes it away.

        Raises:
            UsageError: `target_invalid`, `target_secret_wanted`. NotFound: `target_unknown`. Conflict: `target_exists`.
        """
        known = writer.get_target(target_id)
        after = known.settings if settings is None else settings
        if secret is None and known.has_secret and _goes_elsewhere(known.settings, after):
            raise UsageError(
                "The password would be sent elsewhere than before, so it is asked for again.",
                hint="Give the secret, too.",
                code="target_secret_wanted",
            )
        if secret is None:
            kept = writer.target_secret_sealed(target_id)
            plain = self._keys.unseal(seal_label(target_id), kept) if kept else b""
        else:
            plain = _bytes(secret)
        check(known.name if name is None else name, after, secret=plain)
        return writer.edit_target(
            target_id,
            name=name,
            settings=settings,
            secret_sealed=None if secret is None else self._sealed(target_id, plain),
            is_enabled=is_enabled,
        )

    def add_on_call(
        self, writer: Catalog, *, name: str, definition: OnCallDefinition, is_enabled: bool
    ) -> OnCallRow:
        """Make an on-call list.

        Raises:
            UsageError: `on_call_invalid`. NotFound, Conflict, LimitExceeded: as Catalog.add_on_call.
        """
        check_on_call(name, definition)
        return writer.add_on_call(
            self._random_bytes(_ID_BYTES).hex(), name=name, definition=definition, is_enabled=is_enabled
        )

    def edit_on_call(
        self,
        writer: Catalog,
        list_id: str,
        *,
        name: str | None = None,
        definition: OnCallDefinition | None = None,
        is_enabled: bool | None = None,
    ) -> OnCallRow:
        """Change an on-call list; None leaves something as it is.

        Raises:
            UsageError: `on_call_invalid`. NotFound, Conflict: as Catalog.edit_on_call.
        """
        known = writer.get_on_call(list_id)
        check_on_call(
            known.name if name is None else name, known.definition if definition is None else definition
        )
        return writer.edit_on_call(list_id, name=name, definition=definition, is_enabled=is_enabled)

    async def try_target(self, target_id: str, *, by: Act) -> Notification:
        """Send a try at once, also to a target that is switched off; returns it with its outcome.

        Raises:
            NotFound: `target_unknown`. Unavailable, StorageError: the catalog.
        """
        step = f"test/{self._random_bytes(_ID_BYTES).hex()}"
        key = key_of(step, target_id)
        target, body = await self._catalog.read(
            lambda reader: (reader.get_target(target_id), self.telling.try_body(reader, key, step))
        )
        new = NewNotification(
            key=key,
            alarm_id="",
            episode=0,
            step=step,
            target_id=target_id,
            target_name=target.name,
            body=body,
            due_at_ms=self._clock.now_ms(),
        )
        return await self.sender.try_now(target, new, by=by)

    async def statistics(self) -> NotificationStatistics:
        """Raises what the catalog raises."""
        since_ms = self._clock.now_ms() - NOTIFICATION_GIVE_UP_MS
        return NotificationStatistics(
            sender=self.sender.statistics(),
            scheduler=self.scheduler.statistics(),
            counts=await self._catalog.read(lambda reader: reader.notification_counts(since_ms)),
        )

    def _sealed(self, target_id: str, secret: bytes) -> bytes:
        return self._keys.seal(seal_label(target_id), secret) if secret else b""


def _bytes(secret: str) -> bytes:
    return secret.encode("utf-8", "replace")


def _goes_elsewhere(before: Settings, after: Settings) -> bool:
    """Whether a password that is kept would be told to somebody else. A webhook's secret is never sent."""
    match before, after:
        case Email(), Email():
            return _account(before) != _account(after)
        case _:
            return type(before) is not type(after)


def _account(settings: Email) -> tuple[object, ...]:
    return settings.host, settings.port, settings.security, settings.username, settings.ca_pem
