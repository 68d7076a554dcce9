"""Presence: the table, and the fold of a log's records through it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.management.presence import (
    EVENT_OF_CLOSE_REASON,
    TRANSITIONS,
    Presence,
    PresenceEvent,
    PresenceFold,
    as_mermaid,
)

DESIGN = Path(__file__).parents[2] / "appliance" / "management" / "DESIGN.md"


def state(fold: PresenceFold, device: str = "d") -> Presence:
    found = fold.get(device)
    return Presence.NEVER_SEEN if found is None else found.presence


def opened(fold: PresenceFold, client: str = "c", at_ms: int = 1) -> None:
    fold.session_opened("d", client, at_ms, "10.0.0.1")


def closed(fold: PresenceFold, reason: str, client: str = "c", at_ms: int = 2) -> None:
    fold.session_closed("d", client, at_ms, reason, at_ms - 1)


def test_the_table_is_total_and_never_goes_back_to_never_seen() -> None:
    assert TRANSITIONS.keys() == {(a, b) for a in Presence for b in PresenceEvent}
    assert Presence.NEVER_SEEN not in TRANSITIONS.values()


def test_the_drawing_is_the_tables() -> None:
    drawing = re.search(r"```mermaid\n(.*?)```", DESIGN.read_text(), re.DOTALL)
    assert drawing is not None
    assert drawing[1] == as_mermaid()


@pytest.mark.parametrize(
    ("reason", "presence"),
    [
        ("client_disconnect", Presence.OFFLINE),
        ("draining", Presence.OFFLINE),
        ("kicked", Presence.OFFLINE),
        ("keep_alive", Presence.LOST),
        ("connection_lost", Presence.LOST),
        ("protocol_error", Presence.LOST),
        ("takeover", Presence.LOST),
        ("of a newer broker", Presence.LOST),
    ],
)
def test_how_a_session_ends(reason: str, presence: Presence) -> None:
    fold = PresenceFold()
    opened(fold)
    assert state(fold) is Presence.ONLINE
    closed(fold, reason)
    assert state(fold) is presence
    found = fold.get("d")
    assert found is not None
    assert (found.since_ms, found.reason, found.last_seen_at_ms, found.address) == (2, reason, 1, "10.0.0.1")


@pytest.mark.parametrize("order", ["opened first", "closed first"])
def test_a_takeover_that_is_followed_is_no_loss(order: str) -> None:
    fold = PresenceFold()
    opened(fold)
    if order == "opened first":
        opened(fold, at_ms=5)
        closed(fold, "takeover", at_ms=5)
    else:
        closed(fold, "takeover", at_ms=5)
        opened(fold, at_ms=5)
    assert state(fold) is Presence.ONLINE
    closed(fold, "client_disconnect", at_ms=9)
    assert state(fold) is Presence.OFFLINE


def test_only_the_last_session_counts() -> None:
    fold = PresenceFold()
    opened(fold, "c1")
    opened(fold, "c2")
    closed(fold, "connection_lost", "c1")
    assert state(fold) is Presence.ONLINE
    closed(fold, "connection_lost", "unknown")
    assert state(fold) is Presence.ONLINE
    closed(fold, "client_disconnect", "c2")
    assert state(fold) is Presence.OFFLINE


def test_a_started_broker_has_no_sessions() -> None:
    fold = PresenceFold()
    opened(fold)
    fold.session_opened("gone", "g", 1, "")
    fold.session_closed("gone", "g", 2, "client_disconnect", None)
    fold.take_changes()
    fold.broker_started(7)
    (changed,) = fold.take_changes()
    assert (changed.device, changed.presence, changed.reason) == ("d", Presence.LOST, "broker_restart")
    assert state(fold, "gone") is Presence.OFFLINE


def test_statuses() -> None:
    fold = PresenceFold()
    assert fold.status("d", {"state": "online", "session": 5}, 1, by_server=False)
    assert state(fold) is Presence.ONLINE
    assert fold.status("d", {"state": "sleeping"}, 2, by_server=False)
    assert state(fold) is Presence.SLEEPING
    assert fold.status("d", {"state": "offline"}, 3, by_server=False)
    assert state(fold) is Presence.OFFLINE
    wrongs: list[dict[str, object]] = [{}, {"state": "fine"}, {"state": []}, {"state": None}]
    for wrong in wrongs:
        assert not fold.status("d", wrong, 4, by_server=False)


def test_a_sleeper_stays_asleep_when_its_session_ends() -> None:
    fold = PresenceFold()
    opened(fold)
    fold.status("d", {"state": "sleeping"}, 2, by_server=False)
    closed(fold, "keep_alive")
    assert state(fold) is Presence.SLEEPING


def test_a_will_counts_only_for_the_current_session_and_when_none_is_open() -> None:
    fold = PresenceFold()
    fold.status("d", {"state": "online", "session": "s2"}, 1, by_server=False)
    fold.status("d", {"state": "offline", "session": "s1"}, 2, by_server=True)
    assert state(fold) is Presence.ONLINE
    opened(fold)
    fold.status("d", {"state": "offline", "session": "s2"}, 3, by_server=True)
    assert state(fold) is Presence.ONLINE
    closed(fold, "client_disconnect")
    fold.status("d", {"state": "online", "session": "s2"}, 4, by_server=False)
    fold.status("d", {"state": "offline", "session": "s2"}, 5, by_server=True)
    assert state(fold) is Presence.LOST


def test_an_absurd_session_is_bounded() -> None:
    fold = PresenceFold()
    fold.status("d", {"state": "online", "session": 10**4000}, 1, by_server=False)
    fold.status("d", {"state": "online", "session": "x" * 500}, 1, by_server=False)
    found = fold.get("d")
    assert found is not None
    assert len(found.session) == 128
    assert len(fold) == 1


events = st.lists(
    st.tuples(
        st.sampled_from(["opened", "closed", "started"]),
        st.sampled_from(["c1", "c2"]),
        st.sampled_from(sorted(EVENT_OF_CLOSE_REASON)),
    )
)


@given(events)
def test_online_exactly_while_a_session_is_open(history: list[tuple[str, str, str]]) -> None:
    fold, sessions = PresenceFold(), {"c1": 0, "c2": 0}
    for at_ms, (what, client, reason) in enumerate(history):
        if what == "opened":
            opened(fold, client, at_ms)
            sessions[client] += 1
        elif what == "closed":
            closed(fold, reason, client, at_ms)
            sessions[client] = max(0, sessions[client] - 1)
        else:
            fold.broker_started(at_ms)
            sessions = {"c1": 0, "c2": 0}
        assert (state(fold) is Presence.ONLINE) == any(sessions.values())
    copies = PresenceFold()
    copies.load(fold.all())
    assert copies.all() == fold.all()


def test_a_status_says_how_often_its_device_reports() -> None:
    fold = PresenceFold()
    for said, expect_ms in (
        (5, 5_000),
        (0.1, 2_000),
        (None, 2_000),
        ("7", 2_000),
        (True, 2_000),
        (-1, 2_000),
        (10**9, 2_000),
        (float("nan"), 2_000),
        (60.5, 60_500),
    ):
        assert fold.status("d", {"state": "online", "expect_s": said}, 1, by_server=False)
        found = fold.get("d")
        assert found is not None
        assert found.expect_ms == expect_ms, said


def test_how_often_it_reports_is_told_once() -> None:
    fold = PresenceFold()
    for at_ms, said in enumerate((5, 5, 60, 60), start=1):
        fold.status("d", {"state": "online", "expect_s": said}, at_ms, by_server=False)
    told = [(at_ms, expect_ms) for _, _, at_ms, expect_ms in fold.take_steps()]
    assert told == [(1, 5_000), (1, 5_000), (3, 60_000)], "the second of them that it is online"


def test_what_another_broker_kept_is_a_word_and_no_sign_of_life() -> None:
    fold = PresenceFold()
    assert fold.status("d", {"state": "sleeping"}, 5, by_server=False, is_copy=True)
    found = fold.get("d")
    assert found is not None
    assert (found.presence, found.last_seen_at_ms) == (Presence.SLEEPING, None)


# --- A site: sessions at several nodes -----------------------------------------------------------------------


def test_another_nodes_start_ends_its_own_sessions_alone() -> None:
    fold = PresenceFold()
    opened(fold)
    fold.session_opened("d", "other", 1, "10.0.0.2", node_id="b")
    fold.session_opened("e", "e", 1, "10.0.0.3", node_id="b")
    fold.broker_started(9, node_id="b")
    assert (state(fold), state(fold, "e")) == (Presence.ONLINE, Presence.LOST)
    fold.broker_started(10)
    assert state(fold) is Presence.LOST


def test_a_device_is_there_while_any_node_has_it() -> None:
    fold = PresenceFold()
    opened(fold)
    fold.session_opened("d", "second", 2, "10.0.0.2", node_id="b")
    closed(fold, "keep_alive", at_ms=3)
    assert state(fold) is Presence.ONLINE
    fold.session_closed("d", "second", 4, "keep_alive", 4, node_id="b")
    assert state(fold) is Presence.LOST


def test_a_client_that_went_to_another_node_has_left_the_first_though_that_never_said_so() -> None:
    fold = PresenceFold()
    fold.session_opened("d", "c", 1, "10.0.0.1", node_id="b")
    opened(fold, at_ms=5)
    fold.session_closed("d", "c", 6, "keep_alive", 1, node_id="b")
    assert state(fold) is Presence.ONLINE
    closed(fold, "client_disconnect", at_ms=7)
    assert state(fold) is Presence.OFFLINE


def test_what_is_told_late_of_another_node_does_not_end_what_came_after() -> None:
    fold = PresenceFold()
    opened(fold, at_ms=50)
    fold.session_opened("d", "c", 10, "10.0.0.1", node_id="b")
    fold.session_closed("d", "c", 20, "keep_alive", 10, node_id="b")
    assert state(fold) is Presence.ONLINE
    closed(fold, "connection_lost", at_ms=60)
    assert state(fold) is Presence.LOST
