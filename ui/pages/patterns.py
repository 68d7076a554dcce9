"""`/patterns`: every component in every state, from the same templates and tables that real pages use.

For people who change the look, and for the browser tests, which check contrast and names of all of it at once.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ui.pages.looks import BRIDGE, BROKER, CLIENT, CLOCK, DISK, FRESHNESS, PRESENCE, QUALITY, REGISTRY, STORE
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
            freshness="fresh",
            stale_after_ms=stale_after_ms,
            is_cut=True,
        )
    )
    return await shell.render(
        request,
        "patterns.html",
        title="Patterns",
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
            ("Clock", CLOCK),
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
    )
