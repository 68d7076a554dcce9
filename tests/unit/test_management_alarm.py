"""An alarm's id: of its key alone, the same everywhere."""

from __future__ import annotations

from appliance.management.alarm import ID_DIGITS, alarm_id_of
from appliance.management.rule_transition import AlarmKey


def test_an_id_is_of_the_whole_key() -> None:
    keys = [
        AlarmKey("r", "d", "g", "s"),
        AlarmKey("r", "d", "gs", ""),
        AlarmKey("rd", "", "g", "s"),
        AlarmKey("r", "d", "", "g"),
        AlarmKey("r", 'd", "', "g", "s"),
    ]
    ids = [alarm_id_of(key) for key in keys]
    assert len(set(ids)) == len(keys)
    assert all(len(each) == ID_DIGITS for each in ids)


def test_it_never_changes() -> None:
    """Rows of other nodes, and keys of notifications, are made of it."""
    assert alarm_id_of(AlarmKey("hot", "press-1", "", "temperature")) == "c5a6c0367c2721857f655e8d"
