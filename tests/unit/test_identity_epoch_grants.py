"""A grant counts for its node and a day, signed with the site's key, and once."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from appliance.core.errors import Conflict, NotAuthorized
from appliance.core.limits_replication import GRANT_COUNT_MAX, GRANT_LIFE_MS
from appliance.identity.epoch_grants import (
    PENDING,
    USED,
    Grant,
    check_doubted,
    make_grant,
    note_used,
    pending_grant,
    used_grants,
)
from tests.fleet_kit import Box, begin_fleet, make_box

AT_MS = 1_000_000


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = make_box(tmp_path, "one")
    begin_fleet(made)
    return made


def grant(box: Box) -> Grant:
    return make_grant(box.data_dir, box.keys, by="anna", reason="burnt", now_ms=AT_MS)


def test_it_is_used_once_and_remembered(box: Box) -> None:
    assert pending_grant(box.data_dir, box.keys, now_ms=AT_MS) is None
    made = grant(box)
    assert pending_grant(box.data_dir, box.keys, now_ms=AT_MS + 5) == made
    note_used(box.data_dir, made, 4)
    assert pending_grant(box.data_dir, box.keys, now_ms=AT_MS) is None
    assert [(each.epoch, each.by, each.branch) for each in used_grants(box.data_dir)] == [
        (4, "anna", made.branch)
    ]
    for epoch in range(GRANT_COUNT_MAX + 5):
        note_used(box.data_dir, made, epoch)
    assert len(used_grants(box.data_dir)) == GRANT_COUNT_MAX


@pytest.mark.parametrize("now_ms", [AT_MS - 1, AT_MS + GRANT_LIFE_MS])
def test_it_is_over_after_a_day(box: Box, now_ms: int) -> None:
    grant(box)
    with pytest.raises(Conflict, match="older than a day"):
        pending_grant(box.data_dir, box.keys, now_ms=now_ms)


def test_one_of_somebody_else_is_refused(box: Box, tmp_path: Path) -> None:
    path = box.data_dir / "fleet" / PENDING
    other = make_box(tmp_path, "two")
    begin_fleet(other)
    path.write_bytes(msgspec.json.encode(grant(other)))
    path.chmod(0o600)
    with pytest.raises(Conflict, match="another node"):
        pending_grant(box.data_dir, box.keys, now_ms=AT_MS)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(grant(box), reason="more")))
    with pytest.raises(NotAuthorized):
        pending_grant(box.data_dir, box.keys, now_ms=AT_MS)
    path.write_bytes(b"{}")
    with pytest.raises(Conflict, match="can't be read"):
        pending_grant(box.data_dir, box.keys, now_ms=AT_MS)


def test_a_list_that_can_not_be_read_is_none(box: Box) -> None:
    path = box.data_dir / "fleet" / USED
    path.write_bytes(b"{")
    path.chmod(0o600)
    assert used_grants(box.data_dir) == []


def test_without_a_doubt_there_is_nothing_to_grant() -> None:
    check_doubted(object())
    with pytest.raises(Conflict) as caught:
        check_doubted(None)
    assert caught.value.code == "epoch_not_needed"
