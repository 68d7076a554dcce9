"""The site's settings over the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.management.site_settings import SITE_SETTINGS
from tests.node_kit import running_node


async def test_values_are_listed_with_what_they_may_be_and_changed_together(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        listed = (await client.get("/api/v1/settings")).json()["settings"]
        assert [each["key"] for each in listed] == list(SITE_SETTINGS)
        answer = await client.patch(
            "/api/v1/settings", json={"values": {"site.name": "Sawmill", "site.date_format": "dmy"}}
        )
        assert answer.status_code == 200
        values = {each["key"]: each["value"] for each in answer.json()["settings"]}
        assert (values["site.name"], values["site.date_format"]) == ("Sawmill", "dmy")
        assert (await client.get("/api/v1/settings")).json() == answer.json()


@pytest.mark.parametrize(
    ("values", "status", "code"),
    [
        ({"site.name": "x", "site.time_zone": "nowhere"}, 422, "setting_value"),
        ({"setup.done": "[]"}, 404, "setting_unknown"),
        ({}, 422, "body_unusable"),
        ({"site.name": 5}, 422, "body_unusable"),
    ],
)
async def test_a_bad_value_changes_nothing(
    tmp_path: Path, values: dict[str, object], status: int, code: str
) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        before = (await client.get("/api/v1/settings")).json()
        answer = await client.patch("/api/v1/settings", json={"values": values})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert (await client.get("/api/v1/settings")).json() == before
