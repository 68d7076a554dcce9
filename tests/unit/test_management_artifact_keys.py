"""Sets of keys, and how one follows another."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from itertools import count, islice

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.core.errors import Conflict, UsageError
from appliance.management import artifact_keys
from appliance.management.artifact_keys import NOBODY, KeySet, PublicKey

KEYS = [PublicKey(name=f"key {n}", public=base64.b64encode(bytes([n or 9]) * 32).decode()) for n in range(4)]


def keys(*numbers: int, version: int = 1, threshold: int = 1) -> KeySet:
    return KeySet(version=version, threshold=threshold, keys=[KEYS[n] for n in numbers])


def test_a_key_s_id_is_its_digest() -> None:
    assert KEYS[1].key_id == hashlib.sha256(b"\1" * 32).hexdigest()


@pytest.mark.parametrize("public", ["", "ä", "AAAA", base64.b64encode(bytes(31)).decode()])
def test_what_is_no_key_is_refused(public: str) -> None:
    with pytest.raises(UsageError) as caught:
        PublicKey(name="a", public=public).raw()
    assert caught.value.code == "artifact_key_invalid"


@pytest.mark.parametrize(
    "raw",
    [
        bytes(32),
        b"\1" + bytes(31),
        bytes(31) + b"\x80",
        bytes.fromhex("ec" + "ff" * 31),
        b"\xee" + b"\xff" * 30 + b"\x7f",
    ],
)
def test_a_key_in_whose_name_everybody_can_sign_is_refused(raw: bytes) -> None:
    """A point of small order, with either sign: signatures by it can be made up for any text."""
    with pytest.raises(UsageError, match="everybody can sign") as caught:
        PublicKey(name="a", public=base64.b64encode(raw).decode()).raw()
    assert caught.value.code == "artifact_key_invalid"


P, ORDER, D = (
    2**255 - 19,
    2**252 + 27742317777372353535851937790883648493,
    -121665 * pow(121666, -1, 2**255 - 19),
)
"""The field, the order of the subgroup that keys are in, and the curve -x² + y² = 1 + D·x²·y² (RFC 8032 §5.1)."""


def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    product = D * a[0] * b[0] * a[1] * b[1]
    x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + product, -1, P)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, P)
    return x % P, y % P


def times(factor: int, point: tuple[int, int]) -> tuple[int, int]:
    found = (0, 1)
    for bit in f"{factor:b}":
        found = add(found, found)
        found = add(found, point) if bit == "1" else found
    return found


def points() -> Iterator[tuple[int, int]]:
    """Points of the curve, of any order."""
    for y in count(2):
        square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
        x = pow(square, (P + 3) // 8, P)
        for root in (x, x * pow(2, (P - 1) // 4, P) % P):
            if root * root % P == square:
                yield root, y


def test_those_are_all_points_of_small_order_and_no_other() -> None:
    """A point times the order of the keys' subgroup is one of eight; an encoding below 2²⁵⁵ may have the field's size added."""
    small = {times(ORDER, each) for each in islice(points(), 32)}
    assert len(small) == 8
    encodings = {y + more for _, y in small for more in (0, P) if y + more < 2**255}
    assert {each.to_bytes(32, "little") for each in encodings} == artifact_keys.WEAK


def test_a_key_that_somebody_made_is_never_refused() -> None:
    for seed in range(200):
        made = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"%d" % seed).digest()).public_key()
        raw = made.public_bytes_raw()
        assert PublicKey(name="a", public=base64.b64encode(raw).decode()).raw() == raw


def test_a_set_has_one_form() -> None:
    text = keys(0, threshold=1).text()
    assert text.startswith('{"keys":[{"name":"key 0","public":"CQkJ')
    assert text.endswith('"threshold":1,"type":"artifact-keys","version":1}')
    assert artifact_keys.parse(text) == keys(0)
    with pytest.raises(UsageError):
        artifact_keys.parse(text + " ")


def test_a_set_must_be_able_to_work() -> None:
    artifact_keys.check_set(keys(0, 1, threshold=2))
    for wanted, says in (
        (keys(0, 0, threshold=2), "twice"),
        (
            KeySet(version=1, threshold=1, keys=[KEYS[0], PublicKey(name="key 0", public=KEYS[1].public)]),
            "same name",
        ),
        (keys(0, threshold=2), "2 signatures would be needed, and there are 1 keys"),
        (keys(threshold=1), "there are 0 keys"),
    ):
        with pytest.raises(UsageError, match=says):
            artifact_keys.check_set(wanted)


def test_a_new_set_is_vouched_for_by_the_old_one() -> None:
    old = keys(0, 1, 2, version=3, threshold=2)
    new = keys(1, 2, 3, version=4, threshold=2)
    artifact_keys.check_follows(new, old, 2)
    with pytest.raises(Conflict, match="2 of the trusted keys must have signed the new set, and 1 have"):
        artifact_keys.check_follows(new, old, 1)
    for version in (3, 5):
        with pytest.raises(Conflict, match="the next one is 4"):
            artifact_keys.check_follows(keys(1, version=version), old, 3)


def test_the_first_set_needs_nobody() -> None:
    artifact_keys.check_follows(keys(0), NOBODY, 0)
