"""Checksums, hashes and pages of the format."""

from __future__ import annotations

from storage.log.layout import crc32c, genesis_hash, round_to_page, sha256


def test_crc_32c_is_castagnoli_and_goes_on_from_its_seed() -> None:
    assert crc32c(0, b"123456789") == 0xE3069283  # the published check value
    assert crc32c(0, b"1234", b"56789") == crc32c(crc32c(0, b"1234"), b"56789") == 0xE3069283
    assert crc32c(7, b"") == 7


def test_sha_256_of_parts_is_that_of_the_whole() -> None:
    assert sha256(b"ab", memoryview(b"c")).hex().startswith("ba7816bf8f01cfea")


def test_each_stream_begins_with_a_hash_of_its_own() -> None:
    hashes = {
        genesis_hash(bytes(16), "telemetry"),
        genesis_hash(bytes(16), "catalog"),
        genesis_hash(b"1" * 16, "catalog"),
    }
    assert len(hashes) == 3


def test_rounding_to_pages() -> None:
    assert [round_to_page(size) for size in (0, 1, 4096, 4097)] == [0, 4096, 4096, 8192]
