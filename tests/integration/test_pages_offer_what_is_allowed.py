"""No page shows a link or a button that is refused to who looks: every role, with and without a scope, goes through all it finds."""

from __future__ import annotations

import dataclasses
import re
from html import unescape
from pathlib import Path

import httpx
import pytest

from appliance.core.clock import ManualClock
from appliance.core.config import ApiConfig
from appliance.identity import recovery_kit
from appliance.management.permissions import Role, Scope
from storage.catalog import Catalog
from tests.acts import ACT
from tests.broker_stand_in import away_row, client_row
from tests.node_kit import NOW_MS, LiveDevice, Node, running_node
from tests.people_kit import person
from ui.pages.first_run_progress import SETTING
from ui.rate_limit import RateLimits

PAGE_COUNT_MAX = 160
LIMITS = [each.name for each in dataclasses.fields(ApiConfig) if each.name.endswith("_per_min_max")]
LINK = re.compile(r'<a [^>]*href="(/[^"]*)"')
FORM = re.compile(r'<form method="post"(?: action="(/[^"]*)")?(.*?)</form>', re.DOTALL)
ACTION = re.compile(r'formaction="(/[^"]*)"')
REFUSED = ("This needs the role", "This concerns the whole site")


async def _fill(node: Node) -> None:
    def write(catalog: Catalog) -> None:
        catalog.set_setting(SETTING, ["owner", "site", "storage"])
        catalog.add_group("north")
        catalog.add_device("pump-1", groups=("north",), tags=("wet",))
        catalog.note_first_contact(["stranger-1"], at_ms=1)

    await node.catalog.write(write, by=ACT)
    node.live.by_id = {"pump-1": LiveDevice(device_id="pump-1", presence="lost")}
    node.broker.connected = True
    node.broker.clients = [client_row("pump-1"), away_row("tablet")]
    pending = node.services.config.node.data_dir / recovery_kit.PENDING
    pending.parent.mkdir(parents=True, exist_ok=True)
    pending.touch()


async def _refused(client: httpx.AsyncClient) -> list[tuple[str, str]]:
    """Pages with what each offers and doesn't give. Nothing is done: no CSRF token goes along, and the role is checked first."""
    client.headers.pop("x-csrf-token", None)
    todo, seen, found = ["/"], {"/"}, []
    while todo:
        assert len(seen) < PAGE_COUNT_MAX, seen
        page = todo.pop()
        answer = await client.get(page)
        assert answer.status_code == 200, (page, answer.text)
        forms = {action for action, inside in FORM.findall(answer.text) if "<button" in inside}
        forms = {unescape(each) or page for each in forms.union(ACTION.findall(answer.text))}
        for action in sorted(forms):
            said = (await client.post(action)).text
            if any(text in said for text in REFUSED):
                found.append((page, f"POST {action}"))
        for link in {unescape(each).partition("#")[0] for each in LINK.findall(answer.text)} - seen:
            if link.startswith(("/patterns", "/audit?")):
                continue  # Samples; a filter for each name in the audit.
            seen.add(link)
            reached = await client.get(link)
            if reached.status_code == 403:
                found.append((page, link))
            elif reached.status_code == 200 and reached.headers["content-type"].startswith("text/html"):
                todo.append(link)
    return found


@pytest.mark.parametrize("scope", [None, frozenset({"north"})], ids=["site", "north"])
@pytest.mark.parametrize("role", ["viewer", "operator", "installer", "admin"])
async def test_every_link_and_button_is_for_who_sees_it(tmp_path: Path, role: Role, scope: Scope) -> None:
    # Each of some hundred buttons is to be answered by what it is for, and not by the limit of a hundred in a minute.
    limits = RateLimits(ApiConfig(**dict.fromkeys(LIMITS, 0)), clock=ManualClock(now_ms=NOW_MS))
    async with (
        running_node(tmp_path, with_pages=True, rate_limits=limits) as node,
        person(node, role, scope) as client,
    ):
        await _fill(node)
        assert await _refused(client) == []
