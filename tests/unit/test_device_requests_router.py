"""Who answers what devices ask, and what is answered where a handler refuses."""

from __future__ import annotations

import json

import pytest
from structlog.testing import capture_logs

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, HomeportError, LimitExceeded, NotFound, Unavailable
from appliance.core.limits_requests import (
    REQUEST_REFUSALS_LOGGED_MAX,
    REQUEST_REFUSALS_LOGGED_PER_DEVICE_MAX,
)
from appliance.device_requests.router import Asked, Router, by_request
from broker.control_messages import DeviceReply, DeviceRequest


def request(topic: str = "dm/pump/shadow/get", name: str = "pump", kind: str = "device") -> DeviceRequest:
    return DeviceRequest(
        topic=topic, payload=b'{"clientToken": "t"}', client_id="c", address="::1", name=name, kind=kind, proof=b"p"
    )  # fmt: skip


async def test_the_handler_of_the_service_answers() -> None:
    router, got = Router(clock=ManualClock()), list[Asked]()

    async def handle(asked: Asked) -> DeviceReply:
        got.append(asked)
        return DeviceReply(is_accepted=True, messages=((asked.topic.answer("get", "accepted"), b"{}"),))

    router.register("shadow", handle)
    reply = await router.answer(request("$aws/things/pump/shadow/get"))
    assert reply.messages == (("$aws/things/pump/shadow/get/accepted", b"{}"),)
    (asked,) = got
    assert (asked.device_id, asked.client_id, asked.address, asked.kind) == ("pump", "c", "::1", "device")
    assert asked.topic.rest == ("get",)
    assert "clientToken" not in repr(asked), "what is logged of it holds no secret"


@pytest.mark.parametrize(
    ("error", "status", "retry_s"),
    [
        (NotFound("No.", hint="Look.", code="twin_unknown"), 404, None),
        (Conflict("No.", hint="Look.", code="x"), 409, None),
        (LimitExceeded("No.", hint="Look.", code="x"), 429, 10),
        (Unavailable("No.", hint="Look.", code="x"), 500, 10),
    ],
)
async def test_what_a_handler_refuses_is_answered_and_counted(
    error: HomeportError, status: int, retry_s: int | None
) -> None:
    router = Router(clock=ManualClock())

    async def handle(asked: Asked) -> DeviceReply:
        raise error

    router.register("shadow", handle)
    reply = await router.answer(request())
    assert not reply.is_accepted
    ((topic, payload),) = reply.messages
    assert topic == "dm/pump/shadow/get/rejected"
    words = json.loads(payload)
    assert (words["code"], words["reason"], words.get("retry_s")) == (status, error.code, retry_s)
    assert words["message"] == "No. Look."
    assert words["clientToken"] == "t"
    assert router.statistics() == {error.code: 1}


@pytest.mark.parametrize(
    ("name", "service", "code"), [("fan", "jobs", "not_authorized"), ("pump", "shadow", "service_unknown")]
)
async def test_nobody_asks_for_another_and_nobody_is_asked_what_nobody_answers(
    name: str, service: str, code: str
) -> None:
    router = Router(clock=ManualClock())

    async def handle(asked: Asked) -> DeviceReply:
        raise AssertionError

    router.register("jobs", handle)
    reply = await router.answer(request(f"dm/pump/{service}/get", name=name))
    assert json.loads(reply.messages[0][1])["reason"] == code


async def test_enrolling_gets_the_request_as_the_broker_has_it() -> None:
    got: list[DeviceRequest] = []

    async def enrol(asked: DeviceRequest) -> DeviceReply:
        got.append(asked)
        return DeviceReply(is_accepted=True, messages=())

    router = Router(clock=ManualClock())
    router.register("provision", by_request(enrol))
    asked = request("dm/provision/default/request", name="$provision/x", kind="provisioning")
    assert (await router.answer(asked)).is_accepted
    assert got == [asked]


async def test_a_handler_with_a_mistake_ends_nothing_else() -> None:
    router = Router(clock=ManualClock())

    async def handle(asked: Asked) -> DeviceReply:
        raise KeyError(asked.device_id)

    router.register("shadow", handle)
    reply = await router.answer(request())
    assert not reply.is_accepted
    assert json.loads(reply.messages[0][1])["code"] == 500
    assert router.statistics() == {"request_failed": 1}


async def test_refusals_fill_no_journal_and_are_counted_all() -> None:
    clock = ManualClock()
    router = Router(clock=clock)

    async def handle(asked: Asked) -> DeviceReply:
        raise NotFound("No.", hint="Look.", code="twin_unknown")

    router.register("shadow", handle)
    with capture_logs() as lines:
        for _ in range(100):
            await router.answer(request())
        assert len(lines) == REQUEST_REFUSALS_LOGGED_PER_DEVICE_MAX
        assert router.statistics() == {"twin_unknown": 100}
        for number in range(2 * REQUEST_REFUSALS_LOGGED_MAX):
            await router.answer(request(f"dm/d{number}/shadow/get", f"d{number}"))
        assert len(lines) == REQUEST_REFUSALS_LOGGED_MAX
        clock.advance(60_000)
        await router.answer(request())
        assert len(lines) == REQUEST_REFUSALS_LOGGED_MAX + 1
        assert lines[REQUEST_REFUSALS_LOGGED_PER_DEVICE_MAX]["unlogged_before"] == 94
        assert lines[-1]["unlogged_before"] == 126
