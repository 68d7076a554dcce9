"""What an image says of its own content is compared with that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage.artifacts.digests import inner_problem
from tests.artifact_kit import esp32, found_in, mcuboot, mender


def problem_of(path: Path, data: bytes, changed: bytes) -> str:
    path.write_bytes(changed)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return inner_problem(descriptor, found_in(data))
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("data", [esp32(), esp32(has_hash=0), mcuboot(), mender(), b"raw"])
def test_what_is_whole_has_no_problem(tmp_path: Path, data: bytes) -> None:
    assert problem_of(tmp_path / "image", data, data) == ""


@pytest.mark.parametrize(
    ("data", "at", "says"),
    [(esp32(), 400, "hash"), (esp32(has_hash=0), 400, "checksum"), (mcuboot(), 400, "hash")],
)
def test_one_changed_byte_is_found(tmp_path: Path, data: bytes, at: int, says: str) -> None:
    changed = bytearray(data)
    changed[at] ^= 1
    assert says in problem_of(tmp_path / "image", data, bytes(changed))
