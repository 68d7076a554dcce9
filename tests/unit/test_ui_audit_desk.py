"""Acts are noted before they run, refusals are folded, the check is one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from starlette.requests import Request

from appliance.core.errors import Conflict, LimitExceeded, NotAuthorized, UsageError
from appliance.core.limits import AUDIT_EXPORT_COUNT_MAX, REFUSAL_FOLD_MS
from appliance.management.audit import Act, Actor, AuditEntry
from storage.catalog.audit import AuditFilter
from tests.acts import ACT
from tests.audit_kit import ANNA
from tests.node_kit import Node, running_node
from ui import audit_desk

KICK = Act(action="client.kick", actor=ANNA)
REFUSAL = NotAuthorized("This needs the role admin.", hint="", code="role_too_low")


async def entries(node: Node, **wanted: Any) -> list[AuditEntry]:
    """The oldest first."""
    page = await node.catalog.read(lambda catalog: catalog.list_audit(AuditFilter(**wanted), limit=100))
    return list(page.entries)[::-1]


def request(path: str = "/api/v1/users", method: str = "GET") -> Request:
    return Request(
        {"type": "http", "method": method, "path": path, "headers": [], "scheme": "https", "server": ("b", 1)}
    )


async def test_an_act_is_in_the_audit_before_it_is_done(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        async with node.services.audit.noted(KICK, object_kind="client", object_id="c1", detail="why"):
            (noted,) = await entries(node)
        assert (noted.action, noted.actor, noted.address) == ("client.kick", "anna", "192.0.2.7")
        assert (noted.object_kind, noted.object_id, noted.outcome, noted.detail) == (
            "client",
            "c1",
            "done",
            "why",
        )


async def test_one_that_fails_says_so(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        with pytest.raises(Conflict):
            async with node.services.audit.noted(KICK, object_kind="client", object_id="c1"):
                raise Conflict("It is away.", hint="", code="client_away")
        first, second = await entries(node)
        assert (first.outcome, second.outcome) == ("done", "refused")
        assert second.detail == "It failed: It is away. (client_away)"


async def test_one_that_cannot_be_noted_is_not_done(tmp_path: Path) -> None:
    done = False
    async with running_node(tmp_path) as node:
        await node.catalog.write(
            lambda c: c.execute(
                "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END"
            ),
            by=ACT,
        )
        with pytest.raises(Conflict):
            async with node.services.audit.noted(KICK, object_kind="client", object_id="c1"):
                done = True
    assert not done


async def test_refusals_are_noted_once_and_then_counted(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        desk = node.services.audit
        for _ in range(4):
            await desk.refused(request(), ANNA, REFUSAL)
        (noted,) = await entries(node)
        assert (noted.action, noted.outcome, noted.object_id) == (
            "permission.refuse",
            "refused",
            "GET /api/v1/users",
        )
        assert (noted.actor, noted.actor_kind, noted.address) == ("anna", "user", "192.0.2.7")
        assert noted.detail == "This needs the role admin. (role_too_low)"
        # Another address of the API, another person: entries of their own.
        await desk.refused(request(method="POST"), ANNA, REFUSAL)
        await desk.refused(request(), Actor(name="bert", kind="user"), REFUSAL)
        assert len(await entries(node)) == 3
        node.clock.advance(REFUSAL_FOLD_MS)
        await desk.refused(request("/other"), ANNA, REFUSAL)
        assert [entry.detail for entry in (await entries(node))[3:]] == [
            "This needs the role admin. (role_too_low), 3 more since the entry before",
            "This needs the role admin. (role_too_low)",
        ]
        numbers = desk.statistics()
        assert (numbers.refusals_total, numbers.refusals_noted_total) == (7, 5)


async def test_strangers_and_other_errors_are_not_noted(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.services.audit.refused(request(), Actor(name="", kind="nobody"), REFUSAL)
        await node.services.audit.refused(
            request(), ANNA, NotAuthorized("Sign in.", hint="", code="sign_in_required")
        )
        assert await entries(node) == []


async def test_a_refusal_that_cannot_be_noted_stands_all_the_same(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.catalog.write(
            lambda c: c.execute(
                "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END"
            ),
            by=ACT,
        )
        await node.services.audit.refused(request(), ANNA, REFUSAL)
        numbers = node.services.audit.statistics()
        assert (numbers.refusals_total, numbers.refusals_noted_total) == (1, 0)


async def test_a_check_and_what_it_found(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        desk = node.services.audit
        await node.catalog.write(lambda catalog: catalog.add_device("d1"), by=ACT)
        assert desk.statistics().last_check_ok is None
        assert (await desk.check()).fault is None
        head = await desk.head()
        assert head is not None
        assert (await desk.check(f"1:{head.hash}")).fault is None
        assert desk.statistics().last_check_ok is True
        assert (await desk.check(f"2:{head.hash}")).fault is not None
        assert desk.statistics().last_check_ok is True, "somebody's note is no alarm for everybody"
        await node.catalog.write(lambda c: c.execute("DROP TRIGGER audit_no_delete"), by=ACT)
        await node.catalog.write(lambda c: c.execute("DELETE FROM audit"), by=ACT)
        assert (await desk.check()).fault is not None
        assert desk.statistics().last_check_ok is False
        path = tmp_path / "identity" / "audit.head"
        path.write_text("nonsense")
        path.chmod(0o600)
        with pytest.raises(Conflict, match="does not hold a signed head"):
            await desk.check()
        with pytest.raises(UsageError):
            await desk.check("nonsense")


async def test_one_check_at_a_time(tmp_path: Path) -> None:
    codes: list[str] = []
    async with running_node(tmp_path) as node:

        async def check() -> None:
            try:
                await node.services.audit.check()
            except Conflict as error:
                codes.append(error.code)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(check)
    assert codes == ["audit_check_running"] * 2


async def test_exports_are_bounded(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        desk = node.services.audit
        for _ in range(AUDIT_EXPORT_COUNT_MAX):
            desk.take_export_place()
        with pytest.raises(LimitExceeded):
            desk.take_export_place()
        desk.give_export_place()
        desk.take_export_place()


async def test_again_and_again_it_signs_and_looks_at_the_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_desk, "AUDIT_ENTRY_COUNT_ALARM", 2)
    async with running_node(tmp_path) as node, trio.open_nursery() as nursery:
        desk = audit_desk.AuditDesk(
            catalog=node.catalog,
            keys=node.services.keys,
            clock=node.clock,
            data_dir=tmp_path,
            interval_ms=5,
        )
        for _ in range(3):
            await desk.refused(request(), ANNA, REFUSAL)
        node.clock.advance(REFUSAL_FOLD_MS)
        nursery.start_soon(desk.run)
        await node.catalog.write(lambda c: [c.add_device(f"d{n}") for n in range(3)], by=ACT)
        deadline = trio.current_time() + 20
        while (desk.statistics().signing.seq, desk.statistics().entry_count) != (5, 5):
            assert trio.current_time() < deadline
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_at_the_end_it_signs_once_more(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        desk = node.services.audit
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.run)
            await trio.testing.wait_all_tasks_blocked()
            await node.catalog.write(lambda c: c.add_device("d1"), by=ACT)
            nursery.cancel_scope.cancel()
        assert desk.statistics().signing.seq == 1
