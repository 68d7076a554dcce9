"""Targets, on-call lists and notifications over the API: made, tried, changed, removed; what is refused; secrets that nobody is told."""

from __future__ import annotations

from pathlib import Path

from tests.acts import ACT
from tests.node_kit import running_node
from tests.notification_kit import new
from tests.people_kit import person
from tests.webhook_receiver import WebhookReceiver

MAIL = {"kind": "email", "to": "a@example.org", "from": "b@example.org", "host": "smtp.example.org"}
TARGETS = "/api/v1/notification-targets"
LISTS = "/api/v1/on-call-lists"


async def test_a_target_is_made_tried_changed_and_removed(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        with WebhookReceiver() as receiver:
            wish = {"name": "Hook", "settings": {"kind": "webhook", "url": receiver.url}, "secret": "s3cret"}
            answer = await client.post(TARGETS, json=wish)
            assert answer.status_code == 201, answer.text
            made = answer.json()
            assert (made["kind"], made["has_secret"], made["enabled"]) == ("webhook", True, True)
            assert "s3cret" not in answer.text
            path = f"{TARGETS}/{made['target_id']}"
            sent = (await client.post(f"{path}/test")).json()
            assert sent["state"] == "sent"
            assert sent["outcome"].startswith("HTTP 204")
            (request,) = receiver.requests
            assert request.headers["idempotency-key"] == sent["key"]
        failed = (await client.post(f"{path}/test")).json()
        assert failed["state"] == "given_up"
        assert "could be connected to" in failed["error"]
        got = await client.get(path)
        assert got.json() == made
        assert (await client.get(TARGETS)).json() == {"targets": [made]}
        stale = await client.patch(path, json={"name": "H"}, headers={"if-match": '"0"'})
        assert stale.status_code == 412
        edited = await client.patch(
            path,
            json={"name": "H", "enabled": False, "secret": ""},
            headers={"if-match": got.headers["etag"]},
        )
        assert (edited.json()["name"], edited.json()["enabled"], edited.json()["has_secret"]) == (
            "H",
            False,
            False,
        )
        log = (await client.get("/api/v1/notifications?state=sent")).json()
        assert [row["key"] for row in log["notifications"]] == [sent["key"]]
        detail = (await client.get(f"/api/v1/notifications/{sent['key']}")).json()
        assert detail["body"]["event"] == "test"
        assert detail["body"]["key"] == sent["key"]
        assert (await client.delete(path)).status_code == 204
        assert (await client.get(path)).json()["code"] == "target_unknown"
        assert (await client.get("/api/v1/notifications/none")).json()["code"] == "notification_unknown"


async def test_what_no_target_can_be(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        for settings, secret, code in (
            ({"kind": "sms"}, "", "body_unusable"),
            ({"kind": "webhook", "url": "x"}, "", "target_invalid"),
            ({**MAIL, "username": "u"}, "", "target_invalid"),
            ({**MAIL, "to": "a@b\r\nBcc: c@d"}, "", "target_invalid"),
        ):
            answer = await client.post(TARGETS, json={"name": "T", "settings": settings, "secret": secret})
            assert answer.json()["code"] == code, settings
        made = await client.post(
            TARGETS, json={"name": "M", "settings": {**MAIL, "username": "u"}, "secret": "hunter2"}
        )
        moved = {**made.json()["settings"], "host": "evil.example.org"}
        answer = await client.patch(f"{TARGETS}/{made.json()['target_id']}", json={"settings": moved})
        assert answer.json()["code"] == "target_secret_wanted"
        assert "hunter2" not in answer.text


async def test_a_list_says_who_has_its_turn_now(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        target = {"name": "Board", "settings": {"kind": "mqtt", "topic": "alarms/board"}}
        target_id = (await client.post(TARGETS, json=target)).json()["target_id"]
        never = [{"days": ["mon"], "from": "00:00", "to": "00:01"}]
        members = [{"name": "Anna", "targets": [target_id], "times": never}]
        answer = await client.post(LISTS, json={"name": "Site", "definition": {"members": members}})
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert made["now"] == {"members": ["Anna"], "targets": [target_id], "fallback": True}
        assert made["definition"]["P1"]["repeat_s"] == 900
        path = f"{LISTS}/{made['list_id']}"
        definition = {**made["definition"], "members": [{"name": "Anna", "targets": [target_id]}]}
        edited = (await client.patch(path, json={"definition": definition})).json()
        assert edited["now"]["fallback"] is False
        assert (await client.get(path)).json() == edited
        assert (await client.get(LISTS)).json() == {"lists": [edited]}
        assert (await client.delete(f"{TARGETS}/{target_id}")).json()["code"] == "target_in_use"
        for wish, code in (
            ({"name": "Site", "definition": definition}, "on_call_exists"),
            ({"name": "X", "definition": {}}, "on_call_invalid"),
            ({"name": "X", "definition": {"members": [{"name": "A", "targets": ["no"]}]}}, "target_unknown"),
        ):
            assert (await client.post(LISTS, json=wish)).json()["code"] == code
        assert (await client.delete(path)).status_code == 204
        assert (await client.get(path)).json()["code"] == "on_call_unknown"


async def test_the_log_comes_in_pages(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        wanted = [new(f"k{n}", alarm_id="a1" if n else "") for n in range(3)]
        await node.catalog.write(lambda catalog: catalog.make_notifications(wanted), by=ACT)
        first = (await client.get("/api/v1/notifications?limit=2")).json()
        rest = (await client.get(f"/api/v1/notifications?limit=2&cursor={first['next_cursor']}")).json()
        keys = [row["key"] for page in (first, rest) for row in page["notifications"]]
        assert keys == ["k2", "k1", "k0"]
        assert rest["next_cursor"] is None
        of_alarm = (await client.get("/api/v1/notifications?alarm_id=a1&target_id=anna")).json()
        assert len(of_alarm["notifications"]) == 2
        assert (await client.get("/api/v1/notifications?cursor=x")).json()["code"] == "cursor_invalid"
