"""The ways by which a target is told: webhook, mail, MQTT. Unseals the target's secret for the one attempt, and never says it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec

from appliance.core.clock import Clock
from appliance.core.errors import ConfigError, HomeportError
from appliance.identity.keys import SiteKeys
from appliance.management.notification_body import of_json
from appliance.management.notification_targets import Email, Webhook
from appliance.notifications.mail import MailSender
from appliance.notifications.sent import Sent, line
from appliance.notifications.webhook import WebhookSender
from appliance.tracing.context import format_traceparent
from appliance.tracing.links import notification_context
from storage.catalog import AsyncCatalog
from storage.catalog.notification_targets import NotificationTarget
from storage.catalog.notifications import Notification
from storage.catalog.site_zone import site_zone

Ask = Callable[..., Awaitable[dict[str, Any]]]


class Broker(Protocol):
    """The broker's link (broker.link.BrokerLink)."""

    async def ask(self, question: str, **fields: Any) -> dict[str, Any]: ...


SEAL_LABEL: Final = "notification-target/"


def seal_label(target_id: str) -> str:
    """What a target's secret is sealed as: of another target it can't be unsealed."""
    return SEAL_LABEL + target_id


class Ways:
    """See the module's docstring."""

    def __init__(
        self,
        catalog: AsyncCatalog,
        keys: SiteKeys,
        broker: Broker,
        webhooks: WebhookSender,
        mails: MailSender,
        *,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._keys = keys
        self._broker = broker
        self._webhooks = webhooks
        self._mails = mails
        self._clock = clock

    async def send(self, target: NotificationTarget, notification: Notification) -> Sent:
        """One attempt; what fails is in the outcome."""
        try:
            sealed, zone = await self._catalog.read(
                lambda reader: (reader.target_secret_sealed(target.target_id), site_zone(reader))
            )
            secret = self._keys.unseal(seal_label(target.target_id), sealed) if sealed else b""
        except ConfigError as error:
            return Sent(is_sent=False, words=line(str(error)), is_answer=True)
        except HomeportError as error:
            return Sent(is_sent=False, words=line(f"The target can't be read: {error}"))
        match target.settings:
            case Webhook() as webhook:
                return await self._webhooks.send(
                    webhook,
                    secret=secret,
                    key=notification.notification_id,
                    body=notification.body.encode(),
                    traceparent=_traceparent(notification),
                )
            case Email() as email:
                try:
                    body = of_json(notification.body)
                except msgspec.DecodeError as error:
                    # A newer release wrote it, and went back to this one.
                    return Sent(is_sent=False, words=line(f"It can't be read: {error}."), is_answer=True)
                return await self._mails.send(
                    email, secret=secret, body=body, zone=zone, now_ms=self._clock.now_ms()
                )
            case mqtt:
                return await self._publish(
                    mqtt.topic, notification.body.encode(), notification.notification_id, mqtt.retained
                )

    async def _publish(self, topic: str, payload: bytes, key: str, is_retained: bool) -> Sent:
        """By the broker's own record in the log: it is on disk when the broker answers, and then for every subscriber at QoS 1."""
        try:
            answer = await self._broker.ask(
                "publish", topic=topic, payload=payload, key=key, is_retained=is_retained
            )
        except HomeportError as error:
            return Sent(is_sent=False, words=line(str(error)))
        return Sent(is_sent=True, words=f"Published as record {answer['seq']} of the log.", is_answer=True)


def _traceparent(notification: Notification) -> str:
    """For the receiver, whose own steps are then below the attempt; "" where the reading that decided was not traced."""
    if not notification.trace_id:
        return ""
    return format_traceparent(
        notification_context(notification.trace_id, notification.notification_id, notification.attempts)
    )
