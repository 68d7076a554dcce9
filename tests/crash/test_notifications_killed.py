"""SIGKILL of the node at random under a load of alarms, with a real HTTP and a real SMTP receiver that count by key: none lost, none twice.

What a receiver gets twice carries the same key, so it can drop it; that happens only where a kill came between a send and its record: at most one for
each kill and target.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from appliance.core.clock import SystemClock
from appliance.identity import SiteKeys
from appliance.management.escalation import key_of
from appliance.management.notification_targets import Email, Settings, Webhook
from appliance.management.on_call import Member, OnCallDefinition, Plan, Step
from storage.catalog.catalog import Catalog
from tests.alarm_kit import definition, id_of, put_rule
from tests.smtp_receiver import SmtpReceiver
from tests.webhook_receiver import WebhookReceiver

ROOT = Path(__file__).parents[2]
DOMAIN = "example.net"


def prepare(folder: Path, targets: dict[str, Settings]) -> None:
    """A rule, a target of each kind, and a list that tells both."""
    keys = SiteKeys.load_or_create(folder)
    catalog = Catalog.open(folder / "catalog.db", clock=SystemClock(), node_id=keys.node_id)
    with catalog.transaction():
        put_rule(catalog, "urgent", definition(severity="P1"))
        for target_id, settings in targets.items():
            catalog.add_target(target_id, name=target_id, settings=settings, secret_sealed=b"")
        members = (Member(name="Anna", targets=tuple(targets)),)
        plan = Plan(steps=(Step(),))
        catalog.add_on_call("l1", name="Site", definition=OnCallDefinition(P1=plan, members=members))
    catalog.close()


@pytest.mark.parametrize(
    ("alarm_count", "kill_count", "seed"),
    [(25, 12, 7), pytest.param(300, 150, 11, marks=pytest.mark.long)],
)
def test_no_notification_is_lost_or_twice(
    tmp_path: Path, alarm_count: int, kill_count: int, seed: int
) -> None:
    with WebhookReceiver() as webhooks, SmtpReceiver() as mails:
        email = Email(
            to="anna@example.org", from_=f"box@{DOMAIN}", host="localhost", port=mails.port, security="none"
        )
        prepare(tmp_path, {"hook": Webhook(url=webhooks.url), "mail": email})
        command = [sys.executable, "-m", "tests.crash.notify_process", str(tmp_path)]
        done = subprocess.run(
            [*command, str(alarm_count), str(kill_count), str(seed)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            timeout=1_200,
            check=True,
        )
    killed = int(done.stdout.split()[-1])
    assert killed >= kill_count // 3, "it was done before it was killed often enough"

    wanted = {
        target: {
            key_of(id_of(f"d{number}", "urgent"), 1, step, target)
            for number in range(alarm_count)
            for step in ("raised", "cleared")
        }
        for target in ("hook", "mail")
    }
    got = {
        "hook": Counter(request.headers["idempotency-key"] for request in webhooks.requests),
        "mail": Counter(str(mail.message["Message-ID"])[1:].partition("@")[0] for mail in mails.mails),
    }
    catalog = Catalog.open_read_only(tmp_path / "catalog.db", clock=SystemClock())
    rows = {row.notification_id: row for row in catalog.list_notifications(limit=10_000).notifications}
    catalog.close()
    assert {row.state for row in rows.values()} == {"sent"}
    assert set(rows) == wanted["hook"] | wanted["mail"]
    for target, keys in wanted.items():
        assert set(got[target]) == keys, "lost, or made up"
        twice = [key for key, count in got[target].items() if count > 1]
        assert sum(got[target].values()) - len(keys) <= killed
        # Only what was sent when a kill came was sent again.
        assert all(rows[key].attempts >= got[target][key] for key in twice)
        assert sum(row.attempts for row in rows.values() if row.target_id == target) <= len(keys) + killed
    print(f"{killed} kills, {len(rows)} notifications, sent again: ", end="")
    print({target: sum(each.values()) - len(each) for target, each in got.items()})
