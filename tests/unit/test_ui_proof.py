"""Signing in: one answer and the same work whatever is wrong; waits that no stranger can turn against the admin."""

from __future__ import annotations

from pathlib import Path

import httpx
import pyotp
import pytest

from appliance.core.limits import (
    LOCKOUT_ACCOUNT_FREE_COUNT,
    LOCKOUT_ADDRESS_FREE_COUNT,
    LOCKOUT_WAIT_FIRST_MS,
    LOCKOUT_WAIT_MS_MAX,
    REFUSAL_FOLD_MS,
    SIGN_IN_BURST_COUNT_MAX,
    SIGN_IN_REFILL_MS,
)
from tests.acts import ACT
from tests.node_kit import PASSWORD, QUICK, Node, running_node
from tests.people_kit import add_user, audit_of, sign_in


class CountingHasher:
    """argon2, and how often it was asked."""

    def __init__(self) -> None:
        self.verified = 0

    def hash(self, password: str) -> str:
        return QUICK.hash(password)

    def verify(self, password_hash: str, password: str) -> bool:
        self.verified += 1
        return QUICK.verify(password_hash, password)


async def _fail(node: Node, address: str, user_id: str, count: int) -> None:
    """Failures, as fast as the limiter lets them."""
    async with node.client(address=address) as client:
        for _ in range(count):
            assert (await sign_in(client, user_id, "not this one")).status_code == 401
            node.clock.advance(SIGN_IN_REFILL_MS)


async def _status(node: Node, address: str, user_id: str, password: str = PASSWORD) -> int:
    async with node.client(address=address) as client:
        return (await sign_in(client, user_id, password)).status_code


async def _with_totp(node: Node, user_id: str) -> None:
    sealed = node.services.keys.seal(f"totp/{user_id}", pyotp.random_base32().encode()).hex()
    await node.catalog.write(lambda catalog: catalog.set_totp(user_id, sealed), by=ACT)


async def test_whatever_is_wrong_the_answer_and_the_work_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not measured by the clock, which says little on a busy machine, but by what is done: argon2, one-time codes, reads and
    writes."""
    hasher, codes = CountingHasher(), [0]
    real = pyotp.HOTP.at

    def counted(self: pyotp.HOTP, count: int) -> str:
        codes[0] += 1
        return real(self, count)

    monkeypatch.setattr(pyotp.HOTP, "at", counted)
    async with running_node(tmp_path) as node:
        monkeypatch.setattr(node.services.passwords, "_hasher", hasher)
        for user_id in ("anna", "gone", "coded", "waits"):
            await add_user(node, user_id)
        await _with_totp(node, "coded")
        await node.catalog.write(lambda catalog: catalog.disable_user("gone"), by=ACT)
        await _fail(node, "198.51.100.1", "waits", LOCKOUT_ACCOUNT_FREE_COUNT)
        async with node.client(address="198.51.100.1") as client:
            assert (await sign_in(client, "waits", "not this one")).status_code == 401
        await _fail(node, "198.51.100.9", "whoever", LOCKOUT_ADDRESS_FREE_COUNT)
        async with node.client(address="198.51.100.9") as client:
            assert (await sign_in(client, "whoever", "not this one")).status_code == 401
        async with node.client(address="198.51.100.1") as client:
            assert (await sign_in(client, "waits", "not this one")).status_code == 401

        seen = {}
        for name, address, user_id, password in (
            ("unknown", "203.0.113.1", "nobody", PASSWORD),
            ("password", "203.0.113.2", "anna", "not this one"),
            ("disabled", "203.0.113.3", "gone", PASSWORD),
            ("code", "203.0.113.4", "coded", PASSWORD),
            ("account waits", "203.0.113.5", "waits", PASSWORD),
            ("address waits", "198.51.100.9", "anna", PASSWORD),
        ):
            statistics = node.catalog.statistics()
            before = (
                hasher.verified,
                codes[0],
                statistics.pools["auth"].served_total,
                statistics.writer.served_total,
            )
            async with node.client(address=address) as client:
                answer = await sign_in(client, user_id, password)
            statistics = node.catalog.statistics()
            after = (
                hasher.verified,
                codes[0],
                statistics.pools["auth"].served_total,
                statistics.writer.served_total,
            )
            body = {key: value for key, value in answer.json().items() if key != "trace_id"}
            assert (answer.status_code, body["code"]) == (401, "sign_in_failed"), name
            seen[name] = (body, tuple(b - a for a, b in zip(before, after, strict=True)))
        assert all(each == seen["unknown"] for each in seen.values()), seen
        assert seen["unknown"][1] == (1, 3, 1, 1)
        reasons = {entry[4] for entry in await audit_of(node, "session.sign_in") if entry[3] == "refused"}
        assert reasons >= {
            "user_unknown",
            "password_wrong",
            "user_disabled",
            "code_wrong",
            "account_waits",
            "address_waits",
        }


async def test_a_stranger_makes_an_account_wait_for_strangers_only(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.add_admin()
        assert await _status(node, "192.0.2.7", "admin") == 201
        await _fail(node, "198.51.100.1", "admin", LOCKOUT_ACCOUNT_FREE_COUNT)
        await _fail(node, "198.51.100.2", "admin", 1)
        node.clock.advance(-SIGN_IN_REFILL_MS)
        assert await _status(node, "203.0.113.1", "admin") == 401, (
            "it waits for who never signed in from there"
        )
        assert await _status(node, "192.0.2.7", "admin") == 201, "but not where the admin works"
        assert await _status(node, "203.0.113.1", "admin") == 201, "and their success begins the count anew"


async def test_an_accounts_wait_ends_by_itself_and_attempts_do_not_lengthen_it(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna")
        await _fail(node, "198.51.100.1", "anna", LOCKOUT_ACCOUNT_FREE_COUNT)
        async with node.client(address="198.51.100.1") as client:
            await sign_in(client, "anna", "not this one")
            begun_ms = node.clock.now_ms()
            while node.clock.now_ms() < begun_ms + LOCKOUT_WAIT_FIRST_MS:
                assert (await sign_in(client, "anna", PASSWORD)).status_code == 401
                node.clock.advance(SIGN_IN_REFILL_MS)
        assert await _status(node, "203.0.113.1", "anna") == 201


async def test_an_address_that_keeps_failing_waits_for_whoever_it_tries(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna")
        for number in range(LOCKOUT_ADDRESS_FREE_COUNT + 1):
            await _fail(node, "2001:db8::1", f"user{number}", 1)
        node.clock.advance(-SIGN_IN_REFILL_MS)
        assert await _status(node, "2001:db8::ffff", "anna") == 401, "the whole network waits"
        assert await _status(node, "2001:db8:1::1", "anna") == 201
        node.clock.advance(LOCKOUT_WAIT_FIRST_MS)
        assert await _status(node, "2001:db8::1", "anna") == 201
        # An attacker with an account of their own doesn't begin the address's count anew by using it.
        await _fail(node, "2001:db8::1", "bob", 1)
        assert await _status(node, "2001:db8::1", "anna") == 401
        node.clock.advance(LOCKOUT_WAIT_MS_MAX)
        assert await _status(node, "2001:db8::1", "anna") == 201


async def test_waits_survive_a_restart(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna")
        await _fail(node, "198.51.100.1", "anna", LOCKOUT_ACCOUNT_FREE_COUNT)
        async with node.client(address="198.51.100.1") as client:
            await sign_in(client, "anna", "not this one")
        now_ms = node.clock.now_ms()
    async with running_node(tmp_path) as node:
        node.clock.set_wall(now_ms)
        assert await _status(node, "203.0.113.1", "anna") == 401
        node.clock.advance(LOCKOUT_WAIT_FIRST_MS)
        assert await _status(node, "203.0.113.1", "anna") == 201


async def test_refusals_are_folded_and_no_typed_name_is_kept(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna")
        async with node.client() as client:
            for _ in range(SIGN_IN_BURST_COUNT_MAX):
                await sign_in(client, "hunter2 my password", "not this one")
            node.clock.advance(REFUSAL_FOLD_MS)
            await sign_in(client, "hunter2 my password", "not this one")
        entries = await audit_of(node, "session.sign_in")
        assert [entry[:4] for entry in entries] == [("", "nobody", "", "refused")] * len(entries)
        details = [entry[4] for entry in entries]
        assert details[0] == "user_unknown"
        assert any("more since the entry before" in detail for detail in details)
        assert len(entries) < 6
        kept = await node.catalog.read(
            lambda catalog: str(
                [tuple(r) for t in ("audit", "lockouts") for r in catalog.rows(f"SELECT * FROM {t}")]
            )
        )
        assert "hunter2" not in kept


async def test_guessing_the_own_password_counts_as_signing_in_does(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as page:
        codes = []
        for _ in range(SIGN_IN_BURST_COUNT_MAX):
            answer: httpx.Response = await page.post(
                "/api/v1/account/totp/remove", json={"password": "not this one"}
            )
            codes.append(answer.json()["code"])
        assert codes[0] == "password_wrong"
        assert codes[-1] == "too_many_attempts"
        lockouts = await node.catalog.read(lambda catalog: catalog.count_lockouts())
        assert lockouts.remembered == 2
        assert lockouts.locked >= 1


@pytest.mark.parametrize("path", ["/session", "/tokens", "/account/password", "/account/totp/remove"])
async def test_a_password_that_changes_while_it_is_checked_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        if path.endswith("remove"):
            await _with_totp(node, "admin")
            client.cookies.clear()
            code = pyotp.TOTP(await _secret(node)).at(node.clock.now_ms() // 1000)
            body = {"user_id": "admin", "password": PASSWORD, "code": code}
            answer = await client.post("/api/v1/session", json=body)
            client.headers["x-csrf-token"] = answer.json()["csrf_token"]
        verify = node.services.passwords.verify

        async def slow(password_hash: str | None, password: str) -> bool:
            is_right = await verify(password_hash, password)
            await node.catalog.write(
                lambda catalog: catalog.set_password("admin", QUICK.hash("what the admin set")), by=ACT
            )
            return is_right

        monkeypatch.setattr(node.services.passwords, "verify", slow)
        bodies = {
            "/account/password": {"old_password": PASSWORD, "password": "another sentence, about coffee"},
            "/account/totp/remove": {"password": PASSWORD},
        }
        body = bodies.get(path, {"user_id": "admin", "password": PASSWORD})
        answer = await client.post(f"/api/v1{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (401, "credentials_changed")
        assert await node.catalog.read(lambda catalog: catalog.list_sessions()) == []
        assert await node.catalog.read(lambda catalog: catalog.list_families()) == []
        user = await node.catalog.read(lambda catalog: catalog.get_user("admin"))
        assert QUICK.verify(user.password_hash, "what the admin set")


async def _secret(node: Node) -> str:
    user = await node.catalog.read(lambda catalog: catalog.get_user("admin"))
    assert user.totp_sealed
    return node.services.keys.unseal("totp/admin", bytes.fromhex(user.totp_sealed)).decode()
