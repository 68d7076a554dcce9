"""What an operator or the node does to clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.management.access import Principal
from broker.administration import Administration
from broker.session_records import CloseReason
from tests.session_kit import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.end()


@pytest.fixture
def administration(stage: Stage) -> Administration:
    return Administration(stage.plane, stage.lifecycle)


def test_kick_leaves_the_session(stage: Stage, administration: Administration) -> None:
    client = stage.connect()
    wakes = stage.wake_count
    assert administration.kick("c")
    assert stage.closed == [("c", CloseReason.KICKED, 0x98)]
    assert not client.is_connected
    assert stage.sessions.get("c") is client.session
    assert stage.wake_count > wakes
    assert not administration.kick("c"), "it has no connection any more"
    assert not administration.kick("nobody")


def test_end_session(stage: Stage, administration: Administration) -> None:
    stage.connect("here").subscribe("t")
    stage.connect("away").leave()
    stage.connect("short", expiry_s=0)
    for client_id in ("here", "away", "short"):
        assert administration.end_session(client_id)
        assert stage.sessions.get(client_id) is None
    assert stage.router.subscription_count == 0
    assert [client_id for client_id, reason, _ in stage.closed if reason is CloseReason.KICKED] == [
        "here",
        "short",
    ]
    assert not administration.end_session("here")
    stage.commit()
    stage.crash()
    assert len(stage.sessions) == 0, "it is on disk"


def test_revoke_takes_everything_of_one(stage: Stage, administration: Administration) -> None:
    device = Principal(name="d1")
    stage.connect("one", principal=device)
    stage.connect("two", principal=device, expiry_s=0)
    stage.connect("away", principal=device).leave()
    other = stage.connect("other")
    assert administration.revoke("d1") == 2
    assert list(stage.sessions) == [other.session]
    assert other.is_connected
    codes = {client_id: code for client_id, reason, code in stage.closed if reason is CloseReason.KICKED}
    assert codes == {"one": 0x87, "two": 0x87}
    assert administration.revoke("d1") == 0
