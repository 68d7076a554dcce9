"""The endpoint that tries a rule on past readings; nothing is written."""

from __future__ import annotations

from typing import Final

from appliance.management.rule import check, of_json
from ui.api import rule_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.rule_tries import try_rule

SPAN_MS: Final = 86_400_000
_NAMELESS: Final = "a rule that is tried"


async def try_out_rule(call: Call) -> Reply:
    query: structs.RuleTryQuery = call.query
    definition = of_json(query.definition)
    check(_NAMELESS, definition)
    to_ms = call.services.clock.now_ms() if query.to_ms is None else query.to_ms
    from_ms = to_ms - SPAN_MS if query.from_ms is None else query.from_ms
    tried, _ = await try_rule(call.services, definition, from_ms, to_ms)
    return Reply(
        content=structs.RuleTried(
            alarms=tuple(
                structs.TriedAlarm(
                    device_id=each.key.device_id,
                    group_id=each.key.group_id,
                    series=each.key.series,
                    at_ms=each.from_ms,
                    until_ms=each.to_ms,
                    value=each.value,
                    text=each.text,
                )
                for each in tried.alarms
            ),
            count=tried.count,
            by_device=dict(tried.by_device),
            reading_count=tried.reading_count,
            series_count=tried.series_count,
            from_ms=tried.from_ms,
            to_ms=tried.to_ms,
            warm_up_ms=tried.warm_up_ms,
        )
    )


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/rules/try-out",
        handler=try_out_rule,
        needs="rules.manage",
        summary="The alarms that a rule would have raised",
        query=structs.RuleTryQuery,
        answer=structs.RuleTried,
        errors=(422,),
        codes={
            422: ("rule_invalid", "rule_not_tried", "range_invalid"),
            429: ("rule_try_too_much", "rule_try_busy"),
        },
        tags=("rules",),
    ),
)
