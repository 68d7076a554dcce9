"""Which bytes a device may have, for each state that an execution can be in."""

from __future__ import annotations

from appliance.management.delivery_rights import Share, share
from appliance.management.executions import ENDED, State


def test_nothing_once_it_has_ended_or_runs() -> None:
    after = {State.REBOOTING, State.TESTING, State.UNCONFIRMED, State.LOST, State.MANUAL}
    for state in {*ENDED, *after}:
        assert share(state, is_admitted=True) is Share.NOTHING, state


def test_the_target_on_the_way_there_and_the_origin_on_the_way_back() -> None:
    assert share(State.DOWNLOADING, is_admitted=False) is Share.TARGET
    assert share(State.FAILED, is_admitted=False) is Share.TARGET
    assert share(State.ROLLBACK_PENDING, is_admitted=False) is Share.ORIGIN
    assert share(State.ROLLING_BACK, is_admitted=False) is Share.ORIGIN


def test_later_while_it_is_paused_or_its_wave_is_closed() -> None:
    assert share(State.PAUSED, is_admitted=True) is Share.LATER
    assert share(State.QUEUED, is_admitted=False) is Share.LATER
    assert share(State.QUEUED, is_admitted=True) is Share.TARGET
