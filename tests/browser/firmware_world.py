"""Rollouts of the browser tests: one in every state that a page shows, over the devices of world.py, with hostile names."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from appliance.management.execution import Execution, Move
from appliance.management.executions import Event, Source, State
from appliance.management.firmware_report import FirmwareReport
from appliance.management.rollout_plan import Targets
from appliance.management.rollouts import RolloutEvent, RolloutState
from appliance.updates import rollout_acts
from appliance.updates.rollout_acts import Author, Draft
from storage.catalog import Catalog
from tests.browser.node_kit import TestNode
from tests.browser.world import HOSTILE_ID, HOSTILE_NAME, HOSTILE_TEXT

ARTIFACT: Final = "b1"
OLD, NEW, OTHER = "0" * 64, "1" * 64, "3" * 64
RUNNING, PAUSED, WAITING, MINE, DRAFT, DONE = (f"{number:012x}{'ab' * 6}" for number in range(1, 7))
STUCK: Final = f"{PAUSED}-2"
"""An execution in the work queue."""
STATES: Final = (
    State.SUCCEEDED, State.MANUAL, State.FAILED, State.LOST, State.REGRESSED, State.ROLLBACK_FAILED, State.TESTING,
)  # fmt: skip
DEVICES: Final = (*(f"press-{number}" for number in range(6)), HOSTILE_ID)
DRAFT_OF: Final = Draft(name="", artifact_id=ARTIFACT, targets=Targets(devices=DEVICES))


def populate(node: TestNode) -> None:
    """Fill the catalog; made once."""
    now_ms = node.services.clock.now_ms()

    def write(catalog: Catalog) -> None:
        catalog.set_unsigned_policy("allow")
        for artifact_id, version, sha256 in ((ARTIFACT, "2.0", NEW), ("b2", "3.0<b>", OTHER)):
            catalog.execute(
                "INSERT INTO artifacts (artifact_id, name, version, sha256, sha1, size_bytes, filename, format, created_by, "
                "created_at_ms, updated_at_ms, origin, hlc) VALUES (?, 'pump', ?, ?, ?, 204800, 'p.bin', 'raw', 'admin', ?, ?, ?, ?)",
                (artifact_id, version, sha256, "2" * 40, now_ms, now_ms, catalog.origin, catalog.hlc),
            )
        for rollout_id, name, author in (
            (
                RUNNING,
                "Spring release for the presses of hall 2 and whatever else is connected there",
                "bert",
            ),
            (PAUSED, HOSTILE_NAME, "bert"),
            (WAITING, "Security fix", "bert"),
            (MINE, "Of my own", "admin"),
            (DRAFT, "Not yet", "admin"),
            (DONE, "Winter release", "bert"),
        ):
            rollout_acts.create(catalog, rollout_id, replace(DRAFT_OF, name=name), Author(author))
        for rollout_id, state in (
            (RUNNING, RolloutState.SOAKING), (PAUSED, RolloutState.PAUSED), (WAITING, RolloutState.AWAITING_APPROVAL),
            (MINE, RolloutState.AWAITING_APPROVAL), (DONE, RolloutState.COMPLETED),
        ):  # fmt: skip
            catalog.move_rollout(
                catalog.get_rollout(rollout_id),
                RolloutEvent.START,
                state,
                actor="bert",
                wave=1,
                started_at_ms=now_ms - 7_200_000,
                soak_until_at_ms=now_ms + 1_200_000 if rollout_id == RUNNING else None,
                ended_at_ms=now_ms - 3_600_000 if rollout_id == DONE else None,
                reason="3 devices failed of 6 started; 2 are too many." if rollout_id == PAUSED else "",
            )
        for rollout_id, states in (
            (PAUSED, STATES),
            (RUNNING, (State.SUCCEEDED, *(State.QUEUED,) * 6)),
            (DONE, (State.SUCCEEDED,) * 5 + (State.ROLLED_BACK, State.NOOP)),
        ):
            for number, (device_id, stands) in enumerate(zip(DEVICES, states, strict=True), start=1):
                catalog.insert_execution(execution(rollout_id, number, device_id, stands, now_ms))
        steps = (
            (Source.REPORT, Event.TAKEN, State.QUEUED, State.NOTIFIED, ""),
            (Source.REPORT, Event.STARTED, State.NOTIFIED, State.DOWNLOADING, ""),
            (Source.OPERATOR, Event.RETRY, State.DOWNLOADING, State.QUEUED, HOSTILE_TEXT),
            (Source.RECONCILE, Event.RUNS_OTHER, State.REBOOTING, State.MANUAL, ""),
        )
        moves = [
            Move(
                at_ms=now_ms,
                source=source,
                event=event,
                from_state=a,
                to_state=b,
                attempt=1,
                detail={"reason": why},
            )
            for source, event, a, b, why in steps
        ]
        for rollout_id in (PAUSED, DONE):
            catalog.add_execution_moves(f"{rollout_id}-2", moves)
        for device_id in DEVICES:
            report = FirmwareReport(
                device_id=device_id, version="1.7" if device_id == "press-0" else "1.0", digest=OLD, slot="A",
                is_confirmed=True, epoch=2, boot_id="boot-17", session="s", seq=1, hw="press-2", at_ms=now_ms,
                source="status",
            )  # fmt: skip
            catalog.save_device_firmware(report, now_ms)
        catalog.add_known_bad(
            "press-1", NEW, execution_id=STUCK, reason="Its self-test failed.", now_ms=now_ms
        )

    node.catalog(write)


def execution(rollout_id: str, number: int, device_id: str, state: State, now_ms: int) -> Execution:
    """One of them, an hour in its state."""
    is_stuck = state in (State.MANUAL, State.LOST)
    return Execution(
        execution_id=f"{rollout_id}-{number}",
        rollout_id=rollout_id,
        device_id=device_id,
        wave=0 if number == 1 else 1,
        number=1,
        to_version="2.0",
        to_digest=NEW,
        from_version="1.0",
        from_digest=OLD,
        state=state,
        error="self_test" if state in (State.FAILED, State.ROLLED_BACK) else "",
        error_text=HOSTILE_TEXT if state is State.FAILED else "",
        needs_manual_intervention=is_stuck,
        manual_reason="It runs a version that is neither the old one nor the new one." if is_stuck else "",
        state_since_ms=now_ms - 3_600_000,
        started_at_ms=None if state is State.QUEUED else now_ms - 7_200_000,
        ended_at_ms=now_ms - 3_600_000 if state in (State.SUCCEEDED, State.ROLLED_BACK, State.NOOP) else None,
        created_at_ms=now_ms - 7_200_000,
        updated_at_ms=now_ms,
    )
