"""Passwords: the rule, argon2id, and the same work for nobody's password."""

from __future__ import annotations

import argon2
import pytest
import trio
import trio.testing

from appliance.core.errors import Unavailable, UsageError
from appliance.identity import Passwords, check_password, passwords
from tests.node_kit import QUICK

GOOD = "a quiet sentence about tea"


@pytest.mark.parametrize(
    "password", [GOOD, "längere Wörter", "日本語の長いパスワードです", "k7$vQ2mz!Lw0", GOOD * 9]
)
def test_what_can_be_a_password(password: str) -> None:
    assert len(check_password(password, user_id="admin")) >= 12


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "password_too_short"),
        ("eleven char", "password_too_short"),
        ("x" * 257, "password_too_long"),
        ("123456 abcdefg", "password_too_simple"),
        (" " * 12 + "abcde", "password_too_simple"),
        ("password1234", "password_too_simple"),
        ("P@ssw0rd12345", "password_too_simple"),
        ("iloveyou123456", "password_too_simple"),
        ("qwertyuiop123", "password_too_simple"),
        ("Homeport2026!", "password_too_simple"),
        ("homeport-admin-1", "password_too_simple"),
        ("aaaaaaaaaaaaaaaa", "password_too_simple"),
        ("abcdabcdabcdabcd", "password_too_simple"),
        ("administrator administrator", "password_too_simple"),
        ("ADMINISTRATORadministrator!", "password_too_simple"),
    ],
)
def test_what_can_not(password: str, code: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_password(password, user_id="administrator")
    assert refused.value.code == code
    assert refused.value.hint


async def test_a_hash_is_argon2id_and_verifies() -> None:
    kept = Passwords(QUICK)
    made = await kept.hash(GOOD)
    assert made.startswith("$argon2id$")
    assert await kept.verify(made, GOOD)
    assert not await kept.verify(made, GOOD + "!")
    assert not await kept.verify(made, "x" * 100_000)
    assert made != await kept.hash(GOOD)


async def test_the_same_text_typed_in_another_form_is_the_same_password() -> None:
    kept = Passwords(QUICK)
    assert await kept.verify(await kept.hash("Schlüsselbund 1"), "Schlu\u0308sselbund 1")


async def test_nobodys_password_takes_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    real = argon2.PasswordHasher.verify

    def counting(self: argon2.PasswordHasher, hash: str, password: str) -> bool:
        verified.append(hash)
        return bool(real(self, hash, password))

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counting)
    kept = Passwords(QUICK)
    assert not await kept.verify(None, GOOD)
    assert not await kept.verify(None, "nobody has this password")
    assert len(verified) == 2
    assert argon2.extract_parameters(verified[0]) == argon2.extract_parameters(await kept.hash(GOOD))


def test_the_default_is_rfc_9106s_second_option() -> None:
    parameters = argon2.extract_parameters(Passwords()._nobody)
    assert (parameters.type, parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (
        argon2.Type.ID,
        64 * 1024,
        3,
        4,
    )


async def test_weaker_hashes_are_noticed() -> None:
    assert Passwords().should_rehash(await Passwords(QUICK).hash(GOOD))


async def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "PASSWORD_HASH_QUEUE_DEPTH_MAX", 2)
    slow = Passwords(argon2.PasswordHasher(time_cost=1, memory_cost=64 * 1024, parallelism=1))
    refused = 0

    async def one() -> None:
        nonlocal refused
        try:
            await slow.verify(None, GOOD)
        except Unavailable as error:
            assert error.code == "password_queue_full"
            refused += 1

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(one)
    assert refused == 5
