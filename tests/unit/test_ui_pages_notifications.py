"""The pages of notifications: targets with their secret never shown, a try with its outcome, on-call lists, what was told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from appliance.management.notification_targets import Email, Mqtt, Webhook
from storage.catalog import Catalog
from storage.catalog.notifications import NewNotification
from tests.acts import ACT
from tests.alarm_kit import found, id_of, put_rule
from tests.node_kit import NOW_MS, Node, running_node
from tests.people_kit import audit_of, person
from ui.pages.notification_facts import step_words
from ui.pages.notification_targets import FIELDS

URL = "/alarms/notifications"
SECRET = "the <secret> of the hook"
WEBHOOK = {
    "kind": "webhook",
    "name": "Hook <1>",
    "url": "http://192.0.2.1:9/x",
    "secret": SECRET,
    "enabled": "1",
}
MAIL = {
    "kind": "email", "name": "Anna's mail", "to": "anna@example.org", "from": "box@example.org", "host": "smtp.example.org",
    "port": "587", "security": "starttls", "username": "box", "secret": SECRET, "enabled": "1",
}  # fmt: skip


async def see(client: httpx.AsyncClient, url: str = URL) -> str:
    answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    return answer.text


async def target_of(client: httpx.AsyncClient, **changes: Any) -> str:
    """A saved target; its address."""
    answer = await client.post(f"{URL}/targets", data={**WEBHOOK, **changes})
    assert answer.status_code == 303, answer.text
    urls = re.findall(rf'href="({URL}/targets/[0-9a-f]+)"', await see(client))
    return str(urls[-1])


async def sent(node: Node, key: str, state: str, step: str, **more: Any) -> None:
    body = msgspec.json.encode({"alarm": {"rule": "Rule <hot>"}}).decode()

    def write(catalog: Catalog) -> None:
        catalog.begin_notification(
            NewNotification(
                key=key, alarm_id=id_of("press-1"), episode=1, step=step, target_id="t", target_name="Hook", body=body,
                due_at_ms=NOW_MS,
            )
        )  # fmt: skip
        catalog.end_notification(key, state, **more)  # type: ignore[arg-type]

    await node.catalog.write(write, by=ACT)


async def test_it_says_that_nobody_is_told_yet(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        page = await see(client)
        assert "Nobody is told of any alarm yet" in page
        assert "Add: Webhook" not in page
        assert (await client.post(f"{URL}/targets", data=WEBHOOK)).status_code == 403


@pytest.mark.parametrize(("kind", "struct"), [("webhook", Webhook), ("email", Email), ("mqtt", Mqtt)])
def test_a_form_asks_for_what_a_kind_has(kind: str, struct: type[msgspec.Struct]) -> None:
    assert set(FIELDS[kind]) == {each.encode_name for each in msgspec.structs.fields(struct)}


async def test_a_target_is_made_changed_and_removed_and_its_secret_never_shown(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        url = await target_of(client)
        page = await see(client, f"{URL}?done=target_saved")
        assert "Hook &lt;1&gt;" in page
        assert "The target is saved." in page
        form = await see(client, url)
        assert "there is one; empty: it stays" in form
        (target,) = await node.catalog.read(lambda catalog: catalog.list_targets())
        sealed = await node.catalog.read(lambda catalog: catalog.target_secret_sealed(target.target_id))
        await client.post(url, data={**WEBHOOK, "name": "Hook 2", "secret": "", "enabled": ""})
        after = await node.catalog.read(lambda catalog: catalog.get_target(target.target_id))
        assert (after.name, after.has_secret, after.is_enabled) == ("Hook 2", True, False)
        assert await node.catalog.read(lambda c: c.target_secret_sealed(target.target_id)) == sealed
        await client.post(url, data={**WEBHOOK, "secret": "", "no_secret": "1"})
        assert not (await node.catalog.read(lambda catalog: catalog.get_target(target.target_id))).has_secret
        bad = await client.post(url, data={**WEBHOOK, "url": "ftp://x"})
        assert bad.status_code == 422
        assert "The URL is not http" in bad.text
        for text in (page, form, bad.text):
            assert SECRET not in text
            assert "the &lt;secret&gt;" not in text
        assert (await client.post(f"{url}/remove", data={"confirm": "no"})).status_code == 422
        assert (await client.post(f"{url}/remove", data={"confirm": "remove"})).status_code == 303
        assert (await client.get(url)).status_code == 404
        for action in ("create", "edit", "remove"):
            assert await audit_of(node, f"notification_target.{action}")
        assert SECRET not in str(await audit_of(node, "notification_target.create"))


async def test_each_kind_has_its_form(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        for kind, fields in FIELDS.items():
            page = await see(client, f"{URL}/targets/new?kind={kind}")
            assert all(f'name="{name}"' in page for name in fields)
        await target_of(client, **MAIL)
        topic = {
            "kind": "mqtt",
            "name": "Topic",
            "topic": "alarms/x",
            "retained": "1",
            "secret": "",
            "enabled": "1",
        }
        assert (await client.post(f"{URL}/targets", data=topic)).status_code == 303
        page = await see(client)
        assert "anna@example.org" in page
        assert "alarms/x" in page
        wrong = await client.post(f"{URL}/targets", data={**MAIL, "port": "many"})
        assert "“many” is no port." in wrong.text
        assert (await client.get(f"{URL}/targets/new?kind=pigeon")).status_code == 422


async def test_a_try_says_what_came_of_it(tmp_path: Path) -> None:
    """Nothing listens at that address, and the port is one of nobody."""
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        url = await target_of(client, url="http://127.0.0.1:1/x")
        answer = await client.post(f"{url}/test")
        assert answer.status_code == 303
        page = await see(client, answer.headers["location"])
        assert "The try did not reach Hook &lt;1&gt;." in page
        assert "A try" in page
        assert await audit_of(node, "notification_target.test")
        assert "The try" not in await see(client, f"{URL}?tried=nothing")


async def test_an_on_call_list_is_made_and_says_who_has_the_turn(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        assert "There is no target yet" in await see(client, f"{URL}/lists/new")
        await target_of(client)
        (target,) = await node.catalog.read(lambda catalog: catalog.list_targets())
        form = {
            "name": "Day", "enabled": "1", "all": "1", "digest_at": "08:00", "m0.name": "Anna", "m0.targets": target.target_id,
            "m0.times": "", "m1.name": "", "m1.times": "", "P1.first": "0 s", "P1.repeat": "15 min", "P2.first": "1 h", "P3.digest": "1",
            "quiet": "22:00-06:00",
        }  # fmt: skip
        assert (await client.post(f"{URL}/lists", data=form)).status_code == 303
        page = await see(client, f"{URL}?done=list_saved")
        assert "P1, P2, P3" in page
        assert ">Anna" in page
        (row,) = await node.catalog.read(lambda catalog: catalog.list_on_call())
        url = f"{URL}/lists/{row.list_id}"
        assert "22:00-06:00</textarea>" in await see(client, url)
        for changes, says in (
            ({"m0.times": "now and then"}, "“now and then” in “Times of Anna” is no time of the week."),
            ({"m0.targets": "nobody"}, "There is no notification target “nobody”."),
            ({"m0.name": "", "m0.targets": ""}, "A list has 1 to"),
        ):
            answer = await client.post(url, data={**form, **changes})
            assert answer.status_code >= 400
            assert says in answer.text
        assert (await client.post(url, data={**form, "name": "Night"})).status_code == 303
        assert "Night" in await see(client)
        assert (await client.post(f"{url}/remove", data={"confirm": ""})).status_code == 422
        assert (await client.post(f"{url}/remove", data={"confirm": "remove"})).status_code == 303
        assert (await client.get(url)).status_code == 404


async def test_what_was_told_is_listed_and_stands_with_its_alarm(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:

        def write(catalog: Catalog) -> None:
            put_rule(catalog)
            node.services.alarms.book.apply(catalog, [found("press-1")])

        await node.catalog.write(write, by=ACT)
        await sent(node, "k1", "sent", "raised", outcome="204 No Content")
        await sent(node, "k2", "given_up", "repeated/2", error="No answer.")
        page = await see(client)
        for text in (
            "Rule &lt;hot&gt;: it began",
            "204 No Content",
            "Nobody got it. No answer.",
            "nobody has acknowledged it yet",
        ):
            assert text in page
        assert "204" not in await see(client, f"{URL}?state=given_up")
        alarm = await see(client, f"/alarms/{id_of('press-1')}")
        assert "Who was told" in alarm
        assert "204 No Content" in alarm


def test_steps_have_words() -> None:
    assert step_words("raised.2") == "it began"
    assert step_words("digest/2026-01-01") == "digest"
    assert step_words("something") == "something"
