"""Turns executions and their moves, as the catalog has them, into what pages show. Pure."""

from __future__ import annotations

from appliance.management.execution import Execution
from appliance.management.executions import NEEDS_A_HAND, State
from storage.catalog.executions import ExecutionEvent
from ui.pages.error_words import error_text
from ui.pages.execution_words import event_text, source_text, words_of
from ui.pages.format import bytes_text, visible
from ui.pages.rollout_views import ExecutionView, MoveView


def execution_view(execution: Execution, *, rollout_name: str = "") -> ExecutionView:
    """An execution as a row."""
    done, total = execution.bytes_done, execution.bytes_total
    progress = ""
    if execution.state is State.DOWNLOADING and done:
        progress = (
            f"It has {bytes_text(done)} of {bytes_text(total)}" if total else f"It has {bytes_text(done)}"
        )
    return ExecutionView(
        execution_id=execution.execution_id,
        device_id=execution.device_id,
        rollout_id=execution.rollout_id,
        rollout_name=rollout_name,
        wave=execution.wave,
        state=execution.state,
        since_ms=execution.state_since_ms,
        from_version=execution.from_version,
        to_version=execution.to_version,
        attempt=execution.attempt,
        max_attempts=execution.max_attempts,
        rollback_attempt_count=execution.rollback_attempt_count,
        max_rollback_attempts=execution.max_rollback_attempts,
        needs_hand=execution.needs_manual_intervention or execution.state in NEEDS_A_HAND,
        error=error_text(execution.error, execution.error_text),
        progress=progress,
        started_at_ms=execution.started_at_ms,
        ended_at_ms=execution.ended_at_ms,
    )


def move_view(move: ExecutionEvent) -> MoveView:
    """A move as a line of a history; what stands in its detail in words that people wrote or devices said."""
    detail = move.detail
    texts = [str(detail[key]) for key in ("reason", "err_msg", "text") if detail.get(key)]
    code = detail.get("err") or detail.get("error")
    if code:
        texts.insert(0, error_text(str(code)))
    return MoveView(
        at_ms=move.at_ms,
        what=event_text(move.event),
        source=source_text(move.source),
        look=words_of(move.to_state).look,
        attempt=move.attempt,
        actor=visible(move.actor),
        detail=visible(" ".join(texts)),
    )
