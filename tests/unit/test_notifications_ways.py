"""The ways: each kind by its own, with the target's secret unsealed for it; what can't be unsealed or read says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.core.clock import ManualClock
from appliance.core.errors import Unavailable
from appliance.identity import SiteKeys
from appliance.management.notification_body import to_json
from appliance.management.notification_targets import Email, Mqtt, Settings, Webhook
from appliance.notifications.destinations import Destinations
from appliance.notifications.mail import MailSender
from appliance.notifications.sent import Sent
from appliance.notifications.ways import Ways, seal_label
from appliance.notifications.webhook import WebhookSender
from storage.catalog import AsyncCatalog
from tests.acts import ACT
from tests.notification_kit import new
from tests.smtp_receiver import SmtpReceiver
from tests.unit.test_management_notification_body import body
from tests.webhook_receiver import WebhookReceiver


class Broker:
    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.error: Unavailable | None = None

    async def ask(self, question: str, **fields: Any) -> dict[str, Any]:
        self.asked.append((question, fields))
        if self.error is not None:
            raise self.error
        return {"seq": 17}


async def send(
    folder: Path,
    broker: Broker,
    settings: Settings,
    *,
    secret: bytes = b"",
    label: str = "t1",
    text: str = "",
) -> Sent:
    clock, keys = ManualClock(), SiteKeys.load_or_create(folder)
    async with AsyncCatalog.opened(folder / "catalog.db", clock=clock, node_id=keys.node_id) as catalog:
        sealed = keys.seal(seal_label(label), secret) if secret else b""
        target = await catalog.write(
            lambda writer: writer.add_target("t1", name="T", settings=settings, secret_sealed=sealed), by=ACT
        )
        row = await catalog.write(
            lambda writer: writer.begin_notification(new("k1", "t1", body=text or to_json(body()))), by=ACT
        )
        destinations = Destinations(own_ports=(), own_addresses=tuple)
        webhooks = WebhookSender(destinations, now_s=lambda: 1, user_agent="t")
        ways = Ways(catalog, keys, broker, webhooks, MailSender(destinations), clock=clock)
        sent = await ways.send(target, row)
        await catalog.write(lambda writer: writer.end_notification("k1", "sent"), by=ACT)
        return sent


async def test_a_webhook_with_its_secret(tmp_path: Path) -> None:
    with WebhookReceiver() as receiver:
        sent = await send(tmp_path, Broker(), Webhook(url=receiver.url), secret=b"s3cret")
        assert sent.is_sent, sent.words
        assert "homeport-signature" in receiver.requests[0].headers
        assert receiver.requests[0].headers["idempotency-key"] == "k1"


async def test_a_mail(tmp_path: Path) -> None:
    with SmtpReceiver() as receiver:
        email = Email(to="a@b.c", from_="d@e.f", host="localhost", port=receiver.port, security="none")
        assert (await send(tmp_path, Broker(), email)).is_sent
        assert receiver.mails[0].message["Message-ID"] == "<k@e.f>"


async def test_a_mail_whose_body_a_newer_release_wrote(tmp_path: Path) -> None:
    sent = await send(
        tmp_path, Broker(), Email(to="a@b.c", from_="d@e.f", host="localhost"), text='{"new": 1}'
    )
    assert (sent.is_sent, sent.is_answer) == (False, True)
    assert "can't be read" in sent.words


async def test_a_message_of_the_broker(tmp_path: Path) -> None:
    broker = Broker()
    sent = await send(tmp_path, broker, Mqtt(topic="alarms/x", retained=True), text='{"a": 1}')
    assert sent.words == "Published as record 17 of the log."
    fields = {"topic": "alarms/x", "payload": b'{"a": 1}', "key": "k1", "is_retained": True}
    assert broker.asked == [("publish", fields)]


async def test_a_broker_that_is_away(tmp_path: Path) -> None:
    broker = Broker()
    broker.error = Unavailable("The broker is not connected.", hint="Wait.")
    sent = await send(tmp_path, broker, Mqtt(topic="alarms/x"))
    assert (sent.is_sent, sent.is_answer) == (False, False)
    assert "not connected" in sent.words


async def test_a_secret_of_another_target_or_site_is_not_used(tmp_path: Path) -> None:
    sent = await send(tmp_path, Broker(), Webhook(url="https://a/"), secret=b"s3cret", label="t2")
    assert (sent.is_sent, sent.is_answer) == (False, True)
    assert "was not sealed by this site's key" in sent.words
