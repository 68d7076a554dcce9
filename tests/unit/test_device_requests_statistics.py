from __future__ import annotations

from appliance.core.clock import ManualClock
from appliance.device_requests.listeners import Listeners
from appliance.device_requests.router import Router
from appliance.device_requests.statistics import request_numbers
from broker.control_messages import SessionEvent


class Link:
    def answering_counts(self) -> dict[str, int]:
        return {"streams": 3}


def test_the_numbers() -> None:
    listeners = Listeners()
    listeners.take([SessionEvent(principal="pump", client_id="c", what="listening")], False)
    assert request_numbers(Router(clock=ManualClock()), listeners, Link()) == {
        "answering": {"streams": 3},
        "refused": {},
        "listening": 1,
    }
