"""A traced reading as broker, pipeline, alarm desk and sender tell it: 340 ms, of which 197 in the log."""

from __future__ import annotations

from appliance.tracing.span import DEVICE, Attribute, Span, SpanKind

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
_RECEIVE, _PROCESS, _RULE, _ALARM = "a" * 16, "b" * 16, "c" * 16, "d" * 16


def reading(
    device_id: str, arrived_ms: int, *, trace_id: str = TRACE_ID, target: str = "Hook", error: str = ""
) -> list[Span]:
    """All steps, in the order in which they end."""
    topic: dict[str, Attribute] = {"messaging.destination.name": f"dm/{device_id}/telemetry"}
    batch: dict[str, Attribute] = {"messaging.batch.message_count": 250}
    steps: list[tuple[str, str, str, int, int, dict[str, Attribute]]] = [
        ("append log", "1" * 16, _RECEIVE, 1_000, 3_000, {"homeport.log.records": 12}),
        ("puback", "2" * 16, _RECEIVE, 3_000, 3_200, {}),
        (
            "receive",
            _RECEIVE,
            "f" * 16,
            0,
            3_200,
            {**topic, "messaging.client.id": device_id, "messaging.mqtt.qos": 1},
        ),
        ("wait in log", "3" * 16, _RECEIVE, 0, 200_000, {DEVICE: device_id}),
        ("read log", "4" * 16, _PROCESS, 200_000, 201_000, batch),
        ("decode", "5" * 16, _PROCESS, 201_000, 219_000, batch),
        ("evaluate rules", "6" * 16, _PROCESS, 219_000, 229_000, batch),
        ("commit", "7" * 16, _PROCESS, 239_000, 340_000, {"db.operation.batch.size": 500}),
        (
            "process",
            _PROCESS,
            _RECEIVE,
            200_000,
            340_000,
            {**topic, DEVICE: device_id, "homeport.fate": "reading"},
        ),
        ("evaluate rule", _RULE, _PROCESS, 229_000, 1_240_000, {DEVICE: device_id, "homeport.rule.id": "r1"}),
        ("apply alarm", _ALARM, _RULE, 1_250_000, 1_280_000, {"homeport.alarm.id": "a1"}),
        ("notify webhook", "8" * 16, _ALARM, 1_300_000, 1_350_000, {"homeport.notification.target": target}),
    ]
    return [
        Span(
            trace_id,
            span_id,
            parent_id,
            name,
            SpanKind.INTERNAL,
            arrived_ms * 1000 + start_us,
            arrived_ms * 1000 + end_us,
            attributes,
            error=error if name == "notify webhook" else "",
        )
        for name, span_id, parent_id, start_us, end_us, attributes in steps
    ]
