"""Who listens, who is told of it, and where what is pushed goes."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.device_requests.listeners import Listeners
from broker.control_messages import SessionEvent


class Link:
    def __init__(self) -> None:
        self.pushed: list[tuple[str, list[tuple[str, bytes]]]] = []

    async def push(self, principal: str, messages: Sequence[tuple[str, bytes]]) -> int:
        self.pushed.append((principal, list(messages)))
        return len(messages)


def event(device_id: str, what: str = "listening", is_aws: bool = False) -> SessionEvent:
    assert what in ("listening", "gone")
    return SessionEvent(
        principal=device_id, client_id="c", what="listening" if what == "listening" else "gone", is_aws=is_aws
    )


def test_who_listens_and_who_is_told() -> None:
    listeners, told = Listeners(), list[tuple[str, str]]()
    end = listeners.subscribe(lambda events: told.extend((each.principal, each.what) for each in events))
    listeners.take([], True)
    assert told == []
    listeners.take([event("pump"), event("fan"), event("fan", "gone")], False)
    assert told == [("pump", "listening"), ("fan", "listening"), ("fan", "gone")]
    assert listeners.listening() == ["pump"]
    assert "pump" in listeners
    assert "fan" not in listeners
    del told[:]
    listeners.take([event("fan")], True)
    assert told == [("pump", "gone"), ("fan", "listening")]
    assert len(listeners) == 1
    end()
    end()
    listeners.take([], True)
    assert len(told) == 2


async def test_each_is_told_where_it_listens() -> None:
    listeners, link = Listeners(), Link()
    listeners.link = link
    listeners.take(
        [event("pump"), event("aws", is_aws=True), event("both"), event("both", is_aws=True)], False
    )
    said = [("jobs/notify-next", b"{}"), ("cmd/1", b"on")]
    assert await listeners.push("nobody", said) == 0
    assert await listeners.push("pump", said) == 2
    assert await listeners.push("aws", said) == 1
    assert await listeners.push("aws", said[1:]) == 0
    assert await listeners.push("both", said) == 3
    assert link.pushed == [
        ("pump", [("dm/pump/jobs/notify-next", b"{}"), ("dm/pump/cmd/1", b"on")]),
        ("aws", [("$aws/things/aws/jobs/notify-next", b"{}")]),
        (
            "both",
            [
                ("dm/both/jobs/notify-next", b"{}"),
                ("$aws/things/both/jobs/notify-next", b"{}"),
                ("dm/both/cmd/1", b"on"),
            ],
        ),
    ]
