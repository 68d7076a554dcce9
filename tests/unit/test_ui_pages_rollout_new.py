"""The form for a new rollout: a step at a time, nothing skipped, nothing written before the last one."""

from __future__ import annotations

from pathlib import Path

import httpx

from appliance.identity.artifact_trust import trust_of
from appliance.management.rollouts import RolloutState
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.people_kit import person
from tests.rollout_kit import ARTIFACT, add_artifact, made, prepare
from tests.unit.test_identity_artifact_trust import SET, signed
from ui.pages.rollout_form import Wish
from ui.pages.rollout_new import artifact_view

URL = "/firmware/rollouts/new"
FORM = {"artifact": ARTIFACT, "group": "hall", "name": "May <b>"}


async def states(node: Node) -> list[RolloutState]:
    page = await node.catalog.read(lambda catalog: catalog.list_rollouts())
    return [each.state for each in page.rollouts]


async def post(client: httpx.AsyncClient, act: str, **more: str) -> httpx.Response:
    return await client.post(URL, data={**FORM, "act": act, **more})


async def test_a_step_is_shown_once_those_before_it_stand(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await prepare(node, 40)
        first = await client.get(URL)
        assert first.status_code == 200
        assert "fw 2.0" in first.text
        skipped = await client.get(f"{URL}?step=review&group=hall")
        assert skipped.status_code == 422
        assert "No artifact was chosen. Choose one." in skipped.text
        gone = await client.get(f"{URL}?step=review&artifact=nope")
        assert gone.status_code == 404
        assert "What is rolled out?" in gone.text
        nobody = await client.get(f"{URL}?step=waves&artifact={ARTIFACT}")
        assert "The rollout names no devices." in nobody.text
        misspelt = await client.get(f"{URL}?step=waves&artifact={ARTIFACT}&group=hal")
        assert "There is no group “hal”" in misspelt.text
        bad = await client.get(f"{URL}?step=review&artifact={ARTIFACT}&group=hall&waves=5,1")
        assert bad.status_code == 422
        assert 'name="waves" value="5,1"' in bad.text
        review = await client.get(f"{URL}?step=review&artifact={ARTIFACT}&group=hall&soak_min=1")
        assert review.status_code == 200
        for text in (
            "<b>40</b> devices",
            "Waves: 1, 1, 8, 30 devices.",
            "Devices in the group hall.",
            "1 min have passed",
        ):
            assert text in review.text
        assert '<input type="hidden" name="soak_min" value="1">' in review.text
        assert "A second person has to approve it" in review.text
        assert "Start now" not in review.text
        assert await states(node) == []


async def test_the_count_follows_the_form_and_says_who_is_left_out(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await prepare(node, 3)
        await node.catalog.write(lambda catalog: catalog.decommission_device("d001"), by=ACT)
        piece = await client.get(f"{URL}/devices?artifact={ARTIFACT}&group=hall&waves=nonsense")
        assert piece.text.startswith("<p")
        assert "<b>2</b> devices" in piece.text
        assert "1 device left out: Not adopted, rejected or decommissioned" in piece.text
        assert "<code>d001</code>" in piece.text
        none = await client.get(f"{URL}/devices?artifact={ARTIFACT}")
        assert "names no devices" in none.text
        large = await client.get(f"{URL}/devices?artifact={ARTIFACT}&devices={'d' * 6001}")
        assert "more than fits" in large.text
        assert (await client.get(f"{URL}?devices={'d' * 6001}")).status_code == 422


async def test_the_last_step_writes_and_leads_to_the_rollout(tmp_path: Path) -> None:
    woken: list[int] = []
    async with (
        running_node(tmp_path, with_pages=True, wake_updates=lambda: woken.append(1)) as node,
        person(node, "operator") as client,
    ):
        await prepare(node, 3)
        nameless = await post(client, "start", name="")
        assert nameless.status_code == 422
        assert "The rollout needs a name." in nameless.text
        assert (await post(client, "explode")).status_code == 400
        assert await states(node) == []
        for act, state in (("draft", "draft"), ("submit", "ready"), ("start", "running")):
            node.clock.advance(1)
            answer = await post(client, act)
            assert answer.status_code == 303, answer.text
            assert answer.headers["location"].endswith(f"?done={state}")
            assert (await states(node))[0] == state
        assert len(woken) == 3
        page = (await client.get(answer.headers["location"])).text
        assert "May &lt;b&gt;" in page
        assert "Started." in page
        assert "3 waiting" in page


async def test_a_rollout_that_can_not_start_is_not_left_as_a_draft(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await prepare(node, 40)
        refused = await post(client, "start")
        assert refused.status_code == 409
        assert await states(node) == []
        assert (await post(client, "submit")).status_code == 303
        assert await states(node) == [RolloutState.AWAITING_APPROVAL]


async def test_a_draft_is_opened_changed_and_saved(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await prepare(node, 3)
        draft = await made(client, plan={"waves": ["2", "100%"]})
        opened = await client.get(f"{URL}?draft={draft['rollout_id']}")
        assert opened.status_code == 303
        assert "waves=2%2C+100%25" in opened.headers["location"]
        saved = await post(client, "draft", draft=draft["rollout_id"], waves="3, 100%")
        assert saved.status_code == 303
        now = await node.catalog.read(lambda catalog: catalog.get_rollout(draft["rollout_id"]))
        assert [str(wave) for wave in now.plan.waves] == ["3", "100%"]
        assert now.name == FORM["name"]
        assert (await client.get(f"{URL}?draft=nope")).status_code == 404


async def test_an_artifact_that_nobody_vouches_for_can_not_be_chosen(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:

        def write(catalog: Catalog) -> None:
            add_artifact(catalog)
            catalog.set_unsigned_policy("refuse")

        await node.catalog.write(write, by=ACT)
        page = (await client.get(URL)).text
        assert "unsigned artifacts are not rolled out here" in page
        assert "Go on" not in page
        skipped = await client.get(f"{URL}?step=targets&artifact={ARTIFACT}")
        assert skipped.status_code == 409
        assert "What is rolled out?" in skipped.text


def test_a_form_knows_its_fields() -> None:
    assert Wish(name="x").pairs(without=("name",)) == []


def test_an_artifact_is_not_called_signed_before_enough_keys_did() -> None:
    def about(*signers: int) -> tuple[str, str]:
        artifact = signed(*signers)
        view = artifact_view(artifact, trust_of(artifact, SET, "refuse", now_ms=15))
        return view.about.split(", ")[-1], view.problem

    words, problem = about(1)
    assert words == "signed by 1 of the 2 trusted keys that are needed"
    assert problem.startswith("1 of 2 trusted keys have signed")
    assert about(0, 2) == ("signed by 2 trusted keys", "")
    assert about()[0] == "not signed"
