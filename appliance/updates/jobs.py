"""The service `jobs`: what devices ask and report about their updates over MQTT, natively and by `$aws/things/…`, in the same way.

Whatever comes of a request is on disk before it is answered. What a handler refuses by raising the router says in the words of the service.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.core.clock import Clock
from appliance.core.errors import UsageError
from appliance.device_requests.router import Asked
from appliance.management.execution import Answer, Execution
from appliance.management.execution_report import parse_report, step_timeout_of
from appliance.management.executions import State
from appliance.management.request_topics import ACCEPTED, NEXT, REJECTED
from appliance.updates.desk import Updates
from appliance.updates.job_messages import Asking, JobMessages, read
from broker.control_messages import DeviceReply


class Jobs:
    """See the module's docstring. `handle` is what the router asks."""

    def __init__(self, updates: Updates, *, clock: Clock) -> None:
        self._updates = updates
        self._clock = clock

    async def handle(self, asked: Asked) -> DeviceReply:
        """Answer one request of a device.

        Raises:
            HomeportError: it can't be answered.
        """
        asking = read(asked.payload)
        messages = JobMessages(is_aws=asked.topic.is_aws, now_ms=self._clock.now_ms())
        match asked.topic.rest:
            case ("get",):
                pending = await self._updates.pending(asked.device_id)
                return _accepted(asked, messages.encode(messages.pending(pending), asking))
            case ("start-next",):
                return await self._start_next(asked, asking, messages)
            case (job_id, "get"):
                return await self._describe(asked, asking, messages, job_id)
            case (job_id, "update"):
                return await self._update(asked, asking, messages, job_id)
            case _:
                raise UsageError(
                    "This is no request about jobs.",
                    hint="Ask jobs/get, jobs/start-next, jobs/{id}/get or jobs/{id}/update.",
                    code="job_request_invalid",
                )

    async def _start_next(self, asked: Asked, asking: Asking, messages: JobMessages) -> DeviceReply:
        minutes = step_timeout_of(asking.fields)
        execution = await self._updates.start_next(asked.device_id, step_timeout_minutes=minutes)
        return _accepted(asked, messages.encode(await self._told(messages, execution), asking))

    async def _describe(
        self, asked: Asked, asking: Asking, messages: JobMessages, job_id: str
    ) -> DeviceReply:
        if job_id == NEXT:
            execution = await self._updates.next_execution(asked.device_id)
        else:
            execution = await self._updates.get(asked.device_id, job_id)
            if execution.is_over:
                return _rejected(asked, messages.refusal(asking, execution, Answer.TERMINAL_STATE_REACHED))
        if execution is not None and execution.state is State.QUEUED and execution.is_admitted:
            execution = await self._updates.taken(asked.device_id, execution.execution_id)
        with_document = asking.wants("includeJobDocument", default=True)
        told = await self._told(messages, execution, with_document=with_document)
        return _accepted(asked, messages.encode(told, asking))

    async def _update(self, asked: Asked, asking: Asking, messages: JobMessages, job_id: str) -> DeviceReply:
        report = parse_report(asked.device_id, asking.fields, self._clock.now_ms())
        answered = await self._updates.answer_report(asked.device_id, job_id, report)
        execution = answered.execution
        if answered.answer is not Answer.ACCEPTED:
            return _rejected(asked, messages.refusal(asking, execution, answered.answer))
        told: dict[str, Any] = {}
        if asking.wants("includeJobExecutionState", default=not asked.topic.is_aws):
            told["executionState"] = messages.state(execution)
        if asking.wants("includeJobDocument", default=False):
            told["jobDocument"] = await self._updates.document(execution)
        return _accepted(asked, messages.encode(told, asking))

    async def _told(
        self, messages: JobMessages, execution: Execution | None, *, with_document: bool = True
    ) -> Mapping[str, Any]:
        if execution is None:
            return {}
        document = await self._updates.document(execution) if with_document else None
        return {"execution": messages.execution(execution, document)}


def _accepted(asked: Asked, payload: bytes) -> DeviceReply:
    return _reply(asked, ACCEPTED, payload)


def _rejected(asked: Asked, payload: bytes) -> DeviceReply:
    return _reply(asked, REJECTED, payload)


def _reply(asked: Asked, level: str, payload: bytes) -> DeviceReply:
    topic = asked.topic.answer(*asked.topic.rest, level)
    return DeviceReply(is_accepted=level == ACCEPTED, messages=((topic, payload),))
