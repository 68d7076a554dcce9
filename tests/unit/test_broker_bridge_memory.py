"""broker/bridge/memory.py"""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from broker.bridge.memory import Memory
from broker.bridge.state_file import read_state
from tests.bridge_kit import Record, kit_log


@pytest.mark.parametrize(("begin", "next_seq"), [("now", 3), ("oldest", 1)])
def test_where_a_new_bridge_begins_is_saved_at_once(tmp_path: Path, begin: str, next_seq: int) -> None:
    path = tmp_path / "cursors" / "bridge-up.json"
    with kit_log(tmp_path / "log") as log:
        log.append(Record(), Record())
        memory = Memory.load(path, log.reader(), begin=begin, in_flight_max=10)  # type: ignore[arg-type]
        assert memory.outgoing.position == next_seq
        saved = read_state(path)
        assert saved is not None
        assert (saved.next_seq, saved.epoch) == (next_seq, 1)
        log.append(Record())
        again = Memory.load(path, log.reader(), begin="now", in_flight_max=10)
        assert again.outgoing.position == next_seq, "it goes on where it stopped"


async def test_qos_2_is_saved_when_it_changes_and_the_cursor_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "bridge-up.json"
    with kit_log(tmp_path / "log") as log:
        memory = Memory.load(path, log.reader(), begin="now", in_flight_max=10)
    memory.outgoing.begin(session_present=True, receive_maximum=10)
    memory.outgoing.pass_to(5)
    await memory.save_news()
    saved = read_state(path)
    assert saved is not None
    assert saved.next_seq == 1, "nothing of QoS 2 has changed"
    memory.outgoing.place(5, 2)
    memory.incoming.begin([9], 4)
    memory.subscribed = (("a/#", 1),)
    await memory.save_news()
    assert read_state(path) == memory.state()
    before = path.stat().st_ino
    await memory.save()
    assert path.stat().st_ino == before, "nothing new, nothing written"


async def test_news_that_could_not_be_saved_stay_news(tmp_path: Path) -> None:
    path = tmp_path / "bridge-up.json"
    with kit_log(tmp_path / "log") as log:
        memory = Memory.load(path, log.reader(), begin="now", in_flight_max=10)
    (tmp_path / "bridge-up.json.new").mkdir()
    memory.incoming.begin([9], 4)
    with pytest.raises(StorageError):
        await memory.save_news()
    (tmp_path / "bridge-up.json.new").rmdir()
    await memory.save_news()
    assert read_state(path) == memory.state()
