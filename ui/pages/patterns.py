"""`/patterns`: every component in every state, from the same templates and tables that real pages use.

For people who change the look, and for the browser tests, which check contrast and names of all of it at once.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from appliance.management.alarms import AlarmState
from ui.pages.alarm_views import AlarmView
from ui.pages.alarm_words import ALARM, ASIDE, MAINTENANCE, NOTIFICATION, RULE, SEVERITY
from ui.pages.execution_words import EXECUTION
from ui.pages.looks import (
    BRIDGE,
    BROKER,
    CERTIFICATE,
    CLAIM,
    CLIENT,
    CLOCK,
    DEVICE_CLOCK,
    DISK,
    FRESHNESS,
    PRESENCE,
    QUALITY,
    REGISTRY,
    STORE,
)
from ui.pages.people_facts import STANDING
from ui.pages.rollout_words import KINDS, ROLLOUT, bar_of
from ui.pages.shell import Shell
from ui.pages.views import DeadLetterView, DeviceView, NewestView, WaitingView

HOSTILE: Final = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
LONG: Final = (
    "a-device-with-a-name-that-is-much-longer-than-anybody-would-choose-by-hand-0123456789-0123456789"
)


async def show(shell: Shell, request: Request) -> Response:
    """`GET /patterns`."""
    now_ms = shell.services.clock.now_ms()
    stale_after_ms = 60_000
    ages_ms = {"fresh": 3_000, "late": 40_000, "stale": 5_400_000}
    rows = [
        DeviceView(
            device_id=f"sample-{word}",
            name="Pump room" if word == "online" else "",
            presence=word,
            since_ms=None if word == "never_seen" else now_ms - 7_200_000,
            reason="keep alive passed without a packet" if word == "lost" else "",
            last_seen_at_ms=None if word == "never_seen" else now_ms - 4_000,
            last_reading_at_ms=None if word == "never_seen" else now_ms - 4_000,
            freshness="never" if word == "never_seen" else "fresh",
        )
        for word in PRESENCE
    ]
    rows += [DeviceView(device_id=f"sample-{word}", registry_state=word) for word in REGISTRY]
    rows += [DeviceView(device_id=HOSTILE, name=HOSTILE), DeviceView(device_id=LONG)]
    newest = [
        NewestView(
            device_id="sample",
            metric=word,
            label=f"temperature_celsius.{word}",
            text="21.37",
            unit="°C",
            observed_at_ms=now_ms - age_ms,
            received_at_ms=now_ms - age_ms,
            counts_at_ms=now_ms - age_ms,
            freshness=word,
            stale_after_ms=stale_after_ms,
            quality_word=quality,
        )
        for (word, age_ms), quality in zip(ages_ms.items(), QUALITY, strict=True)
    ]
    newest.append(
        NewestView(
            device_id="sample",
            metric=HOSTILE,
            label=HOSTILE,
            text=HOSTILE,
            unit="",
            observed_at_ms=now_ms,
            received_at_ms=now_ms,
            counts_at_ms=None,
            freshness="stale",
            is_kept_copy=True,
            stale_after_ms=stale_after_ms,
            is_cut=True,
        )
    )
    return await shell.render(
        request,
        "patterns.html",
        title="Patterns",
        selectable=True,
        may_decide=True,
        tables=(
            ("Presence", PRESENCE),
            ("Registry", REGISTRY),
            ("Freshness", FRESHNESS),
            ("Quality", QUALITY),
            ("Store", STORE),
            ("Broker", BROKER),
            ("Client", CLIENT),
            ("Disk", DISK),
            ("Bridge", BRIDGE),
            ("Claim", CLAIM),
            ("Certificate", CERTIFICATE),
            ("Clock", CLOCK),
            ("A device's clock", DEVICE_CLOCK),
            ("Accounts and tokens", STANDING),
            ("Rollout", ROLLOUT),
            ("Execution", EXECUTION),
            ("Severity", SEVERITY),
            ("Alarm", ALARM),
            ("Beside an alarm", ASIDE),
            ("Rule", RULE),
            ("Notification", NOTIFICATION),
            ("Maintenance", MAINTENANCE),
        ),
        rows=rows,
        newest=newest,
        newest_first=newest[0],
        waiting=WaitingView(
            total=2,
            rows=(
                DeviceView(
                    device_id="sample-waiting", registry_state="waiting", first_contact_at_ms=now_ms - 90_000
                ),
                DeviceView(device_id=HOSTILE, registry_state="waiting"),
            ),
        ),
        letter=DeadLetterView(
            topic=HOSTILE,
            device_id="sample",
            received_at_ms=now_ms - 60_000,
            payload=HOSTILE,
            size_bytes=len(HOSTILE),
            is_cut=False,
            position="1:42",
            detail="",
        ),
        hostile=HOSTILE,
        alarms=alarm_rows(now_ms),
        tickable=True,
        may_operate=True,
        back="/patterns",
        bars=(
            ("every kind", bar_of({kind.states[0]: 7 - i % 5 for i, kind in enumerate(KINDS)})),
            ("as it starts", bar_of({"queued": 1000})),
            ("half-way", bar_of({"succeeded": 260, "testing": 40, "downloading": 90, "queued": 610})),
            ("one failure in ten thousand", bar_of({"succeeded": 9_998, "failed": 1, "queued": 1})),
            ("completed", bar_of({"succeeded": 12})),
            ("empty", bar_of({})),
        ),
    )


def alarm_rows(now_ms: int) -> tuple[AlarmView, ...]:
    """One alarm in each state, and in what may stand beside it."""

    def row(number: int, severity: str, state: AlarmState, **more: Any) -> AlarmView:
        fields: dict[str, Any] = {
            "rule_name": "Oven too hot",
            "device_id": "sample-oven",
            "device_name": "Hall 2",
            "series": "temperature_celsius",
            "text": "Above 80 °C since 10:03: 93.2 °C.",
            "value": "93.2 °C",
            "since_ms": now_ms - 720_000,
            "raised_at_ms": now_ms - 60_000,
        }
        return AlarmView(
            alarm_id=f"sample-{number}",
            severity=severity,
            state=state,
            rule_id="sample",
            **{**fields, **more},
        )

    seen: dict[str, Any] = {
        "acknowledged_by": "anna",
        "acknowledged_at_ms": now_ms - 30_000,
        "acknowledge_note": "On my way",
    }
    return (
        row(1, "P1", AlarmState.ACTIVE_UNACKNOWLEDGED),
        row(2, "P2", AlarmState.ACTIVE_UNACKNOWLEDGED, raised_count=14),
        row(3, "P3", AlarmState.ACTIVE_ACKNOWLEDGED, **seen),
        row(4, "P2", AlarmState.CLEARED_UNACKNOWLEDGED, cleared_at_ms=now_ms - 10_000),
        row(5, "P1", AlarmState.NORMAL, cleared_at_ms=now_ms - 10_000, **seen),
        row(
            6,
            "P2",
            AlarmState.ACTIVE_UNACKNOWLEDGED,
            shelved_by="bert",
            shelved_until_ms=now_ms + 3_600_000,
            shelve_reason="The fan is on its way",
        ),
        row(
            7,
            "P2",
            AlarmState.ACTIVE_UNACKNOWLEDGED,
            device_id="",
            group_id="hall-2",
            series="",
            because="Explained by: many devices send nothing",
            because_url="/patterns",
        ),
        row(8, "P3", AlarmState.ACTIVE_UNACKNOWLEDGED, device_id="", series="", value=""),
        row(
            9,
            "P1",
            AlarmState.ACTIVE_UNACKNOWLEDGED,
            rule_name=HOSTILE,
            device_id=HOSTILE,
            device_name=HOSTILE,
            series=LONG,
            text=HOSTILE,
            value=HOSTILE,
        ),
    )
