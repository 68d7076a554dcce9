"""Which tokens made elsewhere are taken."""

from __future__ import annotations

import secrets
import uuid

import pytest

from appliance.core.errors import UsageError
from appliance.management.token_strength import bits_at_most, check_token_strength


@pytest.mark.parametrize(
    ("token", "bits"),
    [
        ("0" * 39, 129),
        ("0a" * 16, 128),
        ("0A" * 16, 128),
        ("z1" * 12, 124),
        ("zA1" * 7, 125),
        ("zA1-" * 6, 144),
        (str(uuid.UUID(int=5)), 122),
        ("", 0),
    ],
)
def test_bits(token: str, bits: int) -> None:
    assert bits_at_most(token) == bits


def test_random_tokens_of_128_bits_are_taken() -> None:
    for _ in range(200):
        check_token_strength(secrets.token_hex(16))
        check_token_strength(secrets.token_urlsafe(22))


@pytest.mark.parametrize(
    "token",
    [
        "short",
        "A1b2C3d4E5f6G7h8I9j0",  # 20 letters and digits: 119 bits
        "08644801-f0ef-4423-82dd-46af17a258ab",
        "ab" * 40,
        "x" * 300,
        "with a space in the middle of it all",
        "ümlaut-" * 6,
    ],
)
def test_weak_ones_are_refused_without_being_told(token: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_token_strength(token)
    assert refused.value.code == "token_weak"
    assert token not in refused.value.message + refused.value.hint
