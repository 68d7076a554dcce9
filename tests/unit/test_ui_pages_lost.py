"""Records that nobody has, on the page Sites: shown with what marking them means, and marked by who may."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from appliance.core.errors import Conflict
from appliance.management.replication_state import LostState, MissingState
from tests.node_kit import running_node
from tests.unit.test_ui_replication import STATE, with_state

MISSING = MissingState(node_id=STATE.node_id, name="telemetry", epoch=2, first_seq=221, next_seq=261)
LOST = LostState(
    node_id=STATE.node_id,
    name="catalog",
    epoch=1,
    first_seq=7,
    next_seq=8,
    by="anna",
    reason="<both cards>",
    at_ms=1_700_000_000_000,
    key_id="k" * 64,
)
FORM = {
    "node": STATE.node_id,
    "name": "telemetry",
    "epoch": "2",
    "first": "221",
    "next": "261",
    "reason": " why ",
    "confirm": "lost",
}


async def test_what_is_missing_is_shown_and_marked(tmp_path: Path) -> None:
    state = msgspec.structs.replace(STATE, missing=(MISSING,), lost=(LOST,))
    wanted: list[Mapping[str, Any]] = []
    problems: list[Exception] = [Conflict("Box two has them.", hint="Wait.", code="range_is_held")]

    async def mark(fields: Mapping[str, Any]) -> Mapping[str, Any]:
        wanted.append(fields)
        if problems:
            raise problems.pop()
        return {**fields, "at_ms": 1, "key_id": "k"}

    async with running_node(tmp_path) as bare, (node := with_state(bare, state)).admin() as client:
        page = (await client.get("/sites")).text
        assert "Records that nobody has" in page
        assert "records 221 to 260 of the telemetry log of" in page
        assert "They are a gap from then on" in page
        assert "record 7 of the catalog log of" in page
        assert "&lt;both cards&gt;" in page
        object.__setattr__(node.services, "mark_lost", mark)
        refused = await client.post("/sites/lost", data=FORM)
        assert refused.status_code == 409
        assert "Box two has them." in refused.text
        done = await client.post("/sites/lost", data=FORM)
        assert done.headers["location"] == "/sites?done=lost"
        assert wanted[1] == {
            "node_id": STATE.node_id,
            "name": "telemetry",
            "epoch": 2,
            "first_seq": 221,
            "next_seq": 261,
            "by": "admin",
            "reason": "why",
        }
        assert "marked lost" in (await client.get("/sites?done=lost")).text
        for wrong in ({"first": "x"}, {"next": ""}, {"epoch": "9" * 20}, {"confirm": ""}, {"confirm": "no"}):
            assert (await client.post("/sites/lost", data={**FORM, **wrong})).status_code == 422
        assert len(wanted) == 2
        body = {"node_id": STATE.node_id, "name": "telemetry", "epoch": 2, "first_seq": 221, "next_seq": 261}
        made = await client.post("/api/v1/replication/lost", json=body)
        assert (made.status_code, made.json()["by"]) == (201, "admin")
        page_of_audit = await node.catalog.read(lambda reader: reader.list_audit(limit=50))
        noted = [(e.outcome, e.object_id, e.detail) for e in page_of_audit.entries if e.action == "log.lost"]
        stream, words = f"{STATE.node_id}/telemetry", "records 221 to 260 of epoch 2"
        assert noted == [
            ("done", stream, words),
            ("done", stream, f"{words}: why"),
            ("refused", stream, "It failed: Box two has them. (range_is_held)"),
            ("done", stream, f"{words}: why"),
        ]


async def test_where_nothing_is_missing_nothing_is_said(tmp_path: Path) -> None:
    async with running_node(tmp_path) as bare, with_state(bare, STATE).admin() as client:
        page = (await client.get("/sites")).text
        assert "Records that nobody has" not in page
        assert "Gaps" not in page
