"""The page of one rollout: how it stands, who may do what, what is asked before it is done."""

from __future__ import annotations

from pathlib import Path

from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.people_kit import person
from tests.rollout_kit import act, made, prepare

HALL = frozenset({"hall"})
ELSEWHERE = frozenset({"elsewhere"})


def seen_of(page: str) -> str:
    """What the button to approve says that was read."""
    return page.split('name="seen" value="')[1].split('"')[0]


async def set_states(node: Node, rollout_id: str, *states: str) -> None:
    """The first executions of a rollout, by their id, are in these states."""

    def write(catalog: Catalog) -> None:
        found = catalog.rows(
            "SELECT execution_id FROM executions WHERE rollout_id = ? ORDER BY execution_id", (rollout_id,)
        )
        for (execution_id,), state in zip(found, states, strict=False):
            catalog.execute(
                "UPDATE executions SET state = ?, started_at_ms = 1, bytes_done = 300, bytes_total = 1000, error = ?, "
                "origin = ?, hlc = ? WHERE execution_id = ?",
                (state, "self_test" if state == "failed" else "", catalog.origin, catalog.hlc, execution_id),
            )

    await node.catalog.write(write, by=ACT)


async def test_a_second_person_approves_and_the_first_is_told_why_not(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path, with_pages=True) as node,
        person(node, "installer") as first,
        person(node, "admin") as second,
        person(node, "viewer") as viewer,
    ):
        await prepare(node, 40)
        url = f"/firmware/rollouts/{(await made(first))['rollout_id']}"
        assert "A draft: nobody is updated yet" in (await first.get(url)).text
        assert (await first.post(f"{url}/submit")).headers["location"].endswith("?done=awaiting_approval")
        mine = (await first.get(url)).text
        assert "You made it, so somebody else has to approve it" in mine
        assert f'action="{url}/approve"' not in mine
        seen = seen_of((await second.get(url)).text)
        assert (await first.post(f"{url}/approve", data={"seen": seen})).status_code == 403
        assert "An installer or admin has to approve it." in (await viewer.get(url)).text
        assert (await viewer.post(f"{url}/approve")).status_code == 403
        assert f'action="{url}/approve"' in (await second.get(url)).text
        listed = (await second.get("/firmware")).text
        assert "Look at it and approve" in listed
        # What was changed and submitted again behind the approver's back is not what they have read, whatever the stream shows meanwhile.
        rollout_id = url.rpartition("/")[2]
        await act(first, rollout_id, "refuse", {"reason": "Once more."})
        edit = {"plan": {"waves": ["100%"]}}
        etag = (await first.get(f"/api/v1/rollouts/{rollout_id}")).headers["etag"]
        edited = await first.patch(f"/api/v1/rollouts/{rollout_id}", json=edit, headers={"if-match": etag})
        assert edited.status_code == 200, edited.text
        await act(first, rollout_id, "submit")
        for form in ({"seen": seen}, {}):
            stale = await second.post(f"{url}/approve", data=form)
            assert stale.status_code == 412
            assert "It was changed since you read it." in stale.text
        seen = seen_of((await second.get(url)).text)
        assert (await second.post(f"{url}/approve", data={"seen": seen})).status_code == 303
        page = (await first.get(url)).text
        assert 'by <b class="break">admin</b>' in page
        assert "approved" in page
        assert f'action="{url}/start"' in page


async def test_what_is_done_at_once_and_what_is_not_possible_any_more(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await prepare(node, 3)
        url = f"/firmware/rollouts/{(await made(client))['rollout_id']}"
        for name, said in (
            ("submit", "ready"),
            ("start", "running"),
            ("pause", "paused"),
            ("resume", "resumed"),
        ):
            done = await client.post(f"{url}/{name}")
            assert done.headers["location"] == f"{url}?done={said}", name
        again = await client.post(f"{url}/start")
        assert again.status_code == 409
        assert "The rollout is running: it can&#39;t start now." in again.text
        loaded_anew = await client.get(f"{url}/start")
        assert (loaded_anew.status_code, loaded_anew.headers["location"]) == (303, url)
        assert (await client.post("/firmware/rollouts/nope/start")).status_code == 404
        assert (await client.get("/firmware/rollouts/nope")).status_code == 404
        history = (await client.get(url)).text
        for word in ("submitted", "started", "paused", "resumed"):
            assert f'<th scope="row">{word}' in history


async def test_devices_are_listed_by_kind_of_state_with_the_reason(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await prepare(node, 20)
        rollout = await made(client)
        url = f"/firmware/rollouts/{rollout['rollout_id']}"
        await act(client, rollout["rollout_id"], "submit")
        await act(client, rollout["rollout_id"], "start")
        await set_states(node, rollout["rollout_id"], "failed", "downloading", "succeeded")
        page = (await client.get(url)).text
        assert 'aria-label="All devices: 1 on the new version, 1 on the way, 1 failed, 17 waiting"' in page
        assert "Its own self-test failed with the new version." in page
        assert "It has 300 B of 1000 B." in page
        # 5 % of 20 devices is 1, which the first wave had: there are three waves.
        for words in ("up to 1 device<", "up to 25 % of all<", "the rest<"):
            assert page.count(words) == 1, words
        assert "up to 5 % of all<" not in page
        failed = (await client.get(f"{url}?kind=failed")).text
        assert "17 waiting" in failed
        assert failed.count('#firmware">') == 1
        assert (await client.get(f"{url}?kind=hand")).text.count('#firmware">') == 0
        assert (await client.get(f"{url}?kind=nonsense")).text.count('#firmware">') == 20


async def test_a_long_list_has_pages(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        await prepare(node, 60)
        rollout = await made(client)
        url = f"/firmware/rollouts/{rollout['rollout_id']}"
        await act(client, rollout["rollout_id"], "submit")
        async with person(node, "admin") as second:
            await act(second, rollout["rollout_id"], "approve")
        await act(client, rollout["rollout_id"], "start")
        first = (await client.get(f"{url}?kind=waiting")).text
        assert first.count('#firmware">') == 50
        after = first.split("after=")[1].split("#")[0]
        second_page = (await client.get(f"{url}?kind=waiting&after={after}")).text
        assert second_page.count('#firmware">') == 10
        assert "First page" in second_page


async def test_whoever_is_limited_sees_their_devices_alone(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await prepare(node, 3)
        rollout = await made(client)
        url = f"/firmware/rollouts/{rollout['rollout_id']}"
        await act(client, rollout["rollout_id"], "submit")
        await act(client, rollout["rollout_id"], "start")
        async with person(node, "viewer", HALL) as limited:
            assert "3 waiting" in (await limited.get(url)).text
        async with person(node, "installer", ELSEWHERE) as other:
            page = (await other.get(url)).text
            assert "3 waiting" not in page
            assert "d000" not in page
            assert "group hall" not in page
            assert (await other.post(f"{url}/pause")).status_code == 403


async def test_an_abort_and_a_rollback_want_the_count_typed(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await prepare(node, 20)
        rollout = await made(client)
        url = f"/firmware/rollouts/{rollout['rollout_id']}"
        assert (await client.get(f"{url}/rollback")).status_code == 409
        await act(client, rollout["rollout_id"], "submit")
        await act(client, rollout["rollout_id"], "start")
        await set_states(node, rollout["rollout_id"], "succeeded", "testing")
        asked = (await client.get(f"{url}/rollback?wave=0")).text
        assert "Type “roll back 2” to confirm" in asked
        assert "2 devices of all waves that have the new version" in asked
        wrong = await client.post(f"{url}/rollback", data={"wave": "0", "count": "2", "confirm": "yes"})
        assert wrong.status_code == 422
        await set_states(node, rollout["rollout_id"], "succeeded", "testing", "succeeded")
        late = await client.post(
            f"{url}/rollback", data={"wave": "0", "count": "2", "confirm": "roll back 2"}
        )
        assert late.status_code == 409
        assert "Type “roll back 3” to confirm" in late.text
        done = await client.post(
            f"{url}/rollback",
            data={"wave": "0", "count": "3", "confirm": "roll back 3", "reason": "It leaks."},
        )
        assert done.headers["location"] == f"{url}?done=rolling_back"
        assert "It leaks." in (await client.get(url)).text


async def test_an_abort_says_whom_it_lets_off(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await prepare(node, 3)
        rollout = await made(client)
        url = f"/firmware/rollouts/{rollout['rollout_id']}"
        await act(client, rollout["rollout_id"], "submit")
        await act(client, rollout["rollout_id"], "start")
        assert "Abort: 3 devices" in (await client.get(f"{url}/abort")).text
        form = {"count": "3", "confirm": "abort 3"}
        assert (await client.post(f"{url}/abort", data=form)).status_code == 303
        assert (await client.get(f"{url}/abort")).status_code == 409


async def test_a_rollout_is_sent_back_with_a_reason_and_changed(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await prepare(node, 3)
        rollout = await made(client)
        url = f"/firmware/rollouts/{rollout['rollout_id']}"
        await act(client, rollout["rollout_id"], "submit")
        assert "It becomes a draft again" in (await client.get(f"{url}/refuse")).text
        assert (await client.post(f"{url}/refuse", data={"reason": " "})).status_code == 400
        assert (await client.post(f"{url}/refuse", data={"reason": "Not today."})).status_code == 303
        assert "Not today." in (await client.get(url)).text
        opened = await client.get(f"{url}/edit")
        assert opened.headers["location"] == f"/firmware/rollouts/new?draft={rollout['rollout_id']}"
