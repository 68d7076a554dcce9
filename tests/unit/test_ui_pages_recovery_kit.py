"""The recovery kit's page: who sees it, and what happens when it is confirmed."""

from __future__ import annotations

from pathlib import Path

from appliance.core.limits import FRESH_SESSION_MS
from appliance.identity.recovery_kit import RecoveryKit, pending
from tests.acts import ACT
from tests.node_kit import PASSWORD, QUICK, running_node

URL = "/setup/recovery-kit"


async def test_it_is_shown_while_it_is_pending_and_never_again(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        kit = RecoveryKit.of(tmp_path)
        page = (await client.get(URL)).text
        assert all(line.split()[1] in page for line in kit.lines())
        saved = await client.post(f"{URL}/file")
        assert RecoveryKit.parse(saved.text) == kit
        assert "attachment" in saved.headers["content-disposition"]
        assert saved.headers["cache-control"] == "no-store"
        assert (await client.post(URL, data={"kept": "yes"})).headers["location"] == "/"
        assert pending(tmp_path) is None
        page = (await client.get(URL)).text
        assert kit.lines()[0].split()[1] not in page
        assert "saved and confirmed" in page
        assert (await client.post(f"{URL}/file")).headers["location"] == URL


async def test_later_keeps_it_and_without_the_tick_nothing_is_confirmed(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        assert (await client.post(URL, data={})).status_code == 422
        assert pending(tmp_path) is not None
        assert (await client.post(URL, data={"later": "1"})).status_code == 303
        assert pending(tmp_path) is not None
        assert "The recovery kit isn&#39;t kept anywhere yet" in (await client.get("/")).text


async def test_an_old_session_has_to_sign_in_again(tmp_path: Path) -> None:
    """A browser that somebody left open."""
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        node.clock.advance(FRESH_SESSION_MS)
        kit = RecoveryKit.of(tmp_path)
        answer = await client.get(URL)
        assert answer.status_code == 303
        where = answer.headers["location"]
        assert where == "/sign-in?again=1&next=%2Fsetup%2Frecovery-kit"
        assert (await client.post(f"{URL}/file")).status_code == 303
        assert (await client.post(URL, data={"kept": "yes"})).headers["location"] == where
        assert pending(tmp_path) == kit, "an old session made the box forget its only copy"
        form = (await client.get(where)).text
        assert 'value="admin"' in form
        signed_in = await client.post("/sign-in", data={"user": "admin", "password": PASSWORD, "next": URL})
        assert signed_in.headers["location"] == URL
        assert kit.lines()[0].split()[1] in (await client.get(URL)).text


async def test_an_installer_does_not_see_it(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.client() as client:
        await node.catalog.write(
            lambda catalog: catalog.add_user("ines", role="installer", password_hash=QUICK.hash(PASSWORD)),
            by=ACT,
        )
        await client.post("/sign-in", data={"user": "ines", "password": PASSWORD})
        answer = await client.get(URL)
        assert answer.status_code == 403
        assert RecoveryKit.of(tmp_path).lines()[0].split()[1] not in answer.text


async def test_every_showing_is_in_the_audit_and_the_kit_is_not(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        await client.get(URL)
        await client.post(URL, data={"kept": "yes"})
        rows = await node.catalog.read(
            lambda catalog: catalog.rows(
                "SELECT actor, action, coalesce(before, '') || coalesce(after, '') || detail AS rest FROM audit"
                " WHERE object_kind = 'recovery_kit' ORDER BY seq"
            )
        )
        assert [tuple(row) for row in rows] == [
            ("admin", "recovery_kit.show", ""),
            ("admin", "recovery_kit.confirm", ""),
        ]
